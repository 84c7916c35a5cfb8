// One request of an application over HTTP/2, from its head to the end of its answer. The stream outlives it: what is written is still on its
// way when the next request takes this object over.
//
// Both directions are held back by their own stream alone: a request body is read only as the dependency takes it, and an answer of which
// 64 KiB wait for the application stops the leg to the dependency.
import type { ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2';
import type { LocalAnswer } from '../../errors.ts';
import { LOCAL_ANSWERS } from '../../errors.ts';
import { grpcMessage } from '../../grpc/status.ts';
import { headErrorDetail } from '../../http1/errors.ts';
import { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import { holdSessionBehind, nativeHalf, type WithHalves } from '../../http2/native-halves.ts';
import { INTERNAL_ERROR, NO_ERROR } from '../../http2/node-http2.ts';
import { readRequestHead, readTrailers } from '../../http2/read-heads.ts';
import { answerFields, fieldMap, grpcAnswerFields, isWithoutContent, responseFields } from '../../http2/write-heads.ts';
import { REASON_UPSTREAM, REASONS } from '../../metrics/route-metrics.ts';
import type { Downstream } from '../exchange/downstream.ts';
import { Exchange } from '../exchange/exchange.ts';
import { namesNoService } from '../exchange/forwarded-heads.ts';
import type { GivenAnswer } from '../exchange/given-answer.ts';
import { type AnswerContext, localAnswerParts } from '../exchange/local-answer.ts';
import { answerToHead, countRefusal, unreadContext } from '../exchange/unserved-requests.ts';
import type { Http2Client } from './http2-client.ts';

/** What a stream knows beside node:http2. */
interface CallStream extends ServerHttp2Stream, WithHalves {
  /** Whose it is; null: nobody's any more. */
  call: Http2Call | null;
  /** What ends its answer, each with CR LF before it. */
  lastTrailers: string;
  /** Its answer ends with the trailers, be there any or not. */
  trailing: boolean;
  /** The answer is whole before the request is: the rest of that is not wanted. */
  early: boolean;
}

/** The types of node:http2 do not know that the date of an answer may be left to who gives it. */
const options = (chosen: ServerStreamResponseOptions & { sendDate: false }): ServerStreamResponseOptions => chosen;
const ENDING = options({ endStream: true, sendDate: false });
const GOING_ON = options({ waitForTrailers: true, sendDate: false });
const NOTHING = Buffer.alloc(0);
const WHOLE = options({ sendDate: false });

export class Http2Call implements Downstream {
  readonly http2 = true;
  readonly handsOn = false;
  readonly #client: Http2Client;
  readonly #head = new RequestHead();
  readonly #exchange: Exchange;
  #stream: CallStream | null = null;
  /** The head of the answer, until something follows it: a head that is all goes out with the end of the stream. */
  #answer: string[] | null = null;
  #withoutContent = false;
  #reading = false;
  /** Read, and not to be taken now. */
  #held: Buffer | null = null;
  #endHeld = false;
  #requestTrailers: string | null = '';

  constructor(client: Http2Client) {
    this.#client = client;
    this.#exchange = new Exchange(this, client.context, client.dependency, this.#head);
  }

  get originalDestination(): { address: string; port: number } | null {
    return this.#client.originalDestination;
  }

  get blocked(): boolean {
    return this.#stream?.writableNeedDrain === true;
  }

  begin(stream: ServerHttp2Stream, raw: readonly string[], ended: boolean): void {
    const own = stream as CallStream;
    own.call = this;
    own.lastTrailers = '';
    own.trailing = false;
    own.early = false;
    own.ownHalf = nativeHalf(stream);
    own.sessionHalf = this.#client.sessionHalf;
    this.#stream = own;
    this.#answer = null;
    this.#reading = false;
    this.#held = null;
    this.#endHeld = false;
    this.#requestTrailers = '';
    own.on('error', ignore);
    own.on('trailers', onTrailers);
    own.on('drain', onDrain);
    own.on('wantTrailers', onWantTrailers);
    own.on('close', onClose);
    const head = this.#head;
    const detail = readRequestHead(raw, ended, head);
    if (detail !== 0) {
      this.#refuse(detail);
      return;
    }
    this.#withoutContent = head.method === 'HEAD';
    const { context, dependency, rewriteHost } = this.#client;
    const correlationId = head.correlationId === '' ? context.correlationId() : head.correlationId;
    const host = rewriteHost && namesNoService(head.host) ? dependency.plan.authority : head.host;
    // What does not come is read all the same, or the stream would never be over.
    if (ended) own.resume();
    this.#exchange.begin(host, correlationId, !ended);
  }

  // ---- the request ----------------------------------------------------------------------------------------------------------------

  resumeBody(): void {
    const stream = this.#stream;
    if (!stream) return;
    if (!this.#reading) {
      this.#reading = true;
      stream.on('end', onEnd);
      stream.on('data', onData);
      return;
    }
    const held = this.#held;
    this.#held = null;
    if (held) this.take(held);
    if (this.#endHeld) this.end();
    else if (held === null) stream.resume();
  }

  /** A part of the body. */
  take(chunk: Buffer): void {
    const stream = this.#stream;
    if (!stream) return;
    if (!this.#exchange.acceptsBody) {
      this.#held = chunk;
      stream.pause();
      return;
    }
    this.#client.moved();
    this.#exchange.requestData(chunk, 0, chunk.length);
    if (this.#stream !== stream) return;
    if (!this.#exchange.requestFlush()) stream.pause();
    else if (stream.isPaused()) stream.resume();
  }

  trailersCame(raw: readonly string[]): void {
    this.#requestTrailers = readTrailers(raw);
  }

  /** The end of the body. */
  end(): void {
    if (this.#held !== null || !this.#exchange.acceptsBody) {
      this.#endHeld = true;
      return;
    }
    this.#endHeld = false;
    const trailers = this.#requestTrailers;
    if (trailers === null) this.#refuseTrailers();
    else this.#exchange.requestEnd(trailers);
  }

  // ---- the answer -----------------------------------------------------------------------------------------------------------------

  informational(head: ResponseHead): void {
    const stream = this.#stream;
    if (!stream || stream.destroyed || stream.closed || stream.headersSent) return;
    stream.additionalHeaders({ ':status': head.status, ...fieldMap(head.fields) });
  }

  beginResponse(head: ResponseHead, request: RequestHead, _requestDone: boolean, marks: string): void {
    this.#answer = responseFields(head, marks);
    this.#withoutContent = isWithoutContent(request, head.status);
  }

  /** Buffers of HTTP/2 are nobody's to read into again: they are written from where they lie. */
  responseData(buffer: Buffer, start: number, end: number): void {
    const stream = this.#begun();
    this.#client.moved();
    if (stream && end > start)
      stream.write(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end));
  }

  flush(): boolean {
    const stream = this.#begun();
    return stream === null || !stream.writableNeedDrain;
  }

  endResponse(trailers: string): void {
    const stream = this.#stream;
    if (!stream || stream.destroyed || stream.closed) return;
    if (this.#answer !== null && (trailers === '' || this.#withoutContent)) {
      stream.respond(this.#answer, ENDING);
      this.#answer = null;
      return;
    }
    this.#begun();
    stream.lastTrailers = trailers;
    stream.end();
  }

  takeBack(): boolean {
    if (this.#answer === null) return false;
    this.#answer = null;
    return true;
  }

  responseDone(requestDone: boolean): void {
    const stream = this.#leave();
    if (!stream) return;
    if (!requestDone) {
      stream.early = true;
      // Behind the answer: a reset in the same turn would overtake it.
      if (!stream.trailing) setImmediate(endEarly, stream);
    }
    this.#client.closeIfUnwanted();
    this.#client.giveBack(this);
  }

  answerLocally(answer: LocalAnswer, context: AnswerContext, requestDone: boolean): void {
    const { fields, body } = localAnswerParts(answer, context);
    if (this.#head.grpc) {
      const list = grpcAnswerFields(answer.grpcStatus, context.detail || answer.detail, fields);
      this.#give(list, NOTHING, requestDone);
      return;
    }
    this.#give(answerFields(answer.status, fields, body.length), Buffer.from(body, 'latin1'), requestDone);
  }

  give({ status, head, body }: GivenAnswer, marks: string, requestDone: boolean): void {
    const lines = head.indexOf('\r\n');
    const fields = (lines < 0 ? '' : head.slice(lines)) + marks;
    const length = status === 204 || status === 304 ? -1 : body.length;
    this.#give(answerFields(status, fields, length), body, requestDone);
  }

  breakOff(reason: number): void {
    const stream = this.#leave();
    if (!stream) return;
    if (this.#head.grpc && stream.trailing && !stream.writableEnded) {
      // A client of gRPC looks there for what became of its call.
      const answer = localAnswerOf(reason);
      stream.lastTrailers = `\r\ngrpc-status: ${answer.grpcStatus}\r\ngrpc-message: ${grpcMessage(answer.detail)}\r\nbreakwater-reason: ${answer.code}`;
      stream.end();
    } else {
      stream.close(INTERNAL_ERROR);
    }
    this.#client.giveBack(this);
  }

  // ---- what HTTP/2 has not: no request offers an upgrade, so that none is ever accepted ----------------------------------------------

  switchProtocols(): void {
    this.breakOff(REASON_UPSTREAM);
  }

  becomeTunnel(): void {
    this.breakOff(REASON_UPSTREAM);
  }

  tunnelData(): void {}

  endWriting(): void {
    this.breakOff(REASON_UPSTREAM);
  }

  destroyAfterFlush(): void {
    this.breakOff(REASON_UPSTREAM);
  }

  // ---- what becomes of the stream ---------------------------------------------------------------------------------------------------

  drained(): void {
    this.#exchange.clientDrained();
  }

  /** Reset, or gone with its connection. */
  closed(): void {
    this.#leave();
    this.#exchange.cancel(true);
    this.#client.giveBack(this);
  }

  #give(fields: string[], body: Buffer, requestDone: boolean): void {
    const stream = this.#stream;
    if (stream && !stream.destroyed && !stream.closed) {
      if (this.#withoutContent || body.length === 0) {
        stream.respond(fields, ENDING);
      } else {
        stream.respond(fields, WHOLE);
        stream.end(body);
      }
    }
    this.responseDone(requestDone);
  }

  /** The stream with the head of the answer on its way; null: it is gone. */
  #begun(): CallStream | null {
    const stream = this.#stream;
    if (!stream || stream.destroyed || stream.closed) return null;
    if (this.#answer !== null) {
      stream.trailing = !this.#withoutContent;
      stream.respond(this.#answer, stream.trailing ? GOING_ON : ENDING);
      this.#answer = null;
    }
    return stream;
  }

  #leave(): CallStream | null {
    const stream = this.#stream;
    this.#stream = null;
    this.#answer = null;
    this.#held = null;
    if (!stream) return null;
    stream.call = null;
    // What still comes of the request is read away.
    stream.resume();
    return stream.destroyed || stream.closed ? null : stream;
  }

  #refuse(detail: number): void {
    const answer = answerToHead(detail);
    const { dependency } = this.#client;
    countRefusal(dependency, answer);
    this.#withoutContent = false;
    this.answerLocally(answer, unreadContext(dependency, headErrorDetail(detail)), false);
  }

  #refuseTrailers(): void {
    if (this.#exchange.requestMalformed()) {
      this.breakOff(REASON_UPSTREAM);
      return;
    }
    const context = unreadContext(this.#client.dependency, 'the trailers are malformed');
    this.answerLocally(LOCAL_ANSWERS.malformed, context, true);
  }
}

/** Of a slot that is none: the dependency is to blame. */
function localAnswerOf(reason: number): LocalAnswer {
  return Object.values(LOCAL_ANSWERS).find(({ code }) => code === REASONS[reason]) ?? LOCAL_ANSWERS.reset;
}

// Listeners of all streams alike: what a stream belongs to is written on it.

function ignore(): void {}

function onData(this: CallStream, chunk: Buffer): void {
  this.call?.take(chunk);
}

function onTrailers(this: CallStream, _fields: unknown, _flags: number, raw: readonly string[]): void {
  this.call?.trailersCame(raw);
}

function onEnd(this: CallStream): void {
  // A stream that was reset ends too.
  if (!this.aborted && this.rstCode === NO_ERROR) this.call?.end();
}

function onDrain(this: CallStream): void {
  this.call?.drained();
}

function onWantTrailers(this: CallStream): void {
  this.sendTrailers(fieldMap(this.lastTrailers));
  // Trailers are on their way only behind this turn of the event loop.
  if (this.early) setImmediate(endEarly, this);
}

function onClose(this: CallStream): void {
  holdSessionBehind(this);
  this.call?.closed();
}

/** Says that the rest of the request is not wanted, behind an answer that is whole (RFC 9113, 8.1). */
function endEarly(stream: CallStream): void {
  if (!stream.destroyed && !stream.readableEnded) stream.close(NO_ERROR);
}
