// What a merged policy means in numbers: every default filled in, by the table that the custom resource documents. Contradictions that
// only the merge shows are settled here in the safer direction and told, so that the plan itself is always consistent.
import { formatDuration } from '../../crds/duration.ts';
import { POLICY_DEFAULTS } from '../../crds/resilience-policy.ts';
import type { BulkheadPlan, CircuitBreakerPlan, RetriesPlan, TimeoutsPlan } from '../../plan/plan.ts';
import type { BlockName, Blocks } from './merge.ts';

/** A contradiction, with the fields that take part in it, most to blame first: the policy that wrote one of them is told. */
export type Contradiction = { fields: readonly (readonly [BlockName, string])[] } & (
  | { reason: 'AttemptExceedsRequest'; details: { attempt: string; request: string } }
  | { reason: 'BackoffExceedsMax'; details: { initial: string; max: string } }
  | { reason: 'OpenForExceedsMax'; details: { openFor: string; maxOpenFor: string } }
  | {
      reason: 'RetriesCannotFinish';
      details: { maxAttempts: number; attempt: string; needed: string; request: string };
    }
);

export interface Effective {
  timeouts: TimeoutsPlan;
  /** Without the keys of their state, which depend on the rules and not on the numbers. */
  retries: Omit<RetriesPlan, 'stateKey'> | null;
  circuitBreaker: Omit<CircuitBreakerPlan, 'stateKey'> | null;
  bulkhead: Omit<BulkheadPlan, 'stateKey'> | null;
  contradictions: readonly Contradiction[];
  /**
   * Fields that have the value of another one, as their default or because they would contradict it: "timeouts.attempt" →
   * "timeouts.request".
   */
  follows: ReadonlyMap<FieldName, FieldName>;
}

/** "retries.backoff.max": as users write it. */
export type FieldName = `${BlockName}.${string}`;

/** Without a timeouts block only the connect timeout acts: a connection that cannot be made must never hold a caller for long. */
const NO_TIMEOUTS: TimeoutsPlan = {
  requestMs: 0,
  attemptMs: 0,
  connectMs: POLICY_DEFAULTS.timeouts.connect,
  idleMs: 0,
  opaqueIdleMs: 0,
};

export function applyDefaults(blocks: Blocks): Effective {
  const contradictions: Contradiction[] = [];
  const follows = new Map<FieldName, FieldName>();
  const tell = (contradiction: Contradiction) => contradictions.push(contradiction);
  const follow = (field: FieldName, leader: FieldName) => follows.set(field, leader);
  const timeouts = timeoutsOf(blocks, tell, follow);
  const retries = retriesOf(blocks, tell, follow);
  tellRetriesThatCannotFinish(blocks, timeouts, retries, tell);
  return {
    timeouts,
    retries,
    circuitBreaker: circuitBreakerOf(blocks, tell, follow),
    bulkhead: bulkheadOf(blocks, follow),
    contradictions,
    follows,
  };
}

type Tell = (contradiction: Contradiction) => void;
type Follow = (field: FieldName, leader: FieldName) => void;

/** The block, where it is there and not switched off. */
function active<B extends BlockName>(blocks: Blocks, name: B): NonNullable<Blocks[B]> | undefined {
  const block = blocks[name];
  return block === undefined || block.mode === 'Disabled' ? undefined : block;
}

function timeoutsOf(blocks: Blocks, tell: Tell, follow: Follow): TimeoutsPlan {
  const block = active(blocks, 'timeouts');
  if (block === undefined) return NO_TIMEOUTS;
  const defaults = POLICY_DEFAULTS.timeouts;
  const requestMs = block.request ?? defaults.request;
  let attemptMs = block.attempt ?? requestMs;
  if (block.attempt === undefined) follow('timeouts.attempt', 'timeouts.request');
  if (requestMs > 0 && attemptMs > requestMs) {
    tell({
      reason: 'AttemptExceedsRequest',
      fields: [
        ['timeouts', 'attempt'],
        ['timeouts', 'request'],
      ],
      details: { attempt: formatDuration(attemptMs), request: formatDuration(requestMs) },
    });
    attemptMs = requestMs;
    follow('timeouts.attempt', 'timeouts.request');
  }
  return {
    requestMs,
    attemptMs,
    connectMs: block.connect ?? defaults.connect,
    idleMs: block.idle ?? defaults.idle,
    opaqueIdleMs: block.idle ?? defaults.opaqueIdle,
  };
}

