import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { Hedging, type HedgingNumbers, mayRunBeside } from './hedging.ts';

const plan = (changes: Partial<HedgingNumbers> = {}): HedgingNumbers => ({
  afterPercentile: 95,
  minDelayMs: 10,
  maxDelayMs: 1000,
  ...changes,
});

function trained(spec: HedgingNumbers, calls: number, latencyMs: number): Hedging {
  const hedging = new Hedging(spec, 0);
  for (let call = 0; call < calls; call += 1) hedging.record(latencyMs, 0);
  return hedging;
}

describe('Hedging', () => {
  it('sends nothing twice before it has seen enough', () => {
    expect([0, 19].map((calls) => trained(plan(), calls, 50).delayMs(0))).toEqual([-1, -1]);
    expect(trained(plan(), 20, 50).delayMs(0)).toBeGreaterThanOrEqual(50);
    expect(trained(plan({ afterPercentile: 99 }), 99, 50).delayMs(0)).toBe(-1);
    expect(trained(plan({ afterPercentile: 99 }), 100, 50).delayMs(0)).toBeGreaterThanOrEqual(50);
  });

  it('waits no less than minDelay and no more than maxDelay', () => {
    expect(trained(plan(), 50, 1).delayMs(0)).toBe(10);
    expect(trained(plan(), 50, 5000).delayMs(0)).toBe(1000);
    expect(trained(plan({ maxDelayMs: null }), 50, 5000).delayMs(0)).toBeGreaterThanOrEqual(5000);
  });

  it('follows a dependency that becomes slower, and one that was silent starts again', () => {
    const hedging = trained(plan(), 50, 50);
    expect(hedging.delayMs(0)).toBeLessThan(60);
    for (let call = 0; call < 50; call += 1) hedging.record(400, 50);
    expect(hedging.delayMs(50)).toBeLessThan(60);
    expect(hedging.delayMs(100)).toBeGreaterThanOrEqual(400);
    expect(hedging.delayMs(200_000)).toBe(-1);
  });

  it('takes new numbers at once and keeps what it knows', () => {
    const hedging = trained(plan(), 50, 50);
    hedging.delayMs(0);
    hedging.update(plan({ minDelayMs: 300 }));
    expect(hedging.delayMs(0)).toBe(300);
    hedging.update(plan({ minDelayMs: 300, maxDelayMs: 400, afterPercentile: 99 }));
    expect(hedging.delayMs(0)).toBe(-1);
    hedging.update(plan({ minDelayMs: 300, maxDelayMs: 400 }));
    expect(hedging.delayMs(0)).toBe(300);
    hedging.update(plan({ minDelayMs: 1, maxDelayMs: 400 }));
    expect(hedging.delayMs(0)).toBeLessThan(60);
    hedging.update(plan({ minDelayMs: 1, maxDelayMs: 30 }));
    expect(hedging.delayMs(0)).toBe(30);
  });

  it('does not look at latencies again for a plan that says the same', () => {
    const hedging = trained(plan(), 50, 50);
    const delayMs = hedging.delayMs(0);
    for (let call = 0; call < 50; call += 1) hedging.record(400, 0);
    hedging.update(plan());
    expect(hedging.delayMs(0)).toBe(delayMs);
  });

  it('does not feed on itself: the share of hedged calls stays what the percentile says', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1 }), fc.constantFrom(80, 90, 95), (seed, afterPercentile) => {
        const random = seededRandom(seed);
        const hedging = new Hedging(plan({ afterPercentile, minDelayMs: 1, maxDelayMs: 60_000 }), 0);
        let hedged = 0;
        const calls = 3000;
        for (let call = 0; call < calls; call += 1) {
          const nowMs = call * 10;
          // Exponential latencies: the second attempt often overtakes, so that most long ones are never seen whole.
          const first = -Math.log(1 - random()) * 100;
          const delayMs = hedging.delayMs(nowMs);
          const second = delayMs < 0 ? Number.POSITIVE_INFINITY : delayMs - Math.log(1 - random()) * 100;
          if (delayMs >= 0 && first > delayMs) hedged += 1;
          hedging.record(Math.min(first, second), nowMs);
        }
        const share = (hedged / calls) * 100;
        // The estimate is rounded up by a sixteenth at most, so the share is somewhat lower, never much higher.
        expect(share).toBeLessThan(100 - afterPercentile + 3);
        expect(share).toBeGreaterThan((100 - afterPercentile) * 0.5);
      }),
      { numRuns: 40 },
    );
  });
});

describe('two copies at a time', () => {
  const METHODS = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE', 'POST', 'PATCH', 'get'];
  const may = (hasKey: boolean, methods: 'Idempotent' | 'All') =>
    METHODS.filter((method) => mayRunBeside(method, hasKey, methods));

  it('may be under way of safe methods, of what has a key, and of all where the policy says so', () => {
    expect(may(false, 'Idempotent')).toEqual(['GET', 'HEAD', 'OPTIONS', 'TRACE']);
    expect([may(true, 'Idempotent'), may(false, 'All')]).toEqual([METHODS, METHODS]);
  });
});
