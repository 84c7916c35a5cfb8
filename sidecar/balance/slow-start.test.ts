import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BalancedEndpoint } from './candidates.ts';
import { isWarm, shareOf } from './slow-start.ts';

function joined(joinedAtMs: number): BalancedEndpoint {
  const endpoint = new BalancedEndpoint('e');
  endpoint.joinedAtMs = joinedAtMs;
  return endpoint;
}

describe('the share of a new endpoint', () => {
  it('grows linearly over the window, from a tenth', () => {
    const share = [0, 500, 1_000, 5_000, 9_999, 10_000, 60_000].map((ms) => shareOf(joined(1_000), 10_000, 1_000 + ms));
    expect(share).toEqual([0.1, 0.1, 0.1, 0.5, 0.9999, 1, 1]);
  });

  it('is whole from the start where the endpoint was in the first set, or slow start is off', () => {
    expect(shareOf(joined(-1), 10_000, 0)).toBe(1);
    expect(shareOf(joined(0), 0, 0)).toBe(1);
  });

  it('never falls, for any window and any two times', () => {
    const ms = fc.integer({ min: 0, max: 1_000_000 });
    fc.assert(
      fc.property(ms, ms, ms, ms, (joinedAtMs, windowMs, afterMs, laterMs) => {
        const endpoint = joined(joinedAtMs);
        const first = shareOf(endpoint, windowMs, joinedAtMs + afterMs);
        const later = shareOf(endpoint, windowMs, joinedAtMs + afterMs + laterMs);
        expect(later).toBeGreaterThanOrEqual(first);
        expect(first).toBeGreaterThanOrEqual(0.1);
        expect(later).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe('whether a new endpoint takes part', () => {
  it('is decided by the chances below its share', () => {
    const taken = [0, 0.25, 0.499, 0.5, 0.75, 0.999].filter((chance) => isWarm(joined(0), 10_000, 5_000, () => chance));
    expect(taken).toEqual([0, 0.25, 0.499]);
  });

  it('is not left to chance once its share is whole', () => {
    const never = () => {
      throw new Error('chance is asked');
    };
    expect(isWarm(joined(0), 10_000, 10_000, never)).toBe(true);
    expect(isWarm(joined(-1), 10_000, 0, never)).toBe(true);
    expect(isWarm(joined(0), 0, 0, never)).toBe(true);
  });
});
