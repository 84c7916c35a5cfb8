import { describe, expect, it } from 'vitest';
import type { Clock } from '../../runtime/clock.ts';
import type { TimerNode } from '../policies/timer-wheel.ts';
import { TICK_MS, Ticker } from './ticker.ts';

/** Timers run when the test says so, however late. */
class LateClock implements Clock {
  nowMs = 1_000;
  /** Of the timers that were set. */
  readonly delays: number[] = [];
  readonly #timers = new Set<() => void>();
  get waiting(): number {
    return this.#timers.size;
  }
  monotonicMs(): number {
    return this.nowMs;
  }
  unixMs(): number {
    return 0;
  }
  after(delayMs: number, callback: () => void): () => void {
    this.delays.push(delayMs);
    const timer = () => callback();
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
  sleep(): Promise<void> {
    return Promise.reject(new Error('not used'));
  }
  passed(ms: number): void {
    this.nowMs += ms;
    const timers = [...this.#timers];
    this.#timers.clear();
    for (const timer of timers) timer();
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

  it('sleeps until the first is due, one timer for all', () => {
    const clock = new LateClock();
    const ticker = new Ticker(clock);
    const expired: number[] = [];
    const [far, near, next] = [node(expired), node(expired), node(expired)];
    ticker.arm(far, clock.nowMs + 2_000);
    ticker.arm(next, clock.nowMs + 2_500);
    ticker.arm(near, clock.nowMs + 25);
    expect([clock.delays, clock.waiting]).toEqual([[2_000, 25], 1]);
    ticker.disarm(near);
    // The timer of what was disarmed runs for nothing, once.
    clock.passed(25);
    expect([expired, clock.delays]).toEqual([[], [2_000, 25, 1_975]]);
    clock.passed(1_975);
    expect([expired, clock.delays.at(-1)]).toEqual([[3_000], 500]);
    ticker.disarm(next);
    clock.passed(500);
    expect([ticker.size, clock.waiting]).toEqual([0, 0]);
  });

  it('goes on where what expires arms again, or fails', () => {
    const clock = new LateClock();
    const ticker = new Ticker(clock);
    const expired: number[] = [];
    const again = node(expired);
    again.expire = (nowMs) => {
      expired.push(nowMs);
      ticker.arm(again, nowMs + 10);
      if (expired.length === 2) throw new Error('a fault');
    };
    ticker.arm(again, clock.nowMs + 10);
    clock.passed(10);
    expect(() => clock.passed(10)).toThrow('a fault');
    clock.passed(10);
    expect([expired, clock.waiting]).toEqual([[1_010, 1_020, 1_030], 1]);
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
