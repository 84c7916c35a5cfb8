// The conductor: one request of the application from its head to the end of its answer. It owns the order of the layers and drives the
// pure state machines; it decides nothing that they can decide. One object per client connection, reused for every request on it, so
// that a request allocates no promise, no closure and no object of its own.
//
//   observe        every path ends in #conclude, which counts the request exactly once
//   rescue         #refuse turns every refusal into an answer that says who and why
//   deadline       from the head on; queue, backoff and all attempts included
//   attempts       #startAttempt … #failAttempt; the budget and the retry rule decide on another one
//   breaker look   refuse early, before a place in the queue is taken
//   bulkhead       held to the end of the body; a backoff holds no place
//   breaker admit  it may have opened while the request waited
//   pick           an endpoint, another one than the last where there is one
//   attempt time   from the pick to the end of the answer
//   forward        the connection, the request, the response

import { LOCAL_ANSWERS, type LocalAnswer } from '../errors.ts';
import { encodeChunkHead } from '../http1/chunked.ts';
import type { RequestHead } from '../http1/request-head.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import { AttemptResult, REASON_UPSTREAM, reasonSlot } from '../metrics.ts';
import { Admission, type BulkheadWaiter } from '../policies/bulkhead.ts';
import { Outcome } from '../policies/circuit-breaker.ts';
import { FailureBit, statusFailures } from '../policies/failures.ts';
import type { TimerNode } from '../policies/timer-wheel.ts';
import { Attempt } from './attempt.ts';
import type { ProxyContext } from './context.ts';
import type { DependencyRuntime, RoutePolicy } from './dependency.ts';
import type { Downstream } from './downstream.ts';
import { lastChunk } from './forwarded-heads.ts';
import { sourceOf } from './local-answer.ts';
import { ReplayBody } from './replay-body.ts';
import { ATTEMPT_FLOOR_MS, mayRepeat, nextAttemptAtMs } from './retry-decision.ts';
import type { ConnectFailure, UpstreamEndpoint } from './upstream.ts';
import { FRESH_ENOUGH_MS, type ResponseReceiver, UpstreamConnection } from './upstream.ts';

const Phase = {
  Idle: 0,
  Admitting: 1,
  Queued: 2,
  Backoff: 3,
  Connecting: 4,
  Waiting: 5,
  Streaming: 6,
  Tunnel: 7,
} as const;

export class Exchange implements TimerNode, BulkheadWaiter, ResponseReceiver {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;

  readonly #client: Downstream;
  readonly #context: ProxyContext;
  readonly #replay: ReplayBody;
  readonly #attempt = new Attempt();
  #dependency: DependencyRuntime;
  #policy: RoutePolicy;
  #request: RequestHead;
  #requestText = '';
  #correlationId = '';
  #phase: number = Phase.Idle;
  #startMs = 0;
  #deadlineMs = 0;
  #phaseEndMs = 0;
  #attempts = 0;
  /** The one attempt that is allowed without any policy, after a request that was never sent. */
  #unsentRetryUsed = false;
  /** What the attempt before failed of, until the next one begins; -1: there was none. */
  #retryCause = -1;
  #lastEndpoint: UpstreamEndpoint | null = null;
  #upstream: UpstreamConnection | null = null;
  #hasBody = false;
  #bodyDone = false;
  #status = 0;
  #slowReader = false;
  #stream = false;
  #chunkOut = false;
  #continued = false;
  #lastActivityMs = 0;

  constructor(client: Downstream, context: ProxyContext, dependency: DependencyRuntime, request: RequestHead) {
    this.#client = client;
    this.#context = context;
    this.#dependency = dependency;
    this.#request = request;
    this.#policy = dependency.policyFor('', '/');
    this.#replay = new ReplayBody(context.replayPool);
  }

  /** The answer is a stream of events: it ends with the application. */
  get streaming(): boolean {
    return this.#stream && this.#phase === Phase.Streaming;
  }

  /** The next request is for another one: only its Host could tell. */
  serve(dependency: DependencyRuntime): void {
    this.#dependency = dependency;
  }

