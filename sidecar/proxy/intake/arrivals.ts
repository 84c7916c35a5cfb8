// Whose is a connection that has come? By where it was made to, by the listener that it came to, or by the host that it names; a connection
// that is nobody's goes on as the application made it, unless the plan says otherwise.
import { endpointsKey, hostKey } from '../../../plan/endpoints.ts';
import type { DependencyPlan, WorkloadPlan } from '../../../plan/plan.ts';
import { NO_BLOCKS } from '../../../plan/policies/blocks.ts';
import type { TlsHost } from '../../../plan/tls-hosts.ts';
import { RouteTable } from '../../route/match.ts';
import type { ProxyContext } from '../context.ts';
import { type DependencyEnvironment, DependencyRuntime } from '../dependency/dependency.ts';
import type { Accepted } from '../sockets/listen.ts';
import { endpointName } from '../upstream/http1-endpoint.ts';
import type { ListenerTarget } from './bootstrap-listeners.ts';
import { HostIndex } from './host-index.ts';
import type { Intake } from './intake.ts';
import { EndpointTargets, hostTargets, listenerTargets, type World } from './listener-targets.ts';
import { UNDECLARED_CONNECT_TIMEOUT_MS } from './open-connections.ts';
import { placeOf } from './own-addresses.ts';
import { onlyTarget, type TunnelTarget, type TunnelTargets } from './tunnel.ts';
import { judgeUndeclared, UndeclaredLog } from './undeclared.ts';

export interface ArrivalsOptions {
  intake: Intake;
  context: ProxyContext;
  environment: DependencyEnvironment;
  world: World;
  /** Capture `explicit`: Host may be a local address. */
  explicit: boolean;
  /** Before the first plan, what goes to them in plain text is refused. */
  tlsHosts: readonly TlsHost[];
}

/** Requests of undeclared hosts, on connections on which a declared one was called before: forwarded to where they were sent, and counted. */
const NOBODY: DependencyPlan = {
  id: '',
  name: '(undeclared)',
  namespace: '',
  serviceDependency: '',
  criticality: 'Optional',
  enforcement: 'Enabled',
  circuitReset: '',
  service: null,
  host: null,
  authority: '',
  protocol: 'Http',
  destinations: [],
  balancing: 'OriginalDestination',
  endpointsKey: '',
  levels: [],
  combinations: [0],
  policies: [
    {
      rule: 'base',
      timeouts: { requestMs: 0, attemptMs: 0, connectMs: UNDECLARED_CONNECT_TIMEOUT_MS, idleMs: 0, opaqueIdleMs: 0 },
      ...NO_BLOCKS,
      sources: {},
    },
  ],
};

const TOO_MANY_CONNECTIONS =
  'the application has as many connections as the limit of open files allows: further ones are reset';

export class Arrivals {
  readonly #options: ArrivalsOptions;
  readonly #byDestination = new Map<string, DependencyRuntime>();
  /** By what a listener of the bootstrap stands for. */
  readonly #byTarget = new Map<string, DependencyRuntime>();
  #byHost = new HostIndex<DependencyRuntime>();
  /** Of hosts that are spoken to in TLS. */
  readonly #guardedPorts = new Set<number>();
  /** As known before the first plan. */
  readonly #tlsHosts = new HostIndex<TlsHost>();
  #dependencies: readonly DependencyRuntime[] = [];
  readonly #undeclaredLog: UndeclaredLog;
  #undeclared: WorkloadPlan['undeclared'] | null = null;
  #nobody: DependencyRuntime | null = null;
  /** That the limit of connections is reached was said. */
  #toldFull = false;

  constructor(options: ArrivalsOptions) {
    this.#options = options;
    for (const host of options.tlsHosts) this.#tlsHosts.add(host, host);
    this.#undeclaredLog = new UndeclaredLog(options.context.log, options.context.metrics);
  }

  /** What the plan in force wants of undeclared destinations; null before the first plan. */
  get undeclared(): WorkloadPlan['undeclared'] | null {
    return this.#undeclared;
  }

  setUndeclared(undeclared: WorkloadPlan['undeclared']): void {
    this.#undeclared = undeclared;
  }

  /** Forwards what is nobody's on connections that a declared host claimed; null until it was needed. */
  get nobody(): DependencyRuntime | null {
    return this.#nobody;
  }

