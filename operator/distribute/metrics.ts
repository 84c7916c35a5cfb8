// What the streams count. Labels are fixed words only; never a pod, a workload or a version.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export type StreamKind = 'plan' | 'endpoints';
export const STREAM_KINDS = ['plan', 'endpoints'] as const;

/** Seconds. */
const LATENCY_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export interface DistributorMetrics {
  streamsOpen: Gauge<'stream'>;
  streamsEnded: Counter<'stream' | 'reason'>;
  pushes: Counter<'stream'>;
  pushedBytes: Counter<'stream'>;
  coalesced: Counter<'stream'>;
  pushSeconds: Histogram<'stream'>;
  appliedSeconds: Histogram<'stream'>;
  acknowledgements: Counter<'stream' | 'result'>;
  circuitReports: Counter;
  refusals: Counter<'reason'>;
}

/** Registers the metrics; call it once per registry. */
export function createDistributorMetrics(registry: Registry): DistributorMetrics {
  const registers = [registry];
  const stream = ['stream'] as const;
  const name = (rest: string) => `breakwater_distribute_${rest}`;
  const metrics: DistributorMetrics = {
    streamsOpen: new Gauge({ name: name('streams_open'), help: 'Open streams', labelNames: stream, registers }),
    streamsEnded: new Counter({
      name: name('streams_ended_total'),
      help: 'Streams that ended by reason: Closed (by the sidecar), SlowReader, TokenExpired, PodGone, WorkloadChanged, Replaced, Shutdown',
      labelNames: ['stream', 'reason'],
      registers,
    }),
    pushes: new Counter({
      name: name('pushes_total'),
      help: 'Frames with news written to streams',
      labelNames: stream,
      registers,
    }),
    pushedBytes: new Counter({
      name: name('pushed_bytes_total'),
      help: 'Bytes of frames with news written to streams',
      labelNames: stream,
      registers,
    }),
    coalesced: new Counter({
      name: name('coalesced_total'),
      help: 'Versions that a slow reader was spared because a newer one came first',
      labelNames: stream,
      registers,
    }),
    pushSeconds: new Histogram({
      name: name('push_duration_seconds'),
      help: 'From the publication of a version until it was written to a stream that was open then',
      labelNames: stream,
      buckets: LATENCY_BUCKETS,
      registers,
    }),
    appliedSeconds: new Histogram({
      name: name('applied_duration_seconds'),
      help: 'From the publication of a version until a sidecar that was connected then said that it applied it',
      labelNames: stream,
      buckets: LATENCY_BUCKETS,
      registers,
    }),
    acknowledgements: new Counter({
      name: name('acknowledgements_total'),
      help: 'Acknowledgements by result: applied, refused',
      labelNames: ['stream', 'result'],
      registers,
    }),
    circuitReports: new Counter({ name: name('circuit_reports_total'), help: 'Reports of circuits', registers }),
    refusals: new Counter({
      name: name('requests_refused_total'),
      help: 'Requests of sidecars that were refused, by reason',
      labelNames: ['reason'],
      registers,
    }),
  };
  for (const kind of STREAM_KINDS) {
    metrics.streamsOpen.set({ stream: kind }, 0);
    for (const counter of [metrics.pushes, metrics.pushedBytes, metrics.coalesced]) counter.inc({ stream: kind }, 0);
    for (const result of ['applied', 'refused']) metrics.acknowledgements.inc({ stream: kind, result }, 0);
  }
  return metrics;
}
