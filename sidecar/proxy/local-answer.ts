// The answers that the sidecar gives itself: who says no, why, and when to come back (RFC 9457).
import { STATUS_CODES } from 'node:http';
import type { PolicyPlan } from '../../plan/plan.ts';
import { LOCAL_ANSWERS, type LocalAnswer } from '../errors.ts';

export interface AnswerContext {
  dependency: string;
  rule: string;
  /** The policy that refused, and its generation; empty where none did. */
  policy: string;
  attempts: number;
  endpoint: string;
  correlationId: string;
  /** Zero or less: no Retry-After. */
  retryAfterMs: number;
  detail: string;
  /** Further field lines of the answer, each with CR LF behind it. */
  fields?: string;
  /** Field lines that say what was done before, each with CR LF before it; empty: nothing was. */
  marks: string;
  /** The reason of what a fallback was tried for; empty: none was. */
  rescued: string;
}

/** The whole response as latin1 text. `withBody` is false in answers to HEAD. */
export function renderLocalAnswer(
  answer: LocalAnswer,
  context: AnswerContext,
  close: boolean,
  withBody: boolean,
): string {
  const retryAfterSeconds = secondsOf(context.retryAfterMs);
  const problem: Record<string, string | number> = {
    type: `urn:breakwater:${answer.code}`,
    title: answer.title,
    status: answer.status,
    detail: context.detail || answer.detail,
  };
  if (context.dependency) problem['dependency'] = context.dependency;
  if (context.rule) problem['rule'] = context.rule;
  if (context.policy) problem['policy'] = context.policy;
  if (context.attempts > 0) problem['attempts'] = context.attempts;
  if (context.endpoint) problem['endpoint'] = context.endpoint;
  if (retryAfterSeconds > 0) problem['retryAfterSeconds'] = retryAfterSeconds;
  if (context.rescued) problem['rescued'] = context.rescued;
  if (context.correlationId) problem['correlationId'] = context.correlationId;
  const body = asciiJson(problem);
  let head = `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}\r\nContent-Type: application/problem+json\r\n`;
  head += `Breakwater-Reason: ${answer.code}${context.marks}\r\n`;
  if (retryAfterSeconds > 0) head += `Retry-After: ${retryAfterSeconds}\r\n`;
  if (context.fields) head += context.fields;
  if (context.correlationId) head += `X-Correlation-ID: ${context.correlationId}\r\n`;
  if (close) head += 'Connection: close\r\n';
  head += `Content-Length: ${body.length}\r\n\r\n`;
  return withBody ? head + body : head;
}

/** For Retry-After and its like: whole seconds, never too few; 0: there is no such time. */
export function secondsOf(retryAfterMs: number): number {
  return retryAfterMs > 0 ? Math.max(1, Math.ceil(retryAfterMs / 1000)) : 0;
}

/** The policy that an answer comes from; empty where none did. */
export function sourceOf(answer: LocalAnswer, { sources }: PolicyPlan): string {
  switch (answer.code) {
    case LOCAL_ANSWERS.circuitOpen.code:
      return sources.circuitBreaker ?? '';
    case LOCAL_ANSWERS.bulkheadFull.code:
    case LOCAL_ANSWERS.queueTimeout.code:
      return sources.bulkhead ?? '';
    case LOCAL_ANSWERS.rateLimited.code:
      return sources.rateLimit ?? '';
    case LOCAL_ANSWERS.deadline.code:
    case LOCAL_ANSWERS.attemptTimeout.code:
      return sources.timeouts ?? '';
    case LOCAL_ANSWERS.faultInjected.code:
      return sources.faultInjection ?? '';
    default:
      return '';
  }
}

/** JSON whose every character is ASCII, so that its length in characters is its length in bytes. */
function asciiJson(value: unknown): string {
  return `${JSON.stringify(value).replaceAll(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;
}
