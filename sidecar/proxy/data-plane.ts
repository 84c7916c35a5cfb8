// The data path as the rest of the sidecar sees it: takes plans and endpoints, listens, and tells what the circuits do.
// It only joins: what a dependency keeps, and where its endpoints come from, is in dependency/; which listeners there are, and whose a
// connection is, in intake/; what is held at the moment in holdings.ts.
import type { Bootstrap } from '../../plan/bootstrap.ts';
import type { EndpointSet, Placement } from '../../plan/endpoints.ts';
import type { WorkloadPlan } from '../../plan/plan.ts';
import type { TlsHost } from '../../plan/tls-hosts.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import { UNPLACED } from '../balance/candidates.ts';
import { hashText } from '../balance/hash.ts';
import type { CaptureMode } from '../config.ts';
import type {
  AdaptiveLimitView,
  CaptureView,
  ChoiceView,
  CircuitView,
  DataPlane,
  ExclusionView,
  LoadView,
  OpaqueView,
  TlsView,
} from '../data-plane.ts';
import type { SidecarMetrics } from '../metrics/sidecar-metrics.ts';
import { LoadSampler, type LoadSamplerOptions } from '../overload/load-sampler.ts';
import { ConnectionLimit } from '../policies/connection-limit.ts';
import { type LoadShedder, SHED_LEVEL_NAMES } from '../policies/load-shedder.ts';
import type { Names } from '../resolve/name-directory.ts';
import { RouteTable } from '../route/match.ts';
import type { CertificateSource } from '../tls/certificate-files.ts';
import { ProxyContext } from './context.ts';
import { adaptiveLimitViews } from './dependency/adaptive-limit-views.ts';
import { choiceViews } from './dependency/choice-views.ts';
import { CircuitReports } from './dependency/circuit-reports.ts';
import { type DependencyEnvironment, DependencyRuntime } from './dependency/dependency.ts';
import { EndpointSources } from './dependency/endpoint-sources.ts';
import { ExclusionReports } from './dependency/exclusion-reports.ts';
import { HealthProber } from './dependency/health-prober.ts';
import { labelsOf } from './dependency/labels.ts';
import { type Holdings, holdingsOf } from './holdings.ts';
import { Arrivals } from './intake/arrivals.ts';
import { Intake } from './intake/intake.ts';
import type { World } from './intake/listener-targets.ts';
import { isStandalone, Listeners } from './intake/listeners.ts';
import { OpenConnections } from './intake/open-connections.ts';
import { isLoopback, leadsBack } from './intake/own-addresses.ts';
import { liveMetrics } from './live-metrics.ts';
import { OpaqueReports } from './opaque/opaque-reports.ts';
import { type Network, systemNetwork } from './sockets/network.ts';
import { Ticker } from './ticker.ts';
import { Http1Endpoint } from './upstream/http1-endpoint.ts';
import { TlsHosts } from './upstream/tls-hosts.ts';

export interface DataPlaneOptions {
  capture: CaptureMode;
  /** What the pod was born with, in the modes that need no privilege; null: free ports, as in standalone mode. */
  bootstrap: Bootstrap | null;
  /** Where redirected connections arrive (capture `iptables`). */
  outboundPort: number;
  /** Address of the listeners; loopback, unless a test says otherwise. */
  bindHost: string;
  /** Reads where a redirected connection was made to; null in capture `explicit`. */
  originalDestination: ((fd: number, family: 4 | 6) => { address: string; port: number } | null) | null;
  /** Without a bootstrap: the port that a dependency, by its name, had before a restart. It gets it again where that is free. */
  portBefore?: (dependency: string) => number | undefined;
  /** Of this pod; absent or empty outside a cluster. */
  podIp?: string;
  /** Addresses of hosts outside the cluster. */
  names: Names;
  /** For TLS to hosts; absent or null: none are given. */
  certificates?: CertificateSource | null;
  /** Hosts that TLS is to be spoken to, as known before the first plan; none where absent. */
  tlsHosts?: readonly TlsHost[];
  /** That of node:net where absent. */
  network?: Network;
  clock: Clock;
  random: Random;
  log: Logger;
  metrics: SidecarMetrics;
  /** Of the sidecar itself; absent: nothing is measured, and nothing shed. */
  load?: Pick<LoadSamplerOptions, 'readMemory' | 'readLoop'>;
  /** What decides on it, where somebody else wants to know. */
  shedder?: LoadShedder;
  /** Connections of the application at a time; those beyond are reset. No limit where absent. */
  maxConnections?: number;
}

/** Idle connections are looked through, and circuits compared with what was last told, this often. */
const SWEEP_INTERVAL_MS = 500;

export function createDataPlane(options: DataPlaneOptions): ProxyDataPlane {
  return new ProxyDataPlane(options);
}

