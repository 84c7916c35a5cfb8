import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { TokenBucket } from './token-bucket.ts';

test('gives its burst at once, then one in each interval', () => {
  const bucket = new TokenBucket({ burst: 2, intervalMs: 1_000 }, 0);
  expect([bucket.take(0), bucket.take(0), bucket.take(0)]).toEqual([true, true, false]);
  expect(bucket.waitMs(0)).toBe(1_000);
  expect(bucket.take(999)).toBe(false);
  expect(bucket.take(1_000)).toBe(true);
  expect(bucket.isFull(2_999)).toBe(false);
  expect(bucket.isFull(3_000)).toBe(true);
});

test('keeps a reserve for who asks for less', () => {
  const bucket = new TokenBucket({ burst: 4, intervalMs: 1_000 }, 0);
  expect([bucket.take(0, 3), bucket.take(0, 3), bucket.take(0, 3)]).toEqual([true, true, false]);
  expect([bucket.take(0), bucket.take(0), bucket.take(0)]).toEqual([true, true, false]);
  expect(bucket.waitMs(0, 3)).toBe(3_000);
});

test('whoever waits as long as it says gets one, and never more than its pace', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 100_000 }),
      fc.array(fc.integer({ min: 0, max: 50_000 }), { maxLength: 200, size: 'max' }),
      (burst, intervalMs, steps) => {
        const bucket = new TokenBucket({ burst, intervalMs }, 0);
        let nowMs = 0;
        let taken = 0;
        for (const step of steps) {
          nowMs += step;
          if (bucket.take(nowMs)) taken += 1;
          expect(taken).toBeLessThanOrEqual(burst + nowMs / intervalMs + 1e-6);
        }
        expect(bucket.take(nowMs + bucket.waitMs(nowMs))).toBe(true);
      },
    ),
  );
});
