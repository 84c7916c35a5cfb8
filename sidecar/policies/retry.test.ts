import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, isRetryAfterTooLong, mayRunTwice, retryDelayMs, statusTable } from './retry.ts';

describe('mayRunTwice', () => {
  it.each(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])('%s is idempotent', (method) => {
    expect(mayRunTwice(method, false, 'Idempotent')).toBe(true);
  });

  it.each(['POST', 'PATCH', 'CONNECT', 'get', 'LOCK', ''])(
    '%s is not, unless it has a key or the policy says so',
    (method) => {
      expect(mayRunTwice(method, false, 'Idempotent')).toBe(false);
      expect(mayRunTwice(method, true, 'Idempotent')).toBe(true);
      expect(mayRunTwice(method, false, 'All')).toBe(true);
    },
  );
});

describe('backoffMs', () => {
  const spec = { backoffInitialMs: 25, backoffMaxMs: 250 };

  it.each([
    [1, 25],
    [2, 50],
    [3, 100],
    [4, 200],
    [5, 250],
    [9, 250],
  ])('retry %i waits less than %i ms', (retryNumber, ceiling) => {
    expect(backoffMs(spec, retryNumber, 0)).toBe(0);
    expect(backoffMs(spec, retryNumber, 0.5)).toBe(ceiling / 2);
    expect(backoffMs(spec, retryNumber, 0.999_999)).toBeLessThan(ceiling);
  });

  it('is never negative nor above the maximum, whatever the plan says', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 86_400_000 }),
        fc.nat({ max: 86_400_000 }),
        fc.integer({ min: 1, max: 10 }),
        fc.nat({ max: 999 }).map((thousandths) => thousandths / 1_000),
        (backoffInitialMs, backoffMaxMs, retryNumber, random) => {
          const wait = backoffMs({ backoffInitialMs, backoffMaxMs }, retryNumber, random);
          expect(wait).toBeGreaterThanOrEqual(0);
          expect(wait).toBeLessThanOrEqual(backoffMaxMs);
        },
      ),
    );
  });
});

describe('Retry-After', () => {
  it.each([
    [1_000, 1_000, false],
    [1_001, 1_000, true],
    [60_000, 0, false],
    [-1, 1_000, false],
  ])('of %i ms is too long for a bound of %i ms: %s', (retryAfterMs, maxRetryAfterMs, tooLong) =>
    expect(isRetryAfterTooLong(retryAfterMs, maxRetryAfterMs)).toBe(tooLong),
  );

  it('is the least wait, with the backoff behind it; without it, and where nobody takes notice, there is the backoff alone', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1, max: 60_000 }),
        fc.constantFrom(0, 60_000),
        fc.integer({ min: 1, max: 10 }),
        fc.nat({ max: 999 }).map((thousandths) => thousandths / 1_000),
        (retryAfterMs, maxRetryAfterMs, retryNumber, random) => {
          const spec = { backoffInitialMs: 25, backoffMaxMs: 250, maxRetryAfterMs };
          const pauseMs = backoffMs(spec, retryNumber, random);
          const waitMs = retryDelayMs(spec, retryNumber, retryAfterMs, random);
          expect(waitMs).toBe((maxRetryAfterMs > 0 ? Math.max(0, retryAfterMs) : 0) + pauseMs);
        },
      ),
    );
  });
});

it('marks the statuses that are named, and no other', () => {
  expect(statusTable([])).toBeNull();
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 400, max: 599 }), { minLength: 1 }), (statuses) => {
      const table = statusTable(statuses);
      for (let status = 100; status < 1_000; status += 1) expect(table?.[status] === 1).toBe(statuses.includes(status));
    }),
    { numRuns: 50 },
  );
});
