// The retry budget: however many requests fail, retries add at most a share of the load, at every moment.
//
// Semantics: a bucket. Each request puts `percent` hundredths of a retry into it, each second `minPerSecond` retries; a retry takes one out.
// It holds at most what the present second and the one before put in (or one retry, so that a share of few requests adds up to one). So
// over any time, retries ≤ percent of its requests + minPerSecond of its seconds + what two seconds bring.
//
// Finagle's and Linkerd's budgets count retries and requests over a window of ten seconds. That bounds the average, and lets the retries of
// ten seconds come in one: three attempts treble the load for a second when everything begins to fail, and once more whenever the window
// has forgotten that.
import type { RetriesPlan } from '../../plan/policies/retries.ts';

export type RetryBudgetPlan = Pick<RetriesPlan, 'budgetPercent' | 'budgetMinPerSecond'>;

const SECOND_MS = 1000;
/** So much of what came in is kept. */
const KEPT_SECONDS = 2;
// What the bucket holds is counted in hundred-thousandths of a retry, so that shares and milliseconds are whole numbers.
const RETRY = 100_000;
const PER_PERCENT = RETRY / 100;
const PER_MS = RETRY / SECOND_MS;

export class RetryBudget {
  #percent: number;
  #minPerSecond: number;
  /** Full at first, whatever that is when it is asked: the first request after start may be retried. */
  #held = Number.POSITIVE_INFINITY;
  /** Up to when `minPerSecond` is in it. */
  #filledMs: number;
  #second: number;
  #requestsInSecond = 0;
  #requestsBefore = 0;

  constructor(spec: RetryBudgetPlan, nowMs: number) {
    this.#percent = spec.budgetPercent;
    this.#minPerSecond = spec.budgetMinPerSecond;
    this.#filledMs = nowMs;
    this.#second = Math.floor(nowMs / SECOND_MS);
  }

  /** Changed numbers hold from now on; what was counted stays counted. */
  update(spec: RetryBudgetPlan): void {
    this.#percent = spec.budgetPercent;
    this.#minPerSecond = spec.budgetMinPerSecond;
  }

  /** Counts a request; its retries are not requests. */
  recordRequest(nowMs: number): void {
    this.#roll(nowMs);
    this.#requestsInSecond += 1;
    this.#held += this.#percent * PER_PERCENT;
  }

  /** Takes one retry out of the budget; false: there is none left. */
  tryWithdraw(nowMs: number): boolean {
    this.#roll(nowMs);
    // Time that goes back brings nothing and takes nothing.
    const untilMs = Math.max(nowMs, this.#filledMs);
    this.#held += this.#minPerSecond * PER_MS * (untilMs - this.#filledMs);
    this.#filledMs = untilMs;
    this.#held = Math.min(this.#held, this.#most());
    if (this.#held < RETRY) return false;
    this.#held -= RETRY;
    return true;
  }

  /** What it can hold now. */
  #most(): number {
    if (this.#percent === 0 && this.#minPerSecond === 0) return 0;
    const ofRequests = this.#percent * PER_PERCENT * (this.#requestsInSecond + this.#requestsBefore);
    return Math.max(RETRY, ofRequests + this.#minPerSecond * KEPT_SECONDS * RETRY);
  }

  #roll(nowMs: number): void {
    const second = Math.floor(nowMs / SECOND_MS);
    if (second <= this.#second) return;
    this.#requestsBefore = second === this.#second + 1 ? this.#requestsInSecond : 0;
    this.#requestsInSecond = 0;
    this.#second = second;
  }
}
