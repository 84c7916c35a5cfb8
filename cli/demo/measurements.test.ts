import { describe, expect, it } from 'vitest';
import { countInside, quantile, recent, summarise } from './measurements.ts';

const at = (atMs: number, durationMs: number, ok = true) => ({ atMs, durationMs, ok });

describe('measurements', () => {
  it('takes the smallest value that enough others do not exceed', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(quantile(hundred, 0.99)).toBe(99);
    expect(quantile(hundred, 0.5)).toBe(50);
    expect(quantile([7], 0.99)).toBe(7);
    expect(quantile([], 0.5)).toBe(0);
  });

  it('sums up what began inside the window, its start included and its end not', () => {
    const summary = summarise([at(99, 1), at(100, 10), at(150, 30, false), at(200, 5, false)], 100, 200);
    expect(summary).toEqual({ requests: 2, failed: 1, p50Ms: 10, p99Ms: 30 });
  });

  it('shows what ended lately, however long it had taken', () => {
    const now = recent([at(0, 1_500), at(0, 2_900, false), at(2_950, 20), at(2_990, 100)], 3_000, 1_000);
    expect(now.ratePerSecond).toBe(2);
    expect(now.errorPercent).toBe(50);
    expect(now.p99Ms).toBe(2_900);
  });

  it('shows nothing as nothing, not as an error', () => {
    expect(recent([], 1_000, 1_000)).toEqual({ ratePerSecond: 0, errorPercent: 0, p99Ms: 0 });
  });

  it('counts the times that lie in an interval', () => {
    expect(
      countInside(
        [1, 5, 9, 10, 20],
        [
          { from: 5, to: 9 },
          { from: 20, to: 21 },
        ],
      ),
    ).toBe(3);
  });
});
