// The retry budget: however many requests fail, retries add at most a share of the load.
//
// Semantics (Finagle's and Linkerd's budget, counted exactly): over the last 10 s, retries ≤ percent of requests + minPerSecond · 10.
// A withdrawal is granted only where that still holds with it. Requests and retries leave the window together, so the share also holds in
// the long run; time is counted in slots of 1 s, the current one included, so the window is 9–10 s long. A fresh budget allows the floor
// at once: the first request after start may be retried.
import type { RetriesPlan } from '../../plan/policies/retries.ts';

export type RetryBudgetPlan = Pick<RetriesPlan, 'budgetPercent' | 'budgetMinPerSecond'>;

const SLOTS = 10;
const SLOT_MS = 1000;

export class RetryBudget {
  #percent: number;
  #minPerSecond: number;
  readonly #requests = new Float64Array(SLOTS);
  readonly #retries = new Float64Array(SLOTS);
  #requestsInWindow = 0;
  #retriesInWindow = 0;
  #slot: number;

  constructor(spec: RetryBudgetPlan, nowMs: number) {
    this.#percent = spec.budgetPercent;
    this.#minPerSecond = spec.budgetMinPerSecond;
    this.#slot = Math.floor(nowMs / SLOT_MS);
  }

  /** Changed numbers hold from now on; what was counted stays counted. */
  update(spec: RetryBudgetPlan): void {
    this.#percent = spec.budgetPercent;
    this.#minPerSecond = spec.budgetMinPerSecond;
  }

  /** Counts a request; its retries are not requests. */
  recordRequest(nowMs: number): void {
    this.#roll(nowMs);
    const index = this.#slot % SLOTS;
    this.#requests[index] = (this.#requests[index] ?? 0) + 1;
    this.#requestsInWindow += 1;
  }

  /** Takes one retry out of the budget; false: there is none left. */
  tryWithdraw(nowMs: number): boolean {
    this.#roll(nowMs);
    const allowedHundredths = this.#percent * this.#requestsInWindow + this.#minPerSecond * SLOTS * 100;
    if ((this.#retriesInWindow + 1) * 100 > allowedHundredths) return false;
    const index = this.#slot % SLOTS;
    this.#retries[index] = (this.#retries[index] ?? 0) + 1;
    this.#retriesInWindow += 1;
    return true;
  }

  #roll(nowMs: number): void {
    const slot = Math.floor(nowMs / SLOT_MS);
    if (slot <= this.#slot) return;
    if (slot - this.#slot >= SLOTS) {
      this.#requests.fill(0);
      this.#retries.fill(0);
      this.#requestsInWindow = 0;
      this.#retriesInWindow = 0;
    } else {
      for (let passed = this.#slot + 1; passed <= slot; passed += 1) this.#forget(passed % SLOTS);
    }
    this.#slot = slot;
  }

  #forget(index: number): void {
    this.#requestsInWindow -= this.#requests[index] ?? 0;
    this.#retriesInWindow -= this.#retries[index] ?? 0;
    this.#requests[index] = 0;
    this.#retries[index] = 0;
  }
}
