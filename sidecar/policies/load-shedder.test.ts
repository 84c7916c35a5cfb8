import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LoadSample, LoadShedder, MEMORY_LEVELS, ShedLevel, ShedReason } from './load-shedder.ts';

const CALM: LoadSample = { memoryShare: 0.3, loopDelayMs: 1, loopUtilization: 0.2 };
/** The loop works without a rest, and nothing waits for long. */
const BUSY: LoadSample = { ...CALM, loopUtilization: 1 };
const LATE: LoadSample = { memoryShare: 0.3, loopDelayMs: 120, loopUtilization: 1 };

function observe(shedder: LoadShedder, sample: Partial<LoadSample>, times: number): LoadShedder {
  for (let count = 0; count < times; count += 1) shedder.observe({ ...CALM, ...sample });
  return shedder;
}

const refusedOf = (shedder: LoadShedder, requests: number, active = 5): number[] =>
  Array.from({ length: requests }, () => shedder.judge(active)).filter((reason) => reason !== ShedReason.None);

describe('LoadShedder', () => {
  it('refuses nothing while it is well', () => {
    const shedder = observe(new LoadShedder(), {}, 100);
    expect(refusedOf(shedder, 1_000)).toEqual([]);
    expect([shedder.level, shedder.share, shedder.keepsConnections, shedder.acceptsConnections]).toEqual([
      0,
      0,
      true,
      true,
    ]);
  });

  it('refuses with the request that makes a whole one of what is owed', () => {
    const shedder = observe(observe(new LoadShedder(), LATE, 4), BUSY, 1);
    expect(shedder.share).toBe(0.14);
    const refused = Array.from({ length: 50 }, () => shedder.judge(5) === ShedReason.EventLoop);
    expect([refused.filter(Boolean).length, refused.at(-1)]).toEqual([7, true]);
  });

  it('does ever more as memory fills up, and takes it back step by step', () => {
    const shedder = new LoadShedder();
    const levels = [0.91, 0.93, 0.96, 0.99, 0.96, 0.94, 0.93, 0.91, 0.89, 0.87].map(
      (memoryShare) => observe(shedder, { memoryShare }, 3).level,
    );
    expect(levels).toEqual([0, 1, 2, 3, 3, 2, 2, 1, 1, 0]);
  });

  it('keeps no connections from the first level, refuses requests from the second, connections at the third', () => {
    const doings = [0.93, 0.96, 0.99].map((memoryShare) => {
      const shedder = observe(new LoadShedder(), { memoryShare }, 3);
      return [shedder.keepsConnections, shedder.judge(5), shedder.acceptsConnections];
    });
    expect(doings).toEqual([
      [false, ShedReason.None, true],
      [false, ShedReason.Memory, true],
      [false, ShedReason.Memory, false],
    ]);
  });

  it('lets one request at a time pass however full memory is', () => {
    const shedder = observe(new LoadShedder(), { memoryShare: 1 }, 50);
    expect([shedder.judge(0), shedder.judge(1)]).toEqual([ShedReason.None, ShedReason.Memory]);
  });

  it('is not moved by a pause, however long, nor by memory that is collected at once', () => {
    const shedder = observe(new LoadShedder(), {}, 10);
    for (let round = 0; round < 20; round += 1) {
      observe(shedder, { loopDelayMs: 30_000, loopUtilization: 1, memoryShare: 1 }, 2);
      observe(shedder, {}, 1);
    }
    expect([shedder.level, shedder.share]).toEqual([ShedLevel.None, 0]);
  });

  it('is not moved by a processor that others use up', () => {
    expect(observe(new LoadShedder(), { loopDelayMs: 300, loopUtilization: 0.6 }, 100).share).toBe(0);
  });

  it('refuses exactly its share, evenly', () => {
    const shedder = observe(new LoadShedder(), LATE, 7);
    expect(shedder.share).toBeCloseTo(1 - 0.9 ** 5, 10);
    const refused = refusedOf(shedder, 1_000);
    expect(refused.every((reason) => reason === ShedReason.EventLoop)).toBe(true);
    expect(Math.abs(refused.length - 1_000 * shedder.share)).toBeLessThanOrEqual(1);
  });

  it('refuses ever less when the delay is over, and nothing in the end', () => {
    const shedder = observe(new LoadShedder(), LATE, 100);
    expect(shedder.share).toBe(0.95);
    observe(shedder, BUSY, 10);
    expect(shedder.share).toBeCloseTo(0.45, 10);
    observe(shedder, BUSY, 10);
    expect(refusedOf(shedder, 100)).toEqual([]);
  });

  it('refuses half of that with each look at which the loop rests', () => {
    const shedder = observe(new LoadShedder(), LATE, 100);
    const shares = Array.from({ length: 4 }, () => observe(shedder, {}, 1).share);
    for (const [look, share] of [0.425, 0.1625, 0.03125, 0].entries()) expect(shares[look]).toBeCloseTo(share, 10);
  });

  it('tells those that are refused a longer time while they are many, four seconds at most', () => {
    const shedder = observe(new LoadShedder(), LATE, 4);
    expect([shedder.share, shedder.retryAfterMs]).toEqual([expect.closeTo(0.19, 10), 1_000]);
    expect(observe(shedder, LATE, 1).retryAfterMs).toBeCloseTo(1_100, 10);
    expect(observe(shedder, LATE, 100).retryAfterMs).toBe(4_000);
    expect(shedder.holdBackMs(ShedReason.EventLoop, 0.5)).toBe(3_000);
    // Between a tenth and a fifth it stays as it is.
    while (shedder.share > 0.18) observe(shedder, BUSY, 1);
    const before = shedder.retryAfterMs;
    expect(observe(shedder, { ...BUSY, loopDelayMs: 30 }, 20).retryAfterMs).toBe(before);
    expect(observe(shedder, {}, 20).retryAfterMs).toBe(1_000);
  });

  it.each([1.5, 2, 4])('keeps the delay bounded and the work going at %f times what it can do', (overload) => {
    const shedder = new LoadShedder();
    const step = (load: number) => oneStep(shedder, state, load);
    const state = { backlogMs: 0, served: 0 };
    for (let count = 0; count < 100; count += 1) step(overload);
    state.served = 0;
    let worst = 0;
    for (let count = 0; count < 600; count += 1) {
      step(overload);
      worst = Math.max(worst, state.backlogMs);
    }
    // Of what could be served if refusing cost nothing.
    expect(state.served / 60_000).toBeGreaterThan(overload < 4 ? 0.8 : 0.6);
    expect(worst).toBeLessThan(1_000);
    for (let count = 0; count < 50; count += 1) step(0.5);
    expect([shedder.share, state.backlogMs]).toEqual([0, 0]);
  });

  it('never leaves its bounds, and is calm again after calm', () => {
    const sample = fc.record({
      memoryShare: fc.nat({ max: 150 }).map((percent) => percent / 100),
      loopDelayMs: fc.oneof(fc.nat({ max: 2_000 }), fc.constant(1e6)),
      loopUtilization: fc.nat({ max: 100 }).map((percent) => percent / 100),
      repeat: fc.integer({ min: 1, max: 5 }),
    });
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 50, size: 'max' }), (samples) => {
        const shedder = new LoadShedder();
        for (const { repeat, ...one } of samples) {
          observe(shedder, one, repeat);
          expect(shedder.share).toBeGreaterThanOrEqual(0);
          expect(shedder.share).toBeLessThanOrEqual(0.95);
          expect(shedder.level).toBeLessThanOrEqual(MEMORY_LEVELS.length);
          shedder.judge(1);
        }
        observe(shedder, {}, 20);
        expect([shedder.level, shedder.share, ...refusedOf(shedder, 50)]).toEqual([0, 0]);
      }),
    );
  });
});

/** A request costs the event loop 1 ms, to refuse one a tenth of that; `load` times as many come as it could serve. */
function oneStep(shedder: LoadShedder, state: { backlogMs: number; served: number }, load: number): void {
  let costMs = 0;
  for (let request = 0; request < 100 * load; request += 1) {
    const passes = shedder.judge(10) === ShedReason.None;
    costMs += passes ? 1 : 0.1;
    if (passes) state.served += 1;
  }
  const workMs = state.backlogMs + costMs;
  state.backlogMs = Math.max(0, workMs - 100);
  shedder.observe({ memoryShare: 0.3, loopDelayMs: state.backlogMs, loopUtilization: Math.min(1, workMs / 100) });
}
