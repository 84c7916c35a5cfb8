import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BucketTable, bucketKey } from './bucket-table.ts';
import { TokenBucket } from './token-bucket.ts';

const SECOND = 1_000_000;

describe('BucketTable', () => {
  it('limits each value on its own', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 1 }, 10, 0);
    expect(['a', 'b', 'a', 'b', ''].map((value) => table.take(value, 0))).toEqual([true, true, false, false, true]);
    expect(table.untilNextUs('a', 0)).toBe(SECOND);
    expect(table.take('a', SECOND)).toBe(true);
    expect(table.size).toBe(3);
  });

  it('forgets full buckets for new values, and no others', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 2 }, 2, 0);
    table.take('idle', 0);
    table.take('busy', 0);
    table.take('busy', 0);
    // "idle" is full again, "busy" is not.
    expect(table.take('new', SECOND)).toBe(true);
    expect(table.size).toBe(2);
    expect(table.take('busy', SECOND)).toBe(true);
    expect(table.take('busy', SECOND)).toBe(false);
  });

  it('lets values without room share one bucket', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 1 }, 1, 0);
    expect(['kept', 'x1', 'x2', 'x3'].map((value) => table.take(value, 0))).toEqual([true, true, false, false]);
    expect(table.sharedUses).toBe(3);
    expect(table.untilNextUs('x3', 0)).toBe(SECOND);
  });

  it('gives the shared bucket the numbers of a new plan too', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 1 }, 1, 0);
    for (const value of ['kept', 'x1']) table.take(value, 0);
    table.update({ requestsPerSecond: 10, burst: 1 }, 1, 0);
    expect(table.untilNextUs('x2', 0)).toBe(SECOND / 10);
  });

  it('knows a long value by its hash, and a value that looks like a hash for itself', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 1 }, 10, 0);
    const long = 'x'.repeat(5_000);
    expect([table.take(long, 0), table.take(long, 0), table.take(`${long}y`, 0)]).toEqual([true, false, true]);
    expect(table.take(`${'0'.repeat(64)}#`, 0)).toBe(true);
  });

  it('changes the numbers of all, and shrinks only as buckets fill up', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 3 }, 3, 0);
    for (const value of ['a', 'b', 'b', 'c', 'c', 'c']) table.take(value, 0);
    table.update({ requestsPerSecond: 2, burst: 3 }, 1, 0);
    expect(table.size).toBe(3);
    expect(table.take('c', 0)).toBe(false);
    expect(table.take('c', SECOND / 2)).toBe(true);
    expect(table.take('new', SECOND / 2)).toBe(true);
    expect(table.size).toBe(2);
    expect(table.sharedUses).toBe(1);
    expect(table.take('newer', 10 * SECOND)).toBe(true);
    expect(table.size).toBe(1);
  });

  it('knows a value again that is no ASCII', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 1 }, 2, 0);
    expect([table.take('caf\xe9', 0), table.take('caf\xe9', 0), table.size]).toEqual([true, false, 1]);
  });

  it('has room for no value where it has none at all, and comes down to that', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 2 }, 0, 0);
    table.update({ requestsPerSecond: 1, burst: 1 }, 0, 0);
    expect([table.take('a', 0), table.take('b', 0), table.size, table.sharedUses]).toEqual([true, false, 0, 2]);
    table.update({ requestsPerSecond: 1, burst: 1 }, 2, 0);
    expect([table.take('a', 0), table.take('b', 0), table.size]).toEqual([true, true, 2]);
    table.update({ requestsPerSecond: 1, burst: 1 }, 0, 0);
    expect([table.take('c', SECOND), table.size, table.sharedUses]).toEqual([true, 0, 3]);
  });

  it('forgets only as many as it has too many of', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 1 }, 4, 0);
    for (const value of ['a', 'b', 'c']) table.take(value, 0);
    table.take('d', SECOND);
    expect(table.size).toBe(4);
    table.update({ requestsPerSecond: 1, burst: 1 }, 3, SECOND);
    table.take('e', SECOND);
    expect(table.size).toBe(3);
  });

  it('knows which bucket is full first by new numbers, where by the old ones several were to be in the same microsecond', () => {
    const table = new BucketTable({ requestsPerSecond: 300_000, burst: 2 }, 2, 0);
    // After 3 µs "a" lacks 1,100,000 millionths and "b" 1,000,000: either is full 4 µs later.
    for (const [value, nowUs] of [
      ['a', 0],
      ['b', 3],
      ['a', 3],
    ] as const)
      table.take(value, nowUs);
    table.update({ requestsPerSecond: 1, burst: 2 }, 2, 3);
    expect([table.take('c', 3 + 999_999), table.sharedUses]).toEqual([true, 1]);
    expect([table.take('c', 3 + 1_000_000), table.sharedUses]).toEqual([true, 1]);
    // It has the bucket of "b", and "a" has its own: less than two tokens are in it.
    expect([1, 2].map(() => table.take('a', 3 + 1_000_000))).toEqual([true, false]);
  });

  it('forgets the bucket that is full first, whichever value came first', () => {
    const table = new BucketTable({ requestsPerSecond: 1, burst: 3 }, 3, 0);
    for (const value of ['a', 'a', 'a', 'b', 'b', 'c']) table.take(value, 0);
    for (const [value, nowUs] of [
      ['d', SECOND],
      ['e', 2 * SECOND],
      ['f', 3 * SECOND],
    ] as const) {
      expect([table.take(value, nowUs), table.sharedUses]).toEqual([true, 0]);
    }
  });

  it('knows a value by a key of 65 characters at most, which no other value has', () => {
    const sha = (value: string) => createHash('sha256').update(Buffer.from(value, 'latin1')).digest('hex');
    const [short, long, foreign] = ['x'.repeat(64), 'x'.repeat(65), '\xe9'.repeat(65)];
    expect(['', short, long, foreign].map(bucketKey)).toEqual(['', short, `${sha(long)}#`, `${sha(foreign)}#`]);
  });

  const plan = fc.record({
    requestsPerSecond: fc.constantFrom(1, 2, 3, 300_000),
    maxValues: fc.integer({ min: 1, max: 8 }),
  });
  const use = fc.record({
    value: fc.oneof(fc.constantFrom('a', 'b', 'c'), fc.nat({ max: 9 }).map(String)),
    passedUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 8 }), fc.integer({ min: 0, max: SECOND })),
    plan: fc.oneof({ weight: 15, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: plan }),
  });

  /** Of all values that ever had a bucket. One that is full is the same whether it was forgotten or not, as long as its burst is the same. */
  const inUse = (own: ReadonlyMap<string, TokenBucket>, nowUs: number) =>
    [...own].filter(([, bucket]) => bucket.fullAtUs > nowUs).map(([value]) => value);

  it('never lets a value have more than a bucket of its own would, nor all others together more than one', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 3, 4, 300_000),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 8 }),
        fc.array(use, { maxLength: 60, size: 'max' }),
        (requestsPerSecond, burst, firstMaxValues, uses) => {
          let rate = { requestsPerSecond, burst };
          let maxValues = firstMaxValues;
          const table = new BucketTable(rate, maxValues, 0);
          const shared = new TokenBucket(rate, 0);
          const own = new Map<string, TokenBucket>();
          let nowUs = 0;
          for (const { value, passedUs, plan } of uses) {
            nowUs += passedUs;
            if (plan !== null) {
              rate = { requestsPerSecond: plan.requestsPerSecond, burst };
              maxValues = plan.maxValues;
              table.update(rate, maxValues, nowUs);
              for (const bucket of [shared, ...own.values()]) bucket.update(rate, nowUs);
            }
            const before = inUse(own, nowUs);
            const sharedBefore = table.sharedUses;
            const sizeBefore = table.size;
            const granted = table.take(value, nowUs);
            if (table.sharedUses > sharedBefore) {
              // Only where every bucket kept is in use: one that is full would have been forgotten.
              expect(before.length).toBeGreaterThanOrEqual(maxValues);
              expect(before).not.toContain(value);
              expect(granted).toBe(shared.take(nowUs));
              expect(table.size).toBe(before.length);
            } else {
              if (!own.has(value)) expect(before.length).toBeLessThan(maxValues);
              const bucket = own.get(value) ?? new TokenBucket(rate, nowUs);
              own.set(value, bucket);
              expect(granted).toBe(bucket.take(nowUs));
              expect(table.size).toBeLessThanOrEqual(Math.max(maxValues, sizeBefore));
              expect(table.size).toBeGreaterThanOrEqual(Math.min(maxValues, sizeBefore));
            }
          }
        },
      ),
      { numRuns: 250 },
    );
  });
});
