import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, mayRunTwice } from './retry.ts';

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
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (backoffInitialMs, backoffMaxMs, retryNumber, random) => {
          const wait = backoffMs({ backoffInitialMs, backoffMaxMs }, retryNumber, random);
          expect(wait).toBeGreaterThanOrEqual(0);
          expect(wait).toBeLessThanOrEqual(backoffMaxMs);
        },
      ),
    );
  });
});