  /** The head was read and is valid. `hasBody`: more of the request follows. */
  begin(requestText: string, correlationId: string, hasBody: boolean): void {
    const nowMs = this.#context.ticker.nowMs();
    this.#policy = this.#dependency.policyFor(this.#request.method, this.#request.path);
    this.#requestText = requestText;
    this.#correlationId = correlationId;
    this.#startMs = nowMs;
    const { requestMs } = this.#policy.plan.timeouts;
    this.#deadlineMs = requestMs > 0 ? nowMs + requestMs : Number.POSITIVE_INFINITY;
    this.#attempts = 0;
    this.#unsentRetryUsed = false;
    this.#retryCause = -1;
    this.#lastEndpoint = null;
    this.#hasBody = hasBody;
    this.#bodyDone = !hasBody;
    this.#status = 0;
    this.#continued = false;
    this.#stream = false;
    this.#slowReader = false;
    this.#replay.begin(hasBody && mayRepeat(this.#policy, this.#request));
    this.#context.active++;
    this.#phase = Phase.Admitting;
    this.#policy.budget?.recordRequest(nowMs);
    this.#startAttempt(nowMs);
  }

  /** Whether body bytes can be taken now; false: keep them until `client.resumeBody()`. */
  get acceptsBody(): boolean {
    return this.#attempt.written;
  }

  /** Bytes of the request body, good until the next read of the client. */
  requestData(buffer: Buffer, start: number, end: number): void {
    this.#replay.add(buffer, start, end);
    const upstream = this.#upstream;
    if (upstream) this.#writeBody(upstream, buffer, start, end);
  }

  requestEnd(trailers: string): void {
    this.#bodyDone = true;
    this.#attempt.sentMs = this.#context.ticker.nowMs();
    this.#replay.end(trailers);
    if (this.#upstream && this.#request.chunked) this.#upstream.out.text(lastChunk(trailers));
  }

  /** False: the upstream reads slower than the client writes. */
  requestFlush(): boolean {
    return this.#upstream ? this.#upstream.out.flush() : true;
  }

  /** The body cannot be read as one message: what was sent of it must not be taken for a whole. */
  requestMalformed(): boolean {
    const answered = this.#phase === Phase.Streaming;
    this.#upstreamAbort();
    this.#policy.metrics.observe(
      answered ? this.#status : 400,
      reasonSlot(LOCAL_ANSWERS.malformed.code),
      this.#elapsedMs(),
    );
    this.#release(Outcome.Ignored, AttemptResult.cancelled);
    this.#reset();
    return answered;
  }

