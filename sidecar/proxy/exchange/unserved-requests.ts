// What is said of a request that never becomes an exchange, for it cannot be read or is nobody's.
import { LOCAL_ANSWERS, type LocalAnswer } from '../../errors.ts';
import { HeadError, headErrorClass } from '../../http1/errors.ts';
import { reasonSlot } from '../../metrics/route-metrics.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { AnswerContext } from './local-answer.ts';

const UNKNOWN: AnswerContext = {
  dependency: '',
  rule: '',
  policy: '',
  attempts: 0,
  endpoint: '',
  correlationId: '',
  retryAfterMs: 0,
  detail: '',
  marks: '',
  rescued: '',
};

/** `detail`: a `HeadDetail`. */
export function answerToHead(detail: number): LocalAnswer {
  const kind = headErrorClass(detail);
  if (kind === HeadError.TargetTooLong) return LOCAL_ANSWERS.targetTooLong;
  return kind === HeadError.HeadTooLarge ? LOCAL_ANSWERS.headTooLarge : LOCAL_ANSWERS.malformed;
}

/** Counted for whom it was sent to, under no rule: which one it would have matched cannot be read. */
export function countRefusal(dependency: DependencyRuntime, { status, code }: LocalAnswer): void {
  dependency.policyFor('', '/', '').metrics.observe(status, reasonSlot(code), 0);
}

/** `why`, in words; empty: as the answer itself says. */
export function unreadContext({ plan }: DependencyRuntime, why: string): AnswerContext {
  return { ...UNKNOWN, dependency: plan.id, detail: why === '' ? '' : `Refused: ${why}.` };
}

/** Nobody declared where it goes, or may send it there yet. `endpoint`: where its connection was made to; empty: a listener of ours. */
export function unownedContext(endpoint: string): AnswerContext {
  return { ...UNKNOWN, endpoint };
}
