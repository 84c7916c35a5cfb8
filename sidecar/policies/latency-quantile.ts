// A quantile of recent latencies in bounded memory.
//
// Counts in buckets of at most 1/16 of their value in width (16 for each power of two, from 1/16 ms on), so that the estimate, the upper
// edge of the bucket that holds the quantile, is never below the exact one and at most 6.25 % above it (1/16 ms for less than 1 ms). Two
// generations of 30 s each: the estimate is over the present and the last one, 30–60 s, and older calls are forgotten. 7 KiB, whatever happens.

const GENERATION_MS = 30_000;
const SUB_BUCKETS = 16;
/** Sixteenths of a millisecond. */
const UNITS_PER_MS = 16;
/** Up to 2^27 units, 2.3 h; longer ones are counted as that. */
const MAX_EXPONENT = 27;
const BUCKETS = SUB_BUCKETS + (MAX_EXPONENT - 4 + 1) * SUB_BUCKETS;

export class LatencyQuantile {
  #current = new Uint32Array(BUCKETS);
  #last = new Uint32Array(BUCKETS);
  #currentCount = 0;
  #lastCount = 0;
  #generation: number;

  constructor(nowMs: number) {
    this.#generation = Math.floor(nowMs / GENERATION_MS);
  }

  record(latencyMs: number, nowMs: number): void {
    this.#roll(nowMs);
    const index = bucketOf(latencyMs);
    this.#current[index] = (this.#current[index] ?? 0) + 1;
    this.#currentCount += 1;
  }

  /** Calls that the estimate is made of. */
  count(nowMs: number): number {
    this.#roll(nowMs);
    return this.#currentCount + this.#lastCount;
  }

  /** Milliseconds within which `percentile` percent of the calls were answered, rounded up; 0 where there was none. */
  estimateMs(percentile: number, nowMs: number): number {
    const count = this.count(nowMs);
    if (count === 0) return 0;
    const rank = Math.max(1, Math.ceil((percentile * count) / 100));
    let seen = 0;
    for (let index = 0; index < BUCKETS; index += 1) {
      seen += (this.#current[index] ?? 0) + (this.#last[index] ?? 0);
      if (seen >= rank) return upperEdgeMs(index);
    }
    return upperEdgeMs(BUCKETS - 1);
  }

  #roll(nowMs: number): void {
    const generation = Math.floor(nowMs / GENERATION_MS);
    if (generation <= this.#generation) return;
    if (generation - this.#generation === 1) {
      const oldest = this.#last;
      this.#last = this.#current;
      this.#lastCount = this.#currentCount;
      this.#current = oldest;
    } else {
      this.#last.fill(0);
      this.#lastCount = 0;
    }
    this.#current.fill(0);
    this.#currentCount = 0;
    this.#generation = generation;
  }
}

/** The first 16 buckets are of one unit each; then 16 for each power of two. */
function bucketOf(latencyMs: number): number {
  const units = Math.min(Math.max(0, Math.floor(latencyMs * UNITS_PER_MS)), 2 ** MAX_EXPONENT * 2 - 1);
  if (units < SUB_BUCKETS) return units;
  const exponent = 31 - Math.clz32(units);
  return (exponent - 3) * SUB_BUCKETS + ((units >>> (exponent - 4)) - SUB_BUCKETS);
}

function upperEdgeMs(index: number): number {
  if (index < SUB_BUCKETS) return (index + 1) / UNITS_PER_MS;
  const exponent = Math.floor(index / SUB_BUCKETS) + 3;
  const step = 2 ** (exponent - 4);
  return ((SUB_BUCKETS + (index % SUB_BUCKETS) + 1) * step) / UNITS_PER_MS;
}
