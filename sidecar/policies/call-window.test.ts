// The window of the circuit breaker: exact counts, tried through the breaker too, since what it decides by them is what counts.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CallWindow } from './call-window.ts';
import { type BreakerPlan, BreakerState, CircuitBreaker, Outcome } from './circuit-breaker.ts';
import { BREAKER_PLAN } from './testing/breaker-plan.ts';

const { Closed, Open } = BreakerState;
const { Success, Failure } = Outcome;

const PLAN: BreakerPlan = { ...BREAKER_PLAN, failureOn: ['ServerError'], consecutiveFailures: 0, windowMs: 1000 };

describe('the window', () => {
  const call = fc.record({
    waitMs: fc.integer({ min: 0, max: 350 }),
    failed: fc.boolean(),
    slow: fc.integer({ min: 0, max: 3 }).map((number) => number === 0),
  });

  it.each([
    ['failures', { failureRate: { percent: 60, minimumCalls: 6 } }],
    ['slow calls', { slowCalls: { percent: 40, minimumCalls: 6, thresholdMs: 100 } }],
  ] as const)('counts %s exactly, over ten buckets of elapsed time', (kind, rate) => {
    fc.assert(
      fc.property(
        fc.array(call, { minLength: 6, maxLength: 40, size: 'max' }),
        fc.nat({ max: 5000 }),
        (list, startMs) => {
          const breaker = new CircuitBreaker({ ...PLAN, ...rate }, () => 0);
          const seen: { bucket: number; counts: boolean }[] = [];
          let nowMs = startMs;
          for (const { waitMs, failed, slow: isSlow } of list) {
            nowMs += waitMs;
            breaker.settle(breaker.admit(nowMs), failed ? Failure : Success, isSlow ? 101 : 100, nowMs);
            const bucket = Math.floor(nowMs / 100);
            seen.push({ bucket, counts: kind === 'failures' ? failed : isSlow });
            const window = seen.filter((one) => one.bucket > bucket - 10);
            const count = window.filter(({ counts }) => counts).length;
            const trips = window.length >= 6 && count * 100 >= (kind === 'failures' ? 60 : 40) * window.length;
            expect(breaker.state(nowMs)).toBe(trips ? Open : Closed);
            if (trips) return;
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('holds what lies in the bucket of now and the nine before it', () => {
    const window = new CallWindow(1000);
    window.record(true, false, 50);
    window.record(false, true, 950);
    expect([window.calls, window.failures, window.slow]).toEqual([2, 1, 1]);
    window.record(false, false, 1050);
    expect([window.calls, window.failures, window.slow]).toEqual([2, 0, 1]);
    window.record(false, false, 1949);
    expect([window.calls, window.slow]).toEqual([2, 0]);
  });

  it('starts at zero after as long as it is', () => {
    const window = new CallWindow(1000);
    for (let call = 0; call < 5; call += 1) window.record(true, true, call * 100);
    window.record(false, false, 1400);
    expect([window.calls, window.failures, window.slow]).toEqual([1, 0, 0]);
  });

  it('counts time that went back as now', () => {
    const window = new CallWindow(1000);
    window.record(true, false, 5000);
    window.record(true, false, 100);
    window.record(true, false, 5000);
    expect(window.calls).toBe(3);
  });

  it('forgets all at once when it is cleared, and never takes that off again', () => {
    const window = new CallWindow(1000);
    window.record(true, true, 50);
    window.clear();
    expect([window.calls, window.failures, window.slow]).toEqual([0, 0, 0]);
    window.roll(1050);
    expect([window.calls, window.failures, window.slow]).toEqual([0, 0, 0]);
  });

  it('begins anew where its length changes', () => {
    const window = new CallWindow(1000);
    window.record(true, true, 10_000);
    window.resize(2000, 10_050);
    expect([window.calls, window.failures, window.slow]).toEqual([0, 0, 0]);
    window.record(true, true, 10_050);
    window.roll(11_999);
    expect([window.calls, window.failures, window.slow]).toEqual([1, 1, 1]);
    window.roll(12_000);
    expect([window.calls, window.failures, window.slow]).toEqual([0, 0, 0]);
  });
});
