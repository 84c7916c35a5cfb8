// Exponential backoff with full jitter above a floor, as client-go's reflector has it: without jitter, all operators of an installation
// and all reflectors of one operator would come back to a restarted API server in the same instant.
import type { MonotonicMs } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';

export interface BackoffLimits {
  initialMs: number;
  maxMs: number;
  /** After this long without a failure the next one starts anew. */
  resetAfterMs: number;
}

export class Backoff {
  readonly #limits: BackoffLimits;
  readonly #random: Random;
  #failures = 0;
  #lastFailureMs: MonotonicMs = Number.NEGATIVE_INFINITY;

  constructor(limits: BackoffLimits, random: Random) {
    this.#limits = limits;
    this.#random = random;
  }

  /** The next failure is the first one. */
  reset(): void {
    this.#failures = 0;
  }

  /** Counts a failure and says how long to wait: between initial · 2^n and twice that, at most `maxMs`. */
  nextMs(nowMs: MonotonicMs): number {
    const { initialMs, maxMs, resetAfterMs } = this.#limits;
    if (nowMs - this.#lastFailureMs > resetAfterMs) this.#failures = 0;
    this.#lastFailureMs = nowMs;
    const base = Math.min(maxMs, initialMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return Math.min(maxMs, base * (1 + this.#random()));
  }
}
