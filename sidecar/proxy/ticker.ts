// One timer for everything that waits in the data path. It sleeps until something is due: most of what is armed is disarmed long before, and a
// process that wakes up for nothing costs as much as one that answers requests.
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
  /** When the timer runs; infinity: it is not set. Never later than the first node is due. */
  #dueMs = Number.POSITIVE_INFINITY;
  #cancel: (() => void) | null = null;
  #postponed = false;
  readonly #tick = (): void => {
    const nowMs = this.#clock.monotonicMs();
    // Answers that came while the process stood still lie unread: they are read before anything is timed out.
    this.#postponed = !this.#postponed && nowMs - this.#dueMs > STOOD_STILL_MS;
    // What is armed meanwhile sets no timer: it is looked for when all is done.
    this.#dueMs = Number.NEGATIVE_INFINITY;
    try {
      if (!this.#postponed) this.#wheel.advance(nowMs);
    } finally {
      this.#dueMs = Number.POSITIVE_INFINITY;
      this.#wakeAt(this.#postponed ? nowMs + TICK_MS : this.#wheel.nextDueMs(), nowMs);
    }
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
    if (atMs < this.#dueMs) this.#wakeAt(Math.ceil(atMs / TICK_MS) * TICK_MS, this.#clock.monotonicMs());
  }

  disarm(node: TimerNode): void {
    this.#wheel.disarm(node);
  }

  #wakeAt(dueMs: number, nowMs: number): void {
    if (this.#wheel.size === 0) return;
    this.#cancel?.();
    this.#dueMs = dueMs;
    this.#cancel = this.#clock.after(Math.max(0, Math.ceil(dueMs - nowMs)), this.#tick);
  }
}
