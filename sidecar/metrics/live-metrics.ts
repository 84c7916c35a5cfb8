// What is read at a scrape from live objects instead of being counted. A new gauge is one entry of the list at the end.
import { BREAKER_STATES } from '../policies/circuit-breaker.ts';
import { SIDECAR_METRICS } from './definitions.ts';
import type { Sample, SampledSeries } from './registry.ts';

export interface BulkheadSample extends LiveBulkhead {
  limit: number;
  /** Of an adaptive limit; null: it is fixed. */
  baselineMs: number | null;
  medianMs: number | null;
}

export interface LiveCircuit {
  dependency: string;
  circuit: string;
  state: string;
}

export interface LiveBulkhead {
  dependency: string;
  bulkhead: string;
  inFlight: number;
  queued: number;
}

export interface LiveDetection {
  dependency: string;
  detection: string;
  ejected: number;
}

export interface LiveHedging {
  dependency: string;
  hedging: string;
  /** -1: not known yet. */
  delayMs: number;
}

export interface LiveHealthChecks {
  dependency: string;
  check: string;
  unhealthy: number;
}

export interface LiveMetrics {
  circuits(): Iterable<LiveCircuit>;
  shadowCircuits(): Iterable<LiveCircuit>;
  shadowBulkheads(): Iterable<LiveBulkhead>;
  detections(): Iterable<LiveDetection>;
  shadowDetections(): Iterable<LiveDetection>;
  healthChecks(): Iterable<LiveHealthChecks>;
  shadowHealthChecks(): Iterable<LiveHealthChecks>;
  choices(): Iterable<{ dependency: string; choice: string; pickable: number; panicking: boolean }>;
  hedgings(): Iterable<LiveHedging>;
  shadowHedgings(): Iterable<LiveHedging>;
  bulkheads(): Iterable<BulkheadSample>;
  rateLimits(): Iterable<{ dependency: string; rateLimit: string; values: number; sharedUses: number }>;
  dependencies(): Iterable<{ dependency: string; endpoints: number; fallback: boolean; enforced: boolean }>;
  /** Of hosts that TLS is spoken to. Unix milliseconds by what expires; infinity: there is none, or it is not known. */
  certificates(): Iterable<{ dependency: string; problems: number; expiresUnixMs: Readonly<Record<string, number>> }>;
  load(): { level: number; share: number; memoryShare: number; loopDelayMs: number };
  lastGood(): Iterable<{ dependency: string; fallback: string; answers: number; bytes: number }>;
  /** Listeners that could not be opened. */
  failedListeners(): number;
  connectionLimit(): number;
  clientConnections(): number;
  tunnels(): number;
}

