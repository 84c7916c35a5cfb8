// The slots that requests write to, per (dependency, rule): a request touches an array element and nothing else. What each slot means is
// named here; text is made of it only at a scrape.
import type { ShadowBlock } from '../../plan/policies/blocks.ts';
import { LOCAL_ANSWER_NAMES, LOCAL_ANSWERS } from '../errors.ts';
import { DEADLINE_EFFECTS } from '../policies/deadline.ts';
import { shadowCounts } from '../policies/shadow/block-shadow.ts';

export const DURATION_BUCKETS_SECONDS = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
] as const;
const BUCKETS_MS = Float64Array.from(DURATION_BUCKETS_SECONDS, (seconds) => seconds * 1000);

/** Results of an attempt; the numbers are slots. */
export const AttemptResult = {
  success: 0,
  connectFailure: 1,
  reset: 2,
  attemptTimeout: 3,
  failureStatus: 4,
  invalidResponse: 5,
  cancelled: 6,
  /** The dependency said, of a request over HTTP/2, that it was not executed; and it was sent again for that reason alone. */
  refused: 7,
} as const;
export const ATTEMPT_RESULTS = [
  'success',
  'connect-failure',
  'reset',
  'attempt-timeout',
  'failure-status',
  'invalid-response',
  'cancelled',
  'refused',
] as const;

/** Why a wanted retry did not happen; the numbers are slots. */
export const Suppression = {
  attempts: 0,
  unsafe: 1,
  budget: 2,
  body: 3,
  deadline: 4,
  refused: 5,
  retryAfter: 6,
} as const;
export const SUPPRESSIONS = ['attempts', 'unsafe', 'budget', 'body', 'deadline', 'refused', 'retry-after'] as const;

/** What became of a hedge; the numbers are slots. */
export const HedgeResult = { won: 0, lost: 1, failed: 2, cancelled: 3 } as const;
export const HEDGE_RESULTS = ['won', 'lost', 'failed', 'cancelled'] as const;

/** Why a hedge that was due was not sent; the numbers are slots. */
export const HedgeSuppression = { body: 0, endpoint: 1, circuit: 2, bulkhead: 3, budget: 4 } as const;
export const HEDGE_SUPPRESSIONS = ['body', 'no-other-endpoint', 'circuit', 'bulkhead', 'budget'] as const;

/** What a fallback gives; the numbers are slots. */
export const Fallback = { response: 0, lastGood: 1, dependency: 2 } as const;
export const FALLBACKS = ['response', 'last-good', 'dependency'] as const;

/** Faults that are injected on purpose; the numbers are slots. */
export const Fault = { delay: 0, abort: 1 } as const;
export const FAULTS = ['delay', 'abort'] as const;

export const CODES = ['aborted', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;
/** Answers of the dependency that a fallback took the place of. */
export const REPLACED_ANSWERS = { serverError: 'server-error', tooManyRequests: 'too-many-requests' } as const;
/** reason 0 is upstream; then the local answers in the order of their table, and what else a fallback takes the place of. */
export const REASONS = [
  'upstream',
  ...LOCAL_ANSWER_NAMES.map((name) => LOCAL_ANSWERS[name].code),
  ...Object.values(REPLACED_ANSWERS),
];
export const REASON_UPSTREAM = 0;
const REASON_SLOT: ReadonlyMap<string, number> = new Map(REASONS.map((reason, slot) => [reason, slot]));

/** Slot of a local answer's reason. */
export function reasonSlot(code: string): number {
  return REASON_SLOT.get(code) ?? REASON_UPSTREAM;
}

/** The counters of one (dependency, rule). Written by requests, read by scrapes. */
export class RouteMetrics {
  readonly dependency: string;
  readonly rule: string;
  readonly requests = new Float64Array(CODES.length * REASONS.length);
  readonly attempts = new Float64Array(ATTEMPT_RESULTS.length);
  readonly retries = new Float64Array(ATTEMPT_RESULTS.length);
  readonly suppressed = new Float64Array(SUPPRESSIONS.length);
  /** Hedging acts here, or did since the start. */
  hedging = false;
  readonly hedges = new Float64Array(HEDGE_RESULTS.length);
  readonly hedgesSuppressed = new Float64Array(HEDGE_SUPPRESSIONS.length);
  /** Deadlines that requests came with, by `DeadlineEffect`. */
  readonly deadlines = new Float64Array(DEADLINE_EFFECTS.length);
  readonly fallbacks = new Float64Array(FALLBACKS.length * REASONS.length);
  readonly fallbacksMissed = new Float64Array(FALLBACKS.length);
  readonly faults = new Float64Array(FAULTS.length);
  readonly durations = new Float64Array(BUCKETS_MS.length + 1);
  durationSumMs = 0;
  /** What shadows count. */
  readonly shadow = shadowCounts();
  /** The blocks that any plan since the start shadowed here. */
  readonly shadowed = new Set<ShadowBlock>();

  constructor(dependency: string, rule: string) {
    this.dependency = dependency;
    this.rule = rule;
  }

  /** A fallback took the place of what `reason` names. */
  countFallback(fallback: number, reason: number): void {
    const slot = fallback * REASONS.length + reason;
    this.fallbacks[slot] = (this.fallbacks[slot] ?? 0) + 1;
  }

  /** `status` 0: the caller went away before the answer. `durationMs` below zero: a stream, left out of the histogram. */
  observe(status: number, reason: number, durationMs: number): void {
    const code = (status / 100) | 0;
    const slot = (code > 5 ? 5 : code) * REASONS.length + reason;
    this.requests[slot] = (this.requests[slot] ?? 0) + 1;
    if (durationMs < 0) return;
    let bucket = 0;
    while (bucket < BUCKETS_MS.length && durationMs > (BUCKETS_MS[bucket] ?? 0)) bucket++;
    this.durations[bucket] = (this.durations[bucket] ?? 0) + 1;
    this.durationSumMs += durationMs;
  }
}
