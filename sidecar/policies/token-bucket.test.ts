import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenBucket, type TokenRate, toMicroseconds } from './token-bucket.ts';

/** The definition, in exact numbers: what came in since the start, less what was taken, never above full. */
class ExactBucket {
  millionths: bigint;
  atUs: bigint;
  rate: TokenRate;

  constructor(rate: TokenRate, nowUs: number) {
    this.rate = rate;
    this.millionths = this.#full;
    this.atUs = BigInt(nowUs);
  }

  get #full(): bigint {
    return BigInt(this.rate.burst) * 1_000_000n;
  }

  take(nowUs: number): boolean {
    this.#refill(nowUs);
    if (this.millionths < 1_000_000n) return false;
    this.millionths -= 1_000_000n;
    return true;
  }

  update(rate: TokenRate, nowUs: number): void {
    this.#refill(nowUs);
    this.rate = rate;
    if (this.millionths > this.#full) this.millionths = this.#full;
  }

  #refill(nowUs: number): void {
    const passed = BigInt(nowUs) - this.atUs;
    if (passed <= 0n) return;
    this.atUs += passed;
    this.millionths += passed * BigInt(this.rate.requestsPerSecond);
    if (this.millionths > this.#full) this.millionths = this.#full;
  }
}

const rate = fc.record({
  requestsPerSecond: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 1_000_000 })),
  burst: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 1_000_000 })),
});
/** Now and then back, now and then a week. */
const passedUs = fc.oneof(
  fc.integer({ min: -1000, max: 100_000 }),
  fc.integer({ min: 0, max: 5 }),
  fc.constant(604_800_000_000),
);

describe('TokenBucket', () => {
  it('begins full, and gives one token after each interval', () => {
    const bucket = new TokenBucket({ requestsPerSecond: 4, burst: 2 }, 0);
    expect([bucket.take(0), bucket.take(0), bucket.take(0)]).toEqual([true, true, false]);
    expect(bucket.untilNextUs(0)).toBe(250_000);
    expect(bucket.take(249_999)).toBe(false);
    expect(bucket.untilNextUs(249_999)).toBe(1);
    expect(bucket.take(250_000)).toBe(true);
    expect(bucket.available(10_000_000)).toBe(2);
  });

  it('does not drift where an interval is no whole number of microseconds, however often it is asked', () => {
    const bucket = new TokenBucket({ requestsPerSecond: 7, burst: 1 }, 0);
    let taken = 0;
    for (let nowUs = 0; nowUs <= 100_000_000; nowUs += 997) if (bucket.take(nowUs)) taken += 1;
    // One at the start; then one for each seventh of a second, found within 997 µs of it.
    const unasked = new TokenBucket({ requestsPerSecond: 7, burst: 1_000 }, 0);
    for (let count = 0; count < 1_000; count += 1) unasked.take(0);
    expect(unasked.available(100_000_000)).toBe(700);
    expect(taken).toBeGreaterThan(695);
    expect(taken).toBeLessThanOrEqual(701);
  });

  it('counts time in whole microseconds, each of them once', () => {
    const bucket = new TokenBucket({ requestsPerSecond: 1_000, burst: 1 }, toMicroseconds(0.0004));
    bucket.take(toMicroseconds(0.0004));
    let atMs = 0.0004;
    while (bucket.untilNextUs(toMicroseconds(atMs)) > 0) atMs += 0.00037;
    expect(atMs).toBeGreaterThanOrEqual(1);
    expect(atMs).toBeLessThan(1.002);
  });

  it('ignores a clock that goes back', () => {
    const bucket = new TokenBucket({ requestsPerSecond: 10, burst: 1 }, 1_000_000);
    expect(bucket.take(1_000_000)).toBe(true);
    expect(bucket.take(0)).toBe(false);
    expect(bucket.take(1_099_999)).toBe(false);
    expect(bucket.take(1_100_000)).toBe(true);
  });

  it('keeps what was taken when the numbers change', () => {
    const bucket = new TokenBucket({ requestsPerSecond: 1, burst: 10 }, 0);
    for (let count = 0; count < 8; count += 1) bucket.take(0);
    bucket.update({ requestsPerSecond: 100, burst: 50 }, 0);
    expect(bucket.available(0)).toBe(2);
    bucket.update({ requestsPerSecond: 100, burst: 1 }, 0);
    expect(bucket.available(0)).toBe(1);
    bucket.take(0);
    bucket.giveBack();
    bucket.giveBack();
    expect(bucket.available(0)).toBe(1);
  });

  it('does exactly as its definition does', () => {
    const step = fc.record({
      passedUs,
      change: fc.oneof({ weight: 7, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: rate }),
      takes: fc.integer({ min: 1, max: 6 }),
    });
    fc.assert(
      fc.property(
        rate,
        fc.integer({ min: 0, max: 1e12 }),
        fc.array(step, { maxLength: 60, size: 'max' }),
        (first, startUs, steps) => {
          const bucket = new TokenBucket(first, startUs);
          const model = new ExactBucket(first, startUs);
          let nowUs = startUs;
          for (const { passedUs: passed, change, takes } of steps) {
            nowUs = Math.max(0, nowUs + passed);
            if (change !== null) {
              bucket.update(change, nowUs);
              model.update(change, nowUs);
            }
            for (let count = 0; count < takes; count += 1) expect(bucket.take(nowUs)).toBe(model.take(nowUs));
            expect(bucket.available(nowUs)).toBe(Number(model.millionths / 1_000_000n));
            const latestUs = Math.max(nowUs, Number(model.atUs));
            const waitUs = bucket.untilNextUs(latestUs);
            if (waitUs === 0) continue;
            expect(bucket.available(latestUs + waitUs - 1)).toBe(0);
            expect(bucket.available(latestUs + waitUs)).toBe(1);
            model.update(model.rate, latestUs + waitUs);
            nowUs = latestUs + waitUs;
          }
        },
      ),
      { numRuns: 250 },
    );
  });
});

it('is full from when it became so, however often it is looked at', () => {
  const bucket = new TokenBucket({ requestsPerSecond: 4, burst: 2 }, 0);
  bucket.take(0);
  expect(bucket.fullAtUs).toBe(250_000);
  for (const nowUs of [100_000, 250_000, 400_000, 900_000]) {
    bucket.available(nowUs);
    bucket.update({ requestsPerSecond: 4, burst: 2 }, nowUs);
    expect(bucket.fullAtUs).toBe(250_000);
  }
  // What it was full for brings nothing: one token now, and no more for its having waited.
  bucket.take(1_000_000);
  expect(bucket.fullAtUs).toBe(1_250_000);
  bucket.update({ requestsPerSecond: 4, burst: 3 }, 2_000_000);
  expect(bucket.available(2_000_000)).toBe(2);
  expect(bucket.fullAtUs).toBe(2_250_000);
});
