// Every block of a policy as the sidecar enforces it: one line each here, the rest in a file of its own.
import { bulkheadPlan } from './bulkhead.ts';
import { circuitBreakerPlan } from './circuit-breaker.ts';
import { fallbackPlan } from './fallback.ts';
import { faultInjectionPlan } from './fault-injection.ts';
import { healthCheckPlan } from './health-check.ts';
import { hedgingPlan } from './hedging.ts';
import { loadBalancingPlan } from './load-balancing.ts';
import { outlierDetectionPlan } from './outlier-detection.ts';
import { rateLimitPlan } from './rate-limit.ts';
import { retriesPlan } from './retries.ts';
import { timeoutsPlan } from './timeouts.ts';

/** A null block does not act. Timeouts always are there: connecting is bounded also where no policy sets them. */
export const blockPlans = {
  timeouts: timeoutsPlan,
  retries: retriesPlan.nullable(),
  circuitBreaker: circuitBreakerPlan.nullable(),
  // An operator from before such a block does not send it.
  outlierDetection: outlierDetectionPlan.nullable().default(null),
  bulkhead: bulkheadPlan.nullable(),
  rateLimit: rateLimitPlan.nullable().default(null),
  fallback: fallbackPlan.nullable().default(null),
  faultInjection: faultInjectionPlan.nullable().default(null),
  loadBalancing: loadBalancingPlan.nullable().default(null),
  healthCheck: healthCheckPlan.nullable().default(null),
  hedging: hedgingPlan.nullable().default(null),
};
export type PlannedBlock = keyof typeof blockPlans;
export const PLANNED_BLOCKS = Object.keys(blockPlans) as readonly PlannedBlock[];

/**
 * The blocks that can be shadowed: judged and counted beside what is enforced, without effect on any request. A null block is not.
 */
export const shadowPlans = {
  timeouts: timeoutsPlan.nullable(),
  retries: blockPlans.retries,
  circuitBreaker: blockPlans.circuitBreaker,
  outlierDetection: blockPlans.outlierDetection,
  bulkhead: blockPlans.bulkhead,
  rateLimit: blockPlans.rateLimit,
  fallback: blockPlans.fallback,
  faultInjection: blockPlans.faultInjection,
  loadBalancing: blockPlans.loadBalancing,
  healthCheck: blockPlans.healthCheck,
  hedging: blockPlans.hedging,
};
export type ShadowBlock = keyof typeof shadowPlans;
export const SHADOW_BLOCKS = Object.keys(shadowPlans) as readonly ShadowBlock[];

/** No block acts; timeouts always are there. */
export const NO_BLOCKS = {
  retries: null,
  circuitBreaker: null,
  outlierDetection: null,
  bulkhead: null,
  rateLimit: null,
  fallback: null,
  faultInjection: null,
  loadBalancing: null,
  healthCheck: null,
  hedging: null,
} as const satisfies Record<Exclude<PlannedBlock, 'timeouts'>, null>;
