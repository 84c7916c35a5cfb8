// Whether a failed attempt is followed by another one, and when.
import type { RequestHead } from '../http1/request-head.ts';
import { Suppression } from '../metrics.ts';
import { backoffMs, mayRunTwice } from '../policies/retry.ts';
import type { ProxyContext } from './context.ts';
import type { RoutePolicy } from './dependency.ts';
import type { ReplayBody } from './replay-body.ts';

/** With less than this left no attempt begins. */
export const ATTEMPT_FLOOR_MS = 1;

/** The policy says that the request may be sent again although it may have been executed. */
export function mayRepeat(policy: RoutePolicy, request: RequestHead): boolean {
  const { retries } = policy;
  return retries !== null && mayRunTwice(request.method, request.hasIdempotencyKey, retries.methods);
}

/**
 * When the next attempt begins, monotonic milliseconds; -1: there is none, and the reason is counted where the policy would have wanted one.
 * `bits` is what the attempt failed of, `unsent` that no byte of the request was handed to a connection. The budget is asked last, since
 * asking spends it.
 */
export function nextAttemptAtMs(
  context: ProxyContext,
  policy: RoutePolicy,
  request: RequestHead,
  replay: ReplayBody,
  failed: { bits: number; unsent: boolean; attempts: number; deadlineMs: number },
  nowMs: number,
): number {
  const { retries, budget, metrics } = policy;
  if (!retries || (policy.retryMask & failed.bits) === 0) return -1;
  const delayMs = backoffMs(retries, failed.attempts, context.random());
  let suppression = -1;
  if (failed.attempts >= retries.maxAttempts) suppression = Suppression.attempts;
  else if (!failed.unsent && !mayRepeat(policy, request)) suppression = Suppression.unsafe;
  else if (!failed.unsent && !replay.complete) suppression = Suppression.body;
  else if (nowMs + delayMs + ATTEMPT_FLOOR_MS > failed.deadlineMs) suppression = Suppression.deadline;
  else if (budget && !budget.tryWithdraw(nowMs)) suppression = Suppression.budget;
  if (suppression >= 0) {
    metrics.suppressed[suppression] = (metrics.suppressed[suppression] ?? 0) + 1;
    return -1;
  }
  return nowMs + delayMs;
}
