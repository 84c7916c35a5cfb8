// Retries in shadow: of each attempt that failed, whether another one would have followed by these rules, with a budget of its own. What that
// one would have met nobody knows; so one retry is counted for one failed attempt that was really made.
import type { RetriesPlan } from '../../../plan/policies/retries.ts';
import { isAmong } from '../../grpc/status.ts';
import { Outcome } from '../circuit-breaker.ts';
import { failureMask } from '../failures.ts';
import { isRetryAfterTooLong, mayRunTwice, retryDelayMs } from '../retry.ts';
import type { RetryBudget } from '../retry-budget.ts';
import { BlockShadow, MEAN_CHANCE, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';

const RETRY = shadowSlot('retries', 'retry');
const ATTEMPTS = shadowSlot('retries', 'suppressed-attempts');
const UNSAFE = shadowSlot('retries', 'suppressed-unsafe');
const BUDGET = shadowSlot('retries', 'suppressed-budget');
const BODY = shadowSlot('retries', 'suppressed-body');
const DEADLINE = shadowSlot('retries', 'suppressed-deadline');
const REFUSED = shadowSlot('retries', 'suppressed-refused');
const RETRY_AFTER = shadowSlot('retries', 'suppressed-retry-after');

/** The policy names the status of the answer itself. */
export function isListed(
  { retryOnStatusCodes, retryOnGrpcStatusCodes }: RetriesPlan,
  { status, grpcStatus }: ShadowCall,
): boolean {
  return retryOnStatusCodes.includes(status) || isAmong(grpcStatus, retryOnGrpcStatusCodes);
}

export class RetriesShadow extends BlockShadow {
  readonly #plan: RetriesPlan;
  readonly #budget: RetryBudget;
  readonly #mask: number;

  constructor(plan: RetriesPlan, budget: RetryBudget) {
    super();
    this.#plan = plan;
    this.#budget = budget;
    this.#mask = failureMask(plan.retryOn);
  }

  override admit(_call: ShadowCall, nowMs: number): boolean {
    this.#budget.recordRequest(nowMs);
    return true;
  }

  override judge(call: ShadowCall, nowMs: number): void {
    const failed = call.outcome === Outcome.Failure || call.timedOut;
    const isWanted = failed && (this.#mask & call.failureBits) !== 0;
    if (call.over || !(isWanted || (call.answered && isListed(this.#plan, call)))) return;
    const decision = this.#decide(call, nowMs);
    call.wouldRetry = decision === RETRY;
    call.count(decision);
  }

  /** The order of the enforced rule: the budget is asked last, since asking spends it. */
  #decide(call: ShadowCall, nowMs: number): number {
    const { maxAttempts, methods, maxRetryAfterMs } = this.#plan;
    const retryAfterMs = call.answered ? call.retryAfterMs : -1;
    if (call.attempts >= maxAttempts) return ATTEMPTS;
    if (!call.unsent && !mayRunTwice(call.head.method, call.head.hasIdempotencyKey, methods)) return UNSAFE;
    if (!call.unsent && !call.replayable) return BODY;
    if (call.answered && call.refusesRetry) return REFUSED;
    if (isRetryAfterTooLong(retryAfterMs, maxRetryAfterMs)) return RETRY_AFTER;
    const delayMs = retryDelayMs(this.#plan, call.attempts, retryAfterMs, MEAN_CHANCE());
    if (nowMs + delayMs >= call.deadlineMs) return DEADLINE;
    return this.#budget.tryWithdraw(nowMs) ? RETRY : BUDGET;
  }
}
