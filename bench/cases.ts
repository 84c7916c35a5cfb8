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
export interface LoadShape {
  /** Each connection asks anew as soon as it is answered. `reconnecting`: each request has a connection of its own. */
  kind: 'closed-loop' | 'reconnecting';
  /** That are open at a time. */
  connections: number;
  /** Of HTTP/2: requests at a time on each connection. */
  streams?: number;
}

/** With --gate, what must not be exceeded. What a case does not limit it only tells. */
export interface Limits {
  /** CPU per request beside Envoy: of the upper end of the interval. */
  cpuRatio?: number;
  /** The same beside HAProxy: of the median. */
  haproxyCpuRatio?: number;
  /** Memory of the sidecar under this load: of the median. */
  rssBytes?: number;
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
];

export const DEFAULT_CASES: readonly string[] = ['http1-1k'];

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

function describeLoad({ kind, connections, streams }: LoadShape): string {
  if (kind === 'reconnecting') return `a connection for each, ${connections} at a time`;
  const each = streams === undefined ? '' : ` of ${streams} streams`;
  return `${connections} keep-alive ${connections === 1 ? 'connection' : 'connections'}${each}`;
}
