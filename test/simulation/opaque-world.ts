// A world with one opaque dependency: a real data path on the simulated network, servers that fall ill and applications that go away at any moment.
// What is to hold whatever happens is asked at each dial and at the end:
//  - no more connections to the dependency than its bulkhead allows, and none while its circuit is open; half-open no more than probes;
//  - every byte arrives in its order, and nothing that nobody sent; after an end in order of both, all of them;
//  - in the end nothing is taken, no timer is armed, and every connection of an application has been counted once.
import type { DependencyPlan, PolicyPlan } from '../../plan/plan.ts';
import { NO_BLOCKS } from '../../plan/policies/blocks.ts';
import { silentLogger } from '../../runtime/log.ts';
import { createSidecarMetrics } from '../../sidecar/metrics/sidecar-metrics.ts';
import { ProxyDataPlane } from '../../sidecar/proxy/data-plane.ts';
import { Dice } from './dice.ts';
import { Host } from './host.ts';
import { type Fate, SimulatedNetwork } from './network.ts';
import { bodyBytes } from './pod.ts';
import type { SimulatedSocket } from './socket.ts';
import { VirtualTime } from './virtual-time.ts';

const CLUSTER_IP = '10.96.0.1';
const PORT = 5432;
const OUTBOUND_PORT = 15_001;
const CALLING_MS = 30_000;
const IDLE_MS = 20_000;
/** After the last connection, everything that may still wait: an idle time, a queue, a backoff, what has fallen silent. */
const QUIET_MS = 300_000;
const CONTENT_BYTES = 90_000;

/** What a server does with its connections. Late: it answers after it has heard everything. */
type Mood = 'Echoes' | 'SpeaksFirst' | 'Late' | 'Silent' | 'Cuts' | 'CutsLater' | 'Ends' | 'Refuses' | 'Lost';
const WELL: readonly Mood[] = ['Echoes', 'SpeaksFirst', 'Late'];
const ILL: readonly Mood[] = ['Silent', 'Cuts', 'CutsLater', 'Ends', 'Refuses', 'Lost'];

export interface OpaqueOutcome {
  broken: string[];
  /** By the metric. */
  results: Record<string, number>;
  /** Every dial, with its time: equal for equal seeds. */
  dials: string;
  opened: number;
  /** States that the circuit was seen in. */
  states: Set<string>;
}

class OpaqueWorld {
  readonly broken: string[] = [];
  readonly time = new VirtualTime();
  readonly metrics = createSidecarMetrics();
  readonly states = new Set<string>();
  dials = '';
  calls = 0;
  readonly #dice: Dice;
  readonly #network: SimulatedNetwork;
  readonly #host: Host;
  readonly #plane: ProxyDataPlane;
  readonly #plan: DependencyPlan;
  readonly #upstream = new Set<SimulatedSocket>();
  readonly #moods: Mood[];

