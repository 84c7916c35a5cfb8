// Whether an opaque connection that was not made is tried again, and when. Nothing of the application has been sent, so that it is always safe
// (gRPC A6, transparent retries; Envoy's max_connect_attempts; HAProxy's `retries` with `option redispatch`): how often is the only question.
// Once, where no policy says; else as often as `maxAttempts`, the failures in `retryOn`, and the budget allow.
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import type { Random } from '../../runtime/random.ts';
import { failureMask } from './failures.ts';
import { backoffMs } from './retry.ts';
import type { RetryBudget } from './retry-budget.ts';

/** Why there is no other attempt. NotWanted: the policy does not ask for one. */
export const ConnectionRetry = { NotWanted: -1, Attempts: -2, Budget: -3 } as const;

export class ConnectionAttempts {
  readonly #retries: RetriesPlan | null;
  readonly #budget: RetryBudget | null;
  readonly #mask: number;
  readonly #random: Random;
  #count = 0;
  #unsentRetryUsed = false;
  /** What the attempt before failed of, until the next one begins; below zero: there was none. */
  #cause = -1;

  /** `retries` and `budget` null: no policy sets them. */
  constructor(retries: RetriesPlan | null, budget: RetryBudget | null, random: Random) {
    this.#retries = retries;
    this.#budget = budget;
    this.#mask = failureMask(retries?.retryOn ?? []);
    this.#random = random;
  }

  get count(): number {
    return this.#count;
  }

  /** An attempt has its endpoint. What the one before failed of, which it is the retry of; below zero: it is none. */
  started(): number {
    const cause = this.#cause;
    this.#count += 1;
    this.#cause = -1;
    return cause;
  }

  /** The last one does not count: it failed of our not knowing where to go. */
  takeBack(): void {
    this.#count -= 1;
  }

  /**
   * How long to wait before the next attempt, milliseconds, or a `ConnectionRetry`. `cause`: what the last one failed of, as the metrics say it.
   * The budget is asked last, since asking spends it.
   */
  next(failureBits: number, cause: number, nowMs: number): number {
    const retries = this.#retries;
    if (retries === null) {
      if (this.#unsentRetryUsed) return ConnectionRetry.NotWanted;
      this.#unsentRetryUsed = true;
      this.#cause = cause;
      return 0;
    }
    if ((this.#mask & failureBits) === 0) return ConnectionRetry.NotWanted;
    if (this.#count >= retries.maxAttempts) return ConnectionRetry.Attempts;
    if (this.#budget !== null && !this.#budget.tryWithdraw(nowMs)) return ConnectionRetry.Budget;
    this.#cause = cause;
    return backoffMs(retries, this.#count, this.#random());
  }
}
