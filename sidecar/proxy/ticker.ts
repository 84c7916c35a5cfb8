// One timer for everything that waits in the data path. It ticks only while something is armed.
import type { Clock } from '../../runtime/clock.ts';
import { type TimerNode, TimerWheel } from '../policies/timer-wheel.ts';

/** Resolution of every timeout of the data path. */
export const TICK_MS = 5;
const SLOTS = 4096;

export class Ticker {
  readonly #clock: Clock;
  readonly #wheel: TimerWheel;
  #ticking = false;
  readonly #tick = (): void => {
    this.#ticking = false;
    this.#wheel.advance(this.#clock.monotonicMs());
    this.#schedule();
  };

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#wheel = new TimerWheel(clock.monotonicMs(), TICK_MS, SLOTS);
  }

  nowMs(): number {
    return this.#clock.monotonicMs();
  }

  arm(node: TimerNode, atMs: number): void {
    if (this.#wheel.size === 0) this.#wheel.advance(this.#clock.monotonicMs());
    this.#wheel.arm(node, atMs);
    this.#schedule();
  }

  disarm(node: TimerNode): void {
    this.#wheel.disarm(node);
  }

  #schedule(): void {
    if (this.#ticking || this.#wheel.size === 0) return;
    this.#ticking = true;
    this.#clock.after(TICK_MS, this.#tick);
  }
}
