// What only the merge of several policies shows: fields that contradict each other, each with the message for who wrote one of them.
import type { BlockName } from '../../../crds/policies/blocks.ts';
import { define } from '../define-problem.ts';

export const CONTRADICTIONS = {
  AttemptExceedsRequest: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; attempt: string; request: string }) =>
      `on ${it.dependency} the policies merge to an attempt timeout of ${it.attempt}, longer than the request timeout of ${it.request}, which therefore ends every attempt; shorten timeouts.attempt or lengthen timeouts.request`,
  ),
  BackoffExceedsMax: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; initial: string; max: string }) =>
      `on ${it.dependency} the policies merge to retries.backoff.initial ${it.initial} above retries.backoff.max ${it.max}, so pauses are bounded by ${it.max}; lower initial or raise max`,
  ),
  OpenForExceedsMax: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; openFor: string; maxOpenFor: string }) =>
      `on ${it.dependency} the policies merge to circuitBreaker.openFor ${it.openFor} above circuitBreaker.maxOpenFor ${it.maxOpenFor}, so the circuit stays open for ${it.maxOpenFor}; shorten openFor or lengthen maxOpenFor`,
  ),
  EjectForExceedsMax: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; ejectFor: string; maxEjectFor: string }) =>
      `on ${it.dependency} the policies merge to outlierDetection.ejectFor ${it.ejectFor} above outlierDetection.maxEjectFor ${it.maxEjectFor}, so every ejection lasts ${it.maxEjectFor}; shorten ejectFor or lengthen maxEjectFor`,
  ),
  PanicBeforeMaxEjection: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; ejected: number; left: number; ejectedWithoutPanic: number; leftByEjection: number }) =>
      `on ${it.dependency} the policies merge to outlierDetection.maxEjectionPercent ${it.ejected} and panicThresholdPercent ${it.left}, so that all endpoints are used again before as many as that are ejected; lower maxEjectionPercent to ${it.ejectedWithoutPanic}, or panicThresholdPercent to ${it.leftByEjection}`,
  ),
  ProbeTimeoutExceedsAttempt: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; probeTimeout: string; attempt: string }) =>
      `on ${it.dependency} the policies merge to circuitBreaker.halfOpen.probeTimeout ${it.probeTimeout} above the attempt timeout of ${it.attempt}, which therefore ends every probe; shorten probeTimeout or lengthen timeouts.attempt`,
  ),
  MinConcurrentExceedsMax: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; minConcurrent: number; maxConcurrent: number }) =>
      `on ${it.dependency} the policies merge to bulkhead.adaptive.minConcurrent ${it.minConcurrent} above bulkhead.maxConcurrent ${it.maxConcurrent}, so the limit is always ${it.maxConcurrent}; lower minConcurrent or raise maxConcurrent`,
  ),
  NoRate: define(
    'Accepted',
    'Warning',
    (it: { dependency: string }) =>
      `rateLimit has no effect on ${it.dependency}: no policy writes its requestsPerSecond; write it beside mode`,
  ),
  FallbackWithoutAnswer: define(
    'Accepted',
    'Warning',
    (it: { dependency: string }) =>
      `on ${it.dependency} the fallback has nothing to give, so failures are answered as without it; write one of fallback.response, fallback.lastGood and fallback.dependency`,
  ),
  FallbackWithoutTime: define(
    'Accepted',
    'Warning',
    (it: { dependency: string }) =>
      `on ${it.dependency} fallback.fallbackOn names only Deadline, when no time is left to ask another dependency, so the fallback never acts; name more of what it is for, or write fallback.response or fallback.lastGood`,
  ),
  LastGoodForSafeMethods: define(
    'Accepted',
    'Warning',
    (it: { dependency: string }) =>
      `on ${it.dependency} fallback.methods is All, but only GET and HEAD have a last good answer; remove methods, or write fallback.response or fallback.dependency`,
  ),
  AnswerExceedsLastGood: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; maxAnswerBytes: number; maxBytes: number }) =>
      `on ${it.dependency} the policies merge to fallback.lastGood.maxAnswerBytes ${it.maxAnswerBytes} above fallback.lastGood.maxBytes ${it.maxBytes}, so answers of more than ${it.maxBytes} bytes are not kept; lower maxAnswerBytes or raise maxBytes`,
  ),
  DelayReachesDeadline: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; delay: string; request: string }) =>
      `on ${it.dependency} faultInjection delays requests by ${it.delay}, which their timeout of ${it.request} does not outlast, so every one of them is answered 504; shorten faultInjection.delay.fixed or lengthen timeouts.request`,
  ),
  CheckTimeoutExceedsInterval: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; timeout: string; interval: string }) =>
      `on ${it.dependency} the policies merge to healthCheck.timeout ${it.timeout} above healthCheck.interval ${it.interval}, so a check takes ${it.interval} at most; shorten timeout or lengthen interval`,
  ),
  MinDelayExceedsMax: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; minDelay: string; maxDelay: string }) =>
      `on ${it.dependency} the policies merge to hedging.minDelay ${it.minDelay} above hedging.maxDelay ${it.maxDelay}, so hedges are sent after ${it.minDelay}; shorten minDelay or lengthen maxDelay`,
  ),
  HedgingWithoutRetries: define(
    'Accepted',
    'Warning',
    (it: { dependency: string }) =>
      `hedging has no effect on ${it.dependency}: hedges are paid out of the budget of retries, which say also what may run twice, and no policy enforces retries there; write retries: {}, or retries: {maxAttempts: 1} where nothing is to be tried again`,
  ),
  HedgingWithoutBudget: define(
    'Accepted',
    'Warning',
    (it: { dependency: string }) =>
      `hedging has no effect on ${it.dependency}: hedges are paid out of the budget of retries, which merges to 0 % and 0 per second; raise retries.budget.percent or minPerSecond, or remove hedging`,
  ),
  HedgingWithoutPlace: define(
    'Accepted',
    'Warning',
    (it: { dependency: string }) =>
      `hedging has no effect on ${it.dependency}: bulkhead.maxConcurrent merges to 1, and the attempt that is hedged has that place; raise maxConcurrent or remove hedging`,
  ),
  HedgingAfterAttempt: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; minDelay: string; attempt: string }) =>
      `hedging has no effect on ${it.dependency}: hedging.minDelay of ${it.minDelay} is not shorter than the attempt timeout of ${it.attempt}, when there is nothing left to hedge; shorten minDelay or lengthen timeouts.attempt`,
  ),
  RetriesCannotFinish: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; maxAttempts: number; attempt: string; needed: string; request: string }) =>
      `on ${it.dependency} ${it.maxAttempts} attempts of ${it.attempt} and their pauses may take ${it.needed}, longer than the request timeout of ${it.request}, so the last attempts are cut short or never made; lower retries.maxAttempts, shorten timeouts.attempt or lengthen timeouts.request`,
  ),
} as const;

export type ContradictionReason = keyof typeof CONTRADICTIONS;
type Details<R extends ContradictionReason> = Parameters<(typeof CONTRADICTIONS)[R]['message']>[0];

/**
 * A contradiction, with the fields that take part in it, most to blame first: the policy that wrote one of them is told. An empty field is
 * the block as a whole.
 */
export type Contradiction = {
  [R in ContradictionReason]: {
    reason: R;
    fields: readonly (readonly [BlockName, string])[];
    details: Omit<Details<R>, 'dependency'>;
  };
}[ContradictionReason];
