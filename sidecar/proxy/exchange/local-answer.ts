// The answers that the sidecar gives itself: who says no, why, and when to come back (RFC 9457).
import type { PolicyPlan } from '../../../plan/plan.ts';
import { nodeHttp } from '../../../runtime/node-http.ts';
import { LOCAL_ANSWERS, type LocalAnswer } from '../../errors.ts';

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
  /** So long no further request of the connection is taken up, where it carries one at a time; absent or zero: the next one is at once. */
  holdBackMs?: number;
  /** Field lines that say what was done before, each with CR LF before it; empty: nothing was. */
  marks: string;
  /** The reason of what a fallback was tried for; empty: none was. */
  rescued: string;
}

/** What a local answer is made of, in whatever protocol it is written. */
export interface RenderedAnswer {
  /** Field lines without the length, each with CR LF before it. */
  fields: string;
  /** ASCII alone: its length in characters is its length in bytes. */
  body: string;
}

export function localAnswerParts(answer: LocalAnswer, context: AnswerContext): RenderedAnswer {
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
  let fields = `\r\nContent-Type: application/problem+json\r\nBreakwater-Reason: ${answer.code}${context.marks}`;
  if (retryAfterSeconds > 0) fields += `\r\nRetry-After: ${retryAfterSeconds}`;
  if (context.fields) fields += `\r\n${context.fields.slice(0, -2)}`;
  if (context.correlationId) fields += `\r\nX-Correlation-ID: ${context.correlationId}`;
  return { fields, body: asciiJson(problem) };
}

/** The whole response as latin1 text of HTTP/1.1. `withBody` is false in answers to HEAD. */
export function renderLocalAnswer(
  answer: LocalAnswer,
  context: AnswerContext,
  close: boolean,
  withBody: boolean,
): string {
  const { fields, body } = localAnswerParts(answer, context);
  const connection = close ? '\r\nConnection: close' : '';
  const head = `HTTP/1.1 ${answer.status} ${nodeHttp.STATUS_CODES[answer.status] ?? ''}${fields}${connection}\r\nContent-Length: ${body.length}\r\n\r\n`;
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
