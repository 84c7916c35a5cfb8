// The bulkhead as a plan describes it: with a limit that is fixed, or one that is found by measuring (adaptive-limit.ts). The queue is the
// same for both, and a plan may change one into the other while calls are in flight.
import type { BulkheadPlan } from '../../plan/policies/bulkhead.ts';
import type { Random } from '../../runtime/random.ts';
import { AdaptiveLimit, type AdaptiveLimitNumbers } from './adaptive-limit.ts';
import { Bulkhead } from './bulkhead.ts';

export class PlannedBulkhead extends Bulkhead {
  readonly #random: Random;
  #plan: BulkheadPlan;
  #adaptive: AdaptiveLimit | null = null;

  constructor(plan: BulkheadPlan, random: Random, nowMs: number) {
    super(plan);
    this.#plan = plan;
    this.#random = random;
    this.replan(plan, nowMs);
  }

  /** Null: the limit is fixed. */
  get adaptive(): AdaptiveLimit | null {
    return this.#adaptive;
  }

  /** What an adaptive limit never exceeds, or the limit itself. */
  get maxConcurrent(): number {
    return this.#plan.maxConcurrent;
  }

  get limit(): number {
    return this.#adaptive?.limit ?? this.#plan.maxConcurrent;
  }

  /** After it, call `takeGrantable` until null, as after `record` and `sweep`: a raised limit may have made room for those who wait. */
  replan(plan: BulkheadPlan, nowMs: number): void {
    this.#plan = plan;
    const numbers = numbersOf(plan);
    if (numbers === null) this.#adaptive = null;
    else if (this.#adaptive === null) this.#adaptive = new AdaptiveLimit(numbers, this.#random, nowMs);
    else this.#adaptive.update(numbers);
    this.#apply();
  }

  /** A call that holds a place was answered after `latencyMs`, and is about to give its place back. */
  record(latencyMs: number, nowMs: number): void {
    if (this.#adaptive?.record(latencyMs, this.inFlight, nowMs)) this.#apply();
  }

  /** As `record`, of a call that was given up after `latencyMs`: its answer would have taken longer. */
  recordTimeout(latencyMs: number, nowMs: number): void {
    if (this.#adaptive !== null && latencyMs >= this.#adaptive.medianMs) this.record(latencyMs, nowMs);
  }

  /** To be called about every second. */
  sweep(nowMs: number): void {
    if (this.#adaptive?.giveUpProbe(this.inFlight, nowMs)) this.#apply();
  }

  #apply(): void {
    this.update({ maxConcurrent: this.limit, maxQueued: this.#plan.maxQueued });
  }
}

function numbersOf({ adaptive, maxConcurrent }: BulkheadPlan): AdaptiveLimitNumbers | null {
  return adaptive === null ? null : { ...adaptive, maxConcurrent };
}
