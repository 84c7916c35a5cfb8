import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FaultInjectionPlan } from '../../plan/policies/fault-injection.ts';
import { seededRandom } from '../../runtime/random.ts';
import { drawAbort, drawDelayMs } from './fault-injection.ts';

const faults = (delayPercent: number, abortPercent: number): FaultInjectionPlan => ({
  delay: { fixedMs: 250, percent: delayPercent },
  abort: { statusCode: 503, percent: abortPercent },
});

describe('fault injection', () => {
  it('of 100 percent spares nobody, of 0 everybody', () => {
    for (const drawn of [0, 0.5, 0.999_999_999]) {
      expect([drawDelayMs(faults(100, 100), () => drawn), drawAbort(faults(100, 100), () => drawn)]).toEqual([
        250, 503,
      ]);
      expect([drawDelayMs(faults(0, 0), () => drawn), drawAbort(faults(0, 0), () => drawn)]).toEqual([0, 0]);
    }
    expect([
      drawDelayMs({ delay: null, abort: null }, () => 0),
      drawAbort({ delay: null, abort: null }, () => 0),
    ]).toEqual([0, 0]);
  });

  it('chooses below its share and not at it', () => {
    expect([0.099, 0.1].map((drawn) => drawAbort(faults(0, 10), () => drawn))).toEqual([503, 0]);
  });

  it('repeats itself with the same seed, and keeps to its share', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1 }), fc.integer({ min: 0, max: 100 }), (seed, percent) => {
        const run = () => {
          const random = seededRandom(seed);
          return Array.from({ length: 2000 }, () => drawDelayMs(faults(percent, 0), random) > 0);
        };
        const chosen = run();
        expect(run()).toEqual(chosen);
        const share = (chosen.filter(Boolean).length / chosen.length) * 100;
        // Six standard deviations of 2000 draws.
        expect(Math.abs(share - percent)).toBeLessThanOrEqual(6.8);
      }),
      { numRuns: 100 },
    );
  });
});