function retriesOf(blocks: Blocks, tell: Tell, follow: Follow): Effective['retries'] {
  const block = active(blocks, 'retries');
  if (block === undefined) return null;
  const defaults = POLICY_DEFAULTS.retries;
  let initial = block.backoff?.initial ?? defaults.backoff.initial;
  let max = block.backoff?.max ?? defaults.backoff.max;
  if (initial > max) {
    // A bound that somebody wrote holds; a default gives way to what somebody wrote.
    const writtenMax = block.backoff?.max !== undefined;
    const writtenInitial = block.backoff?.initial !== undefined;
    if (writtenMax && writtenInitial) {
      tell({
        reason: 'BackoffExceedsMax',
        fields: [
          ['retries', 'backoff.initial'],
          ['retries', 'backoff.max'],
        ],
        details: { initial: formatDuration(initial), max: formatDuration(max) },
      });
    }
    if (writtenMax) {
      initial = max;
      follow('retries.backoff.initial', 'retries.backoff.max');
    } else {
      max = initial;
      follow('retries.backoff.max', 'retries.backoff.initial');
    }
  }
  return {
    maxAttempts: block.maxAttempts ?? defaults.maxAttempts,
    retryOn: [...(block.retryOn ?? defaults.retryOn)].sort(),
    methods: block.methods ?? defaults.methods,
    backoffInitialMs: initial,
    backoffMaxMs: max,
    budgetPercent: block.budget?.percent ?? defaults.budget.percent,
    budgetMinPerSecond: block.budget?.minPerSecond ?? defaults.budget.minPerSecond,
  };
}

/**
 * Only where somebody wrote an attempt timeout: by default an attempt may take as long as the request, and retries are then for what
 * fails sooner than that.
 */
function tellRetriesThatCannotFinish(
  blocks: Blocks,
  timeouts: TimeoutsPlan,
  retries: Effective['retries'],
  tell: Tell,
): void {
  const written = active(blocks, 'timeouts')?.attempt;
  if (retries === null || !written || timeouts.requestMs === 0) return;
  if (retries.maxAttempts < 2 || !retries.retryOn.includes('AttemptTimeout')) return;
  let needed = retries.maxAttempts * timeouts.attemptMs;
  let pause = retries.backoffInitialMs;
  for (let retry = 1; retry < retries.maxAttempts; retry++) {
    needed += pause;
    pause = Math.min(pause * 2, retries.backoffMaxMs);
  }
  if (needed <= timeouts.requestMs) return;
  tell({
    reason: 'RetriesCannotFinish',
    fields: [
      ['retries', 'maxAttempts'],
      ['timeouts', 'attempt'],
      ['timeouts', 'request'],
    ],
    details: {
      maxAttempts: retries.maxAttempts,
      attempt: formatDuration(timeouts.attemptMs),
      needed: formatDuration(needed),
      request: formatDuration(timeouts.requestMs),
    },
  });
}

function circuitBreakerOf(blocks: Blocks, tell: Tell, follow: Follow): Effective['circuitBreaker'] {
  const block = active(blocks, 'circuitBreaker');
  if (block === undefined) return null;
  const defaults = POLICY_DEFAULTS.circuitBreaker;
  let openFor = block.openFor ?? defaults.openFor;
  let maxOpenFor = block.maxOpenFor ?? defaults.maxOpenFor;
  if (openFor > maxOpenFor) {
    if (block.openFor !== undefined && block.maxOpenFor !== undefined) {
      tell({
        reason: 'OpenForExceedsMax',
        fields: [
          ['circuitBreaker', 'openFor'],
          ['circuitBreaker', 'maxOpenFor'],
        ],
        details: { openFor: formatDuration(openFor), maxOpenFor: formatDuration(maxOpenFor) },
      });
    }
    // As above; where both were written, the shorter one: a caller is refused no longer than somebody allowed.
    if (block.maxOpenFor !== undefined) {
      openFor = maxOpenFor;
      follow('circuitBreaker.openFor', 'circuitBreaker.maxOpenFor');
    } else {
      maxOpenFor = openFor;
      follow('circuitBreaker.maxOpenFor', 'circuitBreaker.openFor');
    }
  }
  return {
    failureOn: [...(block.failureOn ?? defaults.failureOn)].sort(),
    consecutiveFailures: block.consecutiveFailures ?? defaults.consecutiveFailures,
    failureRate:
      block.failureRate === undefined
        ? null
        : {
            percent: block.failureRate.percent ?? defaults.failureRate.percent,
            minimumCalls: block.failureRate.minimumCalls ?? defaults.failureRate.minimumCalls,
          },
    slowCalls:
      block.slowCalls === undefined
        ? null
        : {
            percent: block.slowCalls.percent ?? defaults.slowCalls.percent,
            minimumCalls: block.slowCalls.minimumCalls ?? defaults.slowCalls.minimumCalls,
            thresholdMs: block.slowCalls.threshold,
          },
    windowMs: block.window ?? defaults.window,
    openForMs: openFor,
    maxOpenForMs: maxOpenFor,
    halfOpenMaxProbes: block.halfOpen?.maxProbes ?? defaults.halfOpen.maxProbes,
    halfOpenSuccesses: block.halfOpen?.successes ?? defaults.halfOpen.successes,
  };
}

function bulkheadOf(blocks: Blocks, follow: Follow): Effective['bulkhead'] {
  const block = active(blocks, 'bulkhead');
  if (block === undefined) return null;
  const maxConcurrent = block.maxConcurrent ?? POLICY_DEFAULTS.bulkhead.maxConcurrent;
  if (block.maxQueued === undefined) follow('bulkhead.maxQueued', 'bulkhead.maxConcurrent');
  return {
    maxConcurrent,
    maxQueued: block.maxQueued ?? maxConcurrent,
    queueTimeoutMs: block.queueTimeout ?? POLICY_DEFAULTS.bulkhead.queueTimeout,
  };
}
