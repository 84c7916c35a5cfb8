// Asks the endpoints of dependencies whether they are healthy: by GET, each time on a connection of its own that ends with the head of the
// answer. Nothing of it counts as a request, an attempt or a load. What is due is looked for at every sweep of the data path, so that no
// timer runs for it; only a check that is under way has its timeout on the wheel. However many endpoints there are, so many are asked at a
// time and the others wait.
//
// Not asked: while a kill switch is thrown, while the endpoints come from disk or cannot be trusted (their addresses may be strangers' by
// now), and where the sidecar does not choose the endpoint, since the result would change nothing.
import { isShadowKey } from '../../plan/policies/state-key.ts';
import { RequestHead } from '../http1/request-head.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import type { CheckedEndpoint } from '../policies/health-check.ts';
import type { TimerNode } from '../policies/timer-wheel.ts';
import { isTlsFailure, sentenceOf, type TlsFailure } from '../tls/failures.ts';
import type { TlsOrigination } from '../tls/origination.ts';
import type { ProxyContext } from './context.ts';
import type { OutgoingRequest } from './current-request.ts';
import type { DependencyRuntime } from './dependency.ts';
import type { HealthEntry } from './endpoint-choice.ts';
import type { ConnectFailure, ResponseReceiver, UpstreamEndpoint, UpstreamLeg } from './upstream.ts';

/** Checks under way at a time, of all dependencies. */
export const MAX_CHECKS_UNDER_WAY = 16;

const CONNECT_FAILURES = {
  refused: 'the connection was refused',
  timeout: 'the connection was not made in time',
  unreachable: 'the address cannot be reached',
} as const satisfies Record<Exclude<ConnectFailure, TlsFailure>, string>;

function whyNotConnected(failure: ConnectFailure): string {
  return isTlsFailure(failure) ? sentenceOf(failure) : CONNECT_FAILURES[failure];
}

interface Check {
  dependency: DependencyRuntime;
  health: HealthEntry;
  checked: CheckedEndpoint;
}

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
      const probe = new Probe(check, context, () => {
        this.#underway.delete(probe);
        this.#start();
      });
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

/** One check of one endpoint. */
class Probe implements ResponseReceiver, OutgoingRequest, TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly check: Check;
  readonly head = new RequestHead();
  readonly host: string;
  readonly correlationId: string;
  readonly fields = '\r\nUser-Agent: breakwater-health-check\r\nAccept: */*';
  readonly attempt = 0;
  readonly deadline = '';
  readonly grpcTimeout = '';
  readonly hasBody = false;
  readonly #context: ProxyContext;
  readonly #onOver: () => void;
  #leg: UpstreamLeg | null = null;

  constructor(check: Check, context: ProxyContext, onOver: () => void) {
    this.check = check;
    this.#context = context;
    this.#onOver = onOver;
    this.host = check.health.plan.host ?? check.dependency.plan.authority;
    this.correlationId = context.correlationId();
    this.head.method = 'GET';
    this.head.target = check.health.plan.path;
  }

  begin(endpoint: UpstreamEndpoint): void {
    const { health, checked } = this.check;
    const nowMs = this.#context.ticker.nowMs();
    health.checks.begin(checked, nowMs);
    this.#context.ticker.arm(this, nowMs + health.plan.timeoutMs);
    this.#leg = endpoint.connect(this);
  }

  onConnected(): void {
    this.#leg?.sendHead(this, this);
    this.#leg?.flush();
  }

  onResponseHead(head: ResponseHead): boolean {
    const { expectedStatuses } = this.check.health.plan;
    this.#settle(expectedStatuses.includes(head.status) ? '' : `the answer had status ${head.status}`);
    return false;
  }

  onUpstreamClosed(failure: ConnectFailure | null): void {
    this.#settle(failure === null ? 'the connection was lost before an answer' : whyNotConnected(failure));
  }

  onInvalidResponse(): void {
    this.#settle('the answer is no valid HTTP/1.1');
  }

  expire(): void {
    this.#settle(`no answer within ${this.check.health.plan.timeoutMs} ms`);
  }

  /** Without a result: nobody wants to know any more. */
  giveUp(): void {
    this.check.health.checks.cancel(this.check.checked);
    this.#end();
  }

  #settle(problem: string): void {
    const { dependency, health, checked } = this.check;
    if (isWanted(this.check)) {
      const { healthy } = checked;
      health.checks.settle(checked, problem, this.#context.ticker.nowMs());
      this.#context.metrics.countHealthCheck(dependency.label, health.key, problem === '' ? 'passed' : 'failed');
      if (checked.healthy !== healthy) this.#tellTurn();
    } else {
      health.checks.cancel(checked);
    }
    this.#end();
  }

  #tellTurn(): void {
    const { dependency, health, checked } = this.check;
    const facts = { dependency: dependency.plan.id, check: health.key, endpoint: checked.name };
    const { log } = this.#context;
    // Its key says that it is one in shadow, and nobody is to be woken by it.
    if (isShadowKey(health.key)) {
      const { healthy, problem } = checked;
      log.info({ ...facts, healthy, problem }, 'by health checks in shadow the endpoint would be another than before');
    } else if (checked.healthy) log.info(facts, 'the endpoint passes its health checks again');
    else log.warn({ ...facts, problem: checked.problem }, 'the endpoint fails its health checks');
  }

  #end(): void {
    const leg = this.#leg;
    this.#leg = null;
    this.#context.ticker.disarm(this);
    if (leg) {
      leg.receiver = null;
      leg.destroy();
    }
    this.#onOver();
  }

  // What an answer has beyond its head is of no interest.
  onInformational(): void {}
  onResponseData(): void {}
  onResponseEnd(): void {}
  onUpstreamDrain(): void {}
  onTunnelEnd(): void {}
  onResponseFlush(): boolean {
    return true;
  }
  onTunnelData(): boolean {
    return true;
  }
}
