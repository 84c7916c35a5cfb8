// What a shadowed block can say that it would have done: one line for each block, and one slot of the counters for each decision.
import type { ShadowBlock } from '../../../plan/policies/blocks.ts';

/** What shadowed load balancing adds up, in expected cost. */
export const ExpectedCost = { Made: 0, Shadow: 1 } as const;
/** By slot: of the endpoint that an attempt went to, and of the one that it would have gone to. */
export const EXPECTED_COSTS = ['made', 'shadow'] as const;

/** Names of refusals are those of `breakwater-reason`; of retries and hedges that would not have happened, those of their metrics. */
export const SHADOW_DECISIONS = {
  timeouts: ['deadline', 'attempt-timeout', 'connect-timeout', 'idle-timeout'],
  retries: [
    'retry',
    'suppressed-attempts',
    'suppressed-unsafe',
    'suppressed-budget',
    'suppressed-body',
    'suppressed-deadline',
    'suppressed-refused',
    'suppressed-retry-after',
  ],
  circuitBreaker: ['circuit-open'],
  outlierDetection: ['ejected-endpoint'],
  bulkhead: ['queued', 'bulkhead-full', 'queue-timeout'],
  rateLimit: ['rate-limited'],
  fallback: ['response', 'last-good', 'dependency', 'missed'],
  faultInjection: ['delay', 'abort'],
  loadBalancing: ['same-endpoint', 'other-endpoint'],
  healthCheck: ['unhealthy-endpoint'],
  hedging: [
    'hedge',
    'suppressed-unsafe',
    'suppressed-body',
    'suppressed-no-other-endpoint',
    'suppressed-circuit',
    'suppressed-bulkhead',
    'suppressed-budget',
  ],
} as const satisfies Record<ShadowBlock, readonly string[]>;

type Decision<B extends ShadowBlock> = (typeof SHADOW_DECISIONS)[B][number];

/** By slot. */
export const SHADOW_SLOTS = Object.entries(SHADOW_DECISIONS).flatMap(([block, decisions]) =>
  decisions.map((decision) => ({ block: block as ShadowBlock, decision })),
);

export function shadowSlot<B extends ShadowBlock>(block: B, decision: Decision<B>): number {
  return SHADOW_SLOTS.findIndex((slot) => slot.block === block && slot.decision === decision);
}
