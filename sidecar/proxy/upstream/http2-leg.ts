// The leg to the dependency over HTTP/2: one stream of a connection that others share.
import { ResponseHead } from '../../http1/response-head.ts';
import { ErrorCode } from '../../http2/error-code.ts';
import { readResponseHead, readTrailers } from '../../http2/read-heads.ts';
import { type Http2Stream, NOBODY, type StreamOwner } from '../../http2/stream.ts';
import { fieldList, requestFields } from '../../http2/write-heads.ts';
import type { OutgoingRequest } from '../exchange/current-request.ts';
import type { ConnectFailure, ResponseReceiver, UpstreamLeg } from '../exchange/upstream.ts';
import type { Http2Session } from './http2-session.ts';

// Nothing of a head is kept beyond the call that tells of it.
const head = new ResponseHead();

export class Http2Leg implements UpstreamLeg, StreamOwner {
  receiver: ResponseReceiver | null;
  session: Http2Session;
  #stream: Http2Stream | null = null;
  #headRequest = false;
  #answered = false;
  /** What is still to come of an answer whose length is known; below zero: it is not. */
  #remaining = -1;
  #trailers: string | null = '';
  #requestEnded = false;
  /** Of the session, when the request was sent. */
  #heardBefore = 0;

  constructor(session: Http2Session, receiver: ResponseReceiver | null) {
    this.session = session;
    this.receiver = receiver;
  }

  // ---- the connection ---------------------------------------------------------------------------------------------------------------

  /** `made`: for this leg. */
  connected(made: boolean): void {
    this.receiver?.onConnected(made);
  }

  notConnected(failure: ConnectFailure): void {
    const { receiver } = this;
    this.receiver = null;
    receiver?.onUpstreamClosed(failure, false);
  }

  giveUpConnecting(): void {
    this.session.waitNoMore(this, true);
    this.notConnected('timeout');
  }

  // ---- the request ------------------------------------------------------------------------------------------------------------------

  sendHead(receiver: ResponseReceiver, request: OutgoingRequest): void {
    const { session } = this;
    this.receiver = receiver;
    this.#headRequest = request.head.method === 'HEAD';
    this.#requestEnded = !request.hasBody;
    this.#heardBefore = session.heard;
    const stream = session.open();
    this.#stream = stream;
    if (stream === null) {
      process.nextTick(cutOff, this);
      return;
    }
    stream.owner = this;
    stream.sendFields(requestFields(request, session.scheme), !request.hasBody);
  }

  sendData(buffer: Buffer, start: number, end: number): void {
    if (end === start) return;
    this.session.moved();
    this.#stream?.sendData(buffer, start, end);
  }

  sendEnd(trailers: string): void {
    this.#requestEnded = true;
    this.#stream?.sendEnd(trailers === '' ? null : fieldList(trailers));
  }

  flush(): boolean {
    return this.#stream === null || !this.#stream.blocked;
  }

  // ---- the answer -------------------------------------------------------------------------------------------------------------------

  fieldsCame(fields: readonly string[], ended: boolean): void {
    if (this.#answered) this.#trailersCame(fields, ended);
    else this.#headCame(fields, ended);
  }

  /** A 1xx, or the head. */
  #headCame(fields: readonly string[], ended: boolean): void {
    const { receiver } = this;
    if (!receiver) return;
    this.session.heard++;
    if (readResponseHead(fields, head) !== 0 || (head.status < 200 && ended)) {
      receiver.onInvalidResponse();
      return;
    }
    if (head.status < 200) {
      receiver.onInformational(head);
      return;
    }
    this.#answered = true;
    this.session.moved();
    const bodiless = this.#headRequest || head.status === 304;
    if (!bodiless && ended && head.contentLength > 0) {
      receiver.onInvalidResponse();
      return;
    }
    this.#remaining = bodiless ? -1 : head.contentLength;
    if (!receiver.onResponseHead(head) || this.receiver !== receiver) return;
    if (ended) receiver.onResponseEnd('');
    else if (!receiver.onResponseFlush()) this.#stream?.pause();
  }

  #trailersCame(fields: readonly string[], ended: boolean): void {
    const { receiver } = this;
    if (!receiver) return;
    this.#trailers = ended ? readTrailers(fields) : null;
    this.endCame();
  }

  dataCame(buffer: Buffer, start: number, end: number): void {
    const { receiver } = this;
    if (!receiver) return;
    this.session.heard++;
    this.session.moved();
    if (!this.#answered || !this.#counts(end - start)) {
      receiver.onInvalidResponse();
      return;
    }
    receiver.onResponseData(buffer, start, end);
    if (this.receiver === receiver && !receiver.onResponseFlush()) this.#stream?.pause();
  }

  /** False: there is more content than the head says. */
  #counts(bytes: number): boolean {
    if (this.#remaining < 0) return true;
    this.#remaining -= bytes;
    return this.#remaining >= 0;
  }

  /**
   * All of it was read; or so it looks, where the stream was reset without an error. Servers of node:http2 end answers like that which were held back:
   * all of the content, and in the place of the end a reset. It is cut only where its length says so.
   */
  endCame(): void {
    const { receiver } = this;
    if (!receiver) return;
    if (!this.#answered) this.resetCame(ErrorCode.NoError);
    else if (this.#remaining > 0 || this.#trailers === null) receiver.onInvalidResponse();
    else receiver.onResponseEnd(this.#trailers);
  }

  resume(): void {
    this.#stream?.resume();
  }

  drained(): void {
    this.receiver?.onUpstreamDrain();
  }

  // ---- its end ----------------------------------------------------------------------------------------------------------------------

  release(reusable: boolean): void {
    const stream = this.#leave();
    // The rest of the request is not wanted; it may wait for a window that never comes.
    if (stream && (!reusable || !this.#requestEnded || stream.isWaiting)) stream.reset(ErrorCode.Cancel);
  }

  finish(): void {
    this.destroy();
  }

  destroy(): void {
    const stream = this.#leave();
    if (!stream) {
      this.session.waitNoMore(this, false);
      return;
    }
    if (!this.#answered && !stream.isOver && this.session.heard === this.#heardBefore) this.session.doubt();
    stream.reset(ErrorCode.Cancel);
  }

  abort(): void {
    this.destroy();
  }

  /** The connection is gone, or the dependency has ended the stream. */
  resetCame(code: number): void {
    const { receiver } = this;
    this.receiver = null;
    this.#leave();
    receiver?.onUpstreamClosed(null, !this.#answered && code === ErrorCode.RefusedStream);
  }

  #leave(): Http2Stream | null {
    const stream = this.#stream;
    this.#stream = null;
    if (!stream) return null;
    stream.owner = NOBODY;
    // What still comes is read away.
    stream.resume();
    return stream;
  }

  // ---- what HTTP/2 has not: no request offers an upgrade, and a 101 is no answer -----------------------------------------------------

  becomeTunnel(): void {
    this.abort();
  }

  sendTunnelData(): void {}

  endWriting(): void {
    this.abort();
  }
}

/** The connection went while it was being taken. */
function cutOff(leg: Http2Leg): void {
  leg.resetCame(ErrorCode.RefusedStream);
}