/** `source` gives null before the data path is there: series with labels are then not there either, the others are zero. */
export function liveSeries(source: () => LiveMetrics | null): SampledSeries[] {
  const each = <T>(read: (live: LiveMetrics) => Iterable<T>, samples: (item: T) => Sample[]) => {
    return () => {
      const live = source();
      return live ? Array.from(read(live)).flatMap(samples) : [];
    };
  };
  const bulkheads = <T extends LiveBulkhead>(read: (live: LiveMetrics) => Iterable<T>, value: (item: T) => number) =>
    each(read, (item) => [{ labels: { dependency: item.dependency, bulkhead: item.bulkhead }, value: value(item) }]);
  const dependencies = (value: (item: { endpoints: number; fallback: boolean; enforced: boolean }) => number) =>
    each(
      (live) => live.dependencies(),
      (item) => [{ labels: { dependency: item.dependency }, value: value(item) }],
    );
  const latencies = each(
    (live) => live.bulkheads(),
    ({ dependency, bulkhead, baselineMs, medianMs }) =>
      Object.entries({ baseline: baselineMs, median: medianMs }).flatMap(([of, ms]) =>
        ms === null ? [] : [{ labels: { dependency, bulkhead, of }, value: ms / 1000 }],
      ),
  );
  const rateLimits = (value: (item: { values: number; sharedUses: number }) => number) =>
    each(
      (live) => live.rateLimits(),
      (item) => [{ labels: { dependency: item.dependency, limit: item.rateLimit }, value: value(item) }],
    );
  const circuits = (read: (live: LiveMetrics) => Iterable<LiveCircuit>) =>
    each(read, ({ dependency, circuit, state }) =>
      BREAKER_STATES.map((name) => ({ labels: { dependency, circuit, state: name }, value: name === state ? 1 : 0 })),
    );
  const enforced = (live: LiveMetrics) => live.bulkheads();
  const shadowed = (live: LiveMetrics) => live.shadowBulkheads();
  const ejected = (read: (live: LiveMetrics) => Iterable<LiveDetection>) =>
    each(read, ({ dependency, detection, ejected: value }) => [{ labels: { dependency, detection }, value }]);
  const unhealthy = (read: (live: LiveMetrics) => Iterable<LiveHealthChecks>) =>
    each(read, ({ dependency, check, unhealthy: value }) => [{ labels: { dependency, check }, value }]);
  const hedgingDelay = (read: (live: LiveMetrics) => Iterable<LiveHedging>) =>
    each(read, ({ dependency, hedging, delayMs }) => [
      { labels: { dependency, hedging }, value: delayMs < 0 ? -1 : delayMs / 1000 },
    ]);
  const panic = each(
    (live) => live.choices(),
    ({ dependency, choice, panicking }) => [{ labels: { dependency, choice }, value: panicking ? 1 : 0 }],
  );
  const lastGood = (value: (item: { answers: number; bytes: number }) => number) =>
    each(
      (live) => live.lastGood(),
      (item) => [{ labels: { dependency: item.dependency, fallback: item.fallback }, value: value(item) }],
    );
  const pickable = each(
    (live) => live.choices(),
    ({ dependency, choice, pickable: value }) => [{ labels: { dependency, choice }, value }],
  );
  const expiries = each(
    (live) => live.certificates(),
    ({ dependency, expiresUnixMs }) =>
      Object.entries(expiresUnixMs).flatMap(([certificate, ms]) =>
        Number.isFinite(ms) ? [{ labels: { dependency, certificate }, value: ms / 1000 }] : [],
      ),
  );
  const certificateProblems = each(
    (live) => live.certificates(),
    ({ dependency, problems: value }) => [{ labels: { dependency }, value }],
  );
  const one = (read: (live: LiveMetrics) => number) => () => {
    const live = source();
    return [{ labels: {}, value: live ? read(live) : 0 }];
  };
  return [
    { definition: SIDECAR_METRICS.circuitState, sample: circuits((live) => live.circuits()) },
    { definition: SIDECAR_METRICS.bulkheadInFlight, sample: bulkheads(enforced, ({ inFlight }) => inFlight) },
    { definition: SIDECAR_METRICS.bulkheadQueued, sample: bulkheads(enforced, ({ queued }) => queued) },
    { definition: SIDECAR_METRICS.shadowCircuitState, sample: circuits((live) => live.shadowCircuits()) },
    { definition: SIDECAR_METRICS.shadowBulkheadInFlight, sample: bulkheads(shadowed, ({ inFlight }) => inFlight) },
    { definition: SIDECAR_METRICS.shadowBulkheadQueued, sample: bulkheads(shadowed, ({ queued }) => queued) },
    { definition: SIDECAR_METRICS.ejectedEndpoints, sample: ejected((live) => live.detections()) },
    { definition: SIDECAR_METRICS.shadowEjectedEndpoints, sample: ejected((live) => live.shadowDetections()) },
    { definition: SIDECAR_METRICS.hedgingDelay, sample: hedgingDelay((live) => live.hedgings()) },
    { definition: SIDECAR_METRICS.shadowHedgingDelay, sample: hedgingDelay((live) => live.shadowHedgings()) },
    { definition: SIDECAR_METRICS.pickable, sample: pickable },
    { definition: SIDECAR_METRICS.unhealthyEndpoints, sample: unhealthy((live) => live.healthChecks()) },
    {
      definition: SIDECAR_METRICS.shadowUnhealthyEndpoints,
      sample: unhealthy((live) => live.shadowHealthChecks()),
    },
    { definition: SIDECAR_METRICS.panic, sample: panic },
    { definition: SIDECAR_METRICS.bulkheadLimit, sample: bulkheads(enforced, ({ limit }) => limit) },
    { definition: SIDECAR_METRICS.bulkheadLatency, sample: latencies },
    { definition: SIDECAR_METRICS.rateLimitValues, sample: rateLimits(({ values }) => values) },
    { definition: SIDECAR_METRICS.rateLimitShared, sample: rateLimits(({ sharedUses }) => sharedUses) },
    { definition: SIDECAR_METRICS.lastGoodAnswers, sample: lastGood(({ answers }) => answers) },
    { definition: SIDECAR_METRICS.lastGoodBytes, sample: lastGood(({ bytes }) => bytes) },
    { definition: SIDECAR_METRICS.endpoints, sample: dependencies(({ endpoints }) => endpoints) },
    { definition: SIDECAR_METRICS.fallback, sample: dependencies(({ fallback }) => (fallback ? 1 : 0)) },
    { definition: SIDECAR_METRICS.enforcement, sample: dependencies(({ enforced }) => (enforced ? 1 : 0)) },
    { definition: SIDECAR_METRICS.certificateExpires, sample: expiries },
    { definition: SIDECAR_METRICS.certificateProblems, sample: certificateProblems },
    { definition: SIDECAR_METRICS.loadShedLevel, sample: one((live) => live.load().level) },
    { definition: SIDECAR_METRICS.loadShedShare, sample: one((live) => live.load().share) },
    { definition: SIDECAR_METRICS.memoryShare, sample: one((live) => live.load().memoryShare) },
    { definition: SIDECAR_METRICS.eventLoopDelay, sample: one((live) => live.load().loopDelayMs / 1000) },
    { definition: SIDECAR_METRICS.connectionLimit, sample: one((live) => live.connectionLimit()) },
    { definition: SIDECAR_METRICS.clientConnections, sample: one((live) => live.clientConnections()) },
    { definition: SIDECAR_METRICS.failedListeners, sample: one((live) => live.failedListeners()) },
    { definition: SIDECAR_METRICS.tunnelsActive, sample: one((live) => live.tunnels()) },
  ];
}