  /** A captured connection belongs to a dependency by where it was made to: a ClusterIP, or a pod of a headless Service. */
  index(dependencies: Iterable<DependencyRuntime>): void {
    this.#dependencies = [...dependencies];
    this.#byDestination.clear();
    this.#byTarget.clear();
    this.#byHost = new HostIndex();
    this.#guardedPorts.clear();
    for (const dependency of this.#dependencies) {
      const { host, service } = dependency.plan;
      if (host) this.#byHost.add(host, dependency);
      if (host && dependency.tls !== null) this.#guardedPorts.add(host.port);
      const target = service
        ? endpointsKey(service.namespace, service.name, service.port)
        : hostKey(host?.name ?? '', host?.port ?? 0);
      if (!this.#byTarget.has(target)) this.#byTarget.set(target, dependency);
      for (const { address, port } of dependency.plan.destinations)
        this.#byDestination.set(`${address} ${port}`, dependency);
      if (dependency.plan.balancing !== 'OriginalDestination') continue;
      for (const { address, port } of dependency.endpoints.live) {
        const key = `${address} ${port}`;
        if (!this.#byDestination.has(key)) this.#byDestination.set(key, dependency);
      }
    }
  }

  /** Redirected here by the kernel (capture `iptables`). */
  captured(accepted: Accepted, original: TunnelTarget): void {
    if (this.#sheds(accepted)) return;
    const dependency = this.#byDestination.get(placeOf(original.address, original.port));
    if (dependency)
      this.#options.intake.accept(accepted, dependency, { targets: onlyTarget(original), original, explicit: false });
    else if (this.#undeclared !== null) this.#acceptUnclaimed(accepted, original);
    else if (this.#tlsHosts.hasPort(original.port)) this.#acceptUnplanned(accepted, original);
    else this.#options.intake.forward(accepted, 'no-plan', onlyTarget(original));
  }

  /** Memory or open files of the sidecar are used up: one connection more would end all others. */
  #sheds(accepted: Accepted): boolean {
    const { context, environment } = this.#options;
    const { connectionLimit, log, metrics, shedder } = context;
    if (connectionLimit.full) {
      // Without a file for it nobody can forward anything, a kill switch or not.
      metrics.countShedConnection('open-files');
      if (!this.#toldFull) log.warn({ connections: connectionLimit.max }, TOO_MANY_CONNECTIONS);
      this.#toldFull = true;
    } else if (shedder.acceptsConnections || environment.locallyDisabled()) {
      this.#toldFull &&= connectionLimit.crowded;
      return false;
    } else {
      metrics.countShedConnection('memory');
    }
    accepted.stream().reset();
    return true;
  }

  #acceptUnclaimed(accepted: Accepted, original: TunnelTarget): void {
    const { port } = original;
    const action = () =>
      judgeUndeclared({
        wanted: this.#undeclared ?? 'Allow',
        port,
        disabled: this.#options.environment.locallyDisabled(),
        podsUnknown: this.#podsUnknown(),
      });
    this.#options.intake.acceptUnclaimed(accepted, {
      original,
      claimable: this.#byHost.hasPort(port),
      guarded: this.#guardedPorts.has(port),
      denied: () => action() === 'denied',
      ownerOf: (host) => this.#byHost.match(host, port),
      nobody: () => this.#nobodysRuntime(),
      targetsOf: (owner) => this.#targetsOfHost(owner, original),
      onUnclaimed: () => {
        const nowMs = this.#options.environment.nowMs();
        this.#undeclaredLog.note(action(), endpointName(original.address, port), nowMs);
      },
    });
  }

  /** Which host is called shows the Host of its requests; what names none of those that need TLS goes on. */
  #acceptUnplanned(accepted: Accepted, original: TunnelTarget): void {
    const { port } = original;
    this.#options.intake.acceptUnplanned(accepted, {
      original,
      targets: onlyTarget(original),
      needsTls: (host) => this.#tlsHosts.match(host, port) !== null,
      nobody: () => this.#nobodysRuntime(),
    });
  }

  /** A headless Service is declared, and who its pods are is not known for certain. */
  #podsUnknown(): boolean {
    for (const { plan, endpoints } of this.#dependencies) {
      if (plan.balancing === 'OriginalDestination' && (endpoints.count < 0 || this.#options.context.endpointsStale()))
        return true;
    }
    return false;
  }

  /** Never elsewhere than the application's own resolver would lead: only among addresses that include the one it chose. */
  #targetsOfHost({ plan }: DependencyRuntime, original: TunnelTarget): TunnelTargets {
    const { host } = plan;
    const known = host && this.#options.world.names.addresses(host.name)?.includes(original.address);
    return known ? hostTargets(host.name, host.port, this.#options.world) : onlyTarget(original);
  }

  #nobodysRuntime(): DependencyRuntime {
    this.#nobody ??= new DependencyRuntime(NOBODY, new RouteTable(NOBODY), NOBODY.name, this.#options.environment);
    return this.#nobody;
  }

  /** Made to a listener of the bootstrap. */
  listened(accepted: Accepted, target: ListenerTarget): void {
    if (this.#sheds(accepted)) return;
    const targets = listenerTargets(target, this.#options.world);
    const dependency = this.#byTarget.get(target.key);
    const { explicit } = this.#options;
    if (dependency) this.#options.intake.accept(accepted, dependency, { targets, original: null, explicit });
    else if (this.#undeclared === null && this.#tlsHosts.match(target.entry.host ?? '', target.port) !== null)
      this.#options.intake.acceptUnplanned(accepted, {
        original: null,
        targets,
        needsTls: null,
        nobody: () => this.#nobodysRuntime(),
      });
    else this.#options.intake.forward(accepted, this.#undeclared !== null ? 'undeclared' : 'no-plan', targets);
  }

  /** Made to the listener of one dependency (standalone mode). */
  dedicated(accepted: Accepted, dependency: DependencyRuntime): void {
    if (this.#sheds(accepted)) return;
    const { host } = dependency.plan;
    const targets = host ? hostTargets(host.name, host.port, this.#options.world) : new EndpointTargets(dependency);
    this.#options.intake.accept(accepted, dependency, { targets, original: null, explicit: true });
  }
}
