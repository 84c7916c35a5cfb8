// Gathers calls that come close together into one: it waits for `quietMs` without a call, but never longer than `maxMs` from the first.
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';

export class Debounce {
  readonly #clock: Clock;
  readonly #quietMs: number;
  readonly #maxMs: number;
  readonly #run: () => void;
  #firstMs: MonotonicMs | undefined;
  #cancel: () => void = () => undefined;

  constructor(clock: Clock, limits: { quietMs: number; maxMs: number }, run: () => void) {
    this.#clock = clock;
    this.#quietMs = limits.quietMs;
    this.#maxMs = limits.maxMs;
    this.#run = run;
  }

  call(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#firstMs ??= nowMs;
    this.#cancel();
    const delayMs = Math.max(0, Math.min(this.#quietMs, this.#firstMs + this.#maxMs - nowMs));
    this.#cancel = this.#clock.after(delayMs, () => this.flush());
  }

  /** Runs now where a call is pending. */
  flush(): void {
    if (this.#firstMs === undefined) return;
    this.cancel();
    this.#run();
  }

  cancel(): void {
    this.#cancel();
    this.#firstMs = undefined;
  }
}
