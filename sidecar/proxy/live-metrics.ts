// What a scrape reads of the data path.
import type { LiveMetrics } from '../metrics/live-metrics.ts';
import type { LoadSampler } from '../overload/load-sampler.ts';
import { BREAKER_STATES } from '../policies/circuit-breaker.ts';
import type { Hedging } from '../policies/hedging.ts';
import type { OutlierDetection } from '../policies/outlier-detection.ts';
import type { ProxyContext } from './context.ts';
import type { CircuitEntry } from './dependency/circuit.ts';
import type { DependencyRuntime } from './dependency/dependency.ts';
import type { HealthEntry } from './dependency/endpoint-choice.ts';

export function liveMetrics(
  context: ProxyContext,
  dependencies: ReadonlyMap<string, DependencyRuntime>,
  failedListeners: () => number,
  sampler: LoadSampler | null,
): LiveMetrics {
  const all = () => Array.from(dependencies.values());
  const circuitOf =
    (dependency: string) =>
    ({ key, breaker }: CircuitEntry) => ({
      dependency,
      circuit: key,
      state: BREAKER_STATES[breaker.state(context.ticker.nowMs())],
    });
  const bulkheadOf =
    (dependency: string) =>
    ([bulkhead, { inFlight, queued }]: [string, { inFlight: number; queued: number }]) => ({
      dependency,
      bulkhead,
      inFlight,
      queued,
    });
  const detectionOf =
    (dependency: string) =>
    ([detection, { ejected }]: [string, OutlierDetection]) => ({ dependency, detection, ejected: ejected.size });
  const healthChecksOf =
    (dependency: string) =>
    ({ key, checks }: HealthEntry) => ({ dependency, check: key, unhealthy: checks.unhealthy.length });
  const hedgingOf =
    (dependency: string) =>
    ([hedging, state]: [string, Hedging]) => ({ dependency, hedging, delayMs: state.delayMs(context.ticker.nowMs()) });
  return {
    circuits: () => all().flatMap(({ label, policies }) => Array.from(policies.circuits.values(), circuitOf(label))),
    shadowCircuits: () =>
      all().flatMap(({ label, policies }) => Array.from(policies.shadows.circuits, circuitOf(label))),
    bulkheads: () =>
      all().flatMap(({ label, policies }) =>
        Array.from(policies.bulkheads.entries(), ([bulkhead, { adaptive, inFlight, limit, queued }]) => ({
          dependency: label,
          bulkhead,
          limit,
          inFlight,
          queued,
          baselineMs: adaptive?.baselineMs ?? null,
          medianMs: adaptive?.medianMs ?? null,
        })),
      ),
    rateLimits: () =>
      all().flatMap(({ label, policies }) =>
        Array.from(policies.rateLimits.entries(), ([rateLimit, { values, sharedUses }]) => ({
          dependency: label,
          rateLimit,
          values,
          sharedUses,
        })),
      ),
    shadowBulkheads: () =>
      all().flatMap(({ label, policies }) => Array.from(policies.shadows.places, bulkheadOf(label))),
    detections: () =>
      all().flatMap(({ label, policies }) => Array.from(policies.detections.entries(), detectionOf(label))),
    shadowDetections: () =>
      all().flatMap(({ label, policies }) => Array.from(policies.shadows.detections.entries(), detectionOf(label))),
    healthChecks: () =>
      all().flatMap(({ label, policies }) => Array.from(policies.healthChecks.values(), healthChecksOf(label))),
    shadowHealthChecks: () =>
      all().flatMap(({ label, policies }) => Array.from(policies.shadows.healthChecks.values(), healthChecksOf(label))),
    hedgings: () => all().flatMap(({ label, policies }) => Array.from(policies.hedgings.entries(), hedgingOf(label))),
    shadowHedgings: () =>
      all().flatMap(({ label, policies }) =>
        Array.from(policies.shadows.hedges, ([key, { hedging }]) => hedgingOf(label)([key, hedging])),
      ),
    choices: () =>
      all().flatMap(({ label, policies }) =>
        policies.allChoices().map(({ key, pickable, panicking }) => ({
          dependency: label,
          choice: key,
          pickable: pickable.length,
          panicking,
        })),
      ),
    lastGood: () =>
      all().flatMap(({ label, policies }) =>
        Array.from(policies.lastGood.entries(), ([fallback, { answers, bytes }]) => ({
          dependency: label,
          fallback,
          answers,
          bytes,
        })),
      ),
    dependencies: () =>
      all().map(({ label, endpoints, enforced }) => ({
        dependency: label,
        endpoints: endpoints.count,
        fallback: endpoints.fallingBack,
        enforced,
      })),
    certificates: () =>
      all().flatMap(({ label, tls }) =>
        tls === null
          ? []
          : [
              {
                dependency: label,
                problems: tls.problem.certificates.length,
                expiresUnixMs: { ...tls.expiries },
              },
            ],
      ),
    load: () => ({
      level: context.shedder.level,
      share: context.shedder.share,
      memoryShare: sampler?.memoryShare ?? 0,
      loopDelayMs: sampler?.loopDelayMs ?? 0,
    }),
    failedListeners,
    connectionLimit: () => (Number.isFinite(context.connectionLimit.max) ? context.connectionLimit.max : 0),
    clientConnections: () => context.clientConnections,
    tunnels: () => context.tunnels,
  };
}
