// Where the endpoints of each dependency come from: a Service's are told by the operator, those of a host outside the cluster are what DNS
// gives its name.
import type { Bootstrap } from '../../../plan/bootstrap.ts';
import type { EndpointSet } from '../../../plan/endpoints.ts';
import type { DependencyPlan } from '../../../plan/plan.ts';
import type { Logger } from '../../../runtime/log.ts';
import type { SidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import type { World } from '../intake/listener-targets.ts';
import type { DependencyRuntime } from './dependency.ts';

export interface EndpointSourcesOptions {
  world: Pick<World, 'names' | 'leadsBack'>;
  /** Its hosts are resolved before any plan. */
  bootstrap: Bootstrap | null;
  dependencies: ReadonlyMap<string, DependencyRuntime>;
  metrics: SidecarMetrics;
  log: Logger;
}

export class EndpointSources {
  readonly #options: EndpointSourcesOptions;
  /** By their key: those of Services. */
  #sets = new Map<string, EndpointSet>();
  /** They were kept from before a restart, and nobody has confirmed them. */
  #fromDisk = false;

  constructor(options: EndpointSourcesOptions) {
    this.#options = options;
    options.world.names.onChange((name) => this.#onNameChanged(name));
    this.#watchNames();
  }

  /** The dependencies are others, or want other endpoints. */
  applyPlan(): void {
    this.#watchNames();
    for (const dependency of this.#options.dependencies.values()) this.#apply(dependency);
  }

  applySnapshot(sets: readonly EndpointSet[], fromDisk: boolean): void {
    this.#sets = new Map(sets.map((set) => [set.key, set]));
    this.#fromDisk = fromDisk;
    for (const dependency of this.#options.dependencies.values()) this.#apply(dependency);
  }

  applyUpdate(sets: readonly EndpointSet[], removed: readonly string[]): void {
    for (const set of sets) this.#sets.set(set.key, set);
    for (const key of removed) this.#sets.delete(key);
    const touched = new Set([...sets.map(({ key }) => key), ...removed]);
    for (const dependency of this.#options.dependencies.values()) {
      if (touched.has(dependency.plan.endpointsKey)) this.#apply(dependency);
    }
  }

  #apply(dependency: DependencyRuntime): void {
    const { balancing, host, endpointsKey } = dependency.plan;
    if (host && balancing === 'Dns') {
      this.#applyNames(dependency, host);
      return;
    }
    const set = this.#sets.get(endpointsKey);
    if (set) dependency.endpoints.set(set.endpoints, this.#fromDisk);
    else dependency.endpoints.forget();
  }

  #watchNames(): void {
    const { bootstrap, dependencies, world } = this.#options;
    const watched = new Set<string>();
    for (const { host } of bootstrap?.entries ?? []) if (host !== null) watched.add(host);
    for (const { plan } of dependencies.values()) if (plan.host) watched.add(plan.host.name);
    world.names.watch(watched);
  }

  #onNameChanged(name: string): void {
    for (const dependency of this.#options.dependencies.values())
      if (dependency.plan.host?.name === name) this.#applyNames(dependency, dependency.plan.host);
  }

  #applyNames(dependency: DependencyRuntime, host: NonNullable<DependencyPlan['host']>): void {
    const { name } = host;
    const port = host.tls?.port ?? host.port;
    const { log, metrics, world } = this.#options;
    const addresses = world.names.addresses(name);
    if (addresses === null) {
      dependency.endpoints.forget();
      return;
    }
    const usable = addresses.filter((address) => !world.leadsBack(address, port));
    if (usable.length > 0 || addresses.length === 0) {
      dependency.endpoints.set(
        usable.map((address) => ({ address, port })),
        false,
      );
      return;
    }
    if (!dependency.endpoints.block()) return;
    metrics.countSelfReference(dependency.label);
    log.error(
      { host: name, port, addresses },
      'DNS gives this host addresses of the sidecar itself: it is not called, for the call would never end',
    );
  }
}
