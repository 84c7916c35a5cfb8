// Aborts a watch that was silent for too long, or has outlived what the server was asked for.
import type { Clock } from '../../runtime/clock.ts';

export interface WatchdogLimits {
  /** Until the head of the answer. */
  headMs: number;
  /** Between two bytes after it. */
  silenceMs: number;
  totalMs: number;
}

export class Watchdog {
  readonly #clock: Clock;
  readonly #limits: WatchdogLimits;
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #onOuterAbort = () => this.#controller.abort(this.#outer.reason);
  #cancelSilence: () => void;
  readonly #cancelTotal: () => void;

  constructor(clock: Clock, limits: WatchdogLimits, outer: AbortSignal) {
    this.#clock = clock;
    this.#limits = limits;
    this.#outer = outer;
    outer.addEventListener('abort', this.#onOuterAbort, { once: true });
    if (outer.aborted) this.#onOuterAbort();
    this.#cancelSilence = clock.after(limits.headMs, () => this.#bark('no answer to a watch'));
    this.#cancelTotal = clock.after(limits.totalMs, () => this.#bark('a watch outlived its timeout'));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    this.#cancelSilence();
    this.#cancelSilence = this.#clock.after(this.#limits.silenceMs, () => this.#bark('a watch fell silent'));
  }

  stop(): void {
    this.#cancelSilence();
    this.#cancelTotal();
    this.#outer.removeEventListener('abort', this.#onOuterAbort);
    // Also ends the response where the reader left it early.
    this.#controller.abort(new Error('the watch is over'));
  }

  #bark(message: string): void {
    const error = new Error(message);
    error.name = 'WatchSilent';
    this.#controller.abort(error);
  }
}
