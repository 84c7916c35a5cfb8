// The layers that each attempt of a request passes, and what follows it: another one, a fallback, a refusal, or the answer. The layers that see
// the request once are the exchange's, whose table has the order of all. One object per client connection, reused for every request on it.
import { LOCAL_ANSWERS, type LocalAnswer } from '../../errors.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import { AttemptResult, REPLACED_ANSWERS } from '../../metrics/route-metrics.ts';
import { Admission, type BulkheadWaiter } from '../../policies/bulkhead.ts';
import { Outcome } from '../../policies/circuit-breaker.ts';
import { statusBits } from '../../policies/fallback.ts';
import type { ProxyContext } from '../context.ts';
import { Attempt } from './attempt.ts';
import type { AttemptOwner } from './attempt-owner.ts';
import { ATTEMPT_FLOOR_MS, Attempts, mayRepeat } from './attempts.ts';
import type { CurrentRequest } from './current-request.ts';
import type { Exchange } from './exchange.ts';
import { Hedges } from './hedges.ts';
import { detailed, wordsOfOpenCircuit } from './refusals.ts';
import type { RequestTimer } from './request-timer.ts';
import { FRESH_ENOUGH_MS, type UpstreamEndpoint } from './upstream.ts';

const Phase = { None: 0, Admitting: 1, Queued: 2, Backoff: 3, Sent: 4 } as const;

export class AttemptLayers implements AttemptOwner, BulkheadWaiter {
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;
  readonly attempts: Attempts;
  /** Whose answer is passed on, or the one in progress: the first, but for a hedge that was answered before it. */
  current: Attempt;
  readonly #context: ProxyContext;
  readonly #request: CurrentRequest;
  readonly #timer: RequestTimer;
  readonly #exchange: Exchange;
  readonly #firstAttempt: Attempt;
  /** Made with the first request that needs it. */
  #hedges: Hedges | null = null;
  #phase: number = Phase.None;

  constructor(request: CurrentRequest, timer: RequestTimer, exchange: Exchange) {
    this.#context = request.context;
    this.#request = request;
    this.#timer = timer;
    this.#exchange = exchange;
    this.attempts = new Attempts(request);
    this.#firstAttempt = new Attempt(request, timer, this);
    this.current = this.#firstAttempt;
  }

  // ---- layers ---------------------------------------------------------------------------------------------------------------------

  /** The next attempt. */
  start(nowMs: number): void {
    this.#phase = Phase.Admitting;
    if (this.#timer.deadlineMs - nowMs < ATTEMPT_FLOOR_MS) {
      this.#exchange.refuse(LOCAL_ANSWERS.deadline, nowMs);
      return;
    }
    const { breaker, bulkhead, plan } = this.#request.policy;
    if (breaker && !breaker.look(nowMs)) {
      this.#refuseOpen(nowMs);
      return;
    }
    if (bulkhead) {
      const admission = bulkhead.acquire(this);
      if (admission === Admission.Full) {
        this.#exchange.refuse(LOCAL_ANSWERS.bulkheadFull, nowMs);
        return;
      }
      if (admission === Admission.Queued) {
        this.#wait(Phase.Queued, nowMs + (plan.bulkhead?.queueTimeoutMs ?? 0));
        return;
      }
      this.current.books.takePlace(bulkhead);
    }
    this.#admitted(nowMs);
  }

