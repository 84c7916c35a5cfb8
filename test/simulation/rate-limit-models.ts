// What a rate limit must do, said once more, as simply as it can be said: with one bucket for all requests, and with one for each value of a
// header. They see the requests that the real one gets, and its answers.
import type { RateLimitNumbers } from '../../sidecar/policies/rate-limit.ts';
import { demand } from './violation.ts';

const TOKEN_ERROR = 0.01;
/** The real one counts in whole microseconds: either end of a time may be off by one. */
const TIME_ERROR_MS = 0.01;

/** A bucket of tokens that fills at a rate, and is full at first: all there is to know of it is when it is full again. */
export class RateLimitModel {
  #fullAtMs = Number.NEGATIVE_INFINITY;

  asked(plan: RateLimitNumbers, nowMs: number, mayPass: boolean): void {
    const tokens = this.#tokens(plan, nowMs);
    const errorTokens = TOKEN_ERROR + plan.requestsPerSecond / 1_000_000;
    demand(
      mayPass ? tokens + errorTokens >= 1 : tokens - errorTokens < 1,
      () => `a rate limit ${mayPass ? 'let a request through' : 'refused a request'} with ${tokens} tokens`,
    );
    if (mayPass) this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + 1000 / plan.requestsPerSecond;
  }

  /** New numbers: the tokens stay, as far as there is room for them. */
  changed(before: RateLimitNumbers, after: RateLimitNumbers, nowMs: number): void {
    const missing = after.burst - Math.min(after.burst, this.#tokens(before, nowMs));
    if (missing > 0) this.#fullAtMs = nowMs + (missing * 1000) / after.requestsPerSecond;
    else this.#fullAtMs = Math.min(this.#fullAtMs, nowMs);
  }

  /** It is as one that nobody ever used. */
  certainlyFull(nowMs: number): boolean {
    return nowMs >= this.#fullAtMs + TIME_ERROR_MS;
  }

  perhapsFull(nowMs: number): boolean {
    return nowMs >= this.#fullAtMs - TIME_ERROR_MS;
  }

  #tokens({ burst, requestsPerSecond }: RateLimitNumbers, nowMs: number): number {
    return burst - (Math.max(0, this.#fullAtMs - nowMs) * requestsPerSecond) / 1000;
  }
}

/** A bucket for each value, of which those that are not full are all remembered; values for which there is no room share one. */
export class HeaderLimitModel {
  readonly #buckets = new Map<string, RateLimitModel>();
  #shared = new RateLimitModel();
  /** There was more room than there is now: who had a bucket keeps it until it is full and its room is wanted. */
  #shrunk = false;
  /**
   * Buckets have grown: those that were full and still remembered have room now, those that were forgotten are full again, and which is
   * which shows nowhere. Until all of them must be full nothing is known.
   */
  #blind = false;
  #lastMs = Number.NEGATIVE_INFINITY;

  /** What the real one says: `shared`, that the value had no bucket of its own; `size`, how many it then had in all. */
  asked(plan: RateLimitNumbers, value: string, nowMs: number, mayPass: boolean, shared: boolean, size: number): void {
    if (this.#blind && nowMs - this.#lastMs > (plan.burst * 1000) / plan.requestsPerSecond + 1) this.#forget();
    this.#lastMs = nowMs;
    if (this.#blind) return;
    const room = plan.perHeader?.maxValues ?? 0;
    if (size <= room) this.#shrunk = false;
    demand(this.#shrunk || size <= room, () => `${size} values had a bucket where there is room for ${room}`);
    const own = this.#buckets.get(value);
    const others = [...this.#buckets.values()].filter((bucket) => bucket !== own);
    const leastInUse = others.filter((bucket) => !bucket.perhapsFull(nowMs)).length;
    const mostInUse = others.filter((bucket) => !bucket.certainlyFull(nowMs)).length;
    const isInUse = own !== undefined && !own.perhapsFull(nowMs);
    demand(
      !shared || (!isInUse && mostInUse >= room),
      () => `"${value}" shared a bucket where ${room} values have their own, and ${mostInUse} others used theirs`,
    );
    demand(
      shared || isInUse || this.#shrunk || leastInUse < room,
      () => `"${value}" had a bucket where ${room} values have their own, and ${leastInUse} others used theirs`,
    );
    const bucket = shared ? this.#shared : (own ?? new RateLimitModel());
    if (!shared) this.#buckets.set(value, bucket);
    bucket.asked(plan, nowMs, mayPass);
  }

  changed(before: RateLimitNumbers, after: RateLimitNumbers, nowMs: number): void {
    for (const bucket of [...this.#buckets.values(), this.#shared]) bucket.changed(before, after, nowMs);
    if ((after.perHeader?.maxValues ?? 0) < (before.perHeader?.maxValues ?? 0)) this.#shrunk = true;
    if (after.burst > before.burst) this.#blind = true;
    if (after.burst !== before.burst) this.#lastMs = nowMs;
  }

  /** All of them are full, and so the same as new ones. */
  #forget(): void {
    this.#buckets.clear();
    this.#shared = new RateLimitModel();
    this.#blind = false;
  }
}
