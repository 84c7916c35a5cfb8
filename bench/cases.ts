// What is measured. A new case is a new entry: every proxy, the report and the gate follow from it.

export interface BenchCase {
  name: string;
  method: 'GET' | 'POST';
  /** Of the upstream: see upstream.ts. */
  path: '/1k' | '/64k';
  requestBytes: number;
  answerBytes: number;
  load: LoadShape;
  /** Rules of the policy, and routes of Envoy, that a request is compared with before the one that serves it. */
  rules: number;
  limits: Limits;
}

/** How requests come; each kind has its generator, in generators.ts. */
export interface LoadShape {
  /** Each connection asks anew as soon as it is answered. */
  kind: 'closed-loop';
  /** Keep-alive connections of the load generator. */
  connections: number;
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
const closedLoop = (connections: number): LoadShape => ({ kind: 'closed-loop', connections });
const get1k = { method: 'GET', path: '/1k', requestBytes: 0, answerBytes: KIB, rules: 1 } as const;

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
    method: 'POST',
    path: '/64k',
    requestBytes: 64 * KIB,
    answerBytes: 64 * KIB,
    load: closedLoop(32),
    rules: 1,
    limits: { cpuRatio: 0.6 },
  },
];

export const DEFAULT_CASES: readonly string[] = ['http1-1k'];

export function describeCase({ method, requestBytes, answerBytes, load, rules }: BenchCase): string {
  const size = (bytes: number) => `${bytes / KIB} KB`;
  const request = requestBytes > 0 ? `${method} of ${size(requestBytes)}` : method;
  return `${request}, answer of ${size(answerBytes)}, ${describeLoad(load)}${rules > 1 ? `, ${rules} rules` : ''}`;
}

function describeLoad({ connections }: LoadShape): string {
  return `${connections} keep-alive ${connections === 1 ? 'connection' : 'connections'}`;
}
