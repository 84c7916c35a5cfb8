// Whether an opaque connection that was not made is tried again, and when. Nothing of the application has been sent, so that it is always safe
// (gRPC A6, transparent retries; Envoy's max_connect_attempts; HAProxy's `retries` with `option redispatch`): how often is the only question.
// Once, where no policy says; else as often as `maxAttempts`, the failures in `retryOn`, and the budget allow.
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import type { Random } from '../../runtime/random.ts';
import { failureMask } from './failures.ts';
import { backoffMs } from './retry.ts';
import type { RetryBudget } from './retry-budget.ts';

/** What is counted of attempts, by slots that are the caller's. */
export interface ConnectionRetryCounts {
  /** Attempts after the first, by what the one before failed of. */
  readonly retries: Float64Array;
  /** Those that the policy would have wanted, by why there was none. */
  readonly suppressed: Float64Array;
}

/** Of `suppressed`. */
export interface SuppressionSlots {
  readonly attempts: number;
  readonly budget: number;
}

export const NO_RETRY = -1;

export class ConnectionAttempts {
  readonly #retries: RetriesPlan | null;
  readonly #budget: RetryBudget | null;
  readonly #mask: number;
  readonly #random: Random;
  readonly #counts: ConnectionRetryCounts;
  readonly #slots: SuppressionSlots;
  #count = 0;
  #unsentRetryUsed = false;
  /** What the attempt before failed of, until the next one begins; below zero: there was none. */
  #cause = -1;

  /** `retries` and `budget` null: no policy sets them. */
  constructor(
    retries: RetriesPlan | null,
    budget: RetryBudget | null,
    random: Random,
    counts: ConnectionRetryCounts,
    slots: SuppressionSlots,
  ) {
    this.#retries = retries;
    this.#budget = budget;
    this.#mask = retries === null ? 0 : failureMask(retries.retryOn);
    this.#random = random;
    this.#counts = counts;
    this.#slots = slots;
  }

  get count(): number {
    return this.#count;
  }

  /** An attempt has its endpoint. Retries are counted here and not where they were decided: our own layers may refuse what was wanted. */
  started(): void {
    this.#count += 1;
    if (this.#cause >= 0) increase(this.#counts.retries, this.#cause);
    this.#cause = -1;
  }

  /** The last one does not count: it failed of our not knowing where to go. */
  takeBack(): void {
    this.#count -= 1;
  }

  /**
   * How long to wait before the next attempt, milliseconds, or NO_RETRY. `cause`: slot of what the last one failed of. The budget is asked last,
   * since asking spends it.
   */
  next(failureBits: number, cause: number, nowMs: number): number {
    const retries = this.#retries;
    if (retries === null) {
      if (this.#unsentRetryUsed) return NO_RETRY;
      this.#unsentRetryUsed = true;
      this.#cause = cause;
      return 0;
    }
    if ((this.#mask & failureBits) === 0) return NO_RETRY;
    if (this.#count >= retries.maxAttempts) return this.#suppress(this.#slots.attempts);
    if (this.#budget !== null && !this.#budget.tryWithdraw(nowMs)) return this.#suppress(this.#slots.budget);
    this.#cause = cause;
    return backoffMs(retries, this.#count, this.#random());
  }

  #suppress(slot: number): number {
    increase(this.#counts.suppressed, slot);
    return NO_RETRY;
  }
}

function increase(counts: Float64Array, slot: number): void {
  counts[slot] = (counts[slot] ?? 0) + 1;
}
