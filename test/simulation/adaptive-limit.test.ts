// The adaptive limit against dependencies whose capacity is known: does it find it, keep it under noise, and follow when it changes?
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AdaptiveLimitNumbers } from '../../sidecar/policies/adaptive-limit.ts';
import { type Conditions, type Observation, runQueueingModel } from './queueing-model.ts';

const SPEC: AdaptiveLimitNumbers = {
  minConcurrent: 1,
  maxConcurrent: 1000,
  latencyTolerancePercent: 25,
  probeIntervalMs: 60_000,
};
const BASE: Conditions = { servers: 40, serviceMs: 50, spread: 0.5, arrivalsPerSecond: 1500 };

const run = (seed: number, durationMs: number, conditions: (atMs: number) => Conditions) =>
  runQueueingModel({ spec: SPEC, seed, durationMs, everyMs: 500, conditions });

function between(seen: readonly Observation[], fromMs: number, toMs: number) {
  const part = seen.filter(({ atMs }) => atMs > fromMs && atMs <= toMs);
  const [first, last] = [part[0], part.at(-1)];
  if (first === undefined || last === undefined) throw new Error('nothing was seen in this time');
  const limits = part.map(({ limit }) => limit).sort((one, other) => one - other);
  return {
    limit: limits[limits.length >> 1] ?? 0,
    perSecond: ((last.finished - first.finished) * 1000) / (last.atMs - first.atMs),
  };
}

/** Calls per second that the dependency can do; the mean of a log-normal time is above its median. */
const capacity = ({ servers, serviceMs, spread }: Conditions) =>
  (servers * 1000) / (serviceMs * Math.exp((spread * spread) / 2));

describe('the adaptive limit', () => {
  it('finds the capacity of any dependency under any overload, and uses it', () => {
    const conditions = fc.record({
      servers: fc.constantFrom(1, 3, 10, 40, 120),
      serviceMs: fc.constantFrom(5, 30, 200),
      spread: fc.constantFrom(0, 0.3, 0.6, 1),
      overload: fc.constantFrom(1.5, 3),
    });
    fc.assert(
      fc.property(conditions, fc.nat(), ({ overload, ...dependency }, seed) => {
        const { servers, serviceMs } = dependency;
        fc.pre((servers * 1000) / serviceMs < 6_000);
        const perSecondAtMost = capacity({ ...dependency, arrivalsPerSecond: 0 });
        const all = { ...dependency, arrivalsPerSecond: overload * perSecondAtMost };
        // It learns from calls: where few are made, it takes longer.
        const durationMs = Math.max(120_000, 3_000_000 / perSecondAtMost);
        const { limit, perSecond } = between(
          run(seed, durationMs, () => all),
          0.6 * durationMs,
          durationMs,
        );
        // The fixed point of the formula for this capacity, and what noise of the baseline makes of it.
        const settled = fixedPoint(1.25 * servers);
        expect(limit).toBeGreaterThan(0.6 * settled);
        expect(limit).toBeLessThan(2 * settled + 3);
        expect(perSecond).toBeGreaterThan((dependency.spread < 1 ? 0.8 : 0.7) * perSecondAtMost);
      }),
      // What is measured is chance: the same draws each time, or it would fail for nothing now and then.
      { seed: 4711, numRuns: 12 },
    );
  }, 60_000);

  it.each([1, 2, 3])('follows when half of the capacity goes and comes back (seed %i)', (seed) => {
    const seen = run(seed, 180_000, (atMs) => (atMs > 60_000 && atMs <= 120_000 ? { ...BASE, servers: 20 } : BASE));
    const [before, half, after] = [
      between(seen, 30_000, 60_000),
      between(seen, 75_000, 120_000),
      between(seen, 135_000, 180_000),
    ];
    expect(half.limit).toBeLessThan(0.7 * before.limit);
    expect(half.perSecond).toBeGreaterThan(0.9 * capacity({ ...BASE, servers: 20 }));
    expect(after.limit).toBeGreaterThan(0.8 * before.limit);
    expect(after.perSecond).toBeGreaterThan(0.9 * capacity(BASE));
  });

  it.each([1, 2, 3])('learns within seconds that a dependency has become slower for everybody (seed %i)', (seed) => {
    const seen = run(seed, 120_000, (atMs) => (atMs > 60_000 ? { ...BASE, serviceMs: 150 } : BASE));
    expect(between(seen, 75_000, 120_000).perSecond).toBeGreaterThan(0.85 * capacity({ ...BASE, serviceMs: 150 }));
  });

  it.each([1, 2, 3])('refuses nothing of a load that the dependency can do (seed %i)', (seed) => {
    const seen = run(seed, 120_000, () => ({ ...BASE, arrivalsPerSecond: 0.5 * capacity(BASE) }));
    expect(seen.at(-1)?.refused).toBe(0);
  });

  it.each([1, 2, 3])(
    'does not rise with the latency of an overload that lasts (seed %i)',
    (seed) => {
      const seen = run(seed, 900_000, () => BASE);
      const [early, late] = [between(seen, 60_000, 120_000), between(seen, 800_000, 900_000)];
      expect(late.limit).toBeLessThan(1.3 * early.limit);
      expect(late.perSecond).toBeGreaterThan(0.9 * capacity(BASE));
    },
    30_000,
  );
});

/** Where limit − √limit = x. */
function fixedPoint(x: number): number {
  const root = (1 + Math.sqrt(1 + 4 * x)) / 2;
  return root * root;
}