  /** The bulkhead gave a place to this request, which waited for it. */
  granted(): void {
    const { books } = this.current;
    books.takePlace(this.#request.policy.bulkhead);
    const nowMs = this.#context.ticker.nowMs();
    if (this.#phase !== Phase.Queued) {
      books.givePlace(this.#context);
    } else if (this.#timer.deadlineMs - nowMs < ATTEMPT_FLOOR_MS) {
      // The place came free in the very tick in which the deadline passed.
      books.givePlace(this.#context);
      this.#exchange.refuse(LOCAL_ANSWERS.deadline, nowMs);
    } else {
      this.#admitted(nowMs);
    }
  }

  #admitted(nowMs: number): void {
    const { dependency, head, policy } = this.#request;
    if (!this.current.books.admit(policy, nowMs)) {
      this.#refuseOpen(nowMs);
      return;
    }
    const endpoint = this.attempts.pick(this.attempts.failedEndpoints, nowMs);
    if (!endpoint) {
      this.current.end(Outcome.Ignored, 0, -1);
      this.#exchange.refuse(LOCAL_ANSWERS.noEndpoints, nowMs, detailed(dependency.endpoints.whyNone));
      return;
    }
    this.attempts.started();
    this.#phase = Phase.Sent;
    if (policy.hedging !== null) {
      this.#hedges ??= new Hedges(this.#request, this.#timer, this.attempts, this);
      this.#hedges.watch(this.current, policy.hedging, nowMs);
    }
    // What nobody would send again must not meet the end of a connection that lay idle.
    const maxIdleMs = mayRepeat(policy, head) ? Number.POSITIVE_INFINITY : FRESH_ENOUGH_MS;
    this.current.start(endpoint, this.attempts.toldNumber, maxIdleMs, nowMs);
  }

  #refuseOpen(nowMs: number): void {
    this.current.books.givePlace(this.#context);
    this.#exchange.refuse(LOCAL_ANSWERS.circuitOpen, nowMs, wordsOfOpenCircuit(this.#request.policy.breaker, nowMs));
  }

  // ---- what attempts come to ------------------------------------------------------------------------------------------------------

  attemptFailed(
    attempt: Attempt,
    failureBits: number,
    result: number,
    unsent: boolean,
    answer: LocalAnswer,
    nowMs: number,
  ): void {
    const { endpoint } = attempt.books;
    const rerouted = result === AttemptResult.connectFailure && this.rerouted(attempt);
    // A server that leaves in order refuses what it does not take any more: that is no failure, if it stays at that.
    const isAlone = this.#request.rivals === 0;
    const moved = result === AttemptResult.refused && isAlone && this.attempts.mayGoAgainUnsent(unsent, result);
    const counted = result === AttemptResult.refused && !moved ? AttemptResult.reset : result;
    attempt.end(rerouted || moved ? Outcome.Ignored : Outcome.Failure, failureBits, counted);
    this.attempts.failedAt(endpoint);
    if (this.#hedges?.ended(attempt, result, nowMs)) return;
    if (rerouted || moved) {
      this.attempts.takeBack();
      this.start(nowMs);
      return;
    }
    if (this.attempts.mayGoAgainUnsent(unsent, result)) {
      this.start(nowMs);
      return;
    }
    const atMs = this.attempts.nextAtMs(failureBits, counted, unsent, null, this.#timer.deadlineMs, nowMs);
    if (atMs < 0) this.#exchange.refuse(answer, nowMs);
    else this.#wait(Phase.Backoff, atMs);
  }

  attemptGivenUp(attempt: Attempt, endpoint: UpstreamEndpoint | null, answer: LocalAnswer, nowMs: number): void {
    this.attempts.failedAt(endpoint);
    if (answer === LOCAL_ANSWERS.deadline) this.#hedges?.deadlinePassed(attempt, nowMs);
    else if (this.#hedges?.ended(attempt, AttemptResult.attemptTimeout, nowMs)) return;
    this.#exchange.refuse(answer, nowMs);
  }

  /** The response is dropped with its connection. */
  replaces(attempt: Attempt, failureBits: number, head: ResponseHead, nowMs: number): boolean {
    const { failureStatus } = AttemptResult;
    const { serverError, tooManyRequests } = REPLACED_ANSWERS;
    const { deadlineMs } = this.#timer;
    // Another copy of the request is out, and may be answered better.
    const waits = this.#request.rivals > 0;
    const atMs = waits ? -1 : this.attempts.nextAtMs(failureBits, failureStatus, false, head, deadlineMs, nowMs);
    if (!waits && atMs < 0 && !this.#request.rescue.find(statusBits(head.status), deadlineMs, nowMs)) return false;
    attempt.books.noteResponse(nowMs);
    this.attempts.failedAt(attempt.books.endpoint);
    attempt.drop();
    attempt.end(Outcome.Failure, failureBits, failureStatus);
    this.#hedges?.ended(attempt, failureStatus, nowMs);
    if (waits) this.attempts.refused ||= head.refusesRetry;
    else if (atMs >= 0) this.#wait(Phase.Backoff, atMs);
    else this.#exchange.fallBack(head.status === 429 ? tooManyRequests : serverError, nowMs);
    return true;
  }

  taken(attempt: Attempt, failed: boolean, nowMs: number): void {
    this.#hedges?.taken(attempt, failed, nowMs);
    this.current = attempt;
  }

  rerouted({ books }: Attempt): boolean {
    return this.attempts.rerouted(books.endpoint);
  }

  answered(status: number, nowMs: number, stream: boolean): void {
    this.#exchange.answered(status, nowMs, stream);
  }

  streamEnded(status: number, reason: number): void {
    this.#exchange.streamEnded(status, reason);
  }

  answerCut(status: number, reason: number): void {
    this.#exchange.answerCut(status, reason);
  }

  // ---- time -----------------------------------------------------------------------------------------------------------------------

  #wait(phase: number, untilMs: number): void {
    this.#phase = phase;
    this.#timer.enter(untilMs);
  }

  timeOver(nowMs: number, deadline: boolean): void {
    switch (this.#phase) {
      case Phase.Queued:
        this.#request.policy.bulkhead?.cancel(this);
        this.#exchange.refuse(deadline ? LOCAL_ANSWERS.deadline : LOCAL_ANSWERS.queueTimeout, nowMs);
        break;
      case Phase.Backoff:
        if (deadline) this.#exchange.refuse(LOCAL_ANSWERS.deadline, nowMs);
        else this.start(nowMs);
        break;
      case Phase.Sent:
        this.current.timeOver(nowMs, deadline);
        break;
    }
  }

  // ---- ends -----------------------------------------------------------------------------------------------------------------------

  /** Nobody is there to be answered any more. */
  abandon(): void {
    if (this.bulkheadQueued) this.#request.policy.bulkhead?.cancel(this);
    this.current.end(Outcome.Ignored, this.current.books.failureBits, AttemptResult.cancelled);
  }

  /** The request is over, or begins again at another dependency. */
  reset(): void {
    this.#hedges?.reset(this.#context.ticker.nowMs());
    this.attempts.reset();
    this.#phase = Phase.None;
    this.current.reset();
    if (this.current !== this.#firstAttempt) {
      this.current = this.#firstAttempt;
      this.current.reset();
    }
  }
}
