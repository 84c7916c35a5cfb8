// What is measured. A new case is a new entry: every proxy, the report and the gate follow from it.

export interface BenchCase {
  name: string;
  method: 'GET' | 'POST';
  /** Of the upstream: see upstream.ts. */
  path: '/1k' | '/64k';
  requestBytes: number;
  answerBytes: number;
  /** Keep-alive connections of the load generator. */
  connections: number;
  /** Rules of the policy, and routes of Envoy, that a request is compared with before the one that serves it. */
  rules: number;
  /** With --gate: the upper end of the interval of CPU per request beside Envoy must not be above it. */
  cpuRatioLimit: number;
  /** With --gate: the same beside HAProxy, of the median. */
  haproxyCpuRatioLimit?: number;
  /** With --gate: memory of the sidecar under this load, the median. */
  rssLimitBytes?: number;
}

const KIB = 1024;
const get1k = { method: 'GET', path: '/1k', requestBytes: 0, answerBytes: KIB, rules: 1, cpuRatioLimit: 0.6 } as const;

export const CASES: readonly BenchCase[] = [
  {
    ...get1k,
    name: 'http1-1k',
    connections: 32,
    cpuRatioLimit: 0.5,
    haproxyCpuRatioLimit: 1.7,
    rssLimitBytes: 80e6,
  },
  { ...get1k, name: 'http1-1k-1conn', connections: 1 },
  { ...get1k, name: 'http1-1k-512conn', connections: 512 },
  { ...get1k, name: 'http1-1k-200rules', connections: 32, rules: 200 },
  {
    name: 'http1-post-64k',
    method: 'POST',
    path: '/64k',
    requestBytes: 64 * KIB,
    answerBytes: 64 * KIB,
    connections: 32,
    rules: 1,
    cpuRatioLimit: 0.6,
  },
];

export const DEFAULT_CASES: readonly string[] = ['http1-1k'];

export function describeCase({ method, requestBytes, answerBytes, connections, rules }: BenchCase): string {
  const size = (bytes: number) => `${bytes / KIB} KB`;
  const request = requestBytes > 0 ? `${method} of ${size(requestBytes)}` : method;
  const load = `${connections} keep-alive ${connections === 1 ? 'connection' : 'connections'}`;
  return `${request}, answer of ${size(answerBytes)}, ${load}${rules > 1 ? `, ${rules} rules` : ''}`;
}