  /** The application is gone. `aborted`: not by ending both sides of a tunnel. */
  cancel(aborted: boolean): void {
    if (this.#phase === Phase.Idle) return;
    if (this.#phase === Phase.Tunnel && !aborted) this.#upstreamFinish();
    else this.#upstreamAbort();
    if (this.#stream) {
      this.#conclude(REASON_UPSTREAM);
      return;
    }
    this.#release(Outcome.Ignored, AttemptResult.cancelled);
    this.#policy.metrics.observe(0, REASON_UPSTREAM, -1);
    this.#reset();
  }

  tunnelData(buffer: Buffer, start: number, end: number): boolean {
    const upstream = this.#upstream;
    if (!upstream) return true;
    this.#lastActivityMs = this.#context.ticker.nowMs();
    if (!upstream.out.lend(buffer, start, end)) this.#client.keepRead(buffer);
    return upstream.out.flush();
  }

  tunnelClientEnded(): void {
    this.#upstream?.socket.end();
  }

  clientDrained(): void {
    this.#upstream?.resume();
  }

  // ---- attempts -------------------------------------------------------------------------------------------------------------------

  #startAttempt(nowMs: number): void {
    if (this.#deadlineMs - nowMs < ATTEMPT_FLOOR_MS) {
      this.#refuse(LOCAL_ANSWERS.deadline, nowMs);
      return;
    }
    const { breaker, bulkhead } = this.#policy;
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
        this.#enter(Phase.Queued, nowMs + (this.#policy.plan.bulkhead?.queueTimeoutMs ?? 0));
        return;
      }
      this.#attempt.takePlace(bulkhead);
    }
    this.#admitted(nowMs);
  }

  /** The bulkhead gave a place to this request, which waited for it. */
  granted(): void {
    this.#attempt.takePlace(this.#policy.bulkhead);
    const nowMs = this.#context.ticker.nowMs();
    if (this.#phase !== Phase.Queued) {
      this.#attempt.givePlace(this.#context);
    } else if (this.#deadlineMs - nowMs < ATTEMPT_FLOOR_MS) {
      // The place came free in the very tick in which the deadline passed.
      this.#attempt.givePlace(this.#context);
      this.#refuse(LOCAL_ANSWERS.deadline, nowMs);
    } else {
      this.#admitted(nowMs);
    }
  }

  #admitted(nowMs: number): void {
    const policy = this.#policy;
    if (!this.#attempt.admit(policy, nowMs)) {
      this.#refuseOpen(nowMs);
      return;
    }
    const endpoint = this.#dependency.pick(this.#lastEndpoint, this.#client.originalDestination);
    if (!endpoint) {
      this.#release(Outcome.Ignored, -1);
      this.#refuse(LOCAL_ANSWERS.noEndpoints, nowMs, 0, this.#dependency.whyNoEndpoint);
      return;
    }
    this.#attempts++;
    if (this.#retryCause >= 0) this.#countRetry();
    this.#attempt.begin(endpoint, nowMs);
    // What nobody would send again must not meet the end of a connection that lay idle.
    const maxIdleMs = mayRepeat(this.#policy, this.#request) ? Number.POSITIVE_INFINITY : FRESH_ENOUGH_MS;
    const connection = endpoint.takeIdle(nowMs, maxIdleMs);
    if (connection) {
      this.#upstream = connection;
      this.#send(connection);
      return;
    }
    const { connectMs, attemptMs } = policy.plan.timeouts;
    const withinMs = Math.min(connectMs || Number.POSITIVE_INFINITY, attemptMs || Number.POSITIVE_INFINITY);
    this.#enter(Phase.Connecting, nowMs + withinMs);
    this.#upstream = new UpstreamConnection(endpoint, this);
  }

  onConnected(connection: UpstreamConnection): void {
    this.#context.metrics.countConnect(this.#dependency.label, 'success');
    this.#send(connection);
  }

  #send(connection: UpstreamConnection): void {
    const { attemptMs } = this.#policy.plan.timeouts;
    this.#enter(Phase.Waiting, attemptMs > 0 ? this.#attempt.startMs + attemptMs : Number.POSITIVE_INFINITY);
    connection.expectResponse(this, this.#request.method === 'HEAD', this.#hasBody);
    connection.out.text(this.#requestText);
    this.#attempt.written = true;
    if (this.#replay.used) {
      for (const part of this.#replay.parts) this.#writeBody(connection, part, 0, part.length);
      if (this.#bodyDone && this.#request.chunked) connection.out.text(lastChunk(this.#replay.trailers));
    }
    connection.out.flush();
    if (!this.#bodyDone) this.#client.resumeBody();
  }

  #writeBody(upstream: UpstreamConnection, buffer: Buffer, start: number, end: number): void {
    if (upstream.writesFailed()) return;
    if (!this.#request.chunked) {
      if (!upstream.out.lend(buffer, start, end)) this.#client.keepRead(buffer);
      return;
    }
    upstream.out.text(encodeChunkHead(end - start));
    if (!upstream.out.lend(buffer, start, end)) this.#client.keepRead(buffer);
    upstream.out.text('\r\n');
  }

  /** The attempt failed before anything of its answer was passed on. */
  #failAttempt(bits: number, result: number, unsent: boolean, answer: LocalAnswer, nowMs: number): void {
    this.#attempt.responseMs = this.#attempt.tookMs(nowMs);
    const { endpoint } = this.#attempt;
    const rerouted = result === AttemptResult.connectFailure && this.#rerouted();
    const counts = !rerouted && Attempt.counts(this.#policy, bits);
    this.#release(counts ? Outcome.Failure : Outcome.Ignored, result, bits);
    this.#lastEndpoint = endpoint;
    if (rerouted) {
      this.#attempts--;
      this.#startAttempt(nowMs);
      return;
    }
    if (this.#transparentRetry(unsent, result, nowMs)) return;
    const atMs = this.#nextAttemptAtMs(bits, result, unsent, nowMs);
    if (atMs < 0) this.#refuse(answer, nowMs);
    else this.#enter(Phase.Backoff, atMs);
  }

  /**
   * Whether the connection that failed leads elsewhere from now on: the endpoint may be gone without anybody having been able to say so,
   * and that is our ignorance, not a failure of the dependency.
   */
  #rerouted(): boolean {
    const { endpoint } = this.#attempt;
    if (endpoint === null || !this.#context.endpointsStale()) return false;
    if (this.#dependency.distrustEndpoints(endpoint)) return true;
    return (
      this.#dependency.isClusterIp(endpoint) && this.#lastEndpoint === null && this.#dependency.endpoints.length > 0
    );
  }

  /** Without a policy for retries: once, what was never sent. */
  #transparentRetry(unsent: boolean, result: number, nowMs: number): boolean {
    if (this.#policy.retries || !unsent || this.#unsentRetryUsed) return false;
    this.#unsentRetryUsed = true;
    this.#retryCause = result;
    this.#startAttempt(nowMs);
    return true;
  }

  #nextAttemptAtMs(bits: number, result: number, unsent: boolean, nowMs: number): number {
    const failed = { bits, unsent, attempts: this.#attempts, deadlineMs: this.#deadlineMs };
    const atMs = nextAttemptAtMs(this.#context, this.#policy, this.#request, this.#replay, failed, nowMs);
    if (atMs >= 0) this.#retryCause = result;
    return atMs;
  }

  /** Here and not where it was decided: our own layers may refuse what was wanted. */
  #countRetry(): void {
    const { retries } = this.#policy.metrics;
    retries[this.#retryCause] = (retries[this.#retryCause] ?? 0) + 1;
    this.#retryCause = -1;
  }

  // ---- the response ---------------------------------------------------------------------------------------------------------------

  onInformational(head: ResponseHead): void {
    // One 100 is enough for the application, whatever a second attempt hears.
    if (head.status === 100 && this.#continued) return;
    if (head.status === 100) this.#continued = true;
    if (this.#request.minorVersion === 0) return;
    this.#client.out.text(`HTTP/1.1 ${head.status} ${head.reason}${head.fields}\r\n\r\n`);
    this.#client.out.flush();
  }

  onResponseHead(head: ResponseHead): boolean {
    const nowMs = this.#context.ticker.nowMs();
    if (head.status === 101) return this.#switchProtocols(head, nowMs);
    const bits = statusFailures(head.status);
    if (bits !== 0 && this.#retryInsteadOfForward(bits, nowMs)) return false;
    this.#status = head.status;
    this.#attempt.failureBits = bits;
    this.#attempt.responseMs = this.#attempt.tookMs(nowMs);
    this.#stream = head.eventStream;
    this.#lastActivityMs = nowMs;
    if (this.#stream) {
      this.#attempt.settleEarly(this.#policy, nowMs);
      this.#enterIdle(nowMs);
    } else {
      this.#phase = Phase.Streaming;
    }
    this.#chunkOut = this.#client.beginResponse(head, this.#request, this.#bodyDone);
    return true;
  }

  /** A status that the policy retries, and a retry is allowed: the response is dropped with its connection. */
  #retryInsteadOfForward(bits: number, nowMs: number): boolean {
    const atMs = this.#nextAttemptAtMs(bits, AttemptResult.failureStatus, false, nowMs);
    if (atMs < 0) return false;
    this.#attempt.responseMs = this.#attempt.tookMs(nowMs);
    this.#lastEndpoint = this.#attempt.endpoint;
    this.#dropUpstream();
    const outcome = Attempt.counts(this.#policy, bits) ? Outcome.Failure : Outcome.Success;
    this.#release(outcome, AttemptResult.failureStatus, bits);
    this.#enter(Phase.Backoff, atMs);
    return true;
  }

  onResponseData(buffer: Buffer, start: number, end: number): void {
    const { out } = this.#client;
    if (this.#stream) this.#lastActivityMs = this.#context.ticker.nowMs();
    if (this.#chunkOut) out.text(encodeChunkHead(end - start));
    if (!out.lend(buffer, start, end)) this.#upstream?.keepRead(buffer);
    if (this.#chunkOut) out.text('\r\n');
  }

  onResponseFlush(): boolean {
    const flowing = this.#client.out.flush();
    if (!flowing) this.#slowReader = true;
    return flowing;
  }

  onResponseEnd(trailers: string): void {
    const { out } = this.#client;
    if (this.#chunkOut) out.text(lastChunk(trailers));
    out.flush();
    const nowMs = this.#context.ticker.nowMs();
    if (!this.#slowReader && !this.#stream) this.#attempt.responseMs = this.#attempt.tookMs(nowMs);
    const upstream = this.#upstream;
    this.#upstream = null;
    if (upstream) {
      upstream.receiver = null;
      if (this.#bodyDone && !upstream.writesFailed()) upstream.endpoint.giveIdle(upstream, nowMs);
      else upstream.destroy();
    }
    const failed = Attempt.counts(this.#policy, this.#attempt.failureBits);
    const result = this.#attempt.failureBits === 0 ? AttemptResult.success : AttemptResult.failureStatus;
    this.#release(failed ? Outcome.Failure : Outcome.Success, result);
    this.#policy.metrics.observe(this.#status, REASON_UPSTREAM, this.#stream ? -1 : nowMs - this.#startMs);
    const bodyDone = this.#bodyDone;
    this.#reset();
    this.#client.responseDone(bodyDone);
  }

  onInvalidResponse(): void {
    const nowMs = this.#context.ticker.nowMs();
    this.#upstreamAbort();
    if (this.#phase === Phase.Streaming || this.#stream)
      this.#breakOff(Outcome.Failure, AttemptResult.invalidResponse, LOCAL_ANSWERS.invalidResponse);
    else
      this.#failAttempt(FailureBit.Reset, AttemptResult.invalidResponse, false, LOCAL_ANSWERS.invalidResponse, nowMs);
  }

  onUpstreamClosed(connectFailure: ConnectFailure | null): void {
    this.#upstream = null;
    if (this.#phase === Phase.Tunnel) {
      this.#client.destroyAfterFlush();
      this.#conclude(REASON_UPSTREAM);
      return;
    }
    const nowMs = this.#context.ticker.nowMs();
    if (connectFailure) {
      this.#context.metrics.countConnect(this.#dependency.label, connectFailure);
      this.#failAttempt(
        FailureBit.ConnectFailure,
        AttemptResult.connectFailure,
        true,
        LOCAL_ANSWERS.connectFailed,
        nowMs,
      );
      return;
    }
    if (this.#phase === Phase.Streaming) {
      this.#breakOff(Outcome.Failure, AttemptResult.reset, LOCAL_ANSWERS.reset);
      return;
    }
    this.#failAttempt(FailureBit.Reset, AttemptResult.reset, !this.#attempt.written, LOCAL_ANSWERS.reset, nowMs);
  }

  onUpstreamDrain(): void {
    this.#client.resumeBody();
  }

  // ---- upgrades -------------------------------------------------------------------------------------------------------------------

  #switchProtocols(head: ResponseHead, nowMs: number): boolean {
    const upstream = this.#upstream;
    if (!upstream || this.#request.upgrade === '' || head.upgrade === '' || !this.#bodyDone) {
      this.onInvalidResponse();
      return false;
    }
    this.#status = 101;
    this.#attempt.failureBits = 0;
    this.#attempt.responseMs = this.#attempt.tookMs(nowMs);
    this.#attempt.settleEarly(this.#policy, nowMs);
    this.#stream = true;
    upstream.becomeTunnel();
    this.#context.metrics.countTunnel('upgrade');
    this.#client.out.text(
      `HTTP/1.1 101 ${head.reason}\r\nConnection: Upgrade\r\nUpgrade: ${head.upgrade}${head.fields}\r\n\r\n`,
    );
    this.#client.out.flush();
    this.#enterIdle(nowMs);
    this.#phase = Phase.Tunnel;
    this.#context.tunnels++;
    this.#client.becomeTunnel();
    return this.#upstream === upstream;
  }

  onTunnelData(buffer: Buffer, start: number, end: number): boolean {
    this.#lastActivityMs = this.#context.ticker.nowMs();
    if (!this.#client.out.lend(buffer, start, end)) this.#upstream?.keepRead(buffer);
    return this.#client.out.flush();
  }

  onTunnelEnd(): void {
    this.#client.endWriting();
  }

  // ---- time -----------------------------------------------------------------------------------------------------------------------

  #enter(phase: number, phaseEndMs: number): void {
    this.#phase = phase;
    this.#phaseEndMs = phaseEndMs;
    const atMs = Math.min(phaseEndMs, this.#deadlineMs);
    if (atMs === Number.POSITIVE_INFINITY) this.#context.ticker.disarm(this);
    else this.#context.ticker.arm(this, atMs);
  }

  /** From the head of a stream on only silence ends it. */
  #enterIdle(nowMs: number): void {
    this.#phase = Phase.Streaming;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    const { idleMs } = this.#policy.plan.timeouts;
    this.#phaseEndMs = idleMs > 0 ? nowMs + idleMs : Number.POSITIVE_INFINITY;
    if (idleMs > 0) this.#context.ticker.arm(this, this.#phaseEndMs);
    else this.#context.ticker.disarm(this);
  }

  expire(nowMs: number): void {
    if (this.#stream) {
      this.#expireIdle(nowMs);
      return;
    }
    const deadline = nowMs >= this.#deadlineMs;
    switch (this.#phase) {
      case Phase.Queued:
        this.#policy.bulkhead?.cancel(this);
        this.#refuse(deadline ? LOCAL_ANSWERS.deadline : LOCAL_ANSWERS.queueTimeout, nowMs);
        break;
      case Phase.Backoff:
        if (deadline) this.#refuse(LOCAL_ANSWERS.deadline, nowMs);
        else this.#startAttempt(nowMs);
        break;
      case Phase.Connecting:
        if (deadline) this.#timeOut(nowMs, true);
        else this.#upstream?.giveUpConnecting();
        break;
      case Phase.Waiting:
        this.#timeOut(nowMs, deadline);
        break;
      case Phase.Streaming:
        this.#cutAnswer(nowMs);
        break;
    }
  }

  #expireIdle(nowMs: number): void {
    const { idleMs } = this.#policy.plan.timeouts;
    if (nowMs < this.#lastActivityMs + idleMs) {
      this.#context.ticker.arm(this, this.#lastActivityMs + idleMs);
      return;
    }
    this.#upstreamAbort();
    this.#conclude(reasonSlot(LOCAL_ANSWERS.deadline.code));
    this.#client.breakOff();
  }

  #timeOut(nowMs: number, deadline: boolean): void {
    const { attemptTimeout, deadline: deadlinePassed } = LOCAL_ANSWERS;
    const unsent = !this.#attempt.written;
    if (unsent) this.#context.metrics.countConnect(this.#dependency.label, 'timeout');
    const blameless = this.#waitsForClient() || (unsent && this.#rerouted());
    this.#attempt.responseMs = this.#attempt.tookMs(nowMs);
    this.#upstreamAbort();
    if (!deadline && !blameless) {
      this.#failAttempt(FailureBit.AttemptTimeout, AttemptResult.attemptTimeout, unsent, attemptTimeout, nowMs);
      return;
    }
    const counts = this.#ranLongEnough(nowMs) && Attempt.counts(this.#policy, FailureBit.AttemptTimeout);
    this.#lastEndpoint = this.#attempt.endpoint;
    const outcome = counts && !blameless ? Outcome.Failure : Outcome.Ignored;
    this.#release(outcome, AttemptResult.attemptTimeout, FailureBit.AttemptTimeout);
    this.#refuse(deadline ? deadlinePassed : attemptTimeout, nowMs);
  }

  /** The time is over in the middle of an answer. It was the application's, where that does not read. */
  #cutAnswer(nowMs: number): void {
    const blamed = this.#ranLongEnough(nowMs) && !this.#client.out.blocked;
    this.#upstreamAbort();
    this.#breakOff(
      blamed ? Outcome.Failure : Outcome.Ignored,
      AttemptResult.attemptTimeout,
      nowMs >= this.#deadlineMs ? LOCAL_ANSWERS.deadline : LOCAL_ANSWERS.attemptTimeout,
    );
  }

  /** The dependency has taken what came of the request, and the rest is the application's to send. */
  #waitsForClient(): boolean {
    if (this.#bodyDone || !this.#attempt.written) return false;
    const asked = this.#continued || !this.#request.expectsContinue;
    return asked && this.requestFlush();
  }

  /** An attempt that the deadline cut short after a moment says nothing about the dependency; one that had half its time does. */
  #ranLongEnough(nowMs: number): boolean {
    const { attemptMs } = this.#policy.plan.timeouts;
    return attemptMs === 0 || nowMs - this.#attempt.startMs >= attemptMs / 2;
  }

  // ---- ends -----------------------------------------------------------------------------------------------------------------------

  #refuseOpen(nowMs: number): void {
    this.#attempt.givePlace(this.#context);
    const { breaker } = this.#policy;
    const answer = LOCAL_ANSWERS.circuitOpen;
    const detail = breaker && breaker.reason !== '' ? `${answer.detail} Why: ${breaker.reason}.` : '';
    this.#refuse(answer, nowMs, breaker ? breaker.retryAfterMs(nowMs) : 0, detail);
  }

  #refuse(answer: LocalAnswer, nowMs: number, retryAfterMs = 0, detail = ''): void {
    const { plan } = this.#policy;
    this.#context.ticker.disarm(this);
    this.#policy.metrics.observe(answer.status, reasonSlot(answer.code), nowMs - this.#startMs);
    const context = {
      dependency: this.#dependency.plan.id,
      rule: plan.rule,
      policy: sourceOf(answer, plan),
      attempts: this.#attempts,
      endpoint: this.#lastEndpoint?.name ?? '',
      correlationId: this.#correlationId,
      retryAfterMs,
      detail,
    };
    const bodyDone = this.#bodyDone;
    this.#reset();
    this.#client.answerLocally(answer, context, bodyDone);
  }

  /** The answer had begun and cannot be finished: the application must see that it is cut. */
  #breakOff(outcome: number, result: number, answer: LocalAnswer): void {
    const bit = result === AttemptResult.attemptTimeout ? FailureBit.AttemptTimeout : FailureBit.Reset;
    const counts = outcome === Outcome.Failure && Attempt.counts(this.#policy, bit);
    this.#release(counts ? Outcome.Failure : Outcome.Ignored, result, bit);
    this.#policy.metrics.observe(this.#status, reasonSlot(answer.code), this.#elapsedMs());
    this.#reset();
    this.#client.breakOff();
  }

  /** A stream or upgraded connection is over, which says nothing more about the dependency than its head did. */
  #conclude(reason: number): void {
    const result = this.#attempt.failureBits === 0 ? AttemptResult.success : AttemptResult.failureStatus;
    this.#release(Outcome.Ignored, result);
    this.#policy.metrics.observe(this.#status, reason, -1);
    this.#reset();
  }

  /** Ends the attempt in all books. `result` below zero: nothing was tried. */
  #release(outcome: number, result: number, failureBits: number = this.#attempt.failureBits): void {
    if (this.bulkheadQueued) this.#policy.bulkhead?.cancel(this);
    this.#attempt.end(this.#policy, this.#context, outcome, result, failureBits, this.#context.ticker.nowMs());
  }

  #dropUpstream(): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    if (!upstream) return;
    upstream.receiver = null;
    upstream.destroy();
  }

  /** What was written still arrives. */
  #upstreamFinish(): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    if (!upstream) return;
    upstream.receiver = null;
    upstream.socket.destroySoon();
  }

  #upstreamAbort(): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    if (!upstream) return;
    upstream.receiver = null;
    upstream.abort();
  }

  #elapsedMs(): number {
    return this.#context.ticker.nowMs() - this.#startMs;
  }

  #reset(): void {
    this.#context.ticker.disarm(this);
    if (this.#phase !== Phase.Idle) this.#context.active--;
    if (this.#phase === Phase.Tunnel) this.#context.tunnels--;
    this.#phase = Phase.Idle;
    this.#attempt.written = false;
    this.#requestText = '';
    this.#replay.clear();
  }
}