  constructor(seed: number) {
    this.#dice = new Dice(seed, 'world');
    this.#network = new SimulatedNetwork(this.time, new Dice(seed, 'network'));
    const dice = this.#dice;
    this.#network.weather = {
      latencyMs: dice.pick([0.1, 1, 30]),
      resets: dice.pick([0, 0, 0.1]),
      silences: dice.pick([0, 0, 0.05]),
      pieces: dice.chance(0.5),
    };
    this.#host = new Host('sidecar', this.time, dice.between(0, 1_000_000));
    this.#moods = Array.from({ length: dice.between(1, 3) }, () => dice.pick(WELL));
    this.#plan = planOf(dice);
    this.#plane = new ProxyDataPlane({
      capture: 'iptables',
      bootstrap: null,
      outboundPort: OUTBOUND_PORT,
      bindHost: '127.0.0.1',
      originalDestination: (fd) => this.#network.originalOf(fd),
      names: {
        watch: () => {},
        addresses: () => null,
        find: () => Promise.resolve([]),
        onChange: () => {},
        view: () => [],
      },
      network: this.#network.of(this.#host, (socket) => this.#dialled(socket)),
      clock: this.#host,
      random: new Dice(seed, 'sidecar').random,
      log: silentLogger,
      metrics: this.metrics,
    });
  }

  async run(): Promise<void> {
    const { dependencies } = this.#workload();
    this.#plane.applyPlan(this.#workload());
    this.#moods.forEach((_, index) => this.#serve(index));
    const endpoints = this.#moods.map((_, index) => ({ address: addressOf(index), port: PORT }));
    this.#plane.applyEndpointsSnapshot([{ key: dependencies[0]?.endpointsKey ?? '', endpoints }], false);
    this.#plane.setEndpointsStreamUp(true);
    await this.#plane.listen();
    for (let atMs = 0; atMs < CALLING_MS; atMs += this.#dice.skewed(1, 400)) this.time.after(atMs, () => this.#call());
    for (let atMs = 0; atMs < CALLING_MS; atMs += this.#dice.between(500, 6_000))
      this.time.after(atMs, () => {
        const index = this.#dice.between(0, this.#moods.length - 1);
        this.#moods[index] = this.#dice.pick(this.#dice.chance(0.5) ? WELL : ILL);
      });
    for (let atMs = 0; atMs < CALLING_MS; atMs += this.#dice.between(1_000, 9_000))
      this.time.after(atMs, () => this.#host.run(() => this.#plane.applyPlan(this.#workload())));
    await this.time.settleUntil(CALLING_MS + QUIET_MS);
    this.#judgeEnd();
  }

  get results(): Record<string, number> {
    const samples = this.#samples('breakwater_tcp_connections_total');
    return Object.fromEntries(samples.map(({ labels, value }) => [String(labels['result']), value]));
  }

  #samples(name: string) {
    return this.metrics.registry.getMetricsAsJSON().find((metric) => metric.name === name)?.values ?? [];
  }

  #sum(name: string): number {
    return this.#samples(name).reduce((sum, { value }) => sum + value, 0);
  }

  /** An equal plan in new objects, as operators send it. */
  #workload() {
    const dependencies = [structuredClone(this.#plan)];
    return {
      formatVersion: 1 as const,
      namespace: 'shop',
      serviceDependencies: ['a'],
      undeclared: 'Allow' as const,
      dependencies,
    };
  }

  #break(promise: string): void {
    if (this.broken.length < 5) this.broken.push(`${promise} at ${this.time.nowMs}`);
  }

  #dialled(socket: SimulatedSocket): void {
    this.#upstream.add(socket);
    socket.once('close', () => this.#upstream.delete(socket));
    this.dials += `${this.time.nowMs.toFixed(3)} `;
    const { bulkhead, circuitBreaker } = this.#plan.policies[0] ?? {};
    const live = [...this.#upstream].filter(({ destroyed }) => !destroyed).length;
    if (bulkhead && live > bulkhead.maxConcurrent)
      this.#break(`${live} connections in a bulkhead of ${bulkhead.maxConcurrent}`);
    if (!circuitBreaker) return;
    const state = this.#plane.circuits()[0]?.state ?? '';
    this.states.add(state);
    if (state === 'Open') this.#break('a connection through an open circuit');
    if (this.#plane.held().probes > circuitBreaker.halfOpenMaxProbes) this.#break('more probes than may be');
  }

  #serve(index: number): void {
    const host = new Host(addressOf(index), this.time, 0);
    const fate = (): Fate => {
      const mood = this.#moods[index];
      return mood === 'Refuses' ? 'Refused' : mood === 'Lost' ? 'Lost' : 'Accepted';
    };
    this.#network.listen(addressOf(index), PORT, {
      host,
      fate,
      accept: (socket) => this.#speak(socket, this.#moods[index] ?? 'Echoes'),
    });
  }

  /** A server sends back what it has heard; what it says first is one byte, "!". */
  #speak(socket: SimulatedSocket, mood: Mood): void {
    if (mood === 'Cuts') {
      socket.resetAndDestroy();
      return;
    }
    if (mood === 'Ends') socket.end();
    if (mood === 'SpeaksFirst') socket.write('!');
    const heard: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => {
      heard.push(Buffer.from(chunk));
      if (mood === 'CutsLater') socket.resetAndDestroy();
      else if (mood === 'Echoes' || mood === 'SpeaksFirst') socket.write(chunk);
    });
    socket.on('end', () => {
      if (mood === 'Late') for (const chunk of heard) socket.write(chunk);
      if (mood !== 'Silent') socket.end();
    });
    socket.on('close', () => {
      const all = Buffer.concat(heard);
      if (all.length < 2) return;
      if (!all.equals(contentOf(all.readUInt16BE(0)).subarray(0, all.length)))
        this.#break('other bytes than were sent');
    });
  }

  #call(): void {
    const dice = this.#dice;
    const number = this.calls++;
    const host = new Host(`application ${number}`, this.time, 0);
    const original = { address: CLUSTER_IP, port: PORT };
    const socket = this.#network.connect(host, 'sidecar 127.0.0.1', OUTBOUND_PORT, null, original);
    const content = contentOf(number).subarray(0, dice.pick([0, 2, 100, 5_000, CONTENT_BYTES]));
    const heard: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => {
      heard.push(Buffer.from(chunk));
      if (!dice.chance(0.05)) return;
      socket.pause();
      this.time.after(dice.between(1, 2_000), () => socket.resume());
    });
    const sendFrom = (start: number): void => {
      if (socket.destroyed) return;
      const end = dice.chance(0.5) ? content.length : Math.min(content.length, start + dice.skewed(1, CONTENT_BYTES));
      if (end > start) socket.write(content.subarray(start, end));
      if (end < content.length) this.time.after(dice.skewed(0, 300), () => sendFrom(end));
      else if (dice.chance(0.7)) this.time.after(dice.skewed(0, 2_000), () => socket.end());
    };
    socket.on('connect', () => this.time.after(dice.skewed(0, 100), () => sendFrom(0)));
    socket.on('end', () => this.time.after(dice.skewed(0, 100), () => socket.end()));
    const leavesMs = dice.chance(0.3) ? dice.skewed(1, 3_000) : 60_000;
    this.time.after(leavesMs, () => (dice.chance(0.5) ? socket.resetAndDestroy() : socket.destroy()));
    socket.on('close', () => {
      const all = Buffer.concat(heard);
      const answer = all[0] === 0x21 ? all.subarray(1) : all;
      if (!answer.equals(content.subarray(0, answer.length))) this.#break(`${number} got other bytes than it sent`);
    });
  }

  #judgeEnd(): void {
    const held = Object.entries(this.#plane.held()).filter(([, count]) => count !== 0);
    if (held.length > 0)
      this.#break(`in the end there are ${held.map(([name, count]) => `${count} ${name}`).join(', ')}`);
    const counted = Object.values(this.results).reduce((sum, count) => sum + count, 0);
    const begun = this.#sum('breakwater_tunnels_total');
    if (counted !== begun) this.#break(`${begun} connections were counted as ${counted}`);
    if (this.#sum('breakwater_tcp_connections') !== 0) this.#break('connections are said to be open');
    this.#plane.close();
    // The ticker may look once more.
    if (this.#host.timers > 1) this.#break(`in the end there are ${this.#host.timers} timers`);
  }
}

const addressOf = (index: number) => `10.0.0.${index + 1}`;

/** Its number, so that everybody knows whose it is, and then bytes that are nobody else's. */
const contents = new Map<number, Buffer>();
function contentOf(number: number): Buffer {
  let content = contents.get(number);
  if (content === undefined) {
    content = bodyBytes(number, 0, CONTENT_BYTES);
    content.writeUInt16BE(number, 0);
    contents.set(number, content);
  }
  return content;
}

function planOf(dice: Dice): DependencyPlan {
  const policy: PolicyPlan = {
    rule: 'base',
    timeouts: { requestMs: 0, attemptMs: 0, connectMs: dice.pick([100, 1_000]), idleMs: 0, opaqueIdleMs: IDLE_MS },
    ...NO_BLOCKS,
    retries: dice.chance(0.5)
      ? {
          stateKey: 'retries:base',
          maxAttempts: dice.between(1, 4),
          retryOn: ['ConnectFailure', 'Reset'],
          retryOnStatusCodes: [],
          retryOnGrpcStatusCodes: [],
          methods: 'Idempotent',
          backoffInitialMs: 10,
          backoffMaxMs: 200,
          maxRetryAfterMs: 0,
          budgetPercent: dice.pick([0, 20, 100]),
          budgetMinPerSecond: 1,
        }
      : null,
    circuitBreaker: dice.chance(0.8)
      ? {
          stateKey: 'circuitBreaker:base',
          failureOn: ['ConnectFailure', 'Reset'],
          consecutiveFailures: dice.between(1, 3),
          failureRate: null,
          slowCalls: null,
          windowMs: 10_000,
          openForMs: dice.pick([100, 1_000]),
          maxOpenForMs: 5_000,
          halfOpenMaxProbes: dice.between(1, 2),
          halfOpenSuccesses: dice.between(1, 2),
          halfOpenProbeTimeoutMs: dice.pick([200, 3_000]),
          force: null,
        }
      : null,
    bulkhead: dice.chance(0.8)
      ? {
          stateKey: 'bulkhead:base',
          maxConcurrent: dice.between(1, 6),
          maxQueued: dice.between(0, 4),
          queueTimeoutMs: dice.pick([0, 100, 2_000]),
          adaptive: null,
        }
      : null,
    outlierDetection: dice.chance(0.4)
      ? {
          stateKey: 'outlierDetection:base',
          failureOn: ['ConnectFailure', 'Reset'],
          consecutiveFailures: 3,
          consecutiveLocalOriginFailures: 2,
          successRate: null,
          intervalMs: 1_000,
          maxEjectionPercent: 50,
          ejectForMs: 2_000,
          maxEjectForMs: 8_000,
          panicThresholdPercent: 0,
        }
      : null,
    sources: {},
  };
  return {
    id: 'shop/a/database',
    name: 'database',
    namespace: 'shop',
    serviceDependency: 'a',
    criticality: 'Required',
    enforcement: 'Enabled',
    circuitReset: '',
    service: { namespace: 'shop', name: 'database', port: PORT, ports: [PORT] },
    host: null,
    authority: 'database',
    protocol: dice.pick(['Opaque', 'Opaque', 'Detect']),
    destinations: [{ address: CLUSTER_IP, port: PORT }],
    balancing: 'Endpoints',
    endpointsKey: 'shop/database:5432',
    levels: [],
    combinations: [0],
    policies: [policy],
  };
}

export async function simulateOpaque(seed: number): Promise<OpaqueOutcome> {
  const world = new OpaqueWorld(seed);
  await world.run();
  const { broken, dials, states, results } = world;
  return { broken, dials, states, results, opened: world.calls };
}
