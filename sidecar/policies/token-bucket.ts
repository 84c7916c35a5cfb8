// A token bucket: `burst` tokens at most, one more every 1/requestsPerSecond seconds, one taken by each request.
//
// Exact by whole numbers: time is counted in whole microseconds and tokens in millionths, so that one microsecond brings exactly
// `requestsPerSecond` millionths. Nothing is rounded when the bucket is refilled, however often it is looked at, so there is no drift;
// every number stays below 2^53. Refilled lazily: no timer, and no work while nobody asks. A clock that goes back brings nothing and
// takes nothing.
//
// The semantics are those of Envoy's local rate limit and of golang.org/x/time/rate (a full bucket at the start, refused requests take
// nothing); Envoy's bucket is filled at intervals, this one continuously.

/** Of each token; also microseconds in a second, which is what makes the refill exact. */
const PARTS = 1_000_000;

export interface TokenRate {
  /** Whole, 1–1,000,000. */
  requestsPerSecond: number;
  /** Tokens in a full bucket; whole, 1–1,000,000. */
  burst: number;
}

/** Whole microseconds of a monotonic time in milliseconds. */
export const toMicroseconds = (nowMs: number): number => Math.floor(nowMs * 1000);

export class TokenBucket {
  #partsPerMicrosecond: number;
  #capacity: number;
  #parts: number;
  /** When `#parts` was so; of a full bucket the time at which it became full, which no later look at it moves. */
  #atUs: number;

  /** A full one. `nowUs`: monotonic microseconds. */
  constructor(rate: TokenRate, nowUs: number) {
    this.#partsPerMicrosecond = rate.requestsPerSecond;
    this.#capacity = rate.burst * PARTS;
    this.#parts = this.#capacity;
    this.#atUs = nowUs;
  }

  /** Tokens that could be taken now. */
  available(nowUs: number): number {
    this.#refill(nowUs);
    return Math.floor(this.#parts / PARTS);
  }

  /** Takes a token; false: there is none, and nothing was taken. */
  take(nowUs: number): boolean {
    this.#refill(nowUs);
    if (this.#parts < PARTS) return false;
    this.#leaveFull(nowUs);
    this.#parts -= PARTS;
    return true;
  }

  /** Gives back what `take` took; never above full. */
  giveBack(): void {
    this.#parts = Math.min(this.#parts + PARTS, this.#capacity);
  }

  /** Microseconds until there is a token; 0: there is one. */
  untilNextUs(nowUs: number): number {
    this.#refill(nowUs);
    return Math.max(0, Math.ceil((PARTS - this.#parts) / this.#partsPerMicrosecond));
  }

  /** From when on it is full, and so the same as a new one, if nobody takes a token before. */
  get fullAtUs(): number {
    return this.#atUs + Math.ceil((this.#capacity - this.#parts) / this.#partsPerMicrosecond);
  }

  /** Another rate from now on. The tokens stay; what a smaller bucket cannot hold is lost, a larger one fills up in time. */
  update(rate: TokenRate, nowUs: number): void {
    this.#refill(nowUs);
    if (rate.burst * PARTS > this.#capacity) this.#leaveFull(nowUs);
    this.#partsPerMicrosecond = rate.requestsPerSecond;
    this.#capacity = rate.burst * PARTS;
    this.#parts = Math.min(this.#parts, this.#capacity);
  }

  #refill(nowUs: number): void {
    if (nowUs <= this.#atUs) return;
    const missing = this.#capacity - this.#parts;
    // Compared as times first: the product of a long pause and a high rate would be past 2^53.
    if (nowUs - this.#atUs >= missing / this.#partsPerMicrosecond) {
      this.#atUs = this.fullAtUs;
      this.#parts = this.#capacity;
      return;
    }
    this.#parts += (nowUs - this.#atUs) * this.#partsPerMicrosecond;
    this.#atUs = nowUs;
  }

  /** What was full until now begins to fill again from now on. Any other is up to date, for it has just been refilled. */
  #leaveFull(nowUs: number): void {
    this.#atUs = Math.max(this.#atUs, nowUs);
  }
}
