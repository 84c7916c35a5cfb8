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
  /** With --gate: the upper end of the interval of CPU per request beside Envoy must not be above it. */
  cpuRatioLimit: number;
}

const KIB = 1024;
const get1k = { method: 'GET', path: '/1k', requestBytes: 0, answerBytes: KIB, cpuRatioLimit: 0.6 } as const;

export const CASES: readonly BenchCase[] = [
  { ...get1k, name: 'http1-1k', connections: 32 },
  { ...get1k, name: 'http1-1k-1conn', connections: 1 },
  { ...get1k, name: 'http1-1k-512conn', connections: 512 },
  {
    name: 'http1-post-64k',
    method: 'POST',
    path: '/64k',
    requestBytes: 64 * KIB,
    answerBytes: 64 * KIB,
    connections: 32,
    cpuRatioLimit: 0.6,
  },
];

export const DEFAULT_CASES: readonly string[] = ['http1-1k'];

export function describeCase({ method, requestBytes, answerBytes, connections }: BenchCase): string {
  const size = (bytes: number) => `${bytes / KIB} KB`;
  const request = requestBytes > 0 ? `${method} of ${size(requestBytes)}` : method;
  return `${request}, answer of ${size(answerBytes)}, ${connections} keep-alive ${connections === 1 ? 'connection' : 'connections'}`;
}
