// For the tests of this folder: plans, a data path that acts by them, and clients that see bytes. What they call is in upstreams.ts.
import net, { type Socket } from 'node:net';
import type { Endpoint } from '../../../plan/endpoints.ts';
import type { DependencyPlan, PolicyPlan, WorkloadPlan } from '../../../plan/plan.ts';
import { NO_BLOCKS } from '../../../plan/policies/blocks.ts';
import { type Clock, systemClock } from '../../../runtime/clock.ts';
import { type Logger, silentLogger } from '../../../runtime/log.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { createSidecarMetrics, type SidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import type { Names, NameView } from '../../resolve/name-directory.ts';
import { createDataPlane, type DataPlaneOptions, type ProxyDataPlane } from '../data-plane.ts';
import { freePort } from './upstreams.ts';

export const NO_POLICY: PolicyPlan = {
  rule: 'base',
  timeouts: { requestMs: 0, attemptMs: 0, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 },
  ...NO_BLOCKS,
  sources: {},
};

export const RETRIES: NonNullable<PolicyPlan['retries']> = {
  stateKey: 'retries:base',
  maxAttempts: 3,
  retryOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError'],
  methods: 'Idempotent',
  backoffInitialMs: 1,
  backoffMaxMs: 5,
  retryOnStatusCodes: [],
  retryOnGrpcStatusCodes: [],
  maxRetryAfterMs: 1_000,
  budgetPercent: 100,
  budgetMinPerSecond: 1000,
};

/** Hedges after 10 to 30 ms, once 20 calls were seen. */
export const HEDGING: NonNullable<PolicyPlan['hedging']> = {
  stateKey: 'hedging:base',
  afterPercentile: 50,
  minDelayMs: 10,
  maxDelayMs: 30,
  maxHedges: 1,
};

export const BREAKER: NonNullable<PolicyPlan['circuitBreaker']> = {
  stateKey: 'circuitBreaker:base',
  failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
  consecutiveFailures: 5,
  failureRate: null,
  slowCalls: null,
  windowMs: 10_000,
  openForMs: 200,
  maxOpenForMs: 1_000,
  halfOpenMaxProbes: 2,
  halfOpenSuccesses: 2,
  halfOpenProbeTimeoutMs: 5_000,
  force: null,
};

export function dependencyPlan(policy: Partial<PolicyPlan>, changes: Partial<DependencyPlan> = {}): DependencyPlan {
  return {
    id: 'shop/checkout/payments',
    name: 'payments',
    namespace: 'shop',
    serviceDependency: 'checkout',
    criticality: 'Required',
    enforcement: 'Enabled',
    circuitReset: '',
    service: { namespace: 'billing', name: 'payments', port: 8080, ports: [8080] },
    host: null,
    authority: 'payments.billing.svc.cluster.local:8080',
    protocol: 'Http',
    destinations: [],
    balancing: 'Endpoints',
    endpointsKey: 'billing/payments:8080',
    levels: [],
    combinations: [0],
    policies: [{ ...NO_POLICY, ...policy }],
    ...changes,
  };
}

export function workloadPlan(...dependencies: DependencyPlan[]): WorkloadPlan {
  return { formatVersion: 1, namespace: 'shop', serviceDependencies: ['checkout'], undeclared: 'Allow', dependencies };
}

/** What DNS would say, from a table that the test may change. */
export class TableOfNames implements Names {
  readonly watched = new Set<string>();
  readonly #table: Map<string, readonly string[]>;
  readonly #listeners: ((name: string) => void)[] = [];

  constructor(table: Record<string, readonly string[]> = {}) {
    this.#table = new Map(Object.entries(table));
  }

