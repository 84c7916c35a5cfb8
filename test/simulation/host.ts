// A process on a machine of its own: its clock, whose wall time may be set, and the pauses in which it does not run.
import type { Clock } from '../../runtime/clock.ts';
import type { VirtualTime } from './virtual-time.ts';

const UNIX_START_MS = 1_700_000_000_000;

export class Host implements Clock {
  readonly name: string;
  readonly time: VirtualTime;
  /** Each machine counts from another origin, which nobody may rely on. */
  readonly #originMs: number;
  #wallStepMs = 0;
  #stalledUntilMs = 0;
  /** Pauses so far: when each began and ended. */
  readonly #stalls: { fromMs: number; toMs: number }[] = [];
  #timers = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(name: string, time: VirtualTime, originMs: number) {
    this.name = name;
    this.time = time;
    this.#originMs = originMs;
  }

  /** Timers that were set and have neither fired nor been cancelled. */
  get timers(): number {
    return this.#timers;
  }

  monotonicMs(): number {
    return this.#originMs + this.time.nowMs;
  }

  unixMs(): number {
    return UNIX_START_MS + this.time.nowMs + this.#wallStepMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    this.#timers += 1;
    let pending = true;
    const settle = () => {
      if (!pending) return false;
      pending = false;
      this.#timers -= 1;
      return true;
    };
    const cancel = this.time.after(delayMs, () =>
      this.run(() => {
        if (settle()) callback();
      }),
    );
    return () => {
      if (settle()) cancel();
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        cancel();
        reject(signal?.reason as Error);
      };
      const cancel = this.after(delayMs, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Somebody sets the clock of the machine: by hours, forward or back. */
  stepWallClock(byMs: number): void {
    this.#wallStepMs += byMs;
  }

  /** The process does not run for so long: garbage is collected, or a neighbour has the processor. */
  stall(forMs: number): void {
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.time.nowMs + forMs);
    this.#stalls.push({ fromMs: this.time.nowMs, toMs: this.#stalledUntilMs });
  }

  /** How long the process has stood still since then, in all. */
  pausedSince(sinceMs: number): number {
    let pausedMs = 0;
    for (const { fromMs, toMs } of this.#stalls) if (toMs > sinceMs) pausedMs += toMs - fromMs;
    return pausedMs;
  }

  /** What comes to the process from outside; while it stands still, it waits, in the order in which it came. */
  run(callback: () => void): void {
    if (this.#waiting.length === 0 && this.#stalledUntilMs <= this.time.nowMs) {
      callback();
      return;
    }
    this.#waiting.push(callback);
    if (this.#waiting.length === 1) this.#wakeLater();
  }

  #wakeLater(): void {
    this.time.after(Math.max(0, this.#stalledUntilMs - this.time.nowMs), () => this.#wake());
  }

  #wake(): void {
    while (this.#stalledUntilMs <= this.time.nowMs) {
      const next = this.#waiting[0];
      if (next === undefined) return;
      next();
      // Only now: what it brings about comes after what has waited.
      this.#waiting.shift();
      // Not in one go: what each of it brings about in Node is run first.
      if (this.time.waitsForNode) break;
    }
    if (this.time.waitsForNode && this.#waiting.length === 0) return;
    this.#wakeLater();
  }
}
