// Asks the endpoints of dependencies whether they are healthy, each time on a connection of its own (health-probe.ts). What is due is looked for at
// every sweep of the data path, so that no timer runs for it; only a check that is under way has its timeout on the wheel. However many endpoints
// there are, so many are asked at a time and the others wait.
//
// Not asked: while a kill switch is thrown, while the endpoints come from disk or cannot be trusted (their addresses may be strangers' by
// now), and where the sidecar does not choose the endpoint, since the result would change nothing.
import type { CheckedEndpoint } from '../../policies/health-check.ts';
import type { TlsOrigination } from '../../tls/origination.ts';
import type { ProxyContext } from '../context.ts';
import type { UpstreamEndpoint } from '../exchange/upstream.ts';
import type { DependencyRuntime } from './dependency.ts';
import { type Check, GrpcProbe, HttpProbe, type Probe } from './health-probe.ts';

/** Checks under way at a time, of all dependencies. */
export const MAX_CHECKS_UNDER_WAY = 16;

export interface HealthProberOptions {
  context: ProxyContext;
  createEndpoint: (address: string, port: number, tls: TlsOrigination | null) => UpstreamEndpoint;
}

export class HealthProber {
  readonly #options: HealthProberOptions;
  readonly #underway = new Set<Probe>();
  #queue: Check[] = [];
  #closed = false;

  constructor(options: HealthProberOptions) {
    this.#options = options;
  }

  /** Checks whose connection is open, or being made. */
  get underway(): number {
    return this.#underway.size;
  }

  /** To be called a few times per second: asks who is due, and gives up what nobody is to be asked any more. */
  sweep(dependencies: Iterable<DependencyRuntime>, nowMs: number): void {
    for (const probe of this.#underway) if (!isWanted(probe.check)) probe.giveUp();
    for (const dependency of dependencies) {
      if (!isAsked(dependency)) continue;
      for (const health of dependency.policies.allHealthChecks()) {
        const due: CheckedEndpoint[] = [];
        health.checks.takeDue(nowMs, due);
        for (const checked of due) this.#queue.push({ dependency, health, checked });
      }
    }
    this.#start();
  }

  close(): void {
    this.#closed = true;
    for (const { health, checked } of this.#queue.splice(0)) health.checks.cancel(checked);
    for (const probe of this.#underway) probe.giveUp();
  }

  #start(): void {
    const { context } = this.#options;
    while (!this.#closed && this.#underway.size < MAX_CHECKS_UNDER_WAY) {
      const check = this.#queue.shift();
      if (check === undefined) return;
      const target = isWanted(check) ? targetOf(check) : null;
      if (target === null) {
        check.health.checks.cancel(check.checked);
        continue;
      }
      const environment = {
        context,
        isWanted: () => isWanted(check),
        onOver: () => {
          this.#underway.delete(probe);
          this.#start();
        },
      };
      const { grpc } = check.health.plan;
      const probe: Probe = grpc === null ? new HttpProbe(check, environment) : new GrpcProbe(check, environment, grpc);
      this.#underway.add(probe);
      probe.begin(this.#options.createEndpoint(target.address, target.port, check.dependency.tls));
    }
  }
}

function isAsked({ plan, enforced, endpoints }: DependencyRuntime): boolean {
  return enforced && !endpoints.fallingBack && (plan.balancing === 'Endpoints' || plan.balancing === 'Dns');
}

function isWanted({ dependency, health, checked }: Check): boolean {
  return isAsked(dependency) && health.checks.has(checked) && dependency.policies.hasHealthChecks(health);
}

/** Null: the endpoint is gone. */
function targetOf({ dependency, health, checked }: Check): { address: string; port: number } | null {
  const endpoint = dependency.endpoints.live.find(({ name }) => name === checked.name);
  return endpoint === undefined ? null : { address: endpoint.address, port: health.plan.port ?? endpoint.port };
}
