// The data path as the rest of the sidecar sees it: takes plans and endpoints, listens, and tells what the circuits do.
import net, { type Server, type Socket } from 'node:net';
import type { EndpointSet } from '../../plan/endpoints.ts';
import type { DependencyPlan, WorkloadPlan } from '../../plan/plan.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { CircuitView, DataPlane } from '../data-plane.ts';
import type { LiveMetrics, SidecarMetrics } from '../metrics.ts';
import { RouteTable } from '../route/match.ts';
import { ProxyContext } from './context.ts';
import { type CircuitEntry, type DependencyEnvironment, DependencyRuntime } from './dependency.ts';
import { Intake } from './intake.ts';
import { testReadInto } from './read-buffer.ts';
import { Ticker } from './ticker.ts';

export interface DataPlaneOptions {
  capture: 'iptables' | 'explicit';
  /** Where redirected connections arrive (capture `iptables`). */
  outboundPort: number;
  /** Address of the listeners; loopback, unless a test says otherwise. */
  bindHost: string;
  /** Reads where a redirected connection was made to; null in capture `explicit`. */
  originalDestination: ((fd: number, family: 4 | 6) => { address: string; port: number } | null) | null;
  /** In capture `explicit`: the port that a dependency, by its name, had before a restart. It gets it again where that is free. */
  portBefore?: (dependency: string) => number | undefined;
  clock: Clock;
  random: Random;
  log: Logger;
  metrics: SidecarMetrics;
}

/** Idle connections are looked through, and circuits compared with what was last told, this often. */
const SWEEP_INTERVAL_MS = 500;
const STATES = ['Closed', 'Open', 'HalfOpen'] as const;

/** What is taken at a moment. All of it is zero where nothing is in progress: the promise that the tests of this folder hold it to. */
export interface Holdings {
  requests: number;
  tunnels: number;
  clientConnections: number;
  timers: number;
  replayBytes: number;
  /** Attempts that count as load of an endpoint. */
  attempts: number;
  bulkheadPlaces: number;
  bulkheadQueued: number;
}

export function createDataPlane(options: DataPlaneOptions): ProxyDataPlane {
  return new ProxyDataPlane(options);
}

