import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { AdaptiveLimit, type AdaptiveLimitNumbers } from './adaptive-limit.ts';

const SPEC: AdaptiveLimitNumbers = {
  minConcurrent: 3,
  maxConcurrent: 200,
  latencyTolerancePercent: 25,
  probeIntervalMs: 60_000,
};

/** Answers of one latency, `perSecond` of them, with as much in flight as the limit allows or `inFlight`. */
function feed(
  limit: AdaptiveLimit,
  answers: { fromMs: number; forMs: number; latencyMs: number; inFlight?: number; perSecond?: number },
): number {
  const { fromMs, forMs, latencyMs, inFlight, perSecond = 500 } = answers;
  let nowMs = fromMs;
  for (; nowMs < fromMs + forMs; nowMs += 1000 / perSecond) limit.record(latencyMs, inFlight ?? limit.limit, nowMs);
  return nowMs;
}

const fresh = (spec: AdaptiveLimitNumbers = SPEC) => new AdaptiveLimit(spec, seededRandom(1), 0);

describe('AdaptiveLimit', () => {
  it('takes the first window for the latency without load', () => {
    const limit = fresh();
    expect([limit.limit, limit.probing, limit.baselineMs]).toEqual([20, true, 0]);
    feed(limit, { fromMs: 0, forMs: 200, latencyMs: 40 });
    expect([limit.limit, limit.probing, limit.baselineMs, limit.medianMs]).toEqual([20, false, 40, 40]);
  });

  it('grows by its root for each window while latency stays, up to its bound', () => {
    const limit = fresh();
    const atMs = feed(limit, { fromMs: 0, forMs: 200, latencyMs: 40 });
    feed(limit, { fromMs: atMs, forMs: 520, latencyMs: 40 });
    expect(limit.limit).toBe(Math.floor(20 + Math.sqrt(20)));
    feed(limit, { fromMs: atMs + 520, forMs: 120_000, latencyMs: 40 });
    expect(limit.limit).toBe(200);
  });

  it('does not grow while less than half of it is used', () => {
    const limit = fresh();
    feed(limit, { fromMs: 0, forMs: 30_000, latencyMs: 40, inFlight: 5 });
    expect(limit.limit).toBe(20);
  });

  it('falls at most to half and its root in a window, however slow it is', () => {
    const limit = fresh();
    const atMs = feed(limit, { fromMs: 0, forMs: 200, latencyMs: 40 });
    feed(limit, { fromMs: atMs, forMs: 520, latencyMs: 100_000 });
    expect(limit.limit).toBe(Math.floor(10 + Math.sqrt(20)));
  });

  it('measures anew when the limit fell to half and latency with it did not', () => {
    const limit = fresh();
    const atMs = feed(limit, { fromMs: 0, forMs: 200, latencyMs: 40 });
    feed(limit, { fromMs: atMs, forMs: 8_000, latencyMs: 120 });
    expect(limit.baselineMs).toBe(120);
    expect(limit.limit).toBeGreaterThan(10);
  });

  it('lowers the limit to measure the latency without load, and goes on where it was', () => {
    const limit = fresh();
    let nowMs = feed(limit, { fromMs: 0, forMs: 200, latencyMs: 40 });
    while (!limit.probing) nowMs = feed(limit, { fromMs: nowMs, forMs: 2, latencyMs: 52 });
    const probed = limit.limit;
    nowMs = feed(limit, { fromMs: nowMs, forMs: 1_000, latencyMs: 40, inFlight: probed + 1 });
    expect([limit.probing, limit.limit]).toEqual([true, probed]);
    feed(limit, { fromMs: nowMs, forMs: 230, latencyMs: 42 });
    expect([limit.probing, limit.baselineMs]).toEqual([false, 41]);
    expect(limit.limit).toBeGreaterThan(probed);
  });

  it('gives a probe up where nothing can be learnt, for nobody calls', () => {
    const limit = fresh();
    let nowMs = feed(limit, { fromMs: 0, forMs: 200, latencyMs: 40 });
    while (!limit.probing) nowMs = feed(limit, { fromMs: nowMs, forMs: 2, latencyMs: 52 });
    const probed = limit.limit;
    expect(limit.giveUpProbe(probed - 1, nowMs + 4_900)).toBe(false);
    expect(limit.giveUpProbe(probed - 1, nowMs + 5_200)).toBe(true);
    expect(limit.limit).toBeGreaterThan(probed);
    expect([limit.probing, limit.baselineMs, limit.giveUpProbe(0, nowMs + 9_000)]).toEqual([false, 40, false]);
  });

  /** Its second probe has begun, at `beganMs`; the latency without load is 10 ms. */
  function probing() {
    const limit = new AdaptiveLimit(SPEC, () => 0, 0);
    let nowMs = 0;
    const answer = (latencyMs: number) => limit.record(latencyMs, limit.limit, nowMs);
    for (; limit.probing; nowMs += 1) answer(10);
    for (nowMs += 30_000; !limit.probing; nowMs += 20) answer(10);
    return { limit, beganMs: nowMs - 20, answer };
  }

  it('gives a probe up after its patience, and not before', () => {
    const { limit, beganMs } = probing();
    // The answers of one latency belong to the limit before.
    expect(limit.giveUpProbe(0, beganMs + 10 + 4_999)).toBe(false);
    expect(limit.giveUpProbe(0, beganMs + 10 + 5_000)).toBe(true);
  });

  it('gives a probe up after twenty medians where all places are taken, for long streams hold them', () => {
    const { limit, beganMs } = probing();
    const probed = limit.limit;
    expect(limit.giveUpProbe(probed, beganMs + 10 + 199)).toBe(false);
    expect(limit.giveUpProbe(probed, beganMs + 10 + 200)).toBe(true);
    expect(limit.limit).toBeGreaterThan(probed);
  });

  it('probes ever more rarely while streams hold the places, and as the policy says once one was measured', () => {
    const { limit, beganMs } = probing();
    let nowMs = beganMs;
    const pauses: number[] = [];
    const untilProbing = () => {
      const fromMs = nowMs;
      for (; !limit.probing; nowMs += 20) limit.record(10, limit.limit, nowMs);
      return Math.round((nowMs - fromMs) / 1_000);
    };
    for (let probe = 0; probe < 8; probe += 1) {
      limit.giveUpProbe(limit.limit, (nowMs += 1_000));
      pauses.push(untilProbing());
    }
    expect(pauses).toEqual([11, 21, 41, 81, 161, 321, 481, 481]);
    for (nowMs += 1_000; limit.probing; nowMs += 1) limit.record(10, 1, nowMs);
    untilProbing();
    for (nowMs += 1_000; limit.probing; nowMs += 1) limit.record(10, 1, nowMs);
    expect(untilProbing()).toBe(60);
  });

  it('takes a probe that is half as slow again for noise, and a slower one for the truth', () => {
    const probed = (latencyMs: number) => {
      const { limit, beganMs } = probing();
      for (let nth = 0; limit.probing; nth += 1) limit.record(latencyMs, 1, beganMs + 1_000 + nth);
      return limit.baselineMs;
    };
    expect([probed(15), probed(15.5)]).toEqual([12.5, 15.5]);
  });

  /** The first window closed at 0 with a latency of 10 ms. */
  function measured(spec: AdaptiveLimitNumbers): AdaptiveLimit {
    const limit = new AdaptiveLimit(spec, () => 0, 0);
    for (let answers = 0; answers < 50; answers += 1) limit.record(10, 1, 0);
    return limit;
  }

  /** A window that closes with its last answer, half a second after its first. */
  function closeWindow(limit: AdaptiveLimit, atMs: number, latencyMs: number, inFlight: number): void {
    limit.record(latencyMs, inFlight, atMs - 500);
    for (let answers = 1; answers < 50; answers += 1) limit.record(latencyMs, inFlight, atMs);
  }

  it('learns the latency without load where just half of the capacity is in use', () => {
    // (16 − √16) / 1.5 calls fit.
    const limit = measured({ ...SPEC, minConcurrent: 16, maxConcurrent: 16, latencyTolerancePercent: 50 });
    closeWindow(limit, 1_000, 20, 4);
    expect(limit.baselineMs).toBe(12);
    closeWindow(limit, 2_000, 20, 5);
    expect(limit.baselineMs).toBe(12);
  });

  it('grows where just half of the limit is used', () => {
    const limit = measured(SPEC);
    closeWindow(limit, 1_000, 10, 9);
    expect(limit.limit).toBe(20);
    closeWindow(limit, 2_000, 10, 10);
    expect(limit.limit).toBe(24);
  });

  it('probes at the moment at which it is due', () => {
    const probes = [4_999, 5_000].map((atMs) => {
      const limit = measured(SPEC);
      closeWindow(limit, atMs, 12, 9);
      return limit.probing;
    });
    expect(probes).toEqual([false, true]);
  });

  it('probes at once where the limit is just half of what it was', () => {
    const probes = [11, 10].map((maxConcurrent) => {
      const limit = measured(SPEC);
      limit.update({ ...SPEC, maxConcurrent });
      closeWindow(limit, 1_000, 12, 4);
      return limit.probing;
    });
    expect(probes).toEqual([false, true]);
  });

  it('leaves out the answers that belong to the limit before', () => {
    const limit = fresh();
    const atMs = feed(limit, { fromMs: 0, forMs: 200, latencyMs: 40 });
    let nowMs = atMs;
    while (limit.limit === 20) nowMs = feed(limit, { fromMs: nowMs, forMs: 2, latencyMs: 300 });
    const fallen = 10 + Math.sqrt(20);
    expect(limit.limit).toBe(Math.floor(fallen));
    feed(limit, { fromMs: nowMs, forMs: 299, latencyMs: 300 });
    feed(limit, { fromMs: nowMs + 302, forMs: 520, latencyMs: 40 });
    expect(limit.limit).toBe(Math.floor(fallen + Math.sqrt(fallen)));
  });

  it('takes new numbers at once, and keeps what it measured', () => {
    const limit = fresh();
    feed(limit, { fromMs: 0, forMs: 60_000, latencyMs: 40 });
    limit.update({ ...SPEC, maxConcurrent: 12 });
    expect([limit.limit, limit.baselineMs]).toEqual([12, 40]);
    limit.update({ ...SPEC, minConcurrent: 50 });
    expect(limit.limit).toBe(50);
  });

  it('stays within its bounds whatever it is told', () => {
    const bounds = fc
      .tuple(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1, max: 1_000 }))
      .map(([one, other]) => ({ ...SPEC, minConcurrent: Math.min(one, other), maxConcurrent: Math.max(one, other) }));
    const step = fc.record({
      passedMs: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constant(100_000)),
      latencyMs: fc.oneof(
        fc.constant(0),
        fc.nat({ max: 1_000 }).map((tenths) => tenths / 10),
        fc.constant(3_600_000),
      ),
      inFlight: fc.integer({ min: 1, max: 2_000 }),
      repeat: fc.integer({ min: 1, max: 80 }),
      change: fc.oneof({ weight: 19, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: bounds }),
    });
    fc.assert(
      fc.property(bounds, fc.array(step, { maxLength: 60, size: 'max' }), (first, steps) => {
        const limit = fresh(first);
        let spec = first;
        let nowMs = 0;
        for (const { passedMs, latencyMs, inFlight, repeat, change } of steps) {
          if (change !== null) {
            spec = change;
            limit.update(change);
          }
          for (let count = 0; count < repeat; count += 1) {
            nowMs += passedMs;
            limit.record(latencyMs, inFlight, nowMs);
            const isWithin = limit.limit >= spec.minConcurrent && limit.limit <= spec.maxConcurrent;
            // So many answers that `expect` itself would be most of the test.
            if (!isWithin || !Number.isInteger(limit.limit)) expect([limit.limit, spec]).toEqual([null, spec]);
          }
          limit.giveUpProbe(0, nowMs);
        }
      }),
      { numRuns: 100 },
    );
  });
});
