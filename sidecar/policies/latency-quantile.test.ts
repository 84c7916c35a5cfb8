import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LatencyQuantile } from './latency-quantile.ts';

describe('LatencyQuantile', () => {
  it('knows nothing before the first call', () => {
    const quantile = new LatencyQuantile(0);
    expect([quantile.count(0), quantile.estimateMs(95, 0)]).toEqual([0, 0]);
  });

  it('finds the slow twentieth', () => {
    const quantile = new LatencyQuantile(0);
    for (let call = 0; call < 1000; call += 1) quantile.record(call % 20 === 0 ? 800 : 10, call);
    expect(quantile.estimateMs(95, 1000)).toBeLessThan(11);
    expect(quantile.estimateMs(96, 1000)).toBeGreaterThanOrEqual(800);
  });

  it('forgets within a minute, and all at once after a pause', () => {
    const quantile = new LatencyQuantile(0);
    quantile.record(1000, 29_999);
    quantile.record(1, 30_000);
    expect([quantile.count(59_999), quantile.estimateMs(100, 59_999) >= 1000]).toEqual([2, true]);
    expect([quantile.count(60_000), quantile.estimateMs(100, 60_000) < 2]).toEqual([1, true]);
    expect(quantile.count(90_000)).toBe(0);
    quantile.record(5, 90_000);
    expect(quantile.count(200_000)).toBe(0);
  });

  it('forgets from wherever its time begins', () => {
    const quantile = new LatencyQuantile(100_000);
    quantile.record(5, 100_000);
    expect([quantile.count(149_999), quantile.count(150_000)]).toEqual([1, 0]);
  });

  it('keeps nothing of what is forgotten in its estimate', () => {
    const paused = new LatencyQuantile(0);
    paused.record(1, 0);
    paused.record(1, 30_000);
    paused.record(1000, 120_000);
    expect([paused.count(120_000), paused.estimateMs(50, 120_000) >= 1000]).toEqual([1, true]);
    const busy = new LatencyQuantile(0);
    busy.record(1, 0);
    busy.record(1000, 30_000);
    busy.record(1000, 60_000);
    expect([busy.count(60_000), busy.estimateMs(50, 60_000) >= 1000]).toEqual([2, true]);
  });

  it('ignores time that goes back', () => {
    const quantile = new LatencyQuantile(100_000);
    quantile.record(5, 100_000);
    quantile.record(5, 10);
    expect(quantile.count(0)).toBe(2);
    const first = new LatencyQuantile(100_000);
    first.record(5, 10);
    expect(first.count(100_000)).toBe(1);
  });

  it('takes what is out of all bounds for the longest or the shortest', () => {
    const quantile = new LatencyQuantile(0);
    for (const latencyMs of [-5, 0, Number.POSITIVE_INFINITY, 1e12]) quantile.record(latencyMs, 0);
    expect(quantile.estimateMs(50, 0)).toBe(1 / 16);
    expect(quantile.estimateMs(75, 0)).toBeGreaterThan(8_000_000);
  });

  it('is never below the exact quantile and at most a sixteenth above it, over the calls it remembers', () => {
    const calls = fc.array(
      fc.record({
        afterMs: fc.nat({ max: 8_000 }),
        // Edges of buckets, and what lies between them.
        latencyMs: fc.oneof(fc.nat({ max: 3_200 }), fc.nat({ max: 3_200_000 })).map((halves) => halves / 32),
      }),
      { minLength: 1, maxLength: 60, size: 'max' },
    );
    fc.assert(
      fc.property(calls, fc.integer({ min: 1, max: 100 }), (steps, percentile) => {
        const quantile = new LatencyQuantile(0);
        const model: { atMs: number; latencyMs: number }[] = [];
        let nowMs = 0;
        for (const { afterMs, latencyMs } of steps) {
          nowMs += afterMs;
          quantile.record(latencyMs, nowMs);
          model.push({ atMs: nowMs, latencyMs });
          const since = (Math.floor(nowMs / 30_000) - 1) * 30_000;
          const known = model.filter(({ atMs }) => atMs >= since).map((call) => call.latencyMs);
          known.sort((a, b) => a - b);
          const exact = known[Math.max(1, Math.ceil((percentile * known.length) / 100)) - 1] ?? 0;
          const estimate = quantile.estimateMs(percentile, nowMs);
          expect(quantile.count(nowMs)).toBe(known.length);
          expect(estimate).toBeGreaterThanOrEqual(exact);
          expect(estimate).toBeLessThanOrEqual(Math.max(exact * (1 + 1 / 16), exact + 1 / 16) + 1e-9);
        }
      }),
      { numRuns: 300 },
    );
  });
});
