// Every block of a policy, in the order in which it is documented and explained: one line each here, the rest in a file of its own. What
// composes blocks (the spec, its rules, the merge) takes them from this list.
import { bulkhead, bulkheadDefaults } from './bulkhead.ts';
import { circuitBreaker, circuitBreakerDefaults } from './circuit-breaker.ts';
import { FALLBACK_ALTERNATIVES, fallback, fallbackDefaults } from './fallback.ts';
import { faultInjection, faultInjectionDefaults } from './fault-injection.ts';
import { HEALTH_CHECK_ALTERNATIVES, healthCheck, healthCheckDefaults } from './health-check.ts';
import { hedging, hedgingDefaults } from './hedging.ts';
import { loadBalancing, loadBalancingDefaults } from './load-balancing.ts';
import { outlierDetection, outlierDetectionDefaults } from './outlier-detection.ts';
import { rateLimit, rateLimitDefaults } from './rate-limit.ts';
import { retries, retriesDefaults } from './retries.ts';
import { timeouts, timeoutsDefaults } from './timeouts.ts';

export const blocks = {
  timeouts: timeouts.optional(),
  retries: retries.optional(),
  circuitBreaker: circuitBreaker.optional(),
  outlierDetection: outlierDetection.optional(),
  bulkhead: bulkhead.optional(),
  rateLimit: rateLimit.optional(),
  fallback: fallback.optional(),
  faultInjection: faultInjection.optional(),
  loadBalancing: loadBalancing.optional(),
  healthCheck: healthCheck.optional(),
  hedging: hedging.optional(),
};
export type BlockName = keyof typeof blocks;
export const BLOCKS = Object.keys(blocks) as readonly BlockName[];

/** Defaults of the fields of a block that is there, applied by compile after the merge; descriptions are written from them. */
export const POLICY_DEFAULTS = {
  timeouts: timeoutsDefaults,
  retries: retriesDefaults,
  circuitBreaker: circuitBreakerDefaults,
  outlierDetection: outlierDetectionDefaults,
  bulkhead: bulkheadDefaults,
  rateLimit: rateLimitDefaults,
  fallback: fallbackDefaults,
  faultInjection: faultInjectionDefaults,
  loadBalancing: loadBalancingDefaults,
  healthCheck: healthCheckDefaults,
  hedging: hedgingDefaults,
} as const satisfies Record<BlockName, unknown>;

/** Fields, in groups, of which a block acts by one group: a narrower policy that writes one takes the others of a wider policy away. */
export const ALTERNATIVES: Readonly<Partial<Record<BlockName, readonly (readonly string[])[]>>> = {
  fallback: FALLBACK_ALTERNATIVES.map((name) => [name]),
  healthCheck: HEALTH_CHECK_ALTERNATIVES,
};
