// Load shedding beside a model that keeps every sample and decides by reading them all. The values are those at which decisions change.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LoadSample, LoadShedder, MEMORY_LEVELS, ShedReason } from './load-shedder.ts';

const LASTING = 3;

class Model {
  readonly #samples: LoadSample[] = [];
  level = 0;
  share = 0;
  retryAfterMs = 1_000;
  #owed = 0;

  observe(sample: LoadSample): void {
    const before = this.#samples.at(-1);
    this.#samples.push(sample);
    const lasts = (holds: (one: LoadSample) => boolean) =>
      this.#samples.length >= LASTING && this.#samples.slice(-LASTING).every(holds);
    const reached = MEMORY_LEVELS.filter(({ above }) => lasts(({ memoryShare }) => memoryShare > above)).length;
    const kept = MEMORY_LEVELS.filter(({ below }) => sample.memoryShare >= below).length;
    this.level = Math.max(reached, Math.min(this.level, kept));
    const isLate = lasts(({ loopDelayMs, loopUtilization }) => loopDelayMs > 50 && loopUtilization > 0.9);
    const fallsFast = sample.loopDelayMs <= (before?.loopDelayMs ?? 0) * 0.85;
    if (isLate && !fallsFast) this.share = Math.min(0.95, this.share + (1 - this.share) * 0.1);
    else if (sample.loopDelayMs < 25)
      this.share = Math.max(0, (sample.loopUtilization > 0.9 ? this.share : this.share / 2) - 0.05);
    if (this.share === 0) this.#owed = 0;
    if (this.share > 0.2) this.retryAfterMs = Math.min(4_000, this.retryAfterMs * 1.1);
    else if (this.share < 0.1) this.retryAfterMs = Math.max(1_000, this.retryAfterMs / 1.1);
  }

  judge(active: number): number {
    if (this.level >= 2 && active > 0) return ShedReason.Memory;
    this.#owed += this.share;
    if (this.#owed < 1) return ShedReason.None;
    this.#owed -= 1;
    return ShedReason.EventLoop;
  }
}

const memoryShare = fc.constantFrom(0.5, 0.87, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.98, 0.99);
// 85 is 85 % of 100, which is 85 % of more than 117 and less than 118.
const loopDelayMs = fc.constantFrom(0, 24, 25, 40, 50, 51, 85, 100, 117, 118, 500);
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      sample: fc.record({ memoryShare, loopDelayMs, loopUtilization: fc.constantFrom(0.5, 0.9, 0.91, 0.91, 1, 1) }),
      times: fc.integer({ min: 1, max: 6 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ requests: fc.integer({ min: 1, max: 30 }), active: fc.integer({ min: 0, max: 1 }) }),
  },
);

describe('load shedding', () => {
  it('decides as a model does that reads all samples', () => {
    const reached = new Set<string>();
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        const shedder = new LoadShedder();
        const model = new Model();
        for (const each of steps) {
          if ('sample' in each) {
            for (let count = 0; count < each.times; count += 1) {
              shedder.observe(each.sample);
              model.observe(each.sample);
              expect([shedder.level, shedder.share, shedder.retryAfterMs]).toEqual([
                model.level,
                model.share,
                model.retryAfterMs,
              ]);
            }
          } else {
            for (let count = 0; count < each.requests; count += 1) {
              const reason = shedder.judge(each.active);
              expect(reason).toBe(model.judge(each.active));
              reached.add(`judged ${reason}`);
            }
          }
          reached.add(`level ${shedder.level}`);
        }
      }),
      { numRuns: 500 },
    );
    const reasons = Object.values(ShedReason).map((reason) => `judged ${reason}`);
    expect([...reached]).toEqual(expect.arrayContaining([...reasons, 'level 0', 'level 1', 'level 2', 'level 3']));
  });
});
