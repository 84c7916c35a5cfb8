import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BalancedEndpoint } from './candidates.ts';
import {
  costMs,
  FAILURE_COST_MS,
  MAX_FAILURE_COST_MS,
  observeFailure,
  observeOvertaken,
  observeSuccess,
} from './endpoint-cost.ts';

const endpoint = () => new BalancedEndpoint('e');

describe('the cost of an endpoint', () => {
  it('is its latency, times what is in progress and one', () => {
    const one = endpoint();
    observeSuccess(one, 20, 1000);
    expect(costMs(one, 1000)).toBe(20);
    one.begin();
    one.begin();
    expect(costMs(one, 1000)).toBe(60);
    one.end();
    expect(costMs(one, 1000)).toBe(40);
  });

  it('rises at once to a latency above it, and comes down with a time constant of 10 s', () => {
    const one = endpoint();
    observeSuccess(one, 5, 0);
    observeSuccess(one, 500, 1);
    expect(costMs(one, 1)).toBe(500);
    observeSuccess(one, 5, 10_001);
    expect(costMs(one, 10_001)).toBeCloseTo(500 / Math.E + 5 * (1 - 1 / Math.E), 9);
  });

  it('decays without news, so that the endpoint is tried again, but not below five milliseconds', () => {
    const one = endpoint();
    observeSuccess(one, 500, 0);
    expect(costMs(one, 10_000)).toBeCloseTo(500 / Math.E, 9);
    expect(costMs(one, 3_600_000)).toBe(5);
    observeSuccess(one, 5, 10_000);
    expect(one.latencyMs).toBeCloseTo(500 / Math.E + 5 * (1 - 1 / Math.E), 9);
  });

  it('holds still when the clock does not advance', () => {
    const one = endpoint();
    observeSuccess(one, 40, 100);
    observeSuccess(one, 10, 100);
    expect(costMs(one, 100)).toBe(40);
    expect(costMs(one, 99)).toBe(40);
  });

  it('holds five seconds for what always fails, however fast, and the share of that for what fails sometimes', () => {
    const always = endpoint();
    const sometimes = endpoint();
    for (let atMs = 0; atMs < 120_000; atMs += 10) {
      observeFailure(always, 0.3, 0, atMs);
      if (atMs % 1000 === 0) observeFailure(sometimes, 0.3, 0, atMs);
      else observeSuccess(sometimes, 5, atMs);
    }
    expect(costMs(always, 120_000)).toBeGreaterThan(FAILURE_COST_MS * 0.99);
    expect(costMs(sometimes, 120_000)).toBeGreaterThan(50);
    expect(costMs(sometimes, 120_000)).toBeLessThan(60);
  });

  it('holds what Retry-After says, up to a minute', () => {
    const costAfter = (retryAfterMs: number) => {
      const one = endpoint();
      observeFailure(one, 0, retryAfterMs, 0);
      return costMs(one, 0);
    };
    expect(costAfter(1_000)).toBe(FAILURE_COST_MS);
    expect(costAfter(20_000)).toBe(20_000);
    expect(costAfter(3_600_000)).toBe(MAX_FAILURE_COST_MS);
  });

  it('learns from a failure that took its time how slow the endpoint is, and from a fast one nothing', () => {
    const one = endpoint();
    observeSuccess(one, 20, 0);
    observeFailure(one, 1, 0, 5_000);
    expect(one.latencyMs).toBeCloseTo(20, 9);
    observeFailure(one, 2_000, 0, 6_000);
    expect(one.latencyMs).toBe(2_000);
  });

  it('learns from what was overtaken that it takes longer, and never that it is fast', () => {
    const one = endpoint();
    observeSuccess(one, 100, 0);
    observeOvertaken(one, 40, 0);
    expect(costMs(one, 0)).toBe(100);
    observeOvertaken(one, 40, 5_000);
    // Nor is it news that it takes as long as was known.
    observeOvertaken(one, 100, 5_000);
    expect([one.latencyMs, one.measuredAtMs]).toEqual([100, 0]);
    observeOvertaken(one, 300, 0);
    expect(costMs(one, 0)).toBe(300);
  });

  it('for any course of events lies between five milliseconds and the worst that was seen, and falls while nothing happens', () => {
    const event = fc.record({
      afterMs: fc.integer({ min: 0, max: 30_000 }),
      tookMs: fc.integer({ min: 0, max: 10_000 }),
      failed: fc.boolean(),
      retryAfterMs: fc.integer({ min: 0, max: 100_000 }),
    });
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 50, size: 'max' }), (events) => {
        const one = endpoint();
        let nowMs = 0;
        let worstMs = 5;
        for (const { afterMs, tookMs, failed, retryAfterMs } of events) {
          nowMs += afterMs;
          if (failed) observeFailure(one, tookMs, retryAfterMs, nowMs);
          else observeSuccess(one, tookMs, nowMs);
          worstMs = Math.max(worstMs, tookMs);
          expect(costMs(one, nowMs)).toBeGreaterThanOrEqual(5);
          expect(costMs(one, nowMs)).toBeLessThanOrEqual((worstMs + MAX_FAILURE_COST_MS) * (1 + 1e-9));
          expect(costMs(one, nowMs + 1)).toBeLessThanOrEqual(costMs(one, nowMs));
        }
      }),
    );
  });
});
