// Where an opaque connection goes: as an attempt of a request by balancing, and while the endpoints are not known where the application would
// have gone without a sidecar.
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { EndpointChoice } from '../dependency/endpoint-choice.ts';
import type { UpstreamEndpoint } from '../exchange/upstream.ts';
import type { TunnelTarget, TunnelTargets } from '../intake/tunnel.ts';

export interface OpaqueRouteOptions {
  context: ProxyContext;
  dependency: DependencyRuntime;
  /** Where it goes while the endpoints are not known. */
  targets: TunnelTargets;
  /** Where a captured connection was made to; null where a listener decides. */
  original: TunnelTarget | null;
}

export class OpaqueRoute {
  /** Where it was tried before, in that order. */
  readonly failed: UpstreamEndpoint[] = [];
  readonly #options: OpaqueRouteOptions;
  readonly #choice: EndpointChoice;

  constructor(options: OpaqueRouteOptions, choice: EndpointChoice) {
    this.#options = options;
    this.#choice = choice;
  }

  /** Null: nobody is there. A promise, which never fails: names have to be asked for. */
  find(nowMs: number): UpstreamEndpoint | null | Promise<UpstreamEndpoint | null> {
    const { context, dependency, original, targets } = this.#options;
    const { endpoints } = dependency;
    const { balancer } = this.#choice;
    const key = balancer.keyOfConnection(context.ownKey);
    const endpoint = endpoints.pick(balancer, this.failed, key, original, nowMs);
    // Unknown is not empty.
    if (endpoint || endpoints.count >= 0) return endpoint;
    const { first, others } = targets;
    if (first && !this.#hasFailed(first)) return endpoints.at(first);
    return others ? this.#askOthers(others) : null;
  }

  async #askOthers(others: () => Promise<readonly TunnelTarget[]>): Promise<UpstreamEndpoint | null> {
    const targets = await others().catch(() => []);
    const target = targets.find((each) => !this.#hasFailed(each));
    return target ? this.#options.dependency.endpoints.at(target) : null;
  }

  #hasFailed({ address, port }: TunnelTarget): boolean {
    return this.failed.some((endpoint) => endpoint.address === address && endpoint.port === port);
  }
}
