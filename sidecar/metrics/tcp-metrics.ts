// The slots of the opaque connections of one dependency: a connection touches array elements and nothing else. Text is made at a scrape.
import { SIDECAR_METRICS } from './definitions.ts';
import type { Sample, SampledSeries } from './registry.ts';

const DURATION_BUCKETS_SECONDS = [0.01, 0.1, 1, 10, 60, 600, 3_600, 36_000] as const;

/** How a connection ended, or why it was never made; the numbers are slots. */
export const TcpResult = {
  ended: 0,
  resetByApplication: 1,
  resetByDependency: 2,
  idleTimeout: 3,
  shutdown: 4,
  abandoned: 5,
  connectFailed: 6,
  reset: 7,
  circuitOpen: 8,
  bulkheadFull: 9,
  queueTimeout: 10,
  noEndpoints: 11,
} as const;
export const TCP_RESULTS = [
  'ended',
  'reset-by-application',
  'reset-by-dependency',
  'idle-timeout',
  'shutdown',
  'abandoned',
  'connect-failed',
  'reset',
  'circuit-open',
  'bulkhead-full',
  'queue-timeout',
  'no-endpoints',
] as const;

/** Ends that every dependency has: their series exist from the start. */
const COMMON_RESULTS = 3;

export class TcpMetrics {
  readonly dependency: string;
  opened = 0;
  active = 0;
  sentBytes = 0;
  receivedBytes = 0;
  readonly results = new Float64Array(TCP_RESULTS.length);
  readonly durations = new Float64Array(DURATION_BUCKETS_SECONDS.length + 1);
  durationSumMs = 0;

  constructor(dependency: string) {
    this.dependency = dependency;
  }

  open(): void {
    this.opened += 1;
    this.active += 1;
  }

  /** It had been open for `durationMs`. */
  close(result: number, durationMs: number): void {
    this.active -= 1;
    this.count(result);
    this.durationSumMs += durationMs;
    let bucket = 0;
    while (bucket < DURATION_BUCKETS_SECONDS.length && durationMs > (DURATION_BUCKETS_SECONDS[bucket] ?? 0) * 1000)
      bucket++;
    this.durations[bucket] = (this.durations[bucket] ?? 0) + 1;
  }

  /** It was never open. */
  count(result: number): void {
    this.results[result] = (this.results[result] ?? 0) + 1;
  }
}

export function tcpSeries(all: () => Iterable<TcpMetrics>): SampledSeries[] {
  const each = (samples: (tcp: TcpMetrics) => Sample[]) => () => Array.from(all()).flatMap(samples);
  return [
    {
      definition: SIDECAR_METRICS.tcpOpened,
      sample: each(({ dependency, opened }) => [{ labels: { dependency }, value: opened }]),
    },
    {
      definition: SIDECAR_METRICS.tcpActive,
      sample: each(({ dependency, active }) => [{ labels: { dependency }, value: active }]),
    },
    { definition: SIDECAR_METRICS.tcpResults, sample: each(resultSamples) },
    {
      definition: SIDECAR_METRICS.tcpBytes,
      sample: each(({ dependency, sentBytes, receivedBytes }) => [
        { labels: { dependency, direction: 'sent' }, value: sentBytes },
        { labels: { dependency, direction: 'received' }, value: receivedBytes },
      ]),
    },
    { definition: SIDECAR_METRICS.tcpDuration, sample: each(durationSamples) },
  ];
}

function resultSamples({ dependency, results }: TcpMetrics): Sample[] {
  return TCP_RESULTS.flatMap((result, slot) => {
    const value = results[slot] ?? 0;
    return value > 0 || slot < COMMON_RESULTS ? [{ labels: { dependency, result }, value }] : [];
  });
}

function durationSamples({ dependency, durations, durationSumMs }: TcpMetrics): Sample[] {
  const { name } = SIDECAR_METRICS.tcpDuration;
  let count = 0;
  const buckets = DURATION_BUCKETS_SECONDS.map((le, bucket): Sample => {
    count += durations[bucket] ?? 0;
    return { labels: { dependency, le }, value: count, metricName: `${name}_bucket` };
  });
  count += durations[DURATION_BUCKETS_SECONDS.length] ?? 0;
  return [
    ...buckets,
    { labels: { dependency, le: '+Inf' }, value: count, metricName: `${name}_bucket` },
    { labels: { dependency }, value: durationSumMs / 1000, metricName: `${name}_sum` },
    { labels: { dependency }, value: count, metricName: `${name}_count` },
  ];
}
