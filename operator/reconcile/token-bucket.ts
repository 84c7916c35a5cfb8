// How often something may be done: a few times at once, then at a steady pace.
import type { MonotonicMs } from '../../runtime/clock.ts';

export interface BucketSettings {
  /** So often at once. */
  burst: number;
  /** Then once in this time. */
  intervalMs: number;
}

export class TokenBucket {
  readonly #settings: BucketSettings;
  #tokens: number;
  #countedMs: MonotonicMs;

  constructor(settings: BucketSettings, nowMs: MonotonicMs) {
    this.#settings = settings;
    this.#tokens = settings.burst;
    this.#countedMs = nowMs;
  }

  /** Takes a token where at least `level` are there. */
  take(nowMs: MonotonicMs, level = 1): boolean {
    if (this.waitMs(nowMs, level) > 0) return false;
    this.#tokens -= 1;
    return true;
  }

  /** How long until `level` tokens are there, whole milliseconds; 0 where they are. */
  waitMs(nowMs: MonotonicMs, level = 1): number {
    const { burst, intervalMs } = this.#settings;
    this.#tokens = Math.min(burst, this.#tokens + (nowMs - this.#countedMs) / intervalMs);
    this.#countedMs = nowMs;
    // What adding fractions loses must not make anybody wait for a moment that never comes.
    const missing = level - this.#tokens;
    return missing <= 1e-9 ? 0 : Math.ceil(missing * intervalMs);
  }

  isFull(nowMs: MonotonicMs): boolean {
    return this.waitMs(nowMs, this.#settings.burst) === 0;
  }
}
