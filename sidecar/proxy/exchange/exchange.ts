// The conductor: one request of the application from its head to the end of its answer. It owns the order of the layers and drives the
// pure state machines; it decides nothing that they can decide. One object per client connection, reused for every request on it, so
// that a request allocates no promise, no closure and no object of its own.
//
//   layer          where                     why here
//   shadow         request-shadow.ts         told of what the others do, and seen by none of them
//   observe        #observe                  every path counts the request exactly once, whatever answered it
//   rescue         refuse                    turns every refusal into an answer that says who and why
//   fallback       refuse, replaces          another answer in its place, or another dependency (rescue.ts), whose layers begin at `faults`
//   load shedding  begin                     what the sidecar itself cannot take costs it nothing but the answer
//   deadline       begin                     from the head on: queue, backoff and all attempts included
//   faults         #startRequest             injected on purpose: before anything is spent, and nobody is to blame for them
//   rate limit     #pastDelay                counts requests and not attempts, before anything is spent on them
//   then, for each attempt (attempt-layers.ts):
//   attempts       start, attemptFailed      the budget and the retry rule decide on another one (attempts.ts)
//   hedges         #admitted                 copies of an attempt that takes long, each with what is below of its own (hedges.ts)
//   breaker look   start                     refuse early, before a place in the queue is taken
//   bulkhead       start, granted            held to the end of the body; a backoff holds no place
//   breaker admit  #admitted                 it may have opened while the request waited
//   pick           #admitted                 an endpoint, another one than those that failed, where there is one (dependency-endpoints.ts)
//   attempt time   attempt.ts                from the pick to the end of the answer
//   forward        attempt.ts                between the leg to the dependency (upstream.ts) and the application (downstream.ts)
//
// Both sides are interfaces: the protocols behind them are theirs, and a simulation may stand on either.

import { LOCAL_ANSWERS, type LocalAnswer } from '../../errors.ts';
import { fieldValue } from '../../http1/field-value.ts';
import type { RequestHead } from '../../http1/request-head.ts';
import { Fault, REASON_UPSTREAM, reasonSlot } from '../../metrics/route-metrics.ts';
import { answerBits } from '../../policies/fallback.ts';
import { drawAbort, drawDelayMs } from '../../policies/fault-injection.ts';
import { SHED_REASONS, ShedReason } from '../../policies/load-shedder.ts';
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import { AttemptLayers } from './attempt-layers.ts';
import { CurrentRequest } from './current-request.ts';
import { takeDeadline } from './deadline-travel.ts';
import type { Downstream } from './downstream.ts';
import {
  DELAYED_TOO_LONG,
  NO_WORDS,
  refusalContext,
  type Words,
  wordsOfRateLimit,
  wordsOfShedding,
} from './refusals.ts';
import { RequestTimer, type TimedRequest } from './request-timer.ts';

const Phase = { Idle: 0, Begun: 1, Delayed: 2, Attempting: 3 } as const;

export class Exchange implements TimedRequest {
  readonly #context: ProxyContext;
  readonly #request: CurrentRequest;
  readonly #timer: RequestTimer;
  readonly #layers: AttemptLayers;
  #phase: number = Phase.Idle;

