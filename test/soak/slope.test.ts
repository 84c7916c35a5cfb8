import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { type Sample, theilSen } from './slope.ts';

const HOUR_MS = 3_600_000;
const samplesOf = (count: number, value: (hour: number, nth: number) => number): Sample[] =>
  Array.from({ length: count }, (_, nth) => ({ atMs: (nth * HOUR_MS) / count, value: value(nth / count, nth) }));

describe('the slope of samples', () => {
  it('is that of a line, and its interval holds nothing else', () => {
    const { perHour, low, high } = theilSen(samplesOf(60, (hour) => 7 + 100 * hour));
    for (const value of [perHour, low, high]) expect(value).toBeCloseTo(100, 6);
  });

  it('is not moved by a few outliers', () => {
    const { perHour, low } = theilSen(samplesOf(60, (hour, nth) => (nth % 10 === 9 ? 1_000 : 100 * hour)));
    expect(perHour).toBeGreaterThan(80);
    expect(perHour).toBeLessThan(130);
    expect(low).toBeGreaterThan(0);
  });

  it('of noise holds zero, but for one seed in hundreds', () => {
    const seeds = Array.from({ length: 200 }, (_, index) => index + 1);
    const outside = seeds.filter((seed) => {
      const random = seededRandom(seed);
      const { low, high } = theilSen(samplesOf(60, () => 50 + 20 * random()));
      return low > 0 || high < 0;
    });
    expect(outside.length).toBeLessThanOrEqual(2);
  });

  it('of a leak within noise is found', () => {
    const random = seededRandom(1);
    const { low } = theilSen(samplesOf(60, (hour) => 50 + 20 * random() + 30 * hour));
    expect(low).toBeGreaterThan(0);
  });

  it('is unknown for too few samples', () => {
    expect(theilSen(samplesOf(2, (hour) => hour))).toEqual({
      perHour: 0,
      low: Number.NEGATIVE_INFINITY,
      high: Number.POSITIVE_INFINITY,
    });
    expect(theilSen(samplesOf(4, (hour) => hour)).low).toBe(Number.NEGATIVE_INFINITY);
  });
});
