// What is measured. A new case is a new entry: every proxy, the report and the gate follow from it.

export interface BenchCase {
  name: string;
  /** What the proxies take the bytes for. `tcp`: for no protocol at all; what the load generator speaks through them is HTTP/1.1. */
  protocol: 'http1' | 'http2' | 'tcp';
  method: 'GET' | 'POST';
  /** Of the upstream: see upstream.ts. */
  path: '/1k' | '/64k' | '/1m';
  requestBytes: number;
  answerBytes: number;
  load: LoadShape;
  /** Rules of the policy, and routes of Envoy, that a request is compared with before the one that serves it. */
  rules: number;
  limits: Limits;
}

/** How requests come; each kind has its generator, in generators.ts. */
export type LoadShape = ClosedLoopShape | OpenLoopShape;

export interface ClosedLoopShape {
  /** Each connection asks anew as soon as it is answered. `reconnecting`: each request has a connection of its own. */
  kind: 'closed-loop' | 'reconnecting';
  /** That are open at a time. */
  connections: number;
  /** Of HTTP/2: requests at a time on each connection. */
  streams?: number;
}

/** Requests come at a constant rate, whatever becomes of those before. HTTP/1.1 and GET only. */
export interface OpenLoopShape {
  kind: 'open-loop';
  connections: number;
  /** Half of what Envoy answers as hard as it can be asked, for all proxies alike; or so many. */
  requestsPerSecond: number | 'half of saturation';
  /** Connections beside them that begin a request and never end its head; fewer where open files do not allow that many. */
  slowHeads?: number;
}

/** With --gate, what must not be exceeded. What a case does not limit it only tells. */
export interface Limits {
  /** CPU per request beside Envoy: of the upper end of the interval. */
  cpuRatio?: number;
  /** The same beside HAProxy: of the median. */
  haproxyCpuRatio?: number;
  /** Memory of the sidecar under this load: of the median. */
  rssBytes?: number;
  /** The part of it that no file stands behind. */
  anonymousBytes?: number;
  /** Memory beside Envoy: of the median. */
  rssRatio?: number;
  /** Latency that is added, beside what Envoy adds; of an open loop. */
  addedRatio?: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;
const closedLoop = (connections: number): LoadShape => ({ kind: 'closed-loop', connections });
const get1k = { protocol: 'http1', method: 'GET', path: '/1k', requestBytes: 0, answerBytes: KIB, rules: 1 } as const;

export const CASES: readonly BenchCase[] = [
  {
    ...get1k,
    name: 'http1-1k',
    load: closedLoop(32),
    limits: { cpuRatio: 0.5, haproxyCpuRatio: 1.7, rssBytes: 80e6 },
  },
  { ...get1k, name: 'http1-1k-1conn', load: closedLoop(1), limits: { cpuRatio: 0.6 } },
  { ...get1k, name: 'http1-1k-512conn', load: closedLoop(512), limits: { cpuRatio: 0.6 } },
  { ...get1k, name: 'http1-1k-200rules', load: closedLoop(32), rules: 200, limits: { cpuRatio: 0.6 } },
  {
    name: 'http1-post-64k',
    protocol: 'http1',
    method: 'POST',
    path: '/64k',
    requestBytes: 64 * KIB,
    answerBytes: 64 * KIB,
    load: closedLoop(32),
    rules: 1,
    limits: { cpuRatio: 0.6 },
  },
  {
    name: 'http2-small',
    protocol: 'http2',
    method: 'POST',
    path: '/1k',
    requestBytes: 128,
    answerBytes: KIB,
    load: { kind: 'closed-loop', connections: 4, streams: 16 },
    rules: 1,
    limits: {},
  },
  {
    ...get1k,
    name: 'tcp-stream',
    protocol: 'tcp',
    path: '/1m',
    answerBytes: MIB,
    load: closedLoop(8),
    limits: { cpuRatio: 1 },
  },
  {
    ...get1k,
    name: 'tcp-connection',
    protocol: 'tcp',
    load: { kind: 'reconnecting', connections: 32 },
    limits: { cpuRatio: 1 },
  },
  {
    ...get1k,
    name: 'http1-1k-1000rps',
    load: { kind: 'open-loop', connections: 32, requestsPerSecond: 1000 },
    limits: { addedRatio: 1, rssRatio: 1, anonymousBytes: 40e6 },
  },
  {
    ...get1k,
    name: 'http1-1k-half-saturation',
    load: { kind: 'open-loop', connections: 32, requestsPerSecond: 'half of saturation' },
    limits: { addedRatio: 1 },
  },
  {
    ...get1k,
    name: 'http1-10k-slow',
    load: { kind: 'open-loop', connections: 8, requestsPerSecond: 200, slowHeads: 10_000 },
    limits: { rssBytes: 256e6 },
  },
];

export const DEFAULT_CASES: readonly string[] = ['http1-1k'];

/** The same load is measured without a proxy, to know what each adds. The upstream is not made for slow clients. */
export function isBesideDirect(load: LoadShape): boolean {
  return load.kind === 'open-loop' && load.slowHeads === undefined;
}

/** Requests at a time on each connection, at most. */
export function streamsOf(load: LoadShape): number {
  return load.kind === 'open-loop' ? 1 : (load.streams ?? 1);
}

/** What every proxy allows for the head of a request beside connections whose heads do not end; the sidecar always does. */
export const HEAD_WITHIN_SECONDS = 10;

export function slowHeadsOf(load: LoadShape): number {
  return load.kind === 'open-loop' ? (load.slowHeads ?? 0) : 0;
}

export function describeCase({ protocol, method, requestBytes, answerBytes, load, rules }: BenchCase): string {
  const request = requestBytes > 0 ? `${method} of ${size(requestBytes)}` : method;
  const through = { http1: '', http2: 'HTTP/2: ', tcp: 'opaque TCP: ' }[protocol];
  const suffix = rules > 1 ? `, ${rules} rules` : '';
  return `${through}${request}, answer of ${size(answerBytes)}, ${describeLoad(load)}${suffix}`;
}

function size(bytes: number): string {
  if (bytes >= MIB) return `${bytes / MIB} MB`;
  return bytes >= KIB ? `${bytes / KIB} KB` : `${bytes} bytes`;
}

function describeLoad(load: LoadShape): string {
  const { connections } = load;
  if (load.kind === 'reconnecting') return `a connection for each, ${connections} at a time`;
  const kept = `${connections} keep-alive ${connections === 1 ? 'connection' : 'connections'}`;
  if (load.kind !== 'open-loop') return load.streams === undefined ? kept : `${kept} of ${load.streams} streams`;
  const { requestsPerSecond: rate, slowHeads } = load;
  const open = `${rate === 'half of saturation' ? "half of Envoy's saturation" : `${rate} requests/s`} over ${kept}`;
  return slowHeads === undefined ? open : `${open}, beside ${slowHeads} whose heads do not end`;
}
