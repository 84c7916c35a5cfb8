// For the tests of this folder: a data path with one dependency, upstreams that follow a script on raw sockets, and clients that see bytes.
import net, { type AddressInfo, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import type { Endpoint } from '../../plan/endpoints.ts';
import type { DependencyPlan, PolicyPlan, WorkloadPlan } from '../../plan/plan.ts';
import { NO_BLOCKS } from '../../plan/policies/blocks.ts';
import { type Clock, systemClock } from '../../runtime/clock.ts';
import { type Logger, silentLogger } from '../../runtime/log.ts';
import { seededRandom } from '../../runtime/random.ts';
import { createSidecarMetrics, type SidecarMetrics } from '../metrics/sidecar-metrics.ts';
import type { Names, NameView } from '../resolve/name-directory.ts';
import { createDataPlane, type DataPlaneOptions, type ProxyDataPlane } from './data-plane.ts';

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

export interface Upstream {
  port: number;
  endpoint: Endpoint;
  /** Connections accepted so far. */
  connections: number;
  /** Everything received, per connection, latin1. */
  received: string[];
  close(): void;
}

/** `onData` is called with all that a connection has received so far whenever more comes. */
export async function startUpstream(
  onData: (received: string, socket: Socket, connection: number) => void,
  onConnection?: (socket: Socket, connection: number) => void,
  /** What a connection that was accepted becomes before anything is read of it. */
  wrap: (accepted: Socket) => Socket = (accepted) => accepted,
): Promise<Upstream> {
  const sockets = new Set<Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true });
  const upstream: Upstream = {
    port: 0,
    endpoint: { address: '127.0.0.1', port: 0 },
    connections: 0,
    received: [],
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
  server.on('connection', (accepted) => {
    const socket = wrap(accepted);
    const connection = upstream.connections++;
    upstream.received[connection] = '';
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    onConnection?.(socket, connection);
    socket.on('end', () => socket.end());
    socket.on('data', (chunk) => {
      upstream.received[connection] += chunk.toString('latin1');
      onData(upstream.received[connection] ?? '', socket, connection);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  upstream.port = (server.address() as AddressInfo).port;
  upstream.endpoint = { address: '127.0.0.1', port: upstream.port };
  return upstream;
}

/** Where nothing listens: a port that was free a moment ago may be another test's by now, this one is never handed out. */
export const DEAD_ENDPOINT: Endpoint = { address: '127.0.0.1', port: 1 };

/** An address where connections are neither made nor refused, as where a node is gone: its listener is full, and never accepts. */
export async function startSwallowing(): Promise<{ endpoint: Endpoint; close(): Promise<void> }> {
  const listener = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer();
     server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  const port = await new Promise<number>((resolve) => listener.once('message', resolve));
  const fillers: Socket[] = [];
  for (let full = false; !full; ) {
    const socket = net.connect(port, '127.0.0.1').on('error', () => {});
    fillers.push(socket);
    full = await new Promise<boolean>((resolve) => {
      const cancel = systemClock.after(200, () => resolve(true));
      socket.once('connect', () => {
        cancel();
        resolve(false);
      });
    });
  }
  return {
    endpoint: { address: '127.0.0.1', port },
    close: async () => {
      for (const socket of fillers) socket.destroy();
      await listener.terminate();
    },
  };
}

/** Answers every request without content by the same bytes. */
export function answering(
  response: string | ((request: string, nth: number) => string),
): (received: string, socket: Socket) => void {
  const answered = new WeakMap<Socket, number>();
  return (received, socket) => {
    const requests = received.split('\r\n\r\n').slice(0, -1);
    for (let nth = answered.get(socket) ?? 0; nth < requests.length; nth++) {
      answered.set(socket, nth + 1);
      socket.write(typeof response === 'string' ? response : response(requests[nth] ?? '', nth), 'latin1');
    }
  };
}

export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Ports of 127.0.0.1 that nobody uses, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = net.createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
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