export class ProxyDataPlane implements DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #context: ProxyContext;
  readonly #open: OpenConnections;
  readonly #dependencies = new Map<string, DependencyRuntime>();
  readonly #arrivals: Arrivals;
  readonly #listeners: Listeners;
  readonly #endpointSources: EndpointSources;
  readonly #circuits: CircuitReports;
  readonly #exclusions: ExclusionReports;
  readonly #opaque: OpaqueReports;
  readonly #tlsHosts: TlsHosts;
  readonly #sampler: LoadSampler | null;
  readonly #prober: HealthProber;
  readonly #environment: DependencyEnvironment;
  #placement = UNPLACED;
  #locallyDisabled = false;
  #cancelSweep: (() => void) | null = null;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    const { bootstrap, capture, clock, log, metrics, network = systemNetwork, random, shedder } = options;
    const { certificates = null, load, maxConnections = Number.POSITIVE_INFINITY, podIp, tlsHosts = [] } = options;
    const context = new ProxyContext(new Ticker(clock), random, metrics, log, network, shedder);
    const dependencies = this.#dependencies;
    this.#context = context;
    this.#sampler = load ? this.#createSampler(load) : null;
    context.sampler = this.#sampler;
    if (podIp) context.ownKey = hashText(podIp);
    this.#open = new OpenConnections(context);
    context.connectionLimit = new ConnectionLimit(maxConnections, () => this.#open.connections);
    this.#circuits = new CircuitReports(clock, dependencies);
    this.#exclusions = new ExclusionReports(clock, dependencies);
    this.#opaque = new OpaqueReports(dependencies);
    this.#tlsHosts = new TlsHosts({ certificates, dependencies, clock, metrics, log });
    const environment = this.#createEnvironment();
    const { createEndpoint } = environment;
    this.#environment = environment;
    this.#prober = new HealthProber({ context, createEndpoint });
    const world: World = {
      dependencies: () => Array.from(dependencies.values(), ({ plan }) => plan),
      names: options.names,
      random,
      leadsBack: (address, port) => leadsBack(address, port, this.#listeners),
    };
    const intake = new Intake(context, this.#open);
    const explicit = capture === 'explicit';
    this.#arrivals = new Arrivals({ intake, context, environment, world, explicit, tlsHosts });
    this.#listeners = new Listeners({ ...options, network, dependencies, arrivals: this.#arrivals });
    this.#endpointSources = new EndpointSources({ world, bootstrap, dependencies, metrics, log });
    metrics.setLive(liveMetrics(context, dependencies, () => this.#listeners.failed, this.#sampler));
  }

  #createEnvironment(): DependencyEnvironment {
    const { clock, metrics, network = systemNetwork, random } = this.#options;
    const context = this.#context;
    const standalone = isStandalone(this.#options);
    return {
      metrics,
      random,
      nowMs: () => clock.monotonicMs(),
      unixMs: () => clock.unixMs(),
      lastGoodPool: context.lastGoodPool,
      shadowRandom: context.shadowRandom,
      shadowLastGoodPool: context.shadowLastGoodPool,
      ownKey: () => context.ownKey,
      find: (id) => this.#dependencies.get(id),
      placement: () => this.#placement,
      createEndpoint: (address, port, tls) => new Http1Endpoint(address, port, network, tls),
      createOrigination: (dependency, label, tls) => this.#tlsHosts.create(dependency, label, tls),
      mayDialClusterIp: (address) => !standalone || isLoopback(address),
      locallyDisabled: () => this.#locallyDisabled,
      onTransition: (dependency, circuit) => this.#circuits.tell(dependency, circuit),
    };
  }

  applyPlan(plan: WorkloadPlan): void {
    // A plan that cannot be compiled is refused whole, before anything of it acts.
    const compiled = plan.dependencies.map((dependency) => ({ dependency, routes: new RouteTable(dependency) }));
    const labels = labelsOf(plan.dependencies);
    const wanted = new Set(plan.dependencies.map(({ id }) => id));
    for (const [id, dependency] of this.#dependencies) {
      if (wanted.has(id)) continue;
      dependency.remove();
      this.#dependencies.delete(id);
      this.#listeners.forget(id);
    }
    for (const { dependency, routes } of compiled) {
      const present = this.#dependencies.get(dependency.id);
      if (present) {
        present.update(dependency, routes);
        continue;
      }
      const label = labels.get(dependency.id) ?? dependency.name;
      this.#dependencies.set(dependency.id, new DependencyRuntime(dependency, routes, label, this.#environment));
    }
    this.#arrivals.setUndeclared(plan.undeclared);
    this.#endpointSources.applyPlan();
    this.#arrivals.index(this.#dependencies.values());
    this.#circuits.forgetAbsent();
    this.#tlsHosts.forgetUnnamed();
    this.#options.metrics.follow(this.#all());
    this.#grantRaisedLimits();
    this.#open.closeUnwanted();
    this.#listeners.follow();
  }

  applyEndpointsSnapshot(sets: readonly EndpointSet[], fromDisk: boolean): void {
    this.#endpointSources.applySnapshot(sets, fromDisk);
    this.#arrivals.index(this.#dependencies.values());
  }

  applyEndpointsUpdate(sets: readonly EndpointSet[], removed: readonly string[]): void {
    this.#endpointSources.applyUpdate(sets, removed);
    this.#arrivals.index(this.#dependencies.values());
  }

  setPlacement(placement: Placement): void {
    this.#placement = placement;
    for (const dependency of this.#dependencies.values()) dependency.placeEndpoints();
  }

  setEndpointsStreamUp(up: boolean): void {
    this.#context.setEndpointsStreamUp(up);
    if (up) for (const dependency of this.#dependencies.values()) dependency.endpoints.trust();
  }

  setLocallyDisabled(disabled: boolean): void {
    this.#locallyDisabled = disabled;
    this.#open.closeUnwanted();
  }

  drain(): void {
    this.#context.draining = true;
    this.#open.closeUnwanted();
  }

  inFlight(): number {
    return this.#open.size;
  }

  held(): Holdings {
    return holdingsOf(this.#context, this.#all(), this.#prober.underway);
  }

  circuits(): CircuitView[] {
    return this.#circuits.views();
  }

  adaptiveLimits(): AdaptiveLimitView[] {
    return adaptiveLimitViews(this.#dependencies.values());
  }

  load(): LoadView {
    const { level, share } = this.#context.shedder;
    const { memoryShare = 0, loopDelayMs = 0 } = this.#sampler ?? {};
    return { level: SHED_LEVEL_NAMES[level] ?? 'none', share, memoryShare, loopDelayMs };
  }

  choices(): ChoiceView[] {
    return choiceViews(this.#dependencies.values(), this.#options.clock);
  }

  onCircuitChange(listener: (circuit: CircuitView) => void): void {
    this.#circuits.onChange(listener);
  }

  exclusions(): ExclusionView[] {
    return this.#exclusions.views();
  }

  onExclusionChange(listener: () => void): void {
    this.#exclusions.onChange(listener);
  }

  opaque(): OpaqueView[] {
    return this.#opaque.views();
  }

  onOpaqueChange(listener: () => void): void {
    this.#opaque.onChange(listener);
  }

  tls(): TlsView[] {
    return this.#tlsHosts.views();
  }

  onTlsChange(listener: () => void): void {
    this.#tlsHosts.onChange(listener);
  }

  addresses(): Record<string, string> {
    return this.#listeners.addresses();
  }

  capture(): CaptureView {
    return {
      mode: this.#options.capture,
      undeclared: this.#arrivals.undeclared,
      listeners: this.#listeners.view(),
      hosts: this.#options.names.view(),
    };
  }

  async listen(): Promise<void> {
    const { clock, log } = this.#options;
    if (!(await this.#context.network.prepare(clock, log)))
      log.warn('sockets of this Node are others than those that are known: connections cost more');
    this.#sweep();
    this.#sampler?.start();
    await this.#listeners.open();
  }

  close(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = null;
    this.#sampler?.stop();
    this.#listeners.close();
    this.#prober.close();
    this.#open.destroy();
    for (const dependency of this.#all()) dependency.remove();
  }

  #createSampler(load: NonNullable<DataPlaneOptions['load']>): LoadSampler {
    const { clock, log } = this.#options;
    const { shedder } = this.#context;
    let seen = 0;
    const busy = () => {
      const before = seen;
      seen = this.#context.begun;
      return seen !== before || this.#context.active > 0;
    };
    return new LoadSampler({ ...load, shedder, busy, clock, log });
  }

  /** With the one that is nobody's. */
  #all(): DependencyRuntime[] {
    const { nobody } = this.#arrivals;
    return [...this.#dependencies.values(), ...(nobody ? [nobody] : [])];
  }

  #grantRaisedLimits(): void {
    for (const dependency of this.#dependencies.values()) {
      for (const bulkhead of dependency.policies.bulkheads.values()) {
        for (let next = bulkhead.takeGrantable(); next; next = bulkhead.takeGrantable()) this.#context.grant(next);
      }
    }
  }

  #sweep(): void {
    this.#cancelSweep = this.#options.clock.after(SWEEP_INTERVAL_MS, () => {
      const nowMs = this.#options.clock.monotonicMs();
      this.#arrivals.nobody?.endpoints.sweep(nowMs);
      for (const dependency of this.#dependencies.values()) dependency.sweep(nowMs);
      this.#grantRaisedLimits();
      this.#prober.sweep(this.#dependencies.values(), nowMs);
      this.#circuits.tellAll();
      this.#exclusions.tellAll();
      this.#opaque.tellAll();
      if (this.#cancelSweep) this.#sweep();
    });
  }
}
