// What a scrape reads of the data path.
import type { LiveMetrics } from '../metrics/live-metrics.ts';
import type { LoadSampler } from '../overload/load-sampler.ts';
import type { AdaptiveLimit } from '../policies/adaptive-limit.ts';
import { BREAKER_STATES } from '../policies/circuit-breaker.ts';
import type { Hedging } from '../policies/hedging.ts';
import type { OutlierDetection } from '../policies/outlier-detection.ts';
import type { ProxyContext } from './context.ts';
import type { CircuitEntry } from './dependency/circuit.ts';
import type { DependencyRuntime } from './dependency/dependency.ts';
import type { EndpointChoice, HealthEntry } from './dependency/endpoint-choice.ts';
import type { RoutePolicies } from './dependency/route-policies.ts';

export function liveMetrics(
  context: ProxyContext,
  dependencies: ReadonlyMap<string, DependencyRuntime>,
  failedListeners: () => number,
  sampler: LoadSampler | null,
): LiveMetrics {
  const all = () => Array.from(dependencies.values());
  /** A sample of each such state of each dependency. */
  const each =
    <State, Sample extends object>(
      states: (policies: RoutePolicies) => Iterable<State>,
      sampleOf: (state: State, nowMs: number) => Sample,
    ) =>
    () =>
      all().flatMap(({ label: dependency, policies }) =>
        Array.from(states(policies), (state) => ({ dependency, ...sampleOf(state, context.ticker.nowMs()) })),
      );
  return {
    circuits: each(({ circuits }) => circuits.values(), circuitSample),
    shadowCircuits: each(({ shadows }) => shadows.circuits, circuitSample),
    bulkheads: each(({ bulkheads }) => bulkheads.entries(), bulkheadSample),
    shadowBulkheads: each(({ shadows }) => shadows.places, placesSample),
    rateLimits: each(
      ({ rateLimits }) => rateLimits.entries(),
      ([rateLimit, { values, sharedUses }]) => ({ rateLimit, values, sharedUses }),
    ),
    detections: each(({ detections }) => detections.entries(), detectionSample),
    shadowDetections: each(({ shadows }) => shadows.detections.entries(), detectionSample),
    healthChecks: each(({ healthChecks }) => healthChecks.values(), healthSample),
    shadowHealthChecks: each(({ shadows }) => shadows.healthChecks.values(), healthSample),
    hedgings: each(({ hedgings }) => hedgings.entries(), hedgingSample),
    shadowHedgings: each(
      ({ shadows }) => shadows.hedges,
      ([key, { hedging }], nowMs) => hedgingSample([key, hedging], nowMs),
    ),
    choices: each((policies) => policies.allChoices(), choiceSample),
    lastGood: each(
      ({ lastGood }) => lastGood.entries(),
      ([fallback, { answers, bytes }]) => ({ fallback, answers, bytes }),
    ),
    dependencies: () => all().map(dependencySample),
    certificates: () => all().flatMap(certificateSamples),
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

const circuitSample = ({ key, breaker }: CircuitEntry, nowMs: number) => ({
  circuit: key,
  state: BREAKER_STATES[breaker.state(nowMs)],
});

interface Places {
  inFlight: number;
  queued: number;
}

const placesSample = ([bulkhead, { inFlight, queued }]: [string, Places]) => ({ bulkhead, inFlight, queued });

const bulkheadSample = ([bulkhead, places]: [string, Places & { limit: number; adaptive: AdaptiveLimit | null }]) => ({
  ...placesSample([bulkhead, places]),
  limit: places.limit,
  baselineMs: places.adaptive?.baselineMs ?? null,
  medianMs: places.adaptive?.medianMs ?? null,
});

const detectionSample = ([detection, { ejected }]: [string, OutlierDetection]) => ({
  detection,
  ejected: ejected.size,
});

const healthSample = ({ key, checks }: HealthEntry) => ({ check: key, unhealthy: checks.unhealthy.length });

const hedgingSample = ([hedging, state]: [string, Hedging], nowMs: number) => ({
  hedging,
  delayMs: state.delayMs(nowMs),
});

const choiceSample = ({ key, pickable, panicking }: EndpointChoice) => ({
  choice: key,
  pickable: pickable.length,
  panicking,
});

const dependencySample = ({ label, endpoints, enforced }: DependencyRuntime) => ({
  dependency: label,
  endpoints: endpoints.count,
  fallback: endpoints.fallingBack,
  enforced,
});

function certificateSamples({ label, tls }: DependencyRuntime) {
  if (tls === null) return [];
  return [{ dependency: label, problems: tls.problem.certificates.length, expiresUnixMs: { ...tls.expiries } }];
}
