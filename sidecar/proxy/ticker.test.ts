import { describe, expect, it } from 'vitest';
import type { Clock } from '../../runtime/clock.ts';
import type { TimerNode } from '../policies/timer-wheel.ts';
import { TICK_MS, Ticker } from './ticker.ts';

/** Timers run when the test says so, however late. */
class LateClock implements Clock {
  nowMs = 1_000;
  readonly #timers: (() => void)[] = [];
  get waiting(): number {
    return this.#timers.length;
  }
  monotonicMs(): number {
    return this.nowMs;
  }
  unixMs(): number {
    return 0;
  }
  after(_delayMs: number, callback: () => void): () => void {
    this.#timers.push(callback);
    return () => {};
  }
  sleep(): Promise<void> {
    return Promise.reject(new Error('not used'));
  }
  passed(ms: number): void {
    this.nowMs += ms;
    for (const timer of this.#timers.splice(0)) timer();
  }
}

function node(expired: number[]): TimerNode {
  return {
    wheelSlot: -1,
    wheelPrevious: null,
    wheelNext: null,
    wheelAtMs: 0,
    expire: (nowMs) => expired.push(nowMs),
  };
}

describe('Ticker', () => {
  it('expires in time, and ticks only while something is armed', () => {
    const clock = new LateClock();
    const ticker = new Ticker(clock);
    const expired: number[] = [];
    expect(clock.waiting).toBe(0);
    ticker.arm(node(expired), clock.nowMs + 12);
    expect(ticker.size).toBe(1);
    while (clock.waiting > 0) clock.passed(TICK_MS);
    expect(expired).toEqual([1_015]);
    expect(ticker.size).toBe(0);
  });

  it('lets what came in a pause of the process be read before anything expires, once', () => {
    const clock = new LateClock();
    const ticker = new Ticker(clock);
    const expired: number[] = [];
    const answered = node(expired);
    ticker.arm(answered, clock.nowMs + 50);
    ticker.arm(node(expired), clock.nowMs + 60);
    clock.passed(30_000);
    expect(expired).toEqual([]);
    // Its answer lay in the kernel.
    ticker.disarm(answered);
    clock.passed(1);
    expect(expired).toEqual([31_001]);
  });

  it('expires all the same where every tick is late', () => {
    const clock = new LateClock();
    const ticker = new Ticker(clock);
    const expired: number[] = [];
    ticker.arm(node(expired), clock.nowMs + 50);
    clock.passed(500);
    clock.passed(500);
    expect(expired).toHaveLength(1);
  });
});
