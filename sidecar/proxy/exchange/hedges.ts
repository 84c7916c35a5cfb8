// The hedges of a request: copies of it that are sent to other endpoints while an attempt takes longer than most do. The first good head wins,
// and the other copies are aborted. Each is an Attempt with books, a timer and a place in the bulkhead of its own, so that this file only says
// when one is sent, and which of them goes on. One object per client connection on whose routes anything is hedged.
//
// Semantics: the delay is that of backup requests (policies/hedging.ts); the rest is hedging of gRPC A6, with what differs:
//  - An attempt and its hedges are one attempt to the retry rule: `maxAttempts` counts them as one, and another attempt follows only where the
//    last of them has failed, by what that one failed of. A copy that fails while another is out waits for it; in A6 a failure brings the next
//    hedge about at once, here the delay stands, for what fails fast would otherwise double the load when it is least wanted.
//  - Only what may run twice at a time is hedged (mayRunBeside), which is less than what may be retried; and never an upgrade, or what asks for a
//    stream of events.
//  - A hedge asks as a retry does, and may be refused by each layer: it never waits for a place in the bulkhead, is no probe of a circuit and not
//    sent beside one, and is paid out of the retry budget. It goes to an endpoint at which no copy is out, or not at all.
//  - What loses is ended as cancelled, which says nothing of the dependency: its circuit and outlier detection do not hear of it.
import { AttemptResult, HedgeResult, HedgeSuppression } from '../../metrics/route-metrics.ts';
import { Outcome } from '../../policies/circuit-breaker.ts';
import { type Hedging, mayRunBeside } from '../../policies/hedging.ts';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import { Attempt } from './attempt.ts';
import type { AttemptBooks } from './attempt-books.ts';
import type { AttemptOwner } from './attempt-owner.ts';
import { ATTEMPT_FLOOR_MS, type Attempts } from './attempts.ts';
import type { CurrentRequest } from './current-request.ts';
import { RequestTimer, type TimedRequest } from './request-timer.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** A copy with a timer of its own. */
class Hedge implements TimedRequest {
  readonly timer: RequestTimer;
  readonly attempt: Attempt;

  constructor(request: CurrentRequest, owner: AttemptOwner) {
    this.timer = new RequestTimer(request.context.ticker, this);
    this.attempt = new Attempt(request, this.timer, owner, true);
  }

  onTimeOver(nowMs: number, deadline: boolean): void {
    this.attempt.timeOver(nowMs, deadline);
  }

  onIdle(): void {
    this.attempt.idle();
  }
}

