// Exact counts over the last window of time: a ring of ten buckets by elapsed time, rolled when something is recorded.
//
// Semantics: of resilience4j's time-based sliding window and of the ring of Linkerd's unified breaker: no decay, no sampling. The bucket in
// progress is included, so that a count covers 90–100 % of the window; after an idle window it starts at zero.

const BUCKETS = 10;

/** `windowMs` is 1 or more. Time is monotonic: what goes back is counted in the newest bucket. */
export class CallWindow {
  #bucketMs: number;
  readonly #calls = new Float64Array(BUCKETS);
  readonly #failures = new Float64Array(BUCKETS);
  readonly #slow = new Float64Array(BUCKETS);
  #bucket = 0;
  /** What the window holds, as of the last record or roll. */
  calls = 0;
  failures = 0;
  slow = 0;

  constructor(windowMs: number) {
    this.#bucketMs = windowMs / BUCKETS;
  }

  /** Another window: what was counted in the old one is dropped. */
  resize(windowMs: number, nowMs: number): void {
    this.clear();
    this.#bucketMs = windowMs / BUCKETS;
    this.#bucket = Math.floor(nowMs / this.#bucketMs);
  }

  record(failed: boolean, slow: boolean, nowMs: number): void {
    this.roll(nowMs);
    const index = this.#bucket % BUCKETS;
    this.#calls[index] = (this.#calls[index] ?? 0) + 1;
    this.calls += 1;
    if (failed) {
      this.#failures[index] = (this.#failures[index] ?? 0) + 1;
      this.failures += 1;
    }
    if (slow) {
      this.#slow[index] = (this.#slow[index] ?? 0) + 1;
      this.slow += 1;
    }
  }

  clear(): void {
    this.#calls.fill(0);
    this.#failures.fill(0);
    this.#slow.fill(0);
    this.calls = 0;
    this.failures = 0;
    this.slow = 0;
  }

  /** Forgets what is older than the window. */
  roll(nowMs: number): void {
    const bucket = Math.floor(nowMs / this.#bucketMs);
    if (bucket <= this.#bucket) return;
    // After a pause each bucket is forgotten once.
    const known = Math.max(this.#bucket, bucket - BUCKETS);
    for (let passed = known + 1; passed <= bucket; passed += 1) this.#forget(passed % BUCKETS);
    this.#bucket = bucket;
  }

  #forget(index: number): void {
    this.calls -= this.#calls[index] ?? 0;
    this.failures -= this.#failures[index] ?? 0;
    this.slow -= this.#slow[index] ?? 0;
    this.#calls[index] = 0;
    this.#failures[index] = 0;
    this.#slow[index] = 0;
  }
}