  constructor(client: Downstream, context: ProxyContext, dependency: DependencyRuntime, head: RequestHead) {
    this.#context = context;
    this.#request = new CurrentRequest(client, context, dependency, head);
    this.#timer = new RequestTimer(context.ticker, this);
    this.#layers = new AttemptLayers(this.#request, this.#timer, this);
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
    request.begin(host, correlationId, hasBody, nowMs);
    const { policy } = request;
    this.#timer.begin(nowMs, policy.plan.timeouts.requestMs);
    takeDeadline(request, this.#timer, nowMs);
    this.#context.begun++;
    this.#context.sampler?.requested(nowMs);
    const shed = this.#context.shedder.judge(this.#context.active);
    this.#context.active++;
    this.#phase = Phase.Begun;
    if (shed !== ShedReason.None && request.dependency.enforced) this.#refuseShed(shed, nowMs);
    else this.#startRequest(nowMs);
  }

  /** Whether body bytes can be taken now; false: keep them until `client.resumeBody()`. */
  get acceptsBody(): boolean {
    return this.#layers.current.written;
  }

  /** Bytes of the request body, gone after the call. */
  requestData(buffer: Buffer, start: number, end: number): void {
    this.#request.replay.add(buffer, start, end);
    this.#layers.current.sendData(buffer, start, end);
  }

  /** `trailers` has CR LF before each line. */
  requestEnd(trailers: string): void {
    this.#request.bodyDone = true;
    this.#request.replay.end(trailers);
    this.#request.shadow.sent();
    this.#layers.current.sendEnd(trailers, this.#context.ticker.nowMs());
  }

  /** False: the upstream reads slower than the client writes. */
  requestFlush(): boolean {
    return this.#layers.current.flush();
  }

  /** The body cannot be read as one message: what was sent of it must not be taken for a whole. True: an answer had begun. */
  requestMalformed(): boolean {
    const { answering, status } = this.#layers.current;
    this.#layers.current.abort();
    this.#observe(answering ? status : 400, reasonSlot(LOCAL_ANSWERS.malformed.code), this.#elapsedMs());
    this.#abandon();
    return answering;
  }

  /** The answer is a stream of events: it ends with the application. */
  get streaming(): boolean {
    return this.#layers.current.streaming;
  }

  /** Bytes of a tunnel. False: the dependency reads more slowly than they come. */
  tunnelData(buffer: Buffer, start: number, end: number): boolean {
    return this.#layers.current.tunnelData(buffer, start, end);
  }

  tunnelClientEnded(): void {
    this.#layers.current.tunnelClientEnded();
  }

  clientDrained(): void {
    this.#layers.current.resume();
  }

  /** The application is gone. `aborted`: not by ending both sides of a tunnel. */
  cancel(aborted: boolean): void {
    if (this.#phase === Phase.Idle || this.#layers.current.cancel(aborted)) return;
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
    this.#phase = Phase.Delayed;
    this.#timer.enter(nowMs + delayMs);
  }

  #pastDelay(nowMs: number): void {
    const { head, policy } = this.#request;
    const { budget, faults, metrics, rateLimit, shadow } = policy;
    if (faults !== null && drawAbort(faults.plan, this.#context.random) !== 0) {
      metrics.faults[Fault.abort] = (metrics.faults[Fault.abort] ?? 0) + 1;
      this.refuse(faults.abort, nowMs);
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
    this.#phase = Phase.Attempting;
    this.#layers.start(nowMs);
  }

  // ---- time -----------------------------------------------------------------------------------------------------------------------

  onTimeOver(nowMs: number, deadline: boolean): void {
    if (this.#phase === Phase.Attempting) this.#layers.timeOver(nowMs, deadline);
    else if (this.#phase !== Phase.Delayed) return;
    else if (deadline) this.refuse(LOCAL_ANSWERS.deadline, nowMs, DELAYED_TOO_LONG);
    else this.#pastDelay(nowMs);
  }

  onIdle(): void {
    this.#layers.current.idle();
  }

  // ---- ends -----------------------------------------------------------------------------------------------------------------------

  /** The whole answer was passed on, or a stream of events has ended by itself. */
  answered(status: number, nowMs: number, stream: boolean): void {
    const { bodyDone, client, startMs } = this.#request;
    this.#observe(status, this.#request.rescue.reason, stream ? -1 : nowMs - startMs);
    this.#reset();
    client.responseDone(bodyDone);
  }

  /** An answer had begun and cannot be finished. */
  answerCut(status: number, reason: number): void {
    this.#observe(status, reason, this.#elapsedMs());
    this.#reset();
    this.#request.client.breakOff(reason);
  }

  /** A stream or upgraded connection was ended. */
  streamEnded(status: number, reason: number): void {
    this.#observe(status, reason === REASON_UPSTREAM ? this.#request.rescue.reason : reason, -1);
    this.#reset();
  }

  #refuseShed(reason: number, nowMs: number): void {
    const { metrics, random, shedder } = this.#context;
    metrics.countShedRequest(SHED_REASONS[reason] ?? '');
    this.refuse(LOCAL_ANSWERS.shed, nowMs, wordsOfShedding(reason, shedder, random()));
  }

  #refuseRate(retryAfterMs: number, nowMs: number): void {
    const { rateLimit } = this.#request.policy.plan;
    if (rateLimit) this.refuse(LOCAL_ANSWERS.rateLimited, nowMs, wordsOfRateLimit(rateLimit, retryAfterMs));
  }

  /** No layer lets it through, or there is no further attempt. */
  refuse(answer: LocalAnswer, nowMs: number, words: Words = NO_WORDS): void {
    const { bodyDone, client, policy, rescue, startMs } = this.#request;
    if (policy.shadow !== null) this.#request.shadow.refused(answerBits(answer));
    if (policy.fallback !== null && rescue.find(answerBits(answer), this.#timer.deadlineMs, nowMs)) {
      this.fallBack(answer.code, nowMs);
      return;
    }
    this.#observe(answer.status, reasonSlot(answer.code), nowMs - startMs);
    const context = refusalContext(answer, this.#request, this.#layers.attempts, words);
    this.#reset();
    client.answerLocally(answer, context, bodyDone);
  }

  /** The attempts are over, and what was found takes the place of the failure. `code`: the reason of that. */
  fallBack(code: string, nowMs: number): void {
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
    this.#layers.reset();
    request.rescue.redirect(target);
    const { requestMs } = request.policy.plan.timeouts;
    if (requestMs > 0) this.#timer.shorten(nowMs + requestMs);
    // What its policy tells of the deadline, and takes of the caller's.
    takeDeadline(request, this.#timer, nowMs);
    this.#phase = Phase.Begun;
    this.#startRequest(nowMs);
  }

  /** Nobody is there to be answered any more. */
  #abandon(): void {
    this.#request.shadow.left();
    this.#layers.abandon();
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
    this.#layers.reset();
    if (this.#phase !== Phase.Idle) this.#context.active--;
    this.#phase = Phase.Idle;
    this.#request.end();
  }
}
