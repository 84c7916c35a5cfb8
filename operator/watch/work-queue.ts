// A queue of keys, not of events: a key that is added while it waits is in it once, and one that is added while it is worked on comes back
// after. So a thousand changes of one object cost one reconciliation of its newest state, and no object is worked on twice at a time.
// It starts no timer and reads no clock: whoever drives it gives the time and asks when to come back.
import type { MonotonicMs } from '../../runtime/clock.ts';

export interface WorkQueueLimits {
  /** Wait of a key after its first failure; doubles with each. */
  initialMs: number;
  maxMs: number;
}

export const DEFAULT_LIMITS: WorkQueueLimits = { initialMs: 5, maxMs: 1_000_000 };

const MIN_REQUEUE_MS = 1;

/** What came of the work on a key. */
export type Outcome =
  | { kind: 'done' }
  /** Again after this long, a millisecond at least: a key that is never at rest would leave no time for anything else. Forgets the failures. */
  | { kind: 'requeue'; afterMs: number }
  /** Again after the key's backoff. */
  | { kind: 'failed' };

export class WorkQueue {
  readonly #limits: WorkQueueLimits;
  /** Keys that need work, each since when; in the order they came. */
  readonly #dirty = new Map<string, MonotonicMs>();
  /** Keys that wait for their time. */
  readonly #delayed = new Map<string, MonotonicMs>();
  readonly #processing = new Map<string, MonotonicMs>();
  readonly #failures = new Map<string, number>();

  constructor(limits: WorkQueueLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
  }

  /** Keys that could be taken now, the ones that wait for their time or their own processing left out. */
  get depth(): number {
    let depth = 0;
    for (const key of this.#dirty.keys()) if (!this.#processing.has(key)) depth += 1;
    return depth;
  }

  get processing(): number {
    return this.#processing.size;
  }

  /** Since when the work in progress runs, in no order. */
  processingSince(): Iterable<MonotonicMs> {
    return this.#processing.values();
  }

  failuresOf(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** Says whether the key is new in the queue. A key that waits for its time is due now. */
  add(key: string, nowMs: MonotonicMs): boolean {
    this.#delayed.delete(key);
    if (this.#dirty.has(key)) return false;
    this.#dirty.set(key, nowMs);
    return true;
  }

  /** Of several times for one key the earliest holds; a key that is due already stays so. */
  addAt(key: string, atMs: MonotonicMs): void {
    if (this.#dirty.has(key)) return;
    const known = this.#delayed.get(key);
    if (known === undefined || atMs < known) this.#delayed.set(key, atMs);
  }

  /** The next key to work on, which must be given to `finish` afterwards; undefined where there is none. */
  take(nowMs: MonotonicMs): { key: string; waitedMs: number } | undefined {
    this.#promote(nowMs);
    for (const [key, since] of this.#dirty) {
      if (this.#processing.has(key)) continue;
      this.#dirty.delete(key);
      this.#processing.set(key, nowMs);
      return { key, waitedMs: Math.max(0, nowMs - since) };
    }
    return undefined;
  }

  /** Throws where the key was not taken: that is a mistake in the code. */
  finish(key: string, outcome: Outcome, nowMs: MonotonicMs): void {
    if (!this.#processing.delete(key)) throw new Error(`"${key}" was finished and is not being worked on`);
    if (outcome.kind === 'failed') {
      const failures = this.failuresOf(key);
      this.#failures.set(key, failures + 1);
      const { initialMs, maxMs } = this.#limits;
      this.addAt(key, nowMs + Math.min(maxMs, initialMs * 2 ** Math.min(failures, 60)));
      return;
    }
    this.#failures.delete(key);
    if (outcome.kind === 'requeue') this.addAt(key, nowMs + Math.max(MIN_REQUEUE_MS, outcome.afterMs));
  }

  /** When the earliest waiting key is due; undefined where none waits. */
  nextDueMs(): MonotonicMs | undefined {
    let next: MonotonicMs | undefined;
    for (const atMs of this.#delayed.values()) if (next === undefined || atMs < next) next = atMs;
    return next;
  }

  #promote(nowMs: MonotonicMs): void {
    for (const [key, atMs] of this.#delayed) {
      if (atMs > nowMs) continue;
      this.#delayed.delete(key);
      if (!this.#dirty.has(key)) this.#dirty.set(key, atMs);
    }
  }
}
