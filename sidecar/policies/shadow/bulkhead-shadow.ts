// A bulkhead in shadow: places and a queue that exist only in its books. A call that would have waited is made at once and takes the place
// that becomes free while it lasts; so a shadow counts fewer waits than there would be where calls, delayed by waiting, end later. Nor can an
// adaptive limit in shadow take load off the dependency to measure its latency without load: it knows the lowest that real load shows.
import type { BulkheadPlan } from '../../../plan/policies/bulkhead.ts';
import { Admission, type BulkheadWaiter } from '../bulkhead.ts';
import { Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { FallbackBit } from '../fallback.ts';
import { PlannedBulkhead } from '../planned-bulkhead.ts';
import { BlockShadow, MEAN_CHANCE, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';

const QUEUED = shadowSlot('bulkhead', 'queued');
const FULL = shadowSlot('bulkhead', 'bulkhead-full');
const QUEUE_TIMEOUT = shadowSlot('bulkhead', 'queue-timeout');

/** The books, which all rules with the same key share. */
export class ShadowPlaces {
  readonly #bulkhead: PlannedBulkhead;
  #queueTimeoutMs: number;

  constructor(plan: BulkheadPlan, nowMs: number) {
    this.#bulkhead = new PlannedBulkhead(plan, MEAN_CHANCE, nowMs);
    this.#queueTimeoutMs = plan.queueTimeoutMs;
  }

  get inFlight(): number {
    return this.#bulkhead.inFlight;
  }

  get queued(): number {
    return this.#bulkhead.queued;
  }

  /** A place is free that nobody waits for. */
  get hasRoom(): boolean {
    return this.#bulkhead.hasRoom;
  }

  update(plan: BulkheadPlan, nowMs: number): void {
    this.#bulkhead.replan(plan, nowMs);
    this.#queueTimeoutMs = plan.queueTimeoutMs;
    this.#letIn(nowMs);
  }

  /** What an adaptive limit learns from: a call that holds a place was answered, or given up, after `latencyMs`. */
  record(call: ShadowCall, latencyMs: number, answered: boolean, nowMs: number): void {
    if (!call.holdsPlace || latencyMs === 0) return;
    if (answered) this.#bulkhead.record(latencyMs, nowMs);
    else this.#bulkhead.recordTimeout(latencyMs, nowMs);
    this.#letIn(nowMs);
  }

  /** What time alone changes. */
  sweep(nowMs: number): void {
    this.#bulkhead.sweep(nowMs);
    this.#expire(nowMs);
    this.#letIn(nowMs);
  }

  /** False: it would be refused. */
  enter(call: ShadowCall, nowMs: number): boolean {
    this.#expire(nowMs);
    const admission = this.#bulkhead.acquire(call);
    if (admission === Admission.Full) {
      call.end(FULL, FallbackBit.BulkheadFull);
      return false;
    }
    call.holdsPlace = admission === Admission.Granted;
    if (admission === Admission.Queued) {
      call.count(QUEUED);
      call.queuedSinceMs = nowMs;
    }
    return true;
  }

  leave(call: ShadowCall, nowMs: number): void {
    this.#expire(nowMs);
    this.#bulkhead.cancel(call);
    if (!call.holdsPlace) return;
    call.holdsPlace = false;
    const next = this.#bulkhead.release();
    if (next) this.#grant(next, nowMs);
  }

  /** A limit that rose made room. */
  #letIn(nowMs: number): void {
    for (let next = this.#bulkhead.takeGrantable(); next; next = this.#bulkhead.takeGrantable())
      this.#grant(next, nowMs);
  }

  /** Nobody is woken by a timer: whoever would have been refused meanwhile is counted before anything else changes. */
  #expire(nowMs: number): void {
    for (let first = this.#bulkhead.first; first; first = this.#bulkhead.first) {
      const call = first as ShadowCall;
      if (nowMs - call.queuedSinceMs <= this.#queueTimeoutMs) return;
      this.#bulkhead.cancel(call);
      call.end(QUEUE_TIMEOUT, FallbackBit.QueueTimeout);
    }
  }

  #grant(waiter: BulkheadWaiter, nowMs: number): void {
    const call = waiter as ShadowCall;
    call.holdsPlace = true;
    if (nowMs - call.queuedSinceMs <= this.#queueTimeoutMs) return;
    call.end(QUEUE_TIMEOUT, FallbackBit.QueueTimeout);
    this.leave(call, nowMs);
  }
}

export class BulkheadShadow extends BlockShadow {
  readonly #places: ShadowPlaces;

  constructor(places: ShadowPlaces) {
    super();
    this.#places = places;
  }

  override attempt(call: ShadowCall, nowMs: number): boolean {
    return this.#places.enter(call, nowMs);
  }

  override judge(call: ShadowCall, nowMs: number): void {
    const { failureBits, outcome, responseMs, timedOut } = call;
    if (timedOut && failureBits === FailureBit.AttemptTimeout) this.#places.record(call, responseMs, false, nowMs);
    else if (outcome === Outcome.Success) this.#places.record(call, responseMs, true, nowMs);
  }

  override giveBack(call: ShadowCall, nowMs: number): void {
    this.#places.leave(call, nowMs);
  }
}
