// The conductor: one request of the application from its head to the end of its answer. It owns the order of the layers and drives the
// pure state machines; it decides nothing that they can decide. One object per client connection, reused for every request on it, so
// that a request allocates no promise, no closure and no object of its own.
//
//   layer          where                     why here
//   shadow         request-shadow.ts         told of what the others do, and seen by none of them
//   observe        #observe                  every path counts the request exactly once, whatever answered it
//   rescue         #refuse                   turns every refusal into an answer that says who and why
//   fallback       #refuse, replaces         another answer in its place, or another dependency (rescue.ts), whose layers begin at `faults`
//   load shedding  begin                     what the sidecar itself cannot take costs it nothing but the answer
//   deadline       begin                     from the head on: queue, backoff and all attempts included
//   faults         #startRequest             injected on purpose: before anything is spent, and nobody is to blame for them
//   rate limit     #pastDelay                counts requests and not attempts, before anything is spent on them
//   attempts       #startAttempt, attemptFailed   the budget and the retry rule decide on another one (attempts.ts)
//   hedges         #admitted                 copies of an attempt that takes long, each with what is below of its own (hedges.ts)
//   breaker look   #startAttempt             refuse early, before a place in the queue is taken
//   bulkhead       #startAttempt, granted    held to the end of the body; a backoff holds no place
//   breaker admit  #admitted                 it may have opened while the request waited
//   pick           #admitted                 an endpoint, another one than those that failed, where there is one (dependency-endpoints.ts)
//   attempt time   attempt.ts                from the pick to the end of the answer
//   forward        attempt.ts                between the leg to the dependency (upstream.ts) and the application (downstream.ts)
//
// Both sides are interfaces: the protocols behind them are theirs, and a simulation may stand on either.

import { LOCAL_ANSWERS, type LocalAnswer } from '../errors.ts';
import { fieldValue } from '../http1/field-value.ts';
import type { RequestHead } from '../http1/request-head.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import { AttemptResult, Fault, REASON_UPSTREAM, REPLACED_ANSWERS, reasonSlot } from '../metrics/route-metrics.ts';
import { Admission, type BulkheadWaiter } from '../policies/bulkhead.ts';
import { Outcome } from '../policies/circuit-breaker.ts';
import { answerBits, statusBits } from '../policies/fallback.ts';
import { drawAbort, drawDelayMs } from '../policies/fault-injection.ts';
import { SHED_REASONS, ShedReason } from '../policies/load-shedder.ts';
import { Attempt } from './attempt.ts';
import type { AttemptOwner } from './attempt-owner.ts';
import { ATTEMPT_FLOOR_MS, Attempts, mayRepeat } from './attempts.ts';
import type { ProxyContext } from './context.ts';
import { CurrentRequest } from './current-request.ts';
import { takeDeadline } from './deadline-travel.ts';
import type { DependencyRuntime } from './dependency.ts';
import type { Downstream } from './downstream.ts';
import { Hedges } from './hedges.ts';
import {
  DELAYED_TOO_LONG,
  detailed,
  NO_WORDS,
  refusalContext,
  type Words,
  wordsOfOpenCircuit,
  wordsOfRateLimit,
  wordsOfShedding,
} from './refusals.ts';
import { RequestTimer, type TimedRequest } from './request-timer.ts';
import { FRESH_ENOUGH_MS, type UpstreamEndpoint } from './upstream.ts';

const Phase = { Idle: 0, Admitting: 1, Queued: 2, Backoff: 3, Attempting: 4, Delayed: 5 } as const;

export class Exchange implements AttemptOwner, TimedRequest, BulkheadWaiter {
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;

  readonly #context: ProxyContext;
  readonly #request: CurrentRequest;
  readonly #timer: RequestTimer;
  readonly #attempts: Attempts;
  /** Whose answer is passed on, or the one in progress: the first, but for a hedge that was answered before it. */
  #attempt: Attempt;
  readonly #firstAttempt: Attempt;
  /** Made with the first request that needs it. */
  #hedges: Hedges | null = null;
  #phase: number = Phase.Idle;

  constructor(client: Downstream, context: ProxyContext, dependency: DependencyRuntime, head: RequestHead) {
    this.#context = context;
    this.#request = new CurrentRequest(client, context, dependency, head);
    this.#timer = new RequestTimer(context.ticker, this);
    this.#attempts = new Attempts(this.#request);
    this.#firstAttempt = new Attempt(this.#request, this.#timer, this);
    this.#attempt = this.#firstAttempt;
  }

