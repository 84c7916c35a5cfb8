import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { LoadShedder, ShedReason } from '../policies/load-shedder.ts';
import type { MemoryUse } from './cgroup-memory.ts';
import { createLoopReader, IDLE_INTERVAL_MS, LoadSampler, SAMPLE_INTERVAL_MS } from './load-sampler.ts';

function world() {
  const clock = new ManualClock();
  const shedder = new LoadShedder();
  const state = {
    busy: true,
    loop: { utilization: 0.2, roundMs: 1 },
    memory: { usedBytes: 10, limitBytes: 100 } as MemoryUse | null,
    reads: 0,
  };
  const sampler = new LoadSampler({
    shedder,
    clock,
    log: silentLogger,
    busy: () => state.busy,
    readLoop: () => state.loop,
    readMemory: () => {
      state.reads += 1;
      if (state.memory === null) throw new Error('EMFILE');
      return state.memory;
    },
  });
  sampler.start();
  return { clock, shedder, sampler, state };
}

describe('LoadSampler', () => {
  it('looks often while there is work, seldom while there is none, and not at all when it was stopped', async () => {
    const { clock, sampler, state } = world();
    expect(clock.nextMs()).toBe(SAMPLE_INTERVAL_MS);
    await clock.advance(1_000);
    expect(state.reads).toBe(2);
    state.busy = false;
    await clock.advance(SAMPLE_INTERVAL_MS);
    expect(clock.nextMs()).toBe(IDLE_INTERVAL_MS);
    sampler.stop();
    expect(clock.timers).toBe(0);
  });

  it('sheds by memory, and goes on with what it knew where memory cannot be read', async () => {
    const { clock, shedder, sampler, state } = world();
    state.memory = { usedBytes: 96, limitBytes: 100 };
    await clock.advance(1_000);
    expect([shedder.judge(3), sampler.memoryShare]).toEqual([ShedReason.Memory, 0.96]);
    state.memory = null;
    await clock.advance(1_000);
    expect(shedder.judge(3)).toBe(ShedReason.Memory);
    state.memory = { usedBytes: 50, limitBytes: 100 };
    await clock.advance(1_000);
    expect(shedder.judge(3)).toBe(ShedReason.None);
  });

  it('takes one pause for a pause, and a loop whose rounds are always long for load', async () => {
    const { clock, shedder, sampler, state } = world();
    state.loop = { utilization: 1, roundMs: 30_000 };
    await clock.advance(2 * SAMPLE_INTERVAL_MS);
    expect(sampler.loopDelayMs).toBe(30_000);
    state.loop = { utilization: 0.2, roundMs: 1 };
    await clock.advance(SAMPLE_INTERVAL_MS);
    expect(shedder.share).toBe(0);
    state.loop = { utilization: 1, roundMs: 80 };
    await clock.advance(5 * SAMPLE_INTERVAL_MS);
    expect(shedder.share).toBeGreaterThan(0);
  });
});

describe('a round of the event loop that does not end', () => {
  it('is looked at by the requests in it', async () => {
    const { clock, shedder, sampler, state } = world();
    await clock.advance(SAMPLE_INTERVAL_MS);
    state.loop = { utilization: 1, roundMs: 120 };
    // Nothing is overdue before the timer had its time twice.
    clock.block(2 * SAMPLE_INTERVAL_MS - 1);
    sampler.requested(clock.monotonicMs());
    expect(sampler.loopDelayMs).toBe(1);
    for (let request = 0; request < 50; request += 1) {
      clock.block(10);
      sampler.requested(clock.monotonicMs());
    }
    expect(sampler.loopDelayMs).toBe(120);
    expect(shedder.share).toBeCloseTo(1 - 0.9 ** 3, 10);
  });

  it('is looked at once where it is one pause, and what is left of the round is no look', async () => {
    const { clock, shedder, sampler, state } = world();
    await clock.advance(SAMPLE_INTERVAL_MS);
    state.loop = { utilization: 1, roundMs: 30_000 };
    clock.block(30_000);
    for (let request = 0; request < 5; request += 1) sampler.requested(clock.monotonicMs());
    state.loop = { utilization: 1, roundMs: 3 };
    await clock.advance(0);
    expect(sampler.loopDelayMs).toBe(30_000);
    await clock.advance(SAMPLE_INTERVAL_MS);
    expect([sampler.loopDelayMs, shedder.share]).toEqual([3, 0]);
  });

  it('is nothing to a sampler that was stopped', async () => {
    const { clock, sampler, state } = world();
    await clock.advance(SAMPLE_INTERVAL_MS);
    sampler.stop();
    state.loop = { utilization: 1, roundMs: 120 };
    clock.block(60_000);
    sampler.requested(clock.monotonicMs());
    expect(sampler.loopDelayMs).toBe(1);
  });
});

it('comes back within seconds where the load ends at once, and nobody asks any more', async () => {
  const { clock, shedder, state } = world();
  state.loop = { utilization: 1, roundMs: 500 };
  await clock.advance(60 * SAMPLE_INTERVAL_MS);
  expect(shedder.share).toBeGreaterThan(0.9);
  state.loop = { utilization: 0, roundMs: 0 };
  state.busy = false;
  await clock.advance(2_500);
  expect(shedder.share).toBe(0);
  expect(clock.nextMs()).toBeGreaterThan(SAMPLE_INTERVAL_MS);
});

describe('the reader of the event loop', () => {
  it('knows how long the rounds are, whatever timers there are', async () => {
    const read = createLoopReader();
    for (let round = 0; round < 3; round += 1) {
      const untilMs = performance.now() + 70;
      while (performance.now() < untilMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { roundMs, utilization } = read();
    expect(utilization).toBeGreaterThan(0.5);
    expect(roundMs).toBeGreaterThan(30);
  });
});
