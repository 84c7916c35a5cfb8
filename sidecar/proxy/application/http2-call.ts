// One request of an application over HTTP/2, from its head to the end of its answer. The stream outlives it: what is written is still on its
// way when the next request takes this object over.
//
// Both directions are held back by their own stream alone: a request body is read only as the dependency takes it, and an answer of which
// 64 KiB wait for the application stops the leg to the dependency.
import type { LocalAnswer } from '../../errors.ts';
import { LOCAL_ANSWERS } from '../../errors.ts';
import { grpcMessage } from '../../grpc/status.ts';
import { headErrorDetail } from '../../http1/errors.ts';
import { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import { ErrorCode } from '../../http2/error-code.ts';
import { isStreamError, readRequestHead, readTrailers } from '../../http2/read-heads.ts';
import { type Http2Stream, NOBODY, type StreamOwner } from '../../http2/stream.ts';
import {
  answerFields,
  fieldList,
  grpcAnswerFields,
  isWithoutContent,
  responseFields,
} from '../../http2/write-heads.ts';
import { REASON_UPSTREAM, REASONS } from '../../metrics/route-metrics.ts';
import type { Downstream } from '../exchange/downstream.ts';
import { Exchange } from '../exchange/exchange.ts';
import { namesNoService } from '../exchange/forwarded-heads.ts';
import type { GivenAnswer } from '../exchange/given-answer.ts';
import { type AnswerContext, localAnswerParts } from '../exchange/local-answer.ts';
import { answerToHead, countRefusal, unreadContext } from '../exchange/unserved-requests.ts';
import type { Http2Client } from './http2-client.ts';

const NOTHING = Buffer.alloc(0);

export class Http2Call implements Downstream, StreamOwner {
  readonly http2 = true;
  readonly handsOn = false;
  readonly #client: Http2Client;
  readonly #head = new RequestHead();
  readonly #exchange: Exchange;
  /** Null: it is another request's, or nobody's any more. */
  #stream: Http2Stream | null = null;
  /** The head of the answer, until something follows it: a head that is all goes out with the end of the stream. */
  #answer: string[] | null = null;
  /** Its head is written. */
  #begun = false;
  #withoutContent = false;
  /** Of a body whose length is known, what is still to come; below zero: it is not known. */
  #remaining = -1;
  #requestTrailers: string | null = '';
  /** All of the request was read, and not taken yet. */
  #endHeld = false;

  constructor(client: Http2Client) {
    this.#client = client;
    this.#exchange = new Exchange(this, client.context, client.dependency, this.#head);
  }

  get originalDestination(): { address: string; port: number } | null {
    return this.#client.originalDestination;
  }

  get blocked(): boolean {
    return this.#stream?.blocked === true;
  }

  begin(stream: Http2Stream, fields: readonly string[], ended: boolean): void {
    this.#stream = stream;
    stream.owner = this;
    this.#answer = null;
    this.#begun = false;
    this.#requestTrailers = '';
    this.#endHeld = false;
    const head = this.#head;
    const detail = readRequestHead(fields, ended, head);
    if (detail !== 0) {
      this.#refuse(detail);
      return;
    }
    this.#remaining = head.contentLength;
    this.#withoutContent = head.method === 'HEAD';
    const { context, dependency, rewriteHost } = this.#client;
    const correlationId = head.correlationId === '' ? context.correlationId() : head.correlationId;
    const host = rewriteHost && namesNoService(head.host) ? dependency.plan.authority : head.host;
    if (!ended) stream.pause();
    this.#exchange.begin(host, correlationId, !ended);
  }

  // ---- the request ----------------------------------------------------------------------------------------------------------------

  resumeBody(): void {
    const stream = this.#stream;
    if (!stream) return;
    if (this.#endHeld) this.#end();
    else stream.resume();
  }

  dataCame(buffer: Buffer, start: number, end: number): void {
    const stream = this.#stream;
    if (!stream) return;
    if (!this.#exchange.acceptsBody) {
      stream.putBack(buffer, start, end);
      return;
    }
    if (this.#remaining >= 0) {
      this.#remaining -= end - start;
      if (this.#remaining < 0) {
        this.#cut();
        return;
      }
    }
    this.#client.moved();
    this.#exchange.requestData(buffer, start, end);
    if (this.#stream === stream && (!this.#exchange.requestFlush() || !this.#exchange.acceptsBody)) stream.pause();
  }

  /** Trailers: nothing else follows the head. */
  fieldsCame(fields: readonly string[], ended: boolean): void {
    if (!ended) {
      this.#cut();
      return;
    }
    this.#requestTrailers = readTrailers(fields);
    this.endCame();
  }

  endCame(): void {
    if (this.#remaining > 0) this.#cut();
    else if (this.#stream) this.#end();
  }

  /** The end of the body. */
  #end(): void {
    this.#endHeld = !this.#exchange.acceptsBody;
    if (this.#endHeld) return;
    const trailers = this.#requestTrailers;
    if (trailers === null) this.#refuseTrailers();
    else this.#exchange.requestEnd(trailers);
  }

  /** What comes is not what the head says (RFC 9113, 8.1.1). */
  #cut(): void {
    const stream = this.#stream;
    this.resetCame();
    stream?.refuse(ErrorCode.ProtocolError);
  }

  // ---- the answer -----------------------------------------------------------------------------------------------------------------

  informational(head: ResponseHead): void {
    if (this.#begun) return;
    this.#stream?.sendFields([':status', String(head.status), ...fieldList(head.fields)], false);
  }

  beginResponse(head: ResponseHead, request: RequestHead, _requestDone: boolean, marks: string): void {
    this.#answer = responseFields(head, marks);
    this.#withoutContent = isWithoutContent(request, head.status);
  }

  responseData(buffer: Buffer, start: number, end: number): void {
    this.#sendHead();
    this.#client.moved();
    if (!this.#withoutContent) this.#stream?.sendData(buffer, start, end);
  }

  flush(): boolean {
    this.#sendHead();
    return this.#stream === null || !this.#stream.blocked;
  }

  endResponse(trailers: string): void {
    const stream = this.#stream;
    if (!stream) return;
    if (this.#answer !== null && (trailers === '' || this.#withoutContent)) {
      stream.sendFields(this.#answer, true);
      this.#answer = null;
      return;
    }
    this.#sendHead();
    stream.sendEnd(trailers === '' ? null : fieldList(trailers));
  }

  takeBack(): boolean {
    if (this.#answer === null) return false;
    this.#answer = null;
    return true;
  }

  responseDone(requestDone: boolean): void {
    const stream = this.#leave();
    if (!requestDone) stream?.refuseRest();
    if (stream === null) return;
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
    if (this.#head.grpc && this.#begun && !this.#withoutContent) {
      // A client of gRPC looks there for what became of its call.
      const answer = localAnswerOf(reason);
      const marks = `\r\nbreakwater-reason: ${answer.code}`;
      stream.sendEnd(
        fieldList(`\r\ngrpc-status: ${answer.grpcStatus}\r\ngrpc-message: ${grpcMessage(answer.detail)}${marks}`),
      );
      stream.refuseRest();
    } else {
      stream.reset(ErrorCode.InternalError);
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
  resetCame(): void {
    if (this.#leave() === null) return;
    this.#exchange.cancel(true);
    this.#client.giveBack(this);
  }

  #give(fields: string[], body: Buffer, requestDone: boolean): void {
    const stream = this.#stream;
    const headOnly = this.#withoutContent || body.length === 0;
    stream?.sendFields(fields, headOnly);
    if (!headOnly) {
      stream?.sendData(body, 0, body.length);
      stream?.sendEnd(null);
    }
    this.responseDone(requestDone);
  }

  #sendHead(): void {
    if (this.#answer === null) return;
    const answer = this.#answer;
    this.#answer = null;
    this.#begun = true;
    this.#stream?.sendFields(answer, this.#withoutContent);
  }

  #leave(): Http2Stream | null {
    const stream = this.#stream;
    this.#stream = null;
    this.#answer = null;
    if (!stream) return null;
    stream.owner = NOBODY;
    // What still comes of the request is read away.
    stream.resume();
    return stream;
  }

  #refuse(detail: number): void {
    const answer = answerToHead(detail);
    const { dependency } = this.#client;
    countRefusal(dependency, answer);
    if (isStreamError(detail)) {
      this.#leave()?.refuse(ErrorCode.ProtocolError);
      this.#client.giveBack(this);
      return;
    }
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