export class ProxyDataPlane implements DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #context: ProxyContext;
  readonly #intake: Intake;
  readonly #dependencies = new Map<string, DependencyRuntime>();
  readonly #byDestination = new Map<string, DependencyRuntime>();
  readonly #listeners = new Map<string, { server: Server; port: number }>();
  readonly #captured: Server[] = [];
  readonly #circuitListeners: ((circuit: CircuitView) => void)[] = [];
  /** By dependency and state key: the states that were told, but for closed. */
  readonly #told = new Map<string, string>();
  readonly #environment: DependencyEnvironment;
  #sets = new Map<string, EndpointSet>();
  #fromDisk = false;
  #hasPlan = false;
  #listening = false;
  #opening: Promise<void> = Promise.resolve();
  #locallyDisabled = false;
  #cancelSweep: (() => void) | null = null;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    const { clock, random, metrics, log } = options;
    this.#context = new ProxyContext(new Ticker(clock), random, metrics, log);
    this.#intake = new Intake(this.#context);
    this.#environment = {
      metrics,
      random,
      nowMs: () => clock.monotonicMs(),
      unixMs: () => clock.unixMs(),
      mayDialClusterIp: (address) => options.capture === 'iptables' || isLoopback(address),
      locallyDisabled: () => this.#locallyDisabled,
      onTransition: (dependency, circuit) => this.#tell(dependency, circuit),
    };
    metrics.setLive(this.#liveMetrics());
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
      this.#closeListener(id);
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
    this.#hasPlan = true;
    for (const dependency of this.#dependencies.values()) this.#applySet(dependency);
    this.#index();
    this.#forgetCircuits();
    this.#grantRaisedLimits();
    if (this.#listening)
      this.#openListeners().catch((error: unknown) => this.#options.log.error({ err: error }, 'listener did not open'));
  }

  applyEndpointsSnapshot(sets: readonly EndpointSet[], fromDisk: boolean): void {
    this.#sets = new Map(sets.map((set) => [set.key, set]));
    this.#fromDisk = fromDisk;
    for (const dependency of this.#dependencies.values()) this.#applySet(dependency);
    this.#index();
  }

  applyEndpointsUpdate(sets: readonly EndpointSet[], removed: readonly string[]): void {
    for (const set of sets) this.#sets.set(set.key, set);
    for (const key of removed) this.#sets.delete(key);
    const touched = new Set([...sets.map(({ key }) => key), ...removed]);
    for (const dependency of this.#dependencies.values()) {
      if (touched.has(dependency.plan.endpointsKey)) this.#applySet(dependency);
    }
    this.#index();
  }

  setEndpointsStreamUp(up: boolean): void {
    this.#context.setEndpointsStreamUp(up);
    if (up) for (const dependency of this.#dependencies.values()) dependency.trustEndpoints();
  }

  setLocallyDisabled(disabled: boolean): void {
    this.#locallyDisabled = disabled;
  }

  drain(): void {
    this.#context.draining = true;
  }

  inFlight(): number {
    return this.#intake.size;
  }

  held(): Holdings {
    const { active, tunnels, clientConnections, ticker, replayPool } = this.#context;
    const held = {
      requests: active,
      tunnels,
      clientConnections,
      timers: ticker.size,
      replayBytes: replayPool.usedBytes,
    };
    let attempts = 0;
    let bulkheadPlaces = 0;
    let bulkheadQueued = 0;
    for (const dependency of this.#dependencies.values()) {
      attempts += dependency.load;
      for (const { inFlight, queued } of dependency.bulkheads.values()) {
        bulkheadPlaces += inFlight;
        bulkheadQueued += queued;
      }
    }
    return { ...held, attempts, bulkheadPlaces, bulkheadQueued };
  }

  circuits(): CircuitView[] {
    const views: CircuitView[] = [];
    for (const dependency of this.#dependencies.values()) {
      for (const circuit of dependency.circuits.values()) views.push(this.#view(dependency, circuit));
    }
    return views;
  }

  onCircuitChange(listener: (circuit: CircuitView) => void): void {
    this.#circuitListeners.push(listener);
  }

  addresses(): Record<string, string> {
    const addresses: Record<string, string> = {};
    const { bindHost } = this.#options;
    for (const [id, { port }] of this.#listeners) {
      const dependency = this.#dependencies.get(id);
      if (dependency) addresses[dependency.label] = `${bindHost}:${port}`;
    }
    return addresses;
  }

  async listen(): Promise<void> {
    const { capture, outboundPort, bindHost } = this.#options;
    this.#listening = true;
    if (!(await testReadInto(this.#options.clock)))
      this.#options.log.warn('reads cannot share a buffer in this Node: they cost more');
    this.#sweep();
    if (capture === 'explicit') {
      await this.#openListeners();
      return;
    }
    this.#captured.push(await this.#listenAt(bindHost, outboundPort, (socket) => this.#acceptCaptured(socket, 4)));
    if (bindHost !== '127.0.0.1') return;
    try {
      this.#captured.push(await this.#listenAt('::1', outboundPort, (socket) => this.#acceptCaptured(socket, 6)));
    } catch (error) {
      this.#options.log.info({ err: error }, 'IPv6 loopback is not there: only IPv4 is captured');
    }
  }

  close(): void {
    this.#listening = false;
    this.#cancelSweep?.();
    for (const server of this.#captured) server.close();
    for (const { server } of this.#listeners.values()) server.close();
    this.#intake.destroy();
    for (const dependency of this.#dependencies.values()) dependency.remove();
  }

  #applySet(dependency: DependencyRuntime): void {
    const set = this.#sets.get(dependency.plan.endpointsKey);
    if (set) dependency.setEndpoints(set.endpoints, this.#fromDisk);
    else dependency.forgetEndpoints();
  }

  /** A captured connection belongs to a dependency by where it was made to: a ClusterIP, or a pod of a headless Service. */
  #index(): void {
    this.#byDestination.clear();
    for (const dependency of this.#dependencies.values()) {
      for (const { address, port } of dependency.plan.destinations)
        this.#byDestination.set(`${address} ${port}`, dependency);
      if (dependency.plan.balancing !== 'OriginalDestination') continue;
      for (const { address, port } of dependency.endpoints) {
        const key = `${address} ${port}`;
        if (!this.#byDestination.has(key)) this.#byDestination.set(key, dependency);
      }
    }
  }

  #grantRaisedLimits(): void {
    for (const dependency of this.#dependencies.values()) {
      for (const bulkhead of dependency.bulkheads.values()) {
        for (let next = bulkhead.takeGrantable(); next; next = bulkhead.takeGrantable()) this.#context.grant(next);
      }
    }
  }

  #acceptCaptured(socket: Socket, family: 4 | 6): void {
    const { originalDestination, log, outboundPort } = this.#options;
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    const original = originalDestination?.(fd, family) ?? null;
    // Without a redirection the destination is this listener itself: forwarding would never end.
    if (!original || (original.port === outboundPort && isLoopback(original.address))) {
      log.warn({ original }, 'a connection without an original destination was refused');
      socket.destroy();
      return;
    }
    const dependency = this.#byDestination.get(`${original.address} ${original.port}`) ?? null;
    this.#intake.accept(socket, dependency, original, this.#hasPlan);
  }

  /** One after the other: two plans in a row must not open two listeners for one dependency. */
  #openListeners(): Promise<void> {
    this.#opening = this.#opening.catch(() => undefined).then(() => this.#openMissing());
    return this.#opening;
  }

  async #openMissing(): Promise<void> {
    const { capture, bindHost, portBefore } = this.#options;
    if (capture !== 'explicit') return;
    for (const [id, dependency] of this.#dependencies) {
      if (this.#listeners.has(id) || dependency.removed) continue;
      const before = portBefore?.(dependency.label) ?? 0;
      const accept = (socket: Socket) => this.#intake.accept(socket, dependency, null, true);
      const server = await this.#listenAt(bindHost, before, accept).catch((error: unknown) => {
        if (before === 0) throw error;
        return this.#listenAt(bindHost, 0, accept);
      });
      if (dependency.removed) {
        server.close();
        continue;
      }
      const address = server.address();
      this.#listeners.set(id, { server, port: typeof address === 'object' && address ? address.port : 0 });
    }
  }

  #closeListener(id: string): void {
    this.#listeners.get(id)?.server.close();
    this.#listeners.delete(id);
  }

  #listenAt(host: string, port: number, onConnection: (socket: Socket) => void): Promise<Server> {
    return new Promise((resolve, reject) => {
      const server = net.createServer({ noDelay: true, allowHalfOpen: true }, onConnection);
      server.once('error', reject);
      server.listen({ host, port, backlog: 1024 }, () => {
        server.off('error', reject);
        server.on('error', (error) => this.#options.log.error({ err: error }, 'listener failed'));
        resolve(server);
      });
    });
  }

  #sweep(): void {
    this.#cancelSweep = this.#options.clock.after(SWEEP_INTERVAL_MS, () => {
      const nowMs = this.#options.clock.monotonicMs();
      for (const dependency of this.#dependencies.values()) {
        dependency.sweep(nowMs);
        // Half-open is entered by time, without any call: somebody has to say so.
        for (const circuit of dependency.circuits.values()) this.#tell(dependency, circuit);
      }
      if (this.#listening) this.#sweep();
    });
  }

  #tell(dependency: DependencyRuntime, circuit: CircuitEntry): void {
    const view = this.#view(dependency, circuit);
    const key = toldKey(view.dependency, view.stateKey);
    if ((this.#told.get(key) ?? 'Closed') === view.state) return;
    if (view.state === 'Closed') this.#told.delete(key);
    else this.#told.set(key, view.state);
    for (const listener of this.#circuitListeners) listener(view);
  }

  /** A circuit that a plan took away and another brings back begins anew: that it opens is news again. */
  #forgetCircuits(): void {
    if (this.#told.size === 0) return;
    const present = new Set(this.circuits().map(({ dependency, stateKey }) => toldKey(dependency, stateKey)));
    for (const key of this.#told.keys()) if (!present.has(key)) this.#told.delete(key);
  }

  #view(dependency: DependencyRuntime, circuit: CircuitEntry): CircuitView {
    const nowMs = this.#options.clock.monotonicMs();
    const { breaker } = circuit;
    const state = STATES[breaker.state(nowMs)] ?? 'Closed';
    return {
      dependency: dependency.plan.id,
      stateKey: circuit.key,
      state,
      sinceUnixMs: Math.round(circuit.sinceUnixMs),
      failingSinceUnixMs: circuit.failingSinceUnixMs,
      // From when it opened, not from now: between two looks only a new openFor moves it.
      nextProbeUnixMs: state === 'Open' ? Math.round(circuit.sinceUnixMs + breaker.openTimeMs(nowMs)) : null,
      reopenings: breaker.reopenings,
      reason: breaker.reason,
      enforced: dependency.enforced,
    };
  }

  #liveMetrics(): LiveMetrics {
    const all = () => Array.from(this.#dependencies.values());
    return {
      circuits: () =>
        all().flatMap((dependency) =>
          Array.from(dependency.circuits.values(), (circuit) => ({
            dependency: dependency.label,
            circuit: circuit.key,
            state: this.#view(dependency, circuit).state,
          })),
        ),
      bulkheads: () =>
        all().flatMap((dependency) =>
          Array.from(dependency.bulkheads, ([bulkhead, { inFlight, queued }]) => ({
            dependency: dependency.label,
            bulkhead,
            inFlight,
            queued,
          })),
        ),
      dependencies: () =>
        all().map((dependency) => ({
          dependency: dependency.label,
          endpoints: dependency.endpointCount,
          fallback: dependency.fallingBack,
          enforced: dependency.enforced,
        })),
      clientConnections: () => this.#context.clientConnections,
      tunnels: () => this.#context.tunnels,
    };
  }
}

/** The name of the entry, or with its ServiceDependency where two entries have the same. */
function labelsOf(dependencies: readonly DependencyPlan[]): Map<string, string> {
  const uses = new Map<string, number>();
  for (const { name } of dependencies) uses.set(name, (uses.get(name) ?? 0) + 1);
  return new Map(
    dependencies.map(({ id, name, serviceDependency }) => [
      id,
      (uses.get(name) ?? 0) > 1 ? `${serviceDependency}/${name}` : name,
    ]),
  );
}

const toldKey = (dependency: string, stateKey: string) => `${dependency}\n${stateKey}`;

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}
