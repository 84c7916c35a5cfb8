// The leg to the application: reads requests one after the other (what is pipelined waits), hands them to the exchange, and writes answers.
//
// A FIN inside a request is an abort; after a whole request it only says that no further one follows, and the answer is still given (a
// stream of events, which has no end of its own, ends with it).
// A response that ends before its request did is followed by a lingering close, so that the application can read it.
import type { Socket } from 'node:net';
import type { LocalAnswer } from '../errors.ts';
import { LOCAL_ANSWERS } from '../errors.ts';
import { ChunkedDecoder, ChunkedEvent } from '../http1/chunked.ts';
import { HeadError, headErrorClass, headErrorDetail } from '../http1/errors.ts';
import { MAX_HEAD_BYTES } from '../http1/limits.ts';
import { parseRequestHead, RequestHead, unfinishedRequestHeadDetail } from '../http1/request-head.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import { reasonSlot } from '../metrics/route-metrics.ts';
import type { TimerNode } from '../policies/timer-wheel.ts';
import type { ProxyContext } from './context.ts';
import type { DependencyRuntime } from './dependency.ts';
import type { Downstream } from './downstream.ts';
import { Exchange } from './exchange.ts';
import { hopelessHead } from './first-bytes.ts';
import { namesNoService } from './forwarded-heads.ts';
import type { GivenAnswer } from './given-answer.ts';
import { endpointName } from './http1-endpoint.ts';
import type { AnswerContext } from './local-answer.ts';
import { Outbox } from './outbox.ts';
import { ReadBuffer, readInto } from './read-buffer.ts';
import { ResponseWriter } from './response-writer.ts';

const HEAD_END = Buffer.from('\r\n\r\n', 'latin1');
/** A head that has begun must be whole within this time. */
export const HEAD_TIMEOUT_MS = 10_000;
/** How long what still comes in is read away after the last answer was written, so that a reset does not overtake it. */
const LINGER_MS = 1_000;
/**
 * What was read and cannot be taken yet, a body before its connection or a later request, is kept up to here, and only then reading
 * stops: a socket that is not read does not say that the application is gone.
 */
const READ_AHEAD_BYTES = 16_384;

const State = { Head: 0, Body: 1, Waiting: 2, Tunnel: 3, Linger: 4, Closed: 5 } as const;

export interface ClientConnectionOptions {
  context: ProxyContext;
  dependency: DependencyRuntime;
  /** Where a captured connection was made to; null in capture `explicit`. */
  originalDestination: { address: string; port: number } | null;
  /** The port decides, and a Host that is an address or localhost becomes the dependency's name. */
  rewriteHost: boolean;
  /** Whose a request is, where only its Host can tell; its answer null: it is refused. Null: all are of the dependency. */
  owner: ((host: string) => DependencyRuntime | null) | null;
  onClosed(connection: ClientConnection): void;
}

