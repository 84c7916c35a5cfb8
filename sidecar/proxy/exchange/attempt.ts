// One attempt: from the endpoint that was picked to the end of the answer, or to the failure that its layers decide about. It connects,
// forwards the request and the response between the leg and the application, and knows whose fault it is when time is over. One object per
// client connection, reused for every attempt. What is forwarded, what time means and how it ends all turn on the same phase and the same leg,
// each of which any of them may change: they are one state machine, and in one file for that. What has an invariant of its own is apart: the
// books (attempt-books.ts), the timer (request-timer.ts), and whether another attempt follows (attempts.ts).
import { LOCAL_ANSWERS, type LocalAnswer } from '../../errors.ts';
import { httpStatusOf, parseGrpcStatus } from '../../grpc/status.ts';
import { fieldValue } from '../../http1/field-value.ts';
import { INTERIM_COST_BYTES, MAX_INTERIM_BYTES } from '../../http1/limits.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import { AttemptResult, REASON_UPSTREAM, reasonSlot } from '../../metrics/route-metrics.ts';
import { Outcome } from '../../policies/circuit-breaker.ts';
import { FailureBit, statusFailures } from '../../policies/failures.ts';
import { answerOf } from '../../tls/failures.ts';
import { DeadlineRule } from '../dependency/route-policies.ts';
import { AttemptBooks } from './attempt-books.ts';
import type { AttemptOwner } from './attempt-owner.ts';
import { isListed, retryAfterMsOf } from './attempts.ts';
import type { CurrentRequest } from './current-request.ts';
import { tellDeadline, tellGrpcTimeout } from './deadline-travel.ts';
import type { RequestTimer } from './request-timer.ts';
import type { ConnectFailure, ResponseReceiver, UpstreamEndpoint, UpstreamLeg } from './upstream.ts';

const Phase = { None: 0, Connecting: 1, Waiting: 2, Answering: 3, Tunnel: 4 } as const;

export class Attempt implements ResponseReceiver {
  readonly books = new AttemptBooks();
  /** Bytes of the request were handed to a connection: from here on it may have been executed. */
  written = false;
  /** Of the answer that is passed on; 0: none is. */
  status = 0;
  readonly #request: CurrentRequest;
  readonly #timer: RequestTimer;
  readonly #owner: AttemptOwner;
  /** It is a copy of another one, which shadows know of. */
  readonly #isHedge: boolean;
  /** What the dependency is told of it; 0: nothing. */
  #number = 0;
  #phase: number = Phase.None;
  #leg: UpstreamLeg | null = null;
  /** The answer is a stream of events or an upgraded connection: only silence ends it. */
  #stream = false;
  /** The answer is one of gRPC whose status is to come. */
  #grpc = false;
  #slowReader = false;
  /** What the 1xx of this attempt came to. */
  #interimBytes = 0;

  constructor(request: CurrentRequest, timer: RequestTimer, owner: AttemptOwner, isHedge = false) {
    this.#request = request;
    this.#timer = timer;
    this.#owner = owner;
    this.#isHedge = isHedge;
  }

  get streaming(): boolean {
    return this.#stream && this.#phase === Phase.Answering;
  }

  /** Part of an answer was passed on. */
  get answering(): boolean {
    return this.#phase === Phase.Answering;
  }

