import { assert, double, integer, property } from 'fast-check';
import { expect, it } from 'vitest';
import { backoffMs } from './backoff.ts';

const settings = { initialMs: 200, maxMs: 10_000 };

it('retries the first failure within the initial delay', () => {
  expect(backoffMs(settings, 1, () => 0)).toBe(0);
  expect(backoffMs(settings, 1, () => 0.5)).toBe(100);
});

it('doubles up to the maximum', () => {
  expect([2, 3, 4, 5, 6, 7, 8].map((failures) => backoffMs(settings, failures, () => 0.999_999))).toEqual(
    [400, 800, 1600, 3200, 6400, 10_000, 10_000].map((ms) => expect.closeTo(ms, 0)),
  );
});

it('never leaves its bounds, however often it failed', () => {
  assert(
    property(integer({ min: 2, max: 2 ** 31 }), double({ min: 0, max: 0.999_999, noNaN: true }), (failures, chance) => {
      const ms = backoffMs(settings, failures, () => chance);
      expect(ms).toBeGreaterThanOrEqual(settings.initialMs);
      expect(ms).toBeLessThanOrEqual(settings.maxMs);
    }),
  );
});