export class ClientConnection implements Downstream, TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly http2 = false;
  dependency: DependencyRuntime;
  readonly originalDestination: { address: string; port: number } | null;
  readonly #socket: Socket;
  readonly #options: ClientConnectionOptions;
  readonly #context: ProxyContext;
  readonly #head = new RequestHead();
  readonly #exchange: Exchange;
  readonly #out: Outbox;
  readonly #answers: ResponseWriter;
  #state: number = State.Head;
  #pending: Buffer | null = null;
  #paused = false;
  #remaining = 0;
  #decoder: ChunkedDecoder | null = null;
  #clientEnded = false;
  #consuming = false;
  #leadingLineSkipped = false;
  #released = false;
  /** The bytes in hand lie in the read buffer. */
  #passing = false;
  readonly #reads = new ReadBuffer();

  constructor(socket: Socket, options: ClientConnectionOptions) {
    this.#socket = readInto(this.#reads, socket, (buffer, bytes) => this.#receiveRead(buffer, bytes)) ?? socket;
    if (this.#socket === socket) socket.on('data', (chunk: Buffer) => this.receive(chunk));
    this.#options = options;
    this.#context = options.context;
    this.dependency = options.dependency;
    this.originalDestination = options.originalDestination;
    this.#out = new Outbox(this.#socket);
    this.#answers = new ResponseWriter(this.#out);
    this.#exchange = new Exchange(this, options.context, options.dependency, this.#head);
    this.#context.clientConnections++;
    this.#socket.on('drain', () => this.#onDrain());
    this.#socket.on('end', () => this.#onEnd());
    this.#socket.on('error', () => {});
    this.#socket.on('close', (hadError: boolean) => {
      this.#reads.release();
      this.#onClose(hadError);
    });
  }

  receive(chunk: Buffer): void {
    if (this.#state >= State.Linger) return;
    const data = this.#pending ? Buffer.concat([this.#pending, chunk]) : chunk;
    this.#pending = null;
    this.#consume(data, data.length);
  }

  /** As `receive`, but the bytes are gone at the next read: what is kept of them has to be copied. */
  #receiveRead(buffer: Buffer, bytes: number): void {
    if (this.#pending) {
      this.receive(buffer.subarray(0, bytes));
      return;
    }
    if (this.#state >= State.Linger) return;
    this.#passing = true;
    this.#consume(buffer, bytes);
    this.#passing = false;
  }

  get blocked(): boolean {
    return this.#out.blocked;
  }

  keepRead(buffer: Buffer): void {
    this.#reads.leave(buffer);
  }

  destroy(): void {
    this.#socket.destroy();
    this.#onClose(true);
  }

  takeBack(): boolean {
    return this.#answers.takeBack();
  }

  breakOff(): void {
    if (this.#answers.endsBody) this.#socket.resetAndDestroy();
    this.destroy();
  }

  destroyAfterFlush(): void {
    this.#socket.destroySoon();
  }

  endWriting(): void {
    this.#socket.end();
  }

  becomeTunnel(): void {
    this.#state = State.Tunnel;
    const pending = this.#pending;
    this.#pending = null;
    this.#resumeSocket();
    if (pending) this.#tunnel(pending, 0, pending.length);
    if (this.#clientEnded) this.#exchange.tunnelClientEnded();
  }

  resumeBody(): void {
    if (this.#state === State.Tunnel) {
      this.#resumeSocket();
      return;
    }
    if (this.#state === State.Body && !this.#consuming) this.#proceed();
  }

  informational(head: ResponseHead, request: RequestHead): void {
    this.#answers.informational(head, request);
  }

  beginResponse(head: ResponseHead, request: RequestHead, requestDone: boolean, marks: string): void {
    if (!requestDone || !request.keepAlive || this.#closing()) this.#answers.keepAlive = false;
    this.#answers.begin(head, request, marks);
  }

  responseData(buffer: Buffer, start: number, end: number): boolean {
    return this.#answers.data(buffer, start, end);
  }

  flush(): boolean {
    return this.#out.flush();
  }

  endResponse(trailers: string): void {
    this.#answers.end(trailers);
  }

  switchProtocols(head: ResponseHead, marks: string): void {
    this.#answers.switchProtocols(head, marks);
  }

  tunnelData(buffer: Buffer, start: number, end: number): boolean {
    return this.#out.lend(buffer, start, end);
  }

  responseDone(requestDone: boolean): void {
    if (!requestDone || !this.#answers.keepAlive) {
      this.#linger();
      return;
    }
    this.#state = State.Head;
    this.#leadingLineSkipped = false;
    if (!this.#consuming) this.#proceed();
  }

  answerLocally(answer: LocalAnswer, context: AnswerContext, requestDone: boolean): void {
    this.#endsBehind(answer.closes || !requestDone);
    this.#answers.local(answer, context, this.#head.method !== 'HEAD');
    this.responseDone(requestDone);
  }

  give(answer: GivenAnswer, marks: string, requestDone: boolean): void {
    this.#endsBehind(!requestDone);
    this.#answers.give(answer, marks, this.#head.method !== 'HEAD');
    this.responseDone(requestDone);
  }

  /** Whether the connection ends behind an answer of ours. */
  #endsBehind(must: boolean): void {
    // An HTTP/1.0 client would have to be told that the connection stays: rather it ends.
    if (must || !this.#head.keepAlive || this.#head.minorVersion === 0 || this.#closing())
      this.#answers.keepAlive = false;
  }

  expire(): void {
    if (this.#state === State.Linger) {
      // A slow reader is still to get what it was answered.
      if (this.#socket.writableLength > 0) this.#context.ticker.arm(this, this.#context.ticker.nowMs() + LINGER_MS);
      else this.destroy();
      return;
    }
    // A head that never ends holds a connection and says nothing; there is no request to answer but this one.
    this.#refuseHead(LOCAL_ANSWERS.malformed, 'the head was not complete within 10 s');
  }

  #closing(): boolean {
    const { draining, shedder } = this.#context;
    return draining || !shedder.keepsConnections || !this.dependency.enforced;
  }

  #consume(data: Buffer, end: number): void {
    this.#consuming = true;
    let position = 0;
    while (position < end && this.#state < State.Tunnel) {
      let next = -1;
      if (this.#state === State.Head) {
        if (!this.#out.blocked) next = this.#consumeHead(data, position, end);
      } else if (this.#state === State.Body) {
        next = this.#consumeBody(data, position, end);
      }
      if (next < 0) {
        // Not to be taken now: part of a head, a later request, or a body nobody can take yet.
        if (this.#pending === null && this.#state < State.Tunnel)
          this.#pending = this.#passing ? Buffer.from(data.subarray(position, end)) : data.subarray(position, end);
        break;
      }
      position = next;
    }
    this.#consuming = false;
    if (this.#state < State.Tunnel) this.#regulate();
    else if (this.#state === State.Tunnel && position < end && this.#pending === null)
      this.#tunnel(data, position, end);
  }

  /** Takes up what had to wait. */
  #proceed(): void {
    const pending = this.#pending;
    this.#pending = null;
    if (pending) this.#consume(pending, pending.length);
    else this.#regulate();
  }

  /** Reads on, unless enough was read ahead, or the upstream takes the body more slowly than it comes. */
  #regulate(): void {
    const flowing = this.#exchange.requestFlush();
    const enough = this.#pending !== null && this.#pending.length >= READ_AHEAD_BYTES && this.#waits();
    if (enough || (this.#state === State.Body && !flowing)) this.#pauseSocket();
    else this.#resumeSocket();
    if (this.#clientEnded) this.#endWithClient();
  }

  /** What was read cannot be taken for a reason that is not in it. */
  #waits(): boolean {
    if (this.#state === State.Head) return this.#out.blocked;
    return this.#state === State.Waiting || !this.#exchange.acceptsBody;
  }

  /** Position after the head; -1: not complete, or refused. */
  #consumeHead(data: Buffer, start: number, bytes: number): number {
    let from = start;
    // At most one empty line before a request is read over (RFC 9112, 2.2).
    if (!this.#leadingLineSkipped && data[from] === 0x0d) {
      if (from + 1 >= bytes) return -1;
      if (data[from + 1] === 0x0a) {
        this.#leadingLineSkipped = true;
        from += 2;
        if (from >= bytes) return from;
      }
    }
    const end = data.indexOf(HEAD_END, from);
    if (end < 0 || end + 4 > bytes || end + 4 - from > MAX_HEAD_BYTES) {
      if (bytes - from > MAX_HEAD_BYTES) {
        this.#refuseHeadFor(unfinishedRequestHeadDetail(data.latin1Slice(from, from + MAX_HEAD_BYTES)));
        return -1;
      }
      const hopeless = hopelessHead(data, from, bytes, this.#head);
      if (hopeless !== 0) {
        this.#refuseHeadFor(hopeless);
        return -1;
      }
      if (this.wheelSlot < 0) this.#context.ticker.arm(this, this.#context.ticker.nowMs() + HEAD_TIMEOUT_MS);
      if (from > start) this.#pending = Buffer.from(data.subarray(from, bytes));
      return -1;
    }
    if (this.wheelSlot >= 0) this.#context.ticker.disarm(this);
    const head = this.#head;
    const detail = parseRequestHead(data.latin1Slice(from, end), head);
    if (detail !== 0) {
      this.#refuseHeadFor(detail);
      return -1;
    }
    this.#begin(head);
    return end + 4;
  }

  #begin(head: RequestHead): void {
    if (this.#options.owner && !this.#findOwner(this.#options.owner(head.host))) return;
    this.#answers.keepAlive = head.keepAlive;
    this.#remaining = 0;
    const hasBody = head.chunked || head.contentLength > 0;
    if (head.chunked) {
      this.#decoder ??= new ChunkedDecoder();
      this.#decoder.reset();
    } else if (head.contentLength > 0) {
      this.#remaining = head.contentLength;
    }
    this.#state = hasBody ? State.Body : State.Waiting;
    const correlationId = head.correlationId === '' ? this.#context.correlationId() : head.correlationId;
    // HTTP/1.0 may come without a Host; what is forwarded is HTTP/1.1 and needs one.
    const unnamed = head.host === '' || (this.#options.rewriteHost && namesNoService(head.host));
    const host = unnamed ? this.dependency.plan.authority : head.host;
    this.#exchange.begin(host, correlationId, hasBody);
  }

  /** False: the request was refused, for nobody declared where it goes. */
  #findOwner(owner: DependencyRuntime | null): boolean {
    if (owner) {
      this.dependency = owner;
      this.#exchange.serve(owner);
      return true;
    }
    const answer = LOCAL_ANSWERS.undeclared;
    this.#answers.keepAlive = false;
    this.dependency.policyFor('', '/', '').metrics.observe(answer.status, reasonSlot(answer.code), 0);
    const to = this.originalDestination;
    const context = {
      ...this.#answerContext(''),
      dependency: '',
      endpoint: to ? endpointName(to.address, to.port) : '',
    };
    this.#answers.local(answer, context, this.#head.method !== 'HEAD');
    this.#linger();
    return false;
  }

  #consumeBody(data: Buffer, start: number, end: number): number {
    if (!this.#exchange.acceptsBody) return -1;
    if (this.#head.chunked) return this.#consumeChunks(data, start, end);
    const take = Math.min(this.#remaining, end - start);
    this.#exchange.requestData(data, start, start + take);
    this.#remaining -= take;
    if (this.#remaining === 0) this.#requestDone('');
    return start + take;
  }

  #consumeChunks(data: Buffer, start: number, end: number): number {
    const decoder = this.#decoder;
    if (!decoder) return -1;
    decoder.input(data, start, end);
    for (;;) {
      const event = decoder.next();
      if (event === ChunkedEvent.Data) {
        this.#exchange.requestData(data, decoder.dataStart, decoder.dataEnd);
        continue;
      }
      if (event === ChunkedEvent.NeedMore) return end;
      if (event === ChunkedEvent.End) {
        this.#requestDone(decoder.trailers);
        return decoder.position;
      }
      this.#refuseBody(headErrorDetail(decoder.detail));
      return -1;
    }
  }

  #requestDone(trailers: string): void {
    this.#state = State.Waiting;
    this.#exchange.requestEnd(trailers);
  }

  #refuseHeadFor(detail: number): void {
    const kind = headErrorClass(detail);
    let answer: LocalAnswer = LOCAL_ANSWERS.malformed;
    if (kind === HeadError.TargetTooLong) answer = LOCAL_ANSWERS.targetTooLong;
    else if (kind === HeadError.HeadTooLarge) answer = LOCAL_ANSWERS.headTooLarge;
    this.#refuseHead(answer, headErrorDetail(detail));
  }

  #refuseHead(answer: LocalAnswer, detail: string): void {
    this.#context.ticker.disarm(this);
    this.#answers.keepAlive = false;
    this.#head.method = 'GET';
    this.dependency.policyFor('', '/', '').metrics.observe(answer.status, reasonSlot(answer.code), 0);
    this.#answers.local(answer, this.#answerContext(detail), true);
    this.#linger();
  }

  #refuseBody(detail: string): void {
    const answered = this.#exchange.requestMalformed();
    if (answered) {
      this.destroy();
      return;
    }
    this.#answers.keepAlive = false;
    this.#answers.local(LOCAL_ANSWERS.malformed, this.#answerContext(detail), true);
    this.#linger();
  }

  #answerContext(detail: string): AnswerContext {
    return {
      dependency: this.dependency.plan.id,
      rule: '',
      policy: '',
      attempts: 0,
      endpoint: '',
      correlationId: '',
      retryAfterMs: 0,
      detail: detail === '' ? '' : `Refused: ${detail}.`,
      marks: '',
      rescued: '',
    };
  }

  #tunnel(data: Buffer, start: number, end: number): void {
    if (!this.#exchange.tunnelData(data, start, end)) this.#pauseSocket();
  }

  /** Says that nothing more comes, and reads away what does, for a moment. */
  #linger(): void {
    if (this.#state >= State.Linger) return;
    this.#state = State.Linger;
    this.#pending = null;
    this.#socket.end();
    this.#context.ticker.arm(this, this.#context.ticker.nowMs() + LINGER_MS);
    this.#resumeSocket();
  }

  #onDrain(): void {
    this.#exchange.clientDrained();
    if (this.#state === State.Head) this.#proceed();
  }

  #onEnd(): void {
    this.#clientEnded = true;
    if (this.#state === State.Tunnel) this.#exchange.tunnelClientEnded();
    else if (this.#state < State.Tunnel) this.#endWithClient();
  }

  /** The application sends nothing more: what it left unfinished is an abort, and without a request the connection is over. */
  #endWithClient(): void {
    if (this.#pending !== null && this.#waits() && !this.#missesContent()) return;
    if (this.#state === State.Head) this.#linger();
    else if (this.#state === State.Body || this.#exchange.streaming) this.destroy();
  }

  /** Less was sent than Content-Length says. */
  #missesContent(): boolean {
    return this.#state === State.Body && !this.#head.chunked && (this.#pending?.length ?? 0) < this.#remaining;
  }

  #onClose(aborted: boolean): void {
    this.#state = State.Closed;
    this.#context.ticker.disarm(this);
    this.#exchange.cancel(aborted || !this.#clientEnded);
    if (this.#released) return;
    this.#released = true;
    this.#context.clientConnections--;
    this.#options.onClosed(this);
  }

  #pauseSocket(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  #resumeSocket(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }
}