  /** The next request is for another one: only its Host could tell. */
  serve(dependency: DependencyRuntime): void {
    this.#request.declared = dependency;
  }

  // ---- what the application does --------------------------------------------------------------------------------------------------

  /** The head was read and is valid. `hasBody`: more of the request follows. */
  begin(host: string, correlationId: string, hasBody: boolean): void {
    const request = this.#request;
    const nowMs = this.#context.ticker.nowMs();
    request.dependency = request.declared;
    const { method, path, fields } = request.head;
    const policy = request.dependency.policyFor(method, path, fields);
    request.policy = policy;
    request.metrics = policy.metrics;
    request.faultMark = '';
    request.marks = '';
    request.host = host;
    request.correlationId = correlationId;
    request.hasBody = hasBody;
    request.bodyDone = !hasBody;
    request.startMs = nowMs;
    request.rescue.begin();
    // Over HTTP/2 a dependency may refuse what was sent already.
    const mayGoAgain = request.client.http2 || mayRepeat(policy, request.head) || request.rescue.mayAskAnother(policy);
    request.replay.begin(hasBody && mayGoAgain);
    this.#timer.begin(nowMs, policy.plan.timeouts.requestMs);
    takeDeadline(request, this.#timer, nowMs);
    this.#attempts.begin();
    this.#context.begun++;
    const shed = this.#context.shedder.judge(this.#context.active);
    this.#context.active++;
    this.#phase = Phase.Admitting;
    if (shed !== ShedReason.None && request.dependency.enforced) this.#refuseShed(shed, nowMs);
    else this.#startRequest(nowMs);
  }

  /** Whether body bytes can be taken now; false: keep them until `client.resumeBody()`. */
  get acceptsBody(): boolean {
    return this.#attempt.written;
  }

  /** Bytes of the request body, good until the next read of the client. */
  requestData(buffer: Buffer, start: number, end: number): void {
    this.#request.replay.add(buffer, start, end);
    this.#attempt.sendData(buffer, start, end);
  }

  /** `trailers` has CR LF before each line. */
  requestEnd(trailers: string): void {
    this.#request.bodyDone = true;
    this.#request.replay.end(trailers);
    this.#request.shadow.sent();
    this.#attempt.sendEnd(trailers, this.#context.ticker.nowMs());
  }

  /** False: the upstream reads slower than the client writes. */
  requestFlush(): boolean {
    return this.#attempt.flush();
  }

  /** The body cannot be read as one message: what was sent of it must not be taken for a whole. True: an answer had begun. */
  requestMalformed(): boolean {
    const { answering, status } = this.#attempt;
    this.#attempt.abort();
    this.#observe(answering ? status : 400, reasonSlot(LOCAL_ANSWERS.malformed.code), this.#elapsedMs());
    this.#abandon();
    return answering;
  }

  /** The answer is a stream of events: it ends with the application. */
  get streaming(): boolean {
    return this.#attempt.streaming;
  }

  /** Bytes of a tunnel. False: the dependency reads more slowly than they come. */
  tunnelData(buffer: Buffer, start: number, end: number): boolean {
    return this.#attempt.tunnelData(buffer, start, end);
  }

  tunnelClientEnded(): void {
    this.#attempt.tunnelClientEnded();
  }

  clientDrained(): void {
    this.#attempt.resume();
  }

  /** The application is gone. `aborted`: not by ending both sides of a tunnel. */
  cancel(aborted: boolean): void {
    if (this.#phase === Phase.Idle || this.#attempt.cancel(aborted)) return;
    this.#observe(0, REASON_UPSTREAM, -1);
    this.#abandon();
  }

  // ---- layers ---------------------------------------------------------------------------------------------------------------------

  /** The layers that see a request once, whatever number of attempts it takes. */
  #startRequest(nowMs: number): void {
    const { bodyDone, head, host, policy, shadow } = this.#request;
    shadow.begin(policy.shadow, head, host, !bodyDone, this.#timer.deadlineMs, nowMs);
    const { faults, metrics } = policy;
    const delayMs = faults === null ? 0 : drawDelayMs(faults.plan, this.#context.random);
    if (delayMs === 0) {
      this.#pastDelay(nowMs);
      return;
    }
    metrics.faults[Fault.delay] = (metrics.faults[Fault.delay] ?? 0) + 1;
    this.#request.delayed();
    this.#wait(Phase.Delayed, nowMs + delayMs);
  }

  #pastDelay(nowMs: number): void {
    const { head, policy } = this.#request;
    const { budget, faults, metrics, rateLimit, shadow } = policy;
    if (faults !== null && drawAbort(faults.plan, this.#context.random) !== 0) {
      metrics.faults[Fault.abort] = (metrics.faults[Fault.abort] ?? 0) + 1;
      this.#refuse(faults.abort, nowMs);
      return;
    }
    if (shadow !== null) this.#request.shadow.admit(nowMs);
    if (rateLimit) {
      const { headerName } = rateLimit;
      const value = headerName === null ? '' : (fieldValue(head.fields, headerName) ?? '');
      if (!rateLimit.take(value, nowMs)) {
        this.#refuseRate(rateLimit.retryAfterMs(value, nowMs), nowMs);
        return;
      }
    }
    budget?.recordRequest(nowMs);
    this.#startAttempt(nowMs);
  }

  #startAttempt(nowMs: number): void {
    this.#phase = Phase.Admitting;
    if (this.#timer.deadlineMs - nowMs < ATTEMPT_FLOOR_MS) {
      this.#refuse(LOCAL_ANSWERS.deadline, nowMs);
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
        this.#refuse(LOCAL_ANSWERS.bulkheadFull, nowMs);
        return;
      }
      if (admission === Admission.Queued) {
        this.#wait(Phase.Queued, nowMs + (plan.bulkhead?.queueTimeoutMs ?? 0));
        return;
      }
      this.#attempt.books.takePlace(bulkhead);
    }
    this.#admitted(nowMs);
  }

  /** The bulkhead gave a place to this request, which waited for it. */
  granted(): void {
    const { books } = this.#attempt;
    books.takePlace(this.#request.policy.bulkhead);
    const nowMs = this.#context.ticker.nowMs();
    if (this.#phase !== Phase.Queued) {
      books.givePlace(this.#context);
    } else if (this.#timer.deadlineMs - nowMs < ATTEMPT_FLOOR_MS) {
      // The place came free in the very tick in which the deadline passed.
      books.givePlace(this.#context);
      this.#refuse(LOCAL_ANSWERS.deadline, nowMs);
    } else {
      this.#admitted(nowMs);
    }
  }

  #admitted(nowMs: number): void {
    const { client, declared, dependency, head, policy } = this.#request;
    if (!this.#attempt.books.admit(policy, nowMs)) {
      this.#refuseOpen(nowMs);
      return;
    }
    const { failedEndpoints } = this.#attempts;
    // Where the application's connection was made to says nothing of another dependency.
    const original = dependency === declared ? client.originalDestination : null;
    const { balancer } = policy.choice;
    const key = balancer.keyOf(head, this.#context.ownKey);
    const endpoint = dependency.endpoints.pick(balancer, failedEndpoints, key, original, nowMs);
    if (!endpoint) {
      this.#attempt.end(Outcome.Ignored, -1);
      this.#refuse(LOCAL_ANSWERS.noEndpoints, nowMs, detailed(dependency.endpoints.whyNone));
      return;
    }
    this.#attempts.started();
    this.#phase = Phase.Attempting;
    if (policy.hedging !== null) {
      this.#hedges ??= new Hedges(this.#request, this.#timer, this.#attempts, this);
      this.#hedges.watch(this.#attempt, policy.hedging, nowMs);
    }
    // What nobody would send again must not meet the end of a connection that lay idle.
    const maxIdleMs = mayRepeat(policy, head) ? Number.POSITIVE_INFINITY : FRESH_ENOUGH_MS;
    this.#attempt.start(endpoint, this.#attempts.toldNumber, maxIdleMs, nowMs);
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
    const moved = result === AttemptResult.refused && isAlone && this.#attempts.mayGoAgainUnsent(unsent, result);
    const counted = result === AttemptResult.refused && !moved ? AttemptResult.reset : result;
    attempt.end(rerouted || moved ? Outcome.Ignored : Outcome.Failure, counted, failureBits);
    this.#attempts.failedAt(endpoint);
    if (this.#hedges?.ended(attempt, result, nowMs)) return;
    if (rerouted) {
      this.#attempts.takeBack();
      this.#startAttempt(nowMs);
      return;
    }
    if (moved || this.#attempts.mayGoAgainUnsent(unsent, result)) {
      this.#startAttempt(nowMs);
      return;
    }
    const atMs = this.#attempts.nextAtMs(failureBits, counted, unsent, null, this.#timer.deadlineMs, nowMs);
    if (atMs < 0) this.#refuse(answer, nowMs);
    else this.#wait(Phase.Backoff, atMs);
  }

  attemptGivenUp(attempt: Attempt, endpoint: UpstreamEndpoint | null, answer: LocalAnswer, nowMs: number): void {
    this.#attempts.failedAt(endpoint);
    if (answer === LOCAL_ANSWERS.deadline) this.#hedges?.deadlinePassed(attempt, nowMs);
    else if (this.#hedges?.ended(attempt, AttemptResult.attemptTimeout, nowMs)) return;
    this.#refuse(answer, nowMs);
  }

  /** The response is dropped with its connection. */
  replaces(attempt: Attempt, failureBits: number, head: ResponseHead, nowMs: number): boolean {
    const { failureStatus } = AttemptResult;
    const { deadlineMs } = this.#timer;
    // Another copy of the request is out, and may be answered better.
    const waits = this.#request.rivals > 0;
    const atMs = waits ? -1 : this.#attempts.nextAtMs(failureBits, failureStatus, false, head, deadlineMs, nowMs);
    if (!waits && atMs < 0 && !this.#request.rescue.find(statusBits(head.status), deadlineMs, nowMs)) return false;
    attempt.books.noteResponse(nowMs);
    this.#attempts.failedAt(attempt.books.endpoint);
    attempt.drop();
    attempt.end(Outcome.Failure, failureStatus, failureBits);
    this.#hedges?.ended(attempt, failureStatus, nowMs);
    if (waits) this.#attempts.refused ||= head.refusesRetry;
    else if (atMs >= 0) this.#wait(Phase.Backoff, atMs);
    else this.#fallBack(head.status === 429 ? REPLACED_ANSWERS.tooManyRequests : REPLACED_ANSWERS.serverError, nowMs);
    return true;
  }

  taken(attempt: Attempt, failed: boolean, nowMs: number): void {
    this.#hedges?.taken(attempt, failed, nowMs);
    this.#attempt = attempt;
  }

  /**
   * The endpoint may be gone without anybody having been able to say so: that is our ignorance, not a failure of the dependency. It ends where
   * the ClusterIP has failed too, or a request would try for as long as nothing answers and nobody tells where else.
   */
  rerouted({ books }: Attempt): boolean {
    const { endpoint } = books;
    if (endpoint === null || !this.#context.endpointsStale()) return false;
    const { endpoints } = this.#request.dependency;
    const { failedEndpoints } = this.#attempts;
    const isElsewhere = endpoints.distrust(endpoint);
    if (failedEndpoints.some((failed) => endpoints.isClusterIp(failed))) return false;
    return (
      isElsewhere || (endpoints.isClusterIp(endpoint) && failedEndpoints.length === 0 && endpoints.live.length > 0)
    );
  }

  answered(status: number, nowMs: number, stream: boolean): void {
    const { bodyDone, client, startMs } = this.#request;
    this.#observe(status, this.#request.rescue.reason, stream ? -1 : nowMs - startMs);
    this.#reset();
    client.responseDone(bodyDone);
  }

  answerCut(status: number, reason: number): void {
    this.#observe(status, reason, this.#elapsedMs());
    this.#reset();
    this.#request.client.breakOff(reason);
  }

  streamEnded(status: number, reason: number): void {
    this.#observe(status, reason === REASON_UPSTREAM ? this.#request.rescue.reason : reason, -1);
    this.#reset();
  }

  // ---- time -----------------------------------------------------------------------------------------------------------------------

  #wait(phase: number, untilMs: number): void {
    this.#phase = phase;
    this.#timer.enter(untilMs);
  }

  onTimeOver(nowMs: number, deadline: boolean): void {
    switch (this.#phase) {
      case Phase.Queued:
        this.#request.policy.bulkhead?.cancel(this);
        this.#refuse(deadline ? LOCAL_ANSWERS.deadline : LOCAL_ANSWERS.queueTimeout, nowMs);
        break;
      case Phase.Backoff:
        if (deadline) this.#refuse(LOCAL_ANSWERS.deadline, nowMs);
        else this.#startAttempt(nowMs);
        break;
      case Phase.Delayed:
        if (deadline) this.#refuse(LOCAL_ANSWERS.deadline, nowMs, DELAYED_TOO_LONG);
        else this.#pastDelay(nowMs);
        break;
      case Phase.Attempting:
        this.#attempt.timeOver(nowMs, deadline);
        break;
    }
  }

  onIdle(): void {
    this.#attempt.idle();
  }

  // ---- ends -----------------------------------------------------------------------------------------------------------------------

  #refuseOpen(nowMs: number): void {
    this.#attempt.books.givePlace(this.#context);
    this.#refuse(LOCAL_ANSWERS.circuitOpen, nowMs, wordsOfOpenCircuit(this.#request.policy.breaker, nowMs));
  }

  #refuseShed(reason: number, nowMs: number): void {
    this.#context.metrics.countShedRequest(SHED_REASONS[reason] ?? '');
    this.#refuse(LOCAL_ANSWERS.shed, nowMs, wordsOfShedding(reason));
  }

  #refuseRate(retryAfterMs: number, nowMs: number): void {
    const { rateLimit } = this.#request.policy.plan;
    if (rateLimit) this.#refuse(LOCAL_ANSWERS.rateLimited, nowMs, wordsOfRateLimit(rateLimit, retryAfterMs));
  }

  #refuse(answer: LocalAnswer, nowMs: number, words: Words = NO_WORDS): void {
    const { bodyDone, client, policy, rescue, startMs } = this.#request;
    if (policy.shadow !== null) this.#request.shadow.refused(answerBits(answer));
    if (policy.fallback !== null && rescue.find(answerBits(answer), this.#timer.deadlineMs, nowMs)) {
      this.#fallBack(answer.code, nowMs);
      return;
    }
    this.#observe(answer.status, reasonSlot(answer.code), nowMs - startMs);
    const context = refusalContext(answer, this.#request, this.#attempts, words);
    this.#reset();
    client.answerLocally(answer, context, bodyDone);
  }

  /** The attempts are over, and what was found takes the place of the failure. `code`: the reason of that. */
  #fallBack(code: string, nowMs: number): void {
    const { bodyDone, client, correlationId, rescue, startMs } = this.#request;
    rescue.take(code);
    if (rescue.target) {
      this.#askInstead(rescue.target, nowMs);
    } else if (rescue.given) {
      const { given } = rescue;
      this.#observe(given.status, rescue.reason, nowMs - startMs);
      const marks = `${this.#request.marks}\r\nX-Correlation-ID: ${correlationId}`;
      this.#reset();
      client.give(given, marks, bodyDone);
    }
  }

  /** Once, under the policies of that dependency, and in the time that is left. */
  #askInstead(target: DependencyRuntime, nowMs: number): void {
    const request = this.#request;
    // What is shadowed there begins, and what is shadowed here ends.
    request.shadow.end();
    request.rescue.redirect(target);
    this.#attempts.begin();
    const { requestMs } = request.policy.plan.timeouts;
    if (requestMs > 0) this.#timer.shorten(nowMs + requestMs);
    // What its policy tells of the deadline, and takes of the caller's.
    takeDeadline(request, this.#timer, nowMs);
    this.#phase = Phase.Admitting;
    this.#startRequest(nowMs);
  }

  /** Nobody is there to be answered any more. */
  #abandon(): void {
    this.#request.shadow.left();
    if (this.bulkheadQueued) this.#request.policy.bulkhead?.cancel(this);
    this.#attempt.end(Outcome.Ignored, AttemptResult.cancelled);
    this.#reset();
  }

  /** Once per request. `status` 0: the application went away before the answer. `durationMs` below zero: a stream. */
  #observe(status: number, reason: number, durationMs: number): void {
    this.#request.metrics.observe(status, reason, durationMs);
  }

  #elapsedMs(): number {
    return this.#context.ticker.nowMs() - this.#request.startMs;
  }

  #reset(): void {
    this.#hedges?.reset(this.#context.ticker.nowMs());
    if (this.#phase !== Phase.Idle) this.#context.active--;
    this.#phase = Phase.Idle;
    this.#attempt.reset();
    if (this.#attempt !== this.#firstAttempt) {
      this.#attempt = this.#firstAttempt;
      this.#attempt.reset();
    }
    this.#request.shadow.end();
    this.#request.recording?.discard();
    this.#request.recording = null;
    this.#request.replay.clear();
  }
}