  /** It is used for another one. */
  reset(): void {
    this.#timer.stop();
    if (this.#phase === Phase.Tunnel) this.#request.context.tunnels--;
    this.#phase = Phase.None;
    this.written = false;
    this.status = 0;
    this.#stream = false;
    this.#grpc = false;
    this.#slowReader = false;
  }

  /** `number`: what the dependency is told, 0: nothing. `maxIdleMs`: of a connection that lay idle; see FRESH_ENOUGH_MS. */
  start(endpoint: UpstreamEndpoint, number: number, maxIdleMs: number, nowMs: number): void {
    this.written = false;
    this.#interimBytes = 0;
    this.#number = number;
    if (!this.#isHedge) this.#request.shadow.attempt(endpoint, nowMs);
    this.books.begin(endpoint, this.#request.policy, nowMs);
    const legs = this.#request.client.http2 ? endpoint.http2 : endpoint;
    const idle = legs.takeIdle(nowMs, maxIdleMs);
    if (idle) {
      this.#leg = idle;
      this.#send(idle);
      return;
    }
    const { policy } = this.#request;
    const { connectMs } = policy.plan.timeouts;
    this.#phase = Phase.Connecting;
    this.#timer.enter(Math.min(this.books.endMs(policy), connectMs > 0 ? nowMs + connectMs : Number.POSITIVE_INFINITY));
    this.#leg = legs.connect(this);
  }

  // ---- the request ----------------------------------------------------------------------------------------------------------------

  onConnected(made: boolean): void {
    const { context, dependency } = this.#request;
    if (made) context.metrics.countConnect(dependency.label, 'success');
    if (!this.#isHedge) this.#request.shadow.connected();
    if (this.#leg) this.#send(this.#leg);
  }

  #send(leg: UpstreamLeg): void {
    const { policy, replay, bodyDone, client } = this.#request;
    this.#phase = Phase.Waiting;
    const endMs = this.books.endMs(policy);
    this.#timer.enter(endMs);
    if (this.#request.head.grpc) tellGrpcTimeout(this.#request);
    if (policy.deadlineRule === DeadlineRule.Told) tellDeadline(this.#request, Math.min(endMs, this.#timer.deadlineMs));
    this.#request.attempt = this.#number;
    leg.sendHead(this, this.#request);
    this.written = true;
    if (replay.used) {
      for (const part of replay.parts) leg.sendData(part, 0, part.length);
      if (bodyDone) leg.sendEnd(replay.trailers);
    }
    if (!client.handsOn) leg.flush();
    if (!bodyDone) client.resumeBody();
  }

  sendData(buffer: Buffer, start: number, end: number): void {
    if (this.#grpc) this.#touch();
    this.#leg?.sendData(buffer, start, end);
  }

  sendEnd(trailers: string, nowMs: number): void {
    this.books.sentMs = nowMs;
    this.#leg?.sendEnd(trailers);
  }

  /** False: the dependency reads slower than the application writes. */
  flush(): boolean {
    return this.#leg === null || this.#leg.flush();
  }

  onUpstreamDrain(): void {
    this.#request.client.resumeBody();
  }

  // ---- the response ---------------------------------------------------------------------------------------------------------------

  onInformational(head: ResponseHead): void {
    this.#interimBytes += head.fields.length + INTERIM_COST_BYTES;
    if (this.#interimBytes > MAX_INTERIM_BYTES) {
      this.onInvalidResponse();
      return;
    }
    // One 100 is enough for the application, whatever a second attempt hears; and of two copies nobody knows whose answer it will be.
    if (this.#request.rivals > 0 || (head.status === 100 && this.#request.continued)) return;
    if (head.status === 100) this.#request.continued = true;
    this.#request.client.informational(head, this.#request.head);
  }

  onResponseHead(head: ResponseHead): boolean {
    const { client, context, policy, bodyDone } = this.#request;
    const nowMs = context.ticker.nowMs();
    if (head.status === 101) return this.#switchProtocols(head, nowMs);
    const failureBits = statusFailures(head.status);
    const replaceable = failureBits !== 0 || isListed(policy, head);
    if (!replaceable || this.#request.rivals === 0) this.#request.shadow.headCame(head, failureBits, nowMs);
    if (failureBits !== 0) this.books.retryAfterMs = Math.max(0, retryAfterMsOf(head, context.ticker));
    if (replaceable && this.#owner.replaces(this, failureBits, head, nowMs)) return false;
    if (policy.hedging !== null) this.#owner.taken(this, replaceable, nowMs);
    this.status = head.status;
    this.books.failureBits = failureBits;
    this.books.noteResponse(nowMs);
    this.#phase = Phase.Answering;
    this.#stream = head.eventStream;
    if (this.#stream) {
      this.#settleEarly(nowMs);
      this.#timer.enterIdle(nowMs, policy.plan.timeouts.idleMs);
    } else if (head.grpcStream) {
      this.#beginGrpc(nowMs);
    }
    if (policy.watchesAnswers) this.#request.recording = this.#request.rescue.recording(head, nowMs);
    client.beginResponse(head, this.#request.head, bodyDone, this.#request.marks);
    return true;
  }

  /** Nothing shows whether a call of gRPC is a stream, so each may be one: it has begun in time, and from here on only silence ends it. */
  #beginGrpc(nowMs: number): void {
    const { policy, shadow } = this.#request;
    this.#grpc = true;
    this.#timer.enterIdle(nowMs, policy.plan.timeouts.idleMs);
    shadow.streamBegan(this.books, nowMs);
    // A probe is not to wait for the end of a stream.
    if (this.books.probing) this.books.endProbe(policy, Outcome.Success, nowMs);
  }

  /** A call of gRPC is judged by its trailers. */
  #judgeGrpc(trailers: string): void {
    const code = parseGrpcStatus(fieldValue(trailers, 'grpc-status') ?? '');
    this.status = httpStatusOf(code);
    this.books.failureBits = statusFailures(this.status);
  }

  onResponseData(buffer: Buffer, start: number, end: number): void {
    if (this.#stream || this.#grpc) this.#touch();
    if (this.#request.recording?.add(buffer, start, end) === false) this.#request.recording = null;
    this.#request.client.responseData(buffer, start, end);
  }

  onResponseFlush(): boolean {
    const flowing = this.#request.client.flush();
    if (!flowing) this.#slowReader = true;
    return flowing;
  }

  onResponseEnd(trailers: string): void {
    const { client, context, bodyDone } = this.#request;
    if (this.#grpc) this.#judgeGrpc(trailers);
    client.endResponse(trailers);
    this.#request.recording?.commit();
    const nowMs = context.ticker.nowMs();
    if (!this.#slowReader && !this.#stream && !this.#grpc) this.books.noteResponse(nowMs);
    this.#takeLeg()?.release(bodyDone, nowMs);
    const { failureBits } = this.books;
    this.end(failureBits === 0 ? Outcome.Success : Outcome.Failure, failureBits, this.#statusResult());
    this.#owner.answered(this.status, nowMs, this.#stream);
  }

  onInvalidResponse(): void {
    const nowMs = this.#request.context.ticker.nowMs();
    this.abort();
    const { invalidResponse } = LOCAL_ANSWERS;
    if (this.#phase === Phase.Answering || this.#stream)
      this.#cut(FailureBit.Reset, AttemptResult.invalidResponse, invalidResponse);
    else this.#fail(FailureBit.Reset, AttemptResult.invalidResponse, false, invalidResponse, nowMs);
  }

  onUpstreamClosed(connectFailure: ConnectFailure | null, refused: boolean): void {
    this.#leg = null;
    const { context, dependency } = this.#request;
    const nowMs = context.ticker.nowMs();
    if (connectFailure) {
      context.metrics.countConnect(dependency.label, connectFailure);
      this.#fail(FailureBit.ConnectFailure, AttemptResult.connectFailure, true, answerOf(connectFailure), nowMs);
    } else if (this.#phase === Phase.Answering) {
      this.#cut(FailureBit.Reset, AttemptResult.reset, LOCAL_ANSWERS.reset);
    } else {
      const result = refused ? AttemptResult.refused : AttemptResult.reset;
      this.#fail(FailureBit.Reset, result, refused || !this.written, LOCAL_ANSWERS.reset, nowMs);
    }
  }

  /** The application reads again. */
  resume(): void {
    this.#leg?.resume();
  }

  #settleEarly(nowMs: number): void {
    const { policy, shadow } = this.#request;
    shadow.streamBegan(this.books, nowMs);
    this.books.settleEarly(policy, nowMs);
  }

  /** A stream or a tunnel is not silent. */
  #touch(): void {
    this.#timer.touch();
    this.#request.shadow.active();
  }

  // ---- upgrades -------------------------------------------------------------------------------------------------------------------

  #switchProtocols(head: ResponseHead, nowMs: number): boolean {
    const { client, context, policy, bodyDone } = this.#request;
    const leg = this.#leg;
    if (!leg || this.#request.head.upgrade === '' || head.upgrade === '' || !bodyDone) {
      this.onInvalidResponse();
      return false;
    }
    this.status = 101;
    this.books.failureBits = 0;
    this.books.noteResponse(nowMs);
    this.#settleEarly(nowMs);
    this.#stream = true;
    leg.becomeTunnel();
    context.metrics.countTunnel('upgrade');
    client.switchProtocols(head, this.#request.marks);
    this.#timer.enterIdle(nowMs, policy.plan.timeouts.idleMs);
    this.#phase = Phase.Tunnel;
    context.tunnels++;
    client.becomeTunnel();
    return this.#leg === leg;
  }

  /** Bytes of the application. False: the dependency reads more slowly than they come. */
  tunnelData(buffer: Buffer, start: number, end: number): boolean {
    const leg = this.#leg;
    if (!leg) return true;
    this.#touch();
    leg.sendTunnelData(buffer, start, end);
    return leg.flush();
  }

  tunnelClientEnded(): void {
    this.#leg?.endWriting();
  }

  onTunnelData(buffer: Buffer, start: number, end: number): boolean {
    const { client } = this.#request;
    this.#touch();
    client.tunnelData(buffer, start, end);
    return client.flush();
  }

  onTunnelEnd(): void {
    this.#request.client.endWriting();
  }

  onTunnelClosed(inOrder: boolean): void {
    this.#leg = null;
    const { client } = this.#request;
    this.#endStream(REASON_UPSTREAM);
    if (inOrder) client.destroyAfterFlush();
    else client.breakOff(REASON_UPSTREAM);
  }

  // ---- time -----------------------------------------------------------------------------------------------------------------------

  /** Its own time is over, or the deadline of the request. */
  timeOver(nowMs: number, deadline: boolean): void {
    if (!deadline && this.#outlivesProbe(nowMs)) return;
    if (this.#phase === Phase.Connecting && !deadline) this.#leg?.giveUpConnecting();
    else if (this.#phase === Phase.Answering) this.#cutAnswer(nowMs, deadline);
    else this.#timeOut(nowMs, deadline);
  }

  /** Nothing came on a stream for its idle time. */
  idle(): void {
    const reason = reasonSlot(LOCAL_ANSWERS.deadline.code);
    this.abort();
    this.#endStream(reason);
    this.#request.client.breakOff(reason);
  }

  #timeOut(nowMs: number, deadline: boolean): void {
    const { endpoint } = this.books;
    const unsent = !this.written;
    const blameless = this.#isBlameless();
    const { attemptTimeout } = LOCAL_ANSWERS;
    if (deadline || blameless) {
      this.#giveUp(blameless, nowMs);
      this.#owner.attemptGivenUp(this, endpoint, deadline ? LOCAL_ANSWERS.deadline : attemptTimeout, nowMs);
      return;
    }
    this.abort();
    this.#fail(FailureBit.AttemptTimeout, AttemptResult.attemptTimeout, unsent, attemptTimeout, nowMs);
  }

  /** Its time is over, and nothing of that was the dependency's. */
  #isBlameless(): boolean {
    if (this.written) return this.#waitsForClient();
    const { context, dependency } = this.#request;
    context.metrics.countConnect(dependency.label, 'timeout');
    return this.#owner.rerouted(this);
  }

  #giveUp(blameless: boolean, nowMs: number): void {
    this.abort();
    // How long the application took over its body tells nothing of the dependency.
    if (!blameless) this.books.noteResponse(nowMs);
    const blamed = this.books.ranLongEnough(this.#request.policy, nowMs) && !blameless;
    this.end(blamed ? Outcome.Failure : Outcome.Ignored, FailureBit.AttemptTimeout, AttemptResult.attemptTimeout);
  }

  /** The deadline of the request has passed, as another copy of it was told. */
  deadlinePassed(nowMs: number): void {
    this.#timer.stop();
    this.#giveUp(this.#isBlameless(), nowMs);
  }

  /** Another copy of the request was answered first. */
  overtaken(nowMs: number): void {
    this.abort();
    this.#timer.stop();
    this.books.overtaken(this.#request.policy, this.#request.context, nowMs);
  }

  /** It has ended, and other copies of the request go on. */
  stopTimer(): void {
    this.#timer.stop();
  }

  /** The time is over in the middle of an answer. It was the application's, where that does not read. */
  #cutAnswer(nowMs: number, deadline: boolean): void {
    const { policy, client } = this.#request;
    const blamed = this.books.ranLongEnough(policy, nowMs) && !client.blocked;
    this.abort();
    const answer = deadline ? LOCAL_ANSWERS.deadline : LOCAL_ANSWERS.attemptTimeout;
    this.#cut(blamed ? FailureBit.AttemptTimeout : 0, AttemptResult.attemptTimeout, answer);
  }

  /**
   * The time of the probe is over and that of the attempt is not. Whose answer began in time is judged by its head and goes on; nor is an
   * application cut off that still sends, whose probe decides nothing.
   */
  #outlivesProbe(nowMs: number): boolean {
    if (!this.books.probing) return false;
    const { policy } = this.#request;
    if (nowMs >= this.books.attemptEndMs(policy)) return false;
    if (this.#phase === Phase.Answering) {
      if (!this.#slowReader) this.books.noteResponse(nowMs);
      this.books.endProbe(policy, this.books.failureBits === 0 ? Outcome.Success : Outcome.Failure, nowMs);
    } else if (this.#waitsForClient()) {
      this.books.endProbe(policy, Outcome.Ignored, nowMs);
    } else {
      return false;
    }
    this.#timer.enter(this.books.attemptEndMs(policy));
    return true;
  }

  /** The dependency has taken what came of the request, and the rest is the application's to send. */
  #waitsForClient(): boolean {
    if (this.#request.bodyDone || !this.written) return false;
    const asked = this.#request.continued || !this.#request.head.expectsContinue;
    return asked && this.flush();
  }

  // ---- ends -----------------------------------------------------------------------------------------------------------------------

  #fail(failureBits: number, result: number, unsent: boolean, answer: LocalAnswer, nowMs: number): void {
    this.books.noteResponse(nowMs);
    this.#owner.attemptFailed(this, failureBits, result, unsent, answer, nowMs);
  }

  /**
   * Ends it in all books. `outcome`: a Failure is one that no policy has looked at yet. `result` below zero: nothing was tried.
   */
  end(outcome: number, failureBits: number, result: number): void {
    const { context, policy, rivals, shadow } = this.#request;
    const nowMs = context.ticker.nowMs();
    // To a shadow, the copies of a request are one attempt, which ends with the last of them.
    if (rivals === 0)
      shadow.attemptEnded(this.books, outcome, failureBits, result, this.status !== 0, this.written, nowMs);
    this.books.end(policy, context, outcome, failureBits, result, nowMs);
    this.written = false;
  }

  /** `failureBits` 0: it was nobody's fault. */
  #cut(failureBits: number, result: number, answer: LocalAnswer): void {
    const { client, context } = this.#request;
    const { endpoint } = this.books;
    this.end(failureBits === 0 ? Outcome.Ignored : Outcome.Failure, failureBits, result);
    // Its head and what is wrong with it came in one read: the application has seen nothing of it, and can be told why.
    if (client.takeBack()) this.#owner.attemptGivenUp(this, endpoint, answer, context.ticker.nowMs());
    else this.#owner.answerCut(this.status, reasonSlot(answer.code));
  }

  /** What happens to a stream after its head says nothing more about the dependency. */
  #endStream(reason: number): void {
    this.end(Outcome.Ignored, this.books.failureBits, this.#statusResult());
    this.#owner.streamEnded(this.status, reason);
  }

  /** The application is gone. `aborted`: not by ending both sides of a tunnel. True: it took a stream with it, which is counted. */
  cancel(aborted: boolean): boolean {
    if (this.#phase === Phase.Tunnel && !aborted) this.#takeLeg()?.finish();
    else this.abort();
    if (!this.#stream) return false;
    this.#endStream(REASON_UPSTREAM);
    return true;
  }

  /** The response is not wanted. */
  drop(): void {
    this.#takeLeg()?.destroy();
  }

  /** What was written must not be taken for a whole request. */
  abort(): void {
    this.#takeLeg()?.abort();
  }

  /** Whoever ends a leg is told nothing of its end. */
  #takeLeg(): UpstreamLeg | null {
    const leg = this.#leg;
    this.#leg = null;
    if (leg) leg.receiver = null;
    return leg;
  }

  #statusResult(): number {
    return this.books.failureBits === 0 ? AttemptResult.success : AttemptResult.failureStatus;
  }
}
