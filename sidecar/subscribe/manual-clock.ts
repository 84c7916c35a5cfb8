// Virtual time for tests: nothing is due before `advance`.
import type { Clock } from '../../runtime/clock.ts';

export class ManualClock implements Clock {
  #nowMs = 0;
  /** Added to the wall clock alone. */
  wallStepMs = 0;
  readonly #timers = new Set<{ dueMs: number; callback: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  unixMs(): number {
    return 1_800_000_000_000 + this.#nowMs + this.wallStepMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.after(delayMs, resolve);
      signal?.addEventListener('abort', () => {
        cancel();
        reject(signal.reason as Error);
      });
    });
  }

  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Moves on by `deltaMs`, timer by timer, and lets what they resolve run. */
  async advance(deltaMs: number): Promise<void> {
    const endMs = this.#nowMs + deltaMs;
    await settle();
    for (;;) {
      const next = [...this.#timers].filter((timer) => timer.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
      await settle();
    }
    this.#nowMs = endMs;
  }
}

/** Lets everything run that only waits for promises. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
