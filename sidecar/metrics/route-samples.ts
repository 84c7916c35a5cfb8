// What a scrape shows of the slots that requests wrote to.
import { DEADLINE_EFFECTS } from '../policies/deadline.ts';
import { EXPECTED_COSTS, SHADOW_SLOTS } from '../policies/shadow/decisions.ts';
import { SIDECAR_METRICS } from './definitions.ts';
import type { Sample, SampledSeries } from './registry.ts';
import {
  ATTEMPT_RESULTS,
  CODES,
  DURATION_BUCKETS_SECONDS,
  FALLBACKS,
  FAULTS,
  HEDGE_RESULTS,
  HEDGE_SUPPRESSIONS,
  REASONS,
  type RouteMetrics,
  SUPPRESSIONS,
} from './route-metrics.ts';

type Routes = () => Iterable<RouteMetrics>;

export function routeSeries(routes: Routes): SampledSeries[] {
  return [
    { definition: SIDECAR_METRICS.requests, sample: () => requestSamples(routes()) },
    { definition: SIDECAR_METRICS.duration, sample: () => durationSamples(routes()) },
    {
      definition: SIDECAR_METRICS.attempts,
      sample: () => slotSamples(routes(), ATTEMPT_RESULTS, 'result', ({ attempts }) => attempts),
    },
    {
      definition: SIDECAR_METRICS.retries,
      sample: () => slotSamples(routes(), ATTEMPT_RESULTS, 'cause', ({ retries }) => retries),
    },
    {
      definition: SIDECAR_METRICS.retriesSuppressed,
      sample: () => slotSamples(routes(), SUPPRESSIONS, 'cause', ({ suppressed }) => suppressed),
    },
    {
      definition: SIDECAR_METRICS.hedges,
      sample: () => slotSamples(hedged(routes()), HEDGE_RESULTS, 'result', ({ hedges }) => hedges),
    },
    {
      definition: SIDECAR_METRICS.hedgesSuppressed,
      sample: () =>
        slotSamples(hedged(routes()), HEDGE_SUPPRESSIONS, 'cause', ({ hedgesSuppressed }) => hedgesSuppressed),
    },
    {
      definition: SIDECAR_METRICS.deadlinesReceived,
      sample: () => slotSamples(routes(), DEADLINE_EFFECTS, 'effect', ({ deadlines }) => deadlines),
    },
    { definition: SIDECAR_METRICS.fallbacks, sample: () => fallbackSamples(routes()) },
    {
      definition: SIDECAR_METRICS.fallbacksMissed,
      sample: () =>
        happenedOnly(slotSamples(routes(), FALLBACKS, 'fallback', ({ fallbacksMissed }) => fallbacksMissed)),
    },
    {
      definition: SIDECAR_METRICS.faults,
      sample: () => happenedOnly(slotSamples(routes(), FAULTS, 'fault', ({ faults }) => faults)),
    },
    { definition: SIDECAR_METRICS.shadowDecisions, sample: () => shadowSamples(routes()) },
    { definition: SIDECAR_METRICS.shadowExpectedCost, sample: () => expectedCostSamples(routes()) },
  ];
}

/** Most rules have no hedging. */
const hedged = (routes: Iterable<RouteMetrics>): RouteMetrics[] => Array.from(routes).filter(({ hedging }) => hedging);

/** Most rules have no such policy: a series is there once it happened. */
const happenedOnly = (samples: Sample[]): Sample[] => samples.filter(({ value }) => value > 0);

function fallbackSamples(routes: Iterable<RouteMetrics>): Sample[] {
  const samples: Sample[] = [];
  for (const { dependency, rule, fallbacks } of routes) {
    fallbacks.forEach((value, slot) => {
      if (value === 0) return;
      const fallback = FALLBACKS[Math.floor(slot / REASONS.length)] ?? '';
      samples.push({ labels: { dependency, rule, fallback, reason: REASONS[slot % REASONS.length] ?? '' }, value });
    });
  }
  return samples;
}

function requestSamples(routes: Iterable<RouteMetrics>): Sample[] {
  const samples: Sample[] = [];
  for (const route of routes) {
    for (let slot = 0; slot < route.requests.length; slot++) {
      const value = route.requests[slot] ?? 0;
      const code = CODES[Math.floor(slot / REASONS.length)] ?? '';
      const reason = REASONS[slot % REASONS.length] ?? '';
      // Series that people rate() over exist from the start; the rare ones when they happen.
      const expected = (code === '2xx' || code === '5xx') && reason === 'upstream';
      if (value > 0 || expected) {
        samples.push({ labels: { dependency: route.dependency, rule: route.rule, code, reason }, value });
      }
    }
  }
  return samples;
}

function slotSamples(
  routes: Iterable<RouteMetrics>,
  names: readonly string[],
  label: string,
  slots: (route: RouteMetrics) => Float64Array,
): Sample[] {
  const samples: Sample[] = [];
  for (const route of routes) {
    const values = slots(route);
    names.forEach((name, slot) => {
      samples.push({
        labels: { dependency: route.dependency, rule: route.rule, [label]: name },
        value: values[slot] ?? 0,
      });
    });
  }
  return samples;
}

/** Of what was never shadowed there is nothing to say. */
function shadowSamples(routes: Iterable<RouteMetrics>): Sample[] {
  return Array.from(routes).flatMap(({ dependency, rule, shadow, shadowed }) =>
    SHADOW_SLOTS.flatMap(({ block, decision }, slot) =>
      shadowed.has(block)
        ? [{ labels: { dependency, rule, policy: block, decision }, value: shadow.decisions[slot] ?? 0 }]
        : [],
    ),
  );
}

function expectedCostSamples(routes: Iterable<RouteMetrics>): Sample[] {
  return Array.from(routes).flatMap(({ dependency, rule, shadow, shadowed }) =>
    shadowed.has('loadBalancing')
      ? EXPECTED_COSTS.map((choice, slot) => ({
          labels: { dependency, rule, choice },
          value: (shadow.expectedCostMs[slot] ?? 0) / 1000,
        }))
      : [],
  );
}

function durationSamples(routes: Iterable<RouteMetrics>): Sample[] {
  const { name } = SIDECAR_METRICS.duration;
  const samples: Sample[] = [];
  for (const route of routes) {
    const labels = { dependency: route.dependency, rule: route.rule };
    let count = 0;
    DURATION_BUCKETS_SECONDS.forEach((le, bucket) => {
      count += route.durations[bucket] ?? 0;
      samples.push({ labels: { ...labels, le }, value: count, metricName: `${name}_bucket` });
    });
    count += route.durations[DURATION_BUCKETS_SECONDS.length] ?? 0;
    samples.push({ labels: { ...labels, le: '+Inf' }, value: count, metricName: `${name}_bucket` });
    samples.push({ labels, value: route.durationSumMs / 1000, metricName: `${name}_sum` });
    samples.push({ labels, value: count, metricName: `${name}_count` });
  }
  return samples;
}
