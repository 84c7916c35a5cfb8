import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../runtime/random.ts';
import { bootstrapInterval, median, pairedRatio, ratioOfMedians, shuffled } from './statistics.ts';

const finite = fc.double({ min: 1e-3, max: 1e6, noNaN: true });
const values = fc.array(finite, { minLength: 1, maxLength: 40, size: 'max' });

describe('the median', () => {
  it.each([
    [[3], 3],
    [[1, 2], 1.5],
    [[9, 1, 5], 5],
    [[10, 9, 2, 1], 5.5],
  ])('of %j is %d', (given, expected) => {
    expect(median(given)).toBe(expected);
  });

  it('has as many values below it as above it, and leaves the values as they were', () => {
    fc.assert(
      fc.property(values, (given) => {
        const before = [...given];
        const middle = median(given);
        const below = given.filter((value) => value < middle).length;
        const above = given.filter((value) => value > middle).length;
        expect(Math.max(below, above) * 2).toBeLessThanOrEqual(given.length);
        expect(given).toEqual(before);
      }),
    );
  });

  it('does not exist for no values', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('the bootstrap interval', () => {
  it('holds the median, inside the range of the values', () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 1 }), (given, seed) => {
        const { low, high } = bootstrapInterval(given, seededRandom(seed), 0.95, 500);
        expect(low).toBeLessThanOrEqual(median(given));
        expect(high).toBeGreaterThanOrEqual(median(given));
        expect(low).toBeGreaterThanOrEqual(Math.min(...given));
        expect(high).toBeLessThanOrEqual(Math.max(...given));
      }),
      { numRuns: 50 },
    );
  });

  it('is one point where all values are the same', () => {
    expect(bootstrapInterval([4, 4, 4], seededRandom(1))).toEqual({ low: 4, high: 4 });
  });

  it('is the same for the same seed', () => {
    const given = [1, 5, 2, 8, 3];
    expect(bootstrapInterval(given, seededRandom(7))).toEqual(bootstrapInterval(given, seededRandom(7)));
  });

  it('holds the true median of what was sampled in about 95 of 100 experiments', () => {
    const random = seededRandom(20_261_121);
    let held = 0;
    for (let experiment = 0; experiment < 400; experiment++) {
      const sample = Array.from({ length: 15 }, () => random() + random());
      const { low, high } = bootstrapInterval(sample, random, 0.95, 400);
      if (low <= 1 && high >= 1) held++;
    }
    expect(held / 400).toBeGreaterThan(0.9);
    expect(held / 400).toBeLessThan(0.99);
  });

  it('does not exist for no values', () => {
    expect(() => bootstrapInterval([], seededRandom(1))).toThrow(RangeError);
  });
});

describe('the paired ratio', () => {
  it('is taken round by round, so that what slows both sides of a round cancels out', () => {
    const slowness = [1, 3, 1.5, 2, 9];
    const ours = slowness.map((factor) => 20 * factor);
    const theirs = slowness.map((factor) => 40 * factor);
    expect(pairedRatio(ours, theirs, seededRandom(1))).toEqual({ median: 0.5, low: 0.5, high: 0.5 });
  });

  it('asks for pairs', () => {
    expect(() => pairedRatio([1, 2], [1], seededRandom(1))).toThrow('2 and 1 values');
    expect(() => pairedRatio([], [], seededRandom(1))).toThrow(RangeError);
  });
});

describe('the ratio of medians', () => {
  it('is not upset by rounds in which one side is nothing, or less', () => {
    expect(ratioOfMedians([50, 60, -5, 55, 45], [100, -20, 110, 90, 0], seededRandom(1)).median).toBeCloseTo(50 / 90);
  });

  it('has an interval around it, which is a point where all rounds are the same', () => {
    expect(ratioOfMedians([2, 2, 2], [8, 8, 8], seededRandom(1))).toEqual({ median: 0.25, low: 0.25, high: 0.25 });
    const { median: ratio, low, high } = ratioOfMedians([4, 6, 5, 8, 5], [10, 9, 11, 10, 12], seededRandom(1));
    expect(ratio).toBe(0.5);
    expect(low).toBeLessThan(0.5);
    expect(high).toBeGreaterThan(0.5);
  });

  it('takes both medians of the same rounds', () => {
    // Whatever rounds are drawn, theirs is twice ours.
    const slowness = [1, 3, 1.5, 2, 9];
    const twice = slowness.map((factor) => 2 * factor);
    expect(ratioOfMedians(slowness, twice, seededRandom(1))).toEqual({ median: 0.5, low: 0.5, high: 0.5 });
  });

  it('is infinite beside nothing, and asks for pairs', () => {
    expect(ratioOfMedians([1, 1], [0, -1], seededRandom(1))).toEqual({
      median: Number.POSITIVE_INFINITY,
      low: Number.POSITIVE_INFINITY,
      high: Number.POSITIVE_INFINITY,
    });
    expect(() => ratioOfMedians([1, 2], [1], seededRandom(1))).toThrow('2 and 1 values');
    expect(() => ratioOfMedians([], [], seededRandom(1))).toThrow(RangeError);
  });
});

describe('shuffling', () => {
  it('loses and adds nothing', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.integer(), { nil: undefined })), fc.integer({ min: 1 }), (given, seed) => {
        const result = shuffled(given, seededRandom(seed));
        const order = (a: number | undefined, b: number | undefined) => (a ?? 0) - (b ?? 0);
        expect(result.toSorted(order)).toEqual(given.toSorted(order));
      }),
    );
  });

  it('brings every item to every place', () => {
    const random = seededRandom(3);
    const seen = new Set<string>();
    for (let time = 0; time < 200; time++)
      for (const [place, item] of shuffled(['a', 'b', 'c'], random).entries()) seen.add(`${item}${place}`);
    expect(seen.size).toBe(9);
  });
});
