// What the exchange says where it refuses a request: which answer, why, and when to come back.
import type { RateLimitPlan } from '../../../plan/policies/rate-limit.ts';
import { LOCAL_ANSWERS, type LocalAnswer } from '../../errors.ts';
import { BreakerState, type CircuitBreaker } from '../../policies/circuit-breaker.ts';
import { type LoadShedder, SHED_REASONS } from '../../policies/load-shedder.ts';
import { rateLimitFields } from '../../policies/rate-limit.ts';
import type { Attempts } from './attempts.ts';
import type { CurrentRequest } from './current-request.ts';
import { deadlineDetail } from './deadline-travel.ts';
import { type AnswerContext, secondsOf, sourceOf } from './local-answer.ts';

const FORCED_OPEN =
  'The policy holds the circuit open by circuitBreaker.force: every call is refused until that is removed, and nothing tells when.';

/** What an answer says beside itself. */
export interface Words {
  /** Zero: nobody knows. */
  readonly retryAfterMs: number;
  /** In the place of the detail that the answer has by itself; empty: that one. */
  readonly detail: string;
  /** Further field lines, each with CR LF behind it. */
  readonly fields: string;
  /** So long no further request of the connection is taken up. */
  readonly holdBackMs: number;
}

export const NO_WORDS: Words = { retryAfterMs: 0, detail: '', fields: '', holdBackMs: 0 };

export const DELAYED_TOO_LONG = detailed(
  'timeouts.request passed while faultInjection.delay of a policy held the request back on purpose; nothing was sent.',
);

/** `detail` empty: as without. */
export function detailed(detail: string): Words {
  return { ...NO_WORDS, detail };
}

export function wordsOfOpenCircuit(breaker: CircuitBreaker | null, nowMs: number): Words {
  if (breaker === null) return NO_WORDS;
  if (breaker.state(nowMs) === BreakerState.ForcedOpen) return detailed(FORCED_OPEN);
  const { reason } = breaker;
  const detail = reason === '' ? '' : `${LOCAL_ANSWERS.circuitOpen.detail} Why: ${reason}.`;
  return { ...NO_WORDS, retryAfterMs: breaker.retryAfterMs(nowMs), detail };
}

/** `reason`: a `ShedReason`. `chance`: from 0 to below 1. */
export function wordsOfShedding(reason: number, shedder: LoadShedder, chance: number): Words {
  const detail = `${LOCAL_ANSWERS.shed.detail} Why: ${SHED_REASONS[reason] ?? ''}.`;
  return { ...NO_WORDS, retryAfterMs: shedder.retryAfterMs, detail, holdBackMs: shedder.holdBackMs(reason, chance) };
}

export function wordsOfRateLimit(plan: RateLimitPlan, retryAfterMs: number): Words {
  return { ...NO_WORDS, retryAfterMs, fields: rateLimitFields(plan, secondsOf(retryAfterMs)) };
}

/** All that the answer is made of. */
export function refusalContext(
  answer: LocalAnswer,
  request: CurrentRequest,
  attempts: Attempts,
  { retryAfterMs, detail, fields, holdBackMs }: Words,
): AnswerContext {
  const { correlationId, dependency, policy, rescue } = request;
  return {
    dependency: dependency.plan.id,
    rule: policy.plan.rule,
    policy: sourceOf(answer, policy.plan),
    attempts: attempts.count,
    endpoint: attempts.failedEndpoints.at(-1)?.name ?? '',
    correlationId,
    retryAfterMs,
    detail: detail === '' && answer === LOCAL_ANSWERS.deadline ? deadlineDetail(request) : detail,
    fields,
    holdBackMs,
    marks: rescue.marksOfRefusal,
    rescued: rescue.code,
  };
}
