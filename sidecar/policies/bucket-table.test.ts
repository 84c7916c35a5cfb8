import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BucketTable } from './bucket-table.ts';
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

  const use = fc.record({
    value: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
    passedUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: SECOND })),
  });

  it('never lets a value have more than a bucket of its own would, nor all others together more than one', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 5 }),
        fc.array(use, { maxLength: 40, size: 'max' }),
        (requestsPerSecond, burst, maxValues, uses) => {
          const rate = { requestsPerSecond, burst };
          const table = new BucketTable(rate, maxValues, 0);
          const shared = new TokenBucket(rate, 0);
          const own = new Map<string, TokenBucket>();
          let nowUs = 0;
          for (const { value, passedUs } of uses) {
            nowUs += passedUs;
            const sharedBefore = table.sharedUses;
            const granted = table.take(value, nowUs);
            expect(table.size).toBeLessThanOrEqual(maxValues);
            if (table.sharedUses > sharedBefore) {
              // Only where every bucket kept is in use: one that is full would have been forgotten.
              const inUse = [...own.values()].filter((bucket) => bucket.fullAtUs > nowUs);
              expect(inUse.length).toBe(maxValues);
              expect(granted).toBe(shared.take(nowUs));
            } else {
              const bucket = own.get(value) ?? new TokenBucket(rate, 0);
              own.set(value, bucket);
              expect(granted).toBe(bucket.take(nowUs));
            }
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
