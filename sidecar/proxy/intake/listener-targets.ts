// Where the bytes of a connection go that is passed on untouched, where that is not simply the place that it was made to.
import { isIP } from 'node:net';
import type { DependencyPlan } from '../../../plan/plan.ts';
import type { Random } from '../../../runtime/random.ts';
import { NO_KEY } from '../../balance/balancer.ts';
import type { Names } from '../../resolve/name-directory.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { ListenerTarget } from './bootstrap-listeners.ts';
import type { TunnelTarget, TunnelTargets } from './tunnel.ts';

export interface World {
  /** All that the plan declares. */
  dependencies(): Iterable<DependencyPlan>;
  names: Names;
  random: Random;
  leadsBack(address: string, port: number): boolean;
}

/** Of a listener of the bootstrap: where the connection would have gone without a sidecar. */
export function listenerTargets({ entry, port }: ListenerTarget, world: World): TunnelTargets {
  const { host, service } = entry;
  if (!service) return hostTargets(host ?? '', port, world);
  // From the plan where it knows the Service, else from the bootstrap; then what DNS says of its name.
  const [first = null, ...rest] = usable(clusterIPsOf(entry, world.dependencies()), port, world);
  // The end of the full name comes from the search list: the sidecar knows no other cluster domain.
  const fullName = `${service.name}.${service.namespace}.svc`;
  return { first, others: async () => [...rest, ...usable(await world.names.find(fullName), port, world)] };
}

/** Any address of the host, then the others. */
export function hostTargets(name: string, port: number, world: World): TunnelTargets {
  return {
    get first() {
      const addresses = usable(world.names.addresses(name) ?? [], port, world);
      return addresses[Math.floor(world.random() * addresses.length)] ?? null;
    },
    others: async () => usable(await world.names.find(name), port, world),
  };
}

function usable(addresses: readonly string[], port: number, world: World): TunnelTarget[] {
  return addresses
    .filter((address) => isIP(address) !== 0 && !world.leadsBack(address, port))
    .map((address) => ({ address, port }));
}

function clusterIPsOf(
  { service, clusterIPs }: ListenerTarget['entry'],
  dependencies: Iterable<DependencyPlan>,
): readonly string[] {
  for (const { service: declared, destinations } of dependencies) {
    if (declared?.namespace !== service?.namespace || declared?.name !== service?.name) continue;
    if (destinations.length > 0) return [...new Set(destinations.map(({ address }) => address))];
  }
  return clusterIPs;
}

/** Where a tunnel of capture `explicit` goes: any endpoint, or the ClusterIP. */
export class EndpointTargets implements TunnelTargets {
  readonly others = null;
  readonly #dependency: DependencyRuntime;

  constructor(dependency: DependencyRuntime) {
    this.#dependency = dependency;
  }

  get first(): TunnelTarget | null {
    const { endpoints, policies } = this.#dependency;
    // Nothing of a byte stream can be hashed or measured: what acts is where it may go, and chance.
    return endpoints.pick(policies.passThrough.choice.balancer, [], NO_KEY, null, this.#dependency.nowMs());
  }
}
