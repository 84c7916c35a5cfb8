// The bulkhead: at most so many calls at a time, and a bounded queue for the rest.
//
// Semantics: strict first in, first out. A freed slot goes to the head of the queue at the moment it is freed, so a newcomer never overtakes
// and a queued call is never refused in favour of one (as promise-based bulkheads do). Queue time is
// bounded by the caller's timer and deadline, which `cancel`. A lowered limit is honoured as slots come back; nobody is thrown out.
import type { BulkheadPlan } from '../../plan/policies/bulkhead.ts';

/** A call that may wait; its links belong to the bulkhead. */
export interface BulkheadWaiter {
  bulkheadPrevious: BulkheadWaiter | null;
  bulkheadNext: BulkheadWaiter | null;
  /** Whether it waits now. */
  bulkheadQueued: boolean;
}

export const Admission = { Granted: 0, Queued: 1, Full: 2 } as const;

export type BulkheadLimits = Pick<BulkheadPlan, 'maxConcurrent' | 'maxQueued'>;

export class Bulkhead {
  #maxConcurrent: number;
  #maxQueued: number;
  #inFlight = 0;
  #queued = 0;
  #head: BulkheadWaiter | null = null;
  #tail: BulkheadWaiter | null = null;

  constructor(spec: BulkheadLimits) {
    this.#maxConcurrent = spec.maxConcurrent;
    this.#maxQueued = spec.maxQueued;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get queued(): number {
    return this.#queued;
  }

  /** Who waits longest; null: nobody. */
  get first(): BulkheadWaiter | null {
    return this.#head;
  }

  /** After it, call `takeGrantable` until null: a raised limit may have made room for those who wait. */
  update(spec: BulkheadLimits): void {
    this.#maxConcurrent = spec.maxConcurrent;
    this.#maxQueued = spec.maxQueued;
  }

  /** An `Admission`. Granted must be given back by one `release`; Queued ends by being returned from `release` or `takeGrantable`, or by `cancel`. */
  acquire(waiter: BulkheadWaiter): number {
    if (this.hasRoom) {
      this.#inFlight += 1;
      return Admission.Granted;
    }
    if (this.#queued >= this.#maxQueued) return Admission.Full;
    this.#append(waiter);
    return Admission.Queued;
  }

  /** A slot is free and nobody waits for it. */
  get hasRoom(): boolean {
    return this.#inFlight < this.#maxConcurrent && this.#head === null;
  }

  /** Takes a slot where one is free and nobody waits for it; never queues. True must be given back by one `release`. */
  tryAcquire(): boolean {
    if (!this.hasRoom) return false;
    this.#inFlight += 1;
    return true;
  }

  /** Gives a slot back. The waiter returned holds it now, and its caller goes on with it; null: nobody waits, or the limit was lowered. */
  release(): BulkheadWaiter | null {
    this.#inFlight -= 1;
    return this.takeGrantable();
  }

  /** The head of the queue with a free slot, if there are both. */
  takeGrantable(): BulkheadWaiter | null {
    const waiter = this.#head;
    if (waiter === null || this.#inFlight >= this.#maxConcurrent) return null;
    this.#remove(waiter);
    this.#inFlight += 1;
    return waiter;
  }

  /** Takes a waiter out of the queue; nothing happens where it does not wait (any more). */
  cancel(waiter: BulkheadWaiter): void {
    if (waiter.bulkheadQueued) this.#remove(waiter);
  }

  #append(waiter: BulkheadWaiter): void {
    waiter.bulkheadQueued = true;
    waiter.bulkheadNext = null;
    waiter.bulkheadPrevious = this.#tail;
    if (this.#tail === null) this.#head = waiter;
    else this.#tail.bulkheadNext = waiter;
    this.#tail = waiter;
    this.#queued += 1;
  }

  #remove(waiter: BulkheadWaiter): void {
    if (waiter.bulkheadPrevious === null) this.#head = waiter.bulkheadNext;
    else waiter.bulkheadPrevious.bulkheadNext = waiter.bulkheadNext;
    if (waiter.bulkheadNext === null) this.#tail = waiter.bulkheadPrevious;
    else waiter.bulkheadNext.bulkheadPrevious = waiter.bulkheadPrevious;
    waiter.bulkheadPrevious = null;
    waiter.bulkheadNext = null;
    waiter.bulkheadQueued = false;
    this.#queued -= 1;
  }
}