export class Hedges implements TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly #request: CurrentRequest;
  /** Of the request. */
  readonly #timer: RequestTimer;
  readonly #attempts: Attempts;
  readonly #owner: AttemptOwner;
  /** Made when first needed and kept for later requests: the first hedge of each request takes the first one, and so on. */
  readonly #hedges: Hedge[] = [];
  /** The attempt that is watched, and its hedges, as far as they have not ended. */
  readonly #out: Attempt[] = [];
  /** The attempt that is watched; null: none is. */
  #watched: Attempt | null = null;
  #hedging: Hedging | null = null;
  /** From the last copy to the next, milliseconds. */
  #delayMs = 0;
  #lastSentMs = 0;

  constructor(request: CurrentRequest, timer: RequestTimer, attempts: Attempts, owner: AttemptOwner) {
    this.#request = request;
    this.#timer = timer;
    this.#attempts = attempts;
    this.#owner = owner;
  }

  /** An attempt is about to be sent. */
  watch(attempt: Attempt, hedging: Hedging, nowMs: number): void {
    const { head, policy } = this.#request;
    const { retries } = policy;
    this.#watched = null;
    if (retries === null || !mayRunBeside(head.method, head.hasIdempotencyKey, retries.methods)) return;
    if (head.upgrade !== '' || head.acceptsEventStream) return;
    this.#watched = attempt;
    this.#hedging = hedging;
    this.#out.push(attempt);
    this.#lastSentMs = nowMs;
    this.#delayMs = hedging.delayMs(nowMs);
    if (this.#delayMs >= 0 && this.#mayHaveMore && !attempt.books.probing) this.#arm(nowMs + this.#delayMs);
  }

  get #mayHaveMore(): boolean {
    const { plan } = this.#request.policy;
    return plan.hedging !== null && this.#attempts.hedges < plan.hedging.maxHedges && !this.#attempts.refused;
  }

  #arm(atMs: number): void {
    this.#request.context.ticker.arm(this, atMs);
  }

  /** The delay is over: counted from the end of an upload, for until then the dependency could not have answered. */
  expire(nowMs: number): void {
    const sentMs = Math.max(this.#watched?.books.sentMs ?? 0, this.#lastSentMs);
    const dueMs = (this.#request.bodyDone ? sentMs : nowMs) + this.#delayMs;
    if (nowMs < dueMs) {
      this.#arm(dueMs);
      return;
    }
    // The tick that brings it may be the one in which the deadline passes.
    if (!this.#mayHaveMore || this.#timer.deadlineMs - nowMs < ATTEMPT_FLOOR_MS) return;
    const suppression = this.#send(nowMs);
    if (suppression < 0) return;
    const { hedgesSuppressed } = this.#request.policy.metrics;
    hedgesSuppressed[suppression] = (hedgesSuppressed[suppression] ?? 0) + 1;
  }

  /** A `HedgeSuppression`; -1: it is sent. */
  #send(nowMs: number): number {
    const { policy, replay, context } = this.#request;
    if (!replay.complete) return HedgeSuppression.body;
    const endpoint = this.#otherEndpoint(nowMs);
    if (endpoint === null) return HedgeSuppression.endpoint;
    const hedge = this.#nextHedge();
    const { attempt, timer } = hedge;
    const suppression = this.#admit(attempt.books, nowMs);
    if (suppression >= 0) {
      attempt.books.end(policy, context, Outcome.Ignored, 0, -1, nowMs);
      return suppression;
    }
    this.#attempts.hedged();
    this.#out.push(attempt);
    this.#request.rivals = this.#out.length - 1;
    this.#lastSentMs = nowMs;
    if (this.#mayHaveMore) this.#arm(nowMs + this.#delayMs);
    attempt.reset();
    timer.begin(nowMs, 0);
    timer.shorten(this.#timer.deadlineMs);
    attempt.start(endpoint, this.#attempts.toldNumber, Number.POSITIVE_INFINITY, nowMs);
    return -1;
  }

  #nextHedge(): Hedge {
    const { hedges } = this.#attempts;
    const hedge = this.#hedges[hedges] ?? new Hedge(this.#request, this.#owner);
    this.#hedges[hedges] = hedge;
    return hedge;
  }

  /** The layers that each attempt passes; the budget last, since asking spends it. A `HedgeSuppression`, or -1. */
  #admit(books: AttemptBooks, nowMs: number): number {
    const { policy } = this.#request;
    const { bulkhead, budget } = policy;
    if (!books.admit(policy, nowMs) || books.probing) return HedgeSuppression.circuit;
    if (bulkhead !== null) {
      if (!bulkhead.tryAcquire()) return HedgeSuppression.bulkhead;
      books.takePlace(bulkhead);
    }
    return budget?.tryWithdraw(nowMs) === true ? -1 : HedgeSuppression.budget;
  }

  /** Where no copy is out; null: there is no such endpoint. */
  #otherEndpoint(nowMs: number): UpstreamEndpoint | null {
    const taken = this.#out.flatMap(({ books }) => (books.endpoint === null ? [] : [books.endpoint]));
    const endpoint = this.#attempts.pick([...this.#attempts.failedEndpoints, ...taken], nowMs);
    return endpoint === null || taken.includes(endpoint) ? null : endpoint;
  }

  /**
   * A copy failed, and is ended in the books. `result`: an `AttemptResult`. True: others are out, and what becomes of them decides.
   */
  ended(attempt: Attempt, result: number, nowMs: number): boolean {
    if (!this.#leave(attempt)) return false;
    attempt.stopTimer();
    if (attempt !== this.#watched) this.#count(HedgeResult.failed);
    else if (result === AttemptResult.attemptTimeout) this.#record(nowMs);
    if (this.#out.length > 0) return true;
    this.#request.context.ticker.disarm(this);
    return false;
  }

  /** This copy was answered, and its answer is what the application gets. `failed`: for want of a better one. */
  taken(attempt: Attempt, failed: boolean, nowMs: number): void {
    if (!this.#out.includes(attempt)) return;
    this.#request.context.ticker.disarm(this);
    // A failure that came fast says nothing about how long an answer takes.
    if (!failed && this.#watched !== null && this.#out.includes(this.#watched)) this.#record(nowMs);
    for (const other of this.#out) {
      if (other === attempt) continue;
      other.overtaken(nowMs);
      if (other !== this.#watched) this.#count(HedgeResult.lost);
    }
    if (attempt !== this.#watched) this.#count(HedgeResult.won);
    this.#clear();
  }

  /** The deadline of the request passed at this copy, which is ended. */
  deadlinePassed(attempt: Attempt, nowMs: number): void {
    if (!this.#leave(attempt)) return;
    this.#request.context.ticker.disarm(this);
    if (attempt === this.#watched) this.#record(nowMs);
    else this.#count(HedgeResult.cancelled);
    for (let other = this.#out[0]; other; other = this.#out[0]) {
      const { endpoint } = other.books;
      other.deadlinePassed(nowMs);
      this.#attempts.failedAt(endpoint);
      this.#leave(other);
      if (other === this.#watched) this.#record(nowMs);
      else this.#count(HedgeResult.cancelled);
    }
  }

  /** The request is over: what is still out is not wanted any more. The watched attempt is ended by who began it. */
  reset(nowMs: number): void {
    if (this.#out.length === 0) return;
    this.#request.context.ticker.disarm(this);
    for (let attempt = this.#out[0]; attempt; attempt = this.#out[0]) {
      this.#leave(attempt);
      if (attempt === this.#watched) continue;
      attempt.stopTimer();
      attempt.abort();
      attempt.end(Outcome.Ignored, attempt.books.failureBits, AttemptResult.cancelled);
      this.#count(HedgeResult.cancelled);
    }
    // The answer of an attempt that its caller did not wait for would have taken longer still.
    if (this.#delayMs >= 0 && this.#watchedMs(nowMs) >= this.#delayMs) this.#record(nowMs);
    this.#clear();
  }

  /** False: it is none of those that are out. */
  #leave(attempt: Attempt): boolean {
    const index = this.#out.indexOf(attempt);
    if (index < 0) return false;
    this.#out.splice(index, 1);
    this.#request.rivals = Math.max(0, this.#out.length - 1);
    return true;
  }

  #clear(): void {
    this.#out.length = 0;
    this.#request.rivals = 0;
  }

  /** How long the watched attempt has taken so far. */
  #watchedMs(nowMs: number): number {
    return this.#watched === null ? 0 : nowMs - this.#watched.books.sentMs;
  }

  #record(nowMs: number): void {
    if (this.#request.bodyDone) this.#hedging?.record(this.#watchedMs(nowMs), nowMs);
  }

  #count(result: number): void {
    const { hedges } = this.#request.policy.metrics;
    hedges[result] = (hedges[result] ?? 0) + 1;
  }
}
