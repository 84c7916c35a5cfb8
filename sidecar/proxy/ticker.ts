// One timer for everything that waits in the data path. It ticks only while something is armed.
import type { Clock } from '../../runtime/clock.ts';
import { type TimerNode, TimerWheel } from '../policies/timer-wheel.ts';

/** Resolution of every timeout of the data path. */
export const TICK_MS = 5;
const SLOTS = 4096;
/** A tick that comes this late says that the process stood still. */
const STOOD_STILL_MS = 100;

export class Ticker {
  readonly #clock: Clock;
  readonly #wheel: TimerWheel;
  #ticking = false;
  #dueMs = 0;
  #postponed = false;
  readonly #tick = (): void => {
    this.#ticking = false;
    const nowMs = this.#clock.monotonicMs();
    // Answers that came while the process stood still lie unread: they are read before anything is timed out.
    this.#postponed = !this.#postponed && nowMs - this.#dueMs > STOOD_STILL_MS;
    if (!this.#postponed) this.#wheel.advance(nowMs);
    this.#schedule();
  };

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#wheel = new TimerWheel(clock.monotonicMs(), TICK_MS, SLOTS);
  }

  /** Timers armed. */
  get size(): number {
    return this.#wheel.size;
  }

  nowMs(): number {
    return this.#clock.monotonicMs();
  }

  /** For people and other machines; never for measuring. */
  unixMs(): number {
    return this.#clock.unixMs();
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
    this.#dueMs = this.#clock.monotonicMs() + TICK_MS;
    this.#clock.after(TICK_MS, this.#tick);
  }
}