  set(name: string, addresses: readonly string[]): void {
    this.#table.set(name, addresses);
    for (const listener of this.#listeners) listener(name);
  }

  watch(names: ReadonlySet<string>): void {
    this.watched.clear();
    for (const name of names) this.watched.add(name);
  }

  addresses(name: string): readonly string[] | null {
    return (this.watched.has(name) && this.#table.get(name)) || null;
  }

  find(name: string): Promise<readonly string[]> {
    return Promise.resolve(this.#table.get(name) ?? []);
  }

  onChange(listener: (name: string) => void): void {
    this.#listeners.push(listener);
  }

  view(): NameView[] {
    return Array.from(this.watched, (name) => ({ name, addresses: this.addresses(name), ageMs: null, problem: '' }));
  }
}

export interface Bench {
  plane: ProxyDataPlane;
  metrics: SidecarMetrics;
  port: number;
  setEndpoints: (...endpoints: Endpoint[]) => void;
  /** Sum of the samples of a metric whose labels include these. */
  metric: (name: string, labels?: Record<string, string>) => Promise<number>;
  close(): Promise<void>;
}

/** A data path in capture `explicit` with one dependency, ready to be called at `port`. */
export async function startBench(
  plan: DependencyPlan,
  endpoints: readonly Endpoint[] | null,
  {
    clock = systemClock,
    names = new TableOfNames(),
    log = silentLogger,
    ...load
  }: { clock?: Clock; names?: Names; log?: Logger } & Pick<
    DataPlaneOptions,
    'shedder' | 'load' | 'maxConnections' | 'network' | 'certificates'
  > = {},
): Promise<Bench> {
  const metrics = createSidecarMetrics();
  const plane = createDataPlane({
    capture: 'explicit',
    bootstrap: null,
    names,
    outboundPort: 0,
    bindHost: '127.0.0.1',
    originalDestination: null,
    clock,
    random: seededRandom(7),
    log,
    metrics,
    ...load,
  });
  plane.applyPlan(workloadPlan(plan));
  if (endpoints) plane.applyEndpointsSnapshot([{ key: plan.endpointsKey, endpoints: [...endpoints] }], false);
  plane.setEndpointsStreamUp(true);
  await plane.listen();
  const port = Number(plane.addresses()[plan.name]?.split(':')[1]);
  return {
    plane,
    metrics,
    port,
    setEndpoints: (...next) => plane.applyEndpointsUpdate([{ key: plan.endpointsKey, endpoints: next }], []),
    metric: async (name, labels = {}) => {
      const found = metrics.registry.getMetricsAsJSON().find((metric) => metric.name === name);
      const values = (found?.values ?? []) as { labels: Record<string, string>; value: number }[];
      return values
        .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
        .reduce((sum, sample) => sum + sample.value, 0);
    },
    close: async () => plane.close(),
  };
}

export interface Client {
  socket: Socket;
  send(text: string): void;
  /** Resolves when what was received satisfies the predicate; rejects after two seconds with what there is. */
  until(predicate: (received: string) => boolean, withinMs?: number): Promise<string>;
  /** Resolves with everything when the peer ends. */
  ended(withinMs?: number): Promise<string>;
  /** Resolves with "end" or an error code when the connection is gone. */
  closed(): Promise<string>;
}

export function connect(port: number, allowHalfOpen = true, host = '127.0.0.1'): Client {
  const socket = net.connect({ port, host, allowHalfOpen, noDelay: true });
  let received = '';
  let ended = false;
  let outcome = '';
  const waiters = new Set<() => void>();
  const wake = (): void => {
    for (const waiter of waiters) waiter();
  };
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
    wake();
  });
  socket.on('end', () => {
    ended = true;
    wake();
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    outcome = error.code ?? 'error';
  });
  socket.on('close', () => {
    ended = true;
    outcome ||= 'end';
    wake();
  });
  const wait = (done: () => boolean, withinMs: number): Promise<string> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        if (!done()) return;
        waiters.delete(check);
        cancel();
        resolve(received);
      };
      const cancel = systemClock.after(withinMs, () => {
        waiters.delete(check);
        reject(new Error(`not within ${withinMs} ms; received: ${JSON.stringify(received.slice(0, 2000))}`));
      });
      waiters.add(check);
      check();
    });
  return {
    socket,
    send: (text) => void socket.write(text, 'latin1'),
    until: (predicate, withinMs = 2_000) => wait(() => predicate(received), withinMs),
    ended: (withinMs = 2_000) => wait(() => ended, withinMs),
    closed: async () => {
      await wait(() => outcome !== '', 4_000);
      return outcome;
    },
  };
}

export function get(path: string, extra = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: payments.billing\r\n${extra}\r\n`;
}

export interface Captured {
  plane: ProxyDataPlane;
  metrics: SidecarMetrics;
  names: TableOfNames;
  /** A connection of the application that was made to this port of 127.0.0.1, as redirection would deliver it. */
  dial: (port: number, address?: string) => Client;
  /** The same without the connection: the port to make it to. */
  expect: (port: number, address?: string) => number;
}

/** Capture `iptables` with the kernel's answer given by the test: the next connection was made to what is named in `dial`. */
export async function startCaptured(
  plan: WorkloadPlan | null,
  {
    clock = systemClock,
    names = new TableOfNames(),
    log = silentLogger,
    certificates = null,
    tlsHosts = [],
  }: { clock?: Clock; names?: TableOfNames; log?: Logger } & Pick<DataPlaneOptions, 'certificates' | 'tlsHosts'> = {},
): Promise<Captured> {
  const originals: Endpoint[] = [];
  const outboundPort = await freePort();
  const metrics = createSidecarMetrics();
  const plane = createDataPlane({
    capture: 'iptables',
    bootstrap: null,
    names,
    outboundPort,
    bindHost: '127.0.0.1',
    originalDestination: () => {
      const { address, port } = originals.shift() ?? { address: '127.0.0.1', port: 0 };
      return { address, port: port || outboundPort };
    },
    clock,
    random: seededRandom(3),
    log,
    certificates,
    tlsHosts,
    metrics,
  });
  if (plan) plane.applyPlan(plan);
  plane.setEndpointsStreamUp(true);
  await plane.listen();
  const expect = (port: number, address = '127.0.0.1') => {
    originals.push({ address, port });
    return outboundPort;
  };
  return { plane, metrics, names, dial: (port, address) => connect(expect(port, address)), expect };
}
