// The leg to the application over HTTP/1.1: its socket, and what may be done with that at each moment. Requests are read one after the other
// (request-reader.ts; what is pipelined waits in read-ahead.ts), handed to the exchange, and answered (response-writer.ts). Reading, answering
// and closing wait for each other, and so they are here together.
//
// A FIN inside a request is an abort; after a whole request it only says that no further one follows, and the answer is still given (a stream of
// events, which has no end of its own, ends with it). A response that ends before its request did is followed by a lingering close (lingering.ts).
import type { Socket } from 'node:net';
import { LOCAL_ANSWERS, type LocalAnswer } from '../../errors.ts';
import { headErrorDetail } from '../../http1/errors.ts';
import type { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { Downstream } from '../exchange/downstream.ts';
import { Exchange } from '../exchange/exchange.ts';
import { namesNoService } from '../exchange/forwarded-heads.ts';
import type { GivenAnswer } from '../exchange/given-answer.ts';
import type { AnswerContext } from '../exchange/local-answer.ts';
import { answerToHead, countRefusal, unownedContext, unreadContext } from '../exchange/unserved-requests.ts';
import { Outbox } from '../sockets/outbox.ts';
import { readShared } from '../sockets/read-buffer.ts';
import { endpointName } from '../upstream/http1-endpoint.ts';
import { LINGER_MS, Lingering } from './lingering.ts';
import { ReadAhead } from './read-ahead.ts';
import { RequestReader } from './request-reader.ts';
import { ResponseWriter } from './response-writer.ts';

/** A head that has begun must be whole within this time. */
export const HEAD_TIMEOUT_MS = 10_000;

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
  /** How what has no owner is refused; that nobody declared it, where absent. */
  refusal?: LocalAnswer;
  /** Among whose requests it is counted; those of whoever had the request before, where absent. */
  nobody?: () => DependencyRuntime;
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
  readonly #reader = new RequestReader();
  readonly #head: RequestHead = this.#reader.head;
  readonly #exchange: Exchange;
  readonly #out: Outbox;
  readonly #answers: ResponseWriter;
  readonly #ahead: ReadAhead;
  readonly #lingering = new Lingering();
  #state: number = State.Head;
  /** What comes is read and not taken up, until the timer. */
  #heldBack = false;
  #clientEnded = false;
  #consuming = false;
  #released = false;

  constructor(socket: Socket, options: ClientConnectionOptions) {
    this.#socket = socket;
    readShared(socket, (buffer, bytes) => this.#receiveRead(buffer, bytes));
    socket.on('data', (chunk: Buffer) => this.receive(chunk));
    this.#options = options;
    this.#context = options.context;
    this.dependency = options.dependency;
    this.originalDestination = options.originalDestination;
    this.#ahead = new ReadAhead(socket);
    this.#out = new Outbox(this.#socket);
    this.#answers = new ResponseWriter(this.#out);
    this.#exchange = new Exchange(this, options.context, options.dependency, this.#head);
    this.#context.clientConnections++;
    this.#socket.on('drain', () => this.#onDrain());
    this.#socket.on('end', () => this.#onEnd());
    this.#socket.on('error', () => {});
    this.#socket.on('close', (hadError: boolean) => this.#onClose(hadError));
  }

  receive(chunk: Buffer): void {
    if (this.#state >= State.Linger) return;
    const data = this.#ahead.takeBefore(chunk);
    this.#consume(data, data.length, false);
  }

  /** As `receive`, but the bytes are gone after this call: what is kept of them has to be copied. */
  #receiveRead(buffer: Buffer, bytes: number): void {
    if (!this.#ahead.isEmpty) this.receive(buffer.subarray(0, bytes));
    else if (this.#state < State.Linger) this.#consume(buffer, bytes, true);
  }

  get blocked(): boolean {
    return this.#out.blocked;
  }

  /** The sidecar ends. An answer that ends with its connection is reset, so that nobody takes what came of it for the whole. */
  end(): void {
    if (this.#state < State.Linger) this.breakOff();
    else this.destroy();
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
    const ahead = this.#ahead.take();
    this.#ahead.resume();
    if (ahead) this.#tunnel(ahead, 0, ahead.length);
    if (this.#clientEnded) this.#exchange.tunnelClientEnded();
  }

  resumeBody(): void {
    if (this.#state === State.Tunnel) this.#ahead.resume();
    else if (this.#state === State.Body && !this.#consuming) this.#proceed();
  }

  get handsOn(): boolean {
    return this.#consuming;
  }

  informational(head: ResponseHead, request: RequestHead): void {
    this.#answers.informational(head, request);
  }

  beginResponse(head: ResponseHead, request: RequestHead, requestDone: boolean, marks: string): void {
    if (!requestDone || !request.keepAlive || this.#closing()) this.#answers.keepAlive = false;
    this.#answers.begin(head, request, marks);
  }

  responseData(buffer: Buffer, start: number, end: number): void {
    this.#answers.data(buffer, start, end);
  }

  flush(): boolean {
    const flowing = this.#out.flush();
    // It ended its side before this began.
    if (this.#clientEnded && this.#exchange.streaming) this.destroy();
    return flowing;
  }

  endResponse(trailers: string): void {
    this.#answers.end(trailers);
  }

  switchProtocols(head: ResponseHead, marks: string): void {
    this.#answers.switchProtocols(head, marks);
  }

  tunnelData(buffer: Buffer, start: number, end: number): void {
    this.#out.bytes(buffer, start, end);
  }

  responseDone(requestDone: boolean): void {
    if (!requestDone || !this.#answers.keepAlive) {
      this.#linger();
      return;
    }
    this.#state = State.Head;
    this.#reader.begin();
    if (!this.#consuming) this.#proceed();
  }

  answerLocally(answer: LocalAnswer, context: AnswerContext, requestDone: boolean): void {
    this.#endsBehind(answer.closes || !requestDone);
    this.#answers.local(answer, context, this.#head.method !== 'HEAD');
    if (context.holdBackMs) {
      this.#heldBack = true;
      this.#expireIn(context.holdBackMs);
    }
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
      if (this.#lingering.goesOn(this.#socket.writableLength)) this.#expireIn(LINGER_MS);
      else this.destroy();
    } else if (this.#heldBack) {
      this.#heldBack = false;
      this.#proceed();
    } else {
      // A head that never ends holds a connection and says nothing; there is no request to answer but this one.
      this.#refuseHead(LOCAL_ANSWERS.malformed, 'the head was not complete within 10 s');
    }
  }

  #closing(): boolean {
    return !this.#context.keepsConnections || !this.dependency.enforced;
  }

  /** `lent`: the bytes lie in the buffer that all connections read into. */
  #consume(data: Buffer, end: number, lent: boolean): void {
    this.#consuming = true;
    let position = 0;
    while (position < end && this.#state < State.Tunnel) {
      let next = -1;
      if (this.#state === State.Head) {
        if (!this.#waits()) next = this.#consumeHead(data, position, end);
      } else if (this.#state === State.Body) {
        next = this.#consumeBody(data, position, end);
      }
      if (next < 0) {
        // Not to be taken now: part of a head, a later request, or a body nobody can take yet.
        if (this.#ahead.isEmpty && this.#state < State.Tunnel) this.#ahead.keep(data, position, end, lent);
        break;
      }
      position = next;
    }
    this.#consuming = false;
    if (this.#state < State.Tunnel) this.#regulate();
    else if (this.#state === State.Tunnel && position < end && this.#ahead.isEmpty) this.#tunnel(data, position, end);
  }

  /** Takes up what had to wait. */
  #proceed(): void {
    const ahead = this.#ahead.take();
    if (ahead) this.#consume(ahead, ahead.length, false);
    else this.#regulate();
  }

  /** Reads on, unless enough was read ahead, or the upstream takes the body more slowly than it comes. */
  #regulate(): void {
    const flowing = this.#exchange.requestFlush();
    const enough = this.#ahead.isFull && this.#waits();
    if (enough || (this.#state === State.Body && !flowing)) this.#ahead.pause();
    else this.#ahead.resume();
    if (this.#clientEnded) this.#endWithClient();
  }

  /** What was read cannot be taken for a reason that is not in it. */
  #waits(): boolean {
    if (this.#state === State.Head) return this.#out.blocked || this.#heldBack;
    return this.#state === State.Waiting || !this.#exchange.acceptsBody;
  }

  /** Position after the head; -1: not complete, or refused. */
  #consumeHead(data: Buffer, start: number, bytes: number): number {
    const reader = this.#reader;
    const from = reader.skipEmptyLine(data, start, bytes);
    if (from !== start) return from;
    const end = reader.readHead(data, start, bytes);
    if (end < 0) {
      if (reader.detail !== 0) this.#refuseHead(answerToHead(reader.detail), headErrorDetail(reader.detail));
      else if (this.wheelSlot < 0) this.#expireIn(HEAD_TIMEOUT_MS);
      return -1;
    }
    if (this.wheelSlot >= 0) this.#context.ticker.disarm(this);
    this.#begin(reader.head);
    return end;
  }

  #begin(head: RequestHead): void {
    if (this.#options.owner && !this.#findOwner(this.#options.owner(head.host))) return;
    this.#answers.keepAlive = head.keepAlive;
    const hasBody = !this.#reader.complete;
    this.#state = hasBody ? State.Body : State.Waiting;
    const correlationId = head.correlationId === '' ? this.#context.correlationId() : head.correlationId;
    // HTTP/1.0 may come without a Host; what is forwarded is HTTP/1.1 and needs one.
    const unnamed = head.host === '' || (this.#options.rewriteHost && namesNoService(head.host));
    const host = unnamed ? this.dependency.plan.authority : head.host;
    this.#exchange.begin(host, correlationId, hasBody);
  }

  /** False: the request was refused, for nobody declared where it goes, or may send it there yet. */
  #findOwner(owner: DependencyRuntime | null): boolean {
    if (owner) {
      this.dependency = owner;
      this.#exchange.serve(owner);
      return true;
    }
    const { refusal = LOCAL_ANSWERS.undeclared, nobody } = this.#options;
    const to = this.originalDestination;
    countRefusal(nobody?.() ?? this.dependency, refusal);
    this.#refuse(refusal, unownedContext(to ? endpointName(to.address, to.port) : ''), this.#head.method !== 'HEAD');
    return false;
  }

  #consumeBody(data: Buffer, start: number, end: number): number {
    if (!this.#exchange.acceptsBody) return -1;
    const reader = this.#reader;
    const next = reader.readBody(data, start, end, this.#exchange);
    if (next < 0) {
      this.#refuseBody(headErrorDetail(reader.detail));
    } else if (reader.complete) {
      this.#state = State.Waiting;
      this.#exchange.requestEnd(reader.trailers);
    }
    return next;
  }

  #refuseHead(answer: LocalAnswer, detail: string): void {
    countRefusal(this.dependency, answer);
    this.#refuse(answer, unreadContext(this.dependency, detail), true);
  }

  #refuseBody(detail: string): void {
    if (this.#exchange.requestMalformed()) this.destroy();
    else this.#refuse(LOCAL_ANSWERS.malformed, unreadContext(this.dependency, detail), true);
  }

  /** What the exchange is not to answer, or not any more. */
  #refuse(answer: LocalAnswer, context: AnswerContext, withBody: boolean): void {
    this.#answers.keepAlive = false;
    this.#answers.local(answer, context, withBody);
    this.#linger();
  }

  #tunnel(data: Buffer, start: number, end: number): void {
    if (!this.#exchange.tunnelData(data, start, end)) this.#ahead.pause();
  }

  /** Says that nothing more comes, and reads away what does, for a moment. */
  #linger(): void {
    if (this.#state >= State.Linger) return;
    this.#state = State.Linger;
    this.#ahead.take();
    this.#socket.end();
    this.#expireIn(LINGER_MS);
    this.#ahead.resume();
  }

  #expireIn(ms: number): void {
    this.#context.ticker.arm(this, this.#context.ticker.nowMs() + ms);
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
    if (!this.#ahead.isEmpty && this.#waits() && !this.#reader.needsMoreThan(this.#ahead.bytes)) return;
    if (this.#state === State.Head) this.#linger();
    else if (this.#state === State.Body || this.#exchange.streaming) this.destroy();
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
}
