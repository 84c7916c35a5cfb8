// The leg to the dependency over HTTP/2: one stream of a connection that others share.
import type { ClientHttp2Stream } from 'node:http2';
import { ResponseHead } from '../../http1/response-head.ts';
import { holdSessionBehind, nativeHalf, type WithHalves } from '../../http2/native-halves.ts';
import { CANCEL, NO_ERROR, REFUSED_STREAM } from '../../http2/node-http2.ts';
import { readResponseHead, readTrailers } from '../../http2/read-heads.ts';
import { fieldMap, requestFields } from '../../http2/write-heads.ts';
import type { OutgoingRequest } from '../exchange/current-request.ts';
import type { ConnectFailure, ResponseReceiver, UpstreamLeg } from '../exchange/upstream.ts';
import type { Http2Session } from './http2-session.ts';

const END_STREAM = 0x1;

/** What a stream knows beside node:http2. */
interface LegStream extends ClientHttp2Stream, WithHalves {
  /** Whose it is; null: nobody's any more. */
  leg: Http2Leg | null;
  shared: Http2Session;
  /** What ends its request, each with CR LF before it. */
  lastTrailers: string;
}

const ENDING = { endStream: true } as const;
const GOING_ON = { endStream: false, waitForTrailers: true } as const;

// Nothing of a head is kept beyond the call that tells of it.
const head = new ResponseHead();

export class Http2Leg implements UpstreamLeg {
  receiver: ResponseReceiver | null;
  session: Http2Session;
  #stream: LegStream | null = null;
  #headRequest = false;
  #answered = false;
  /** What is still to come of an answer whose length is known; below zero: it is not. */
  #remaining = -1;
  #trailers: string | null = '';
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
    this.#heardBefore = session.heard;
    const stream = session.node.request(
      requestFields(request, session.scheme),
      request.hasBody ? GOING_ON : ENDING,
    ) as LegStream;
    this.#stream = stream;
    stream.leg = this;
    stream.shared = session;
    stream.lastTrailers = '';
    stream.ownHalf = nativeHalf(stream);
    stream.sessionHalf = session.sessionHalf;
    session.streamOpened();
    stream.on('error', ignore);
    stream.on('headers', onInformational);
    stream.on('response', onResponse);
    stream.on('trailers', onTrailers);
    stream.on('drain', onDrain);
    stream.on('close', onClose);
    if (request.hasBody) stream.on('wantTrailers', onWantTrailers);
  }

  /** Buffers of HTTP/2 are nobody's to read into again: they are written from where they lie. */
  sendData(buffer: Buffer, start: number, end: number): void {
    const stream = this.#writable;
    if (!stream || end === start) return;
    this.session.moved();
    stream.write(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end));
  }

  sendEnd(trailers: string): void {
    const stream = this.#writable;
    if (!stream) return;
    stream.lastTrailers = trailers;
    stream.end();
  }

  /** Null: what is written arrives nowhere any more. */
  get #writable(): LegStream | null {
    const stream = this.#stream;
    return stream === null || stream.destroyed || stream.closed ? null : stream;
  }

  flush(): boolean {
    return this.#stream === null || !this.#stream.writableNeedDrain;
  }

  // ---- the answer -------------------------------------------------------------------------------------------------------------------

  /** A field section of the stream: a 1xx, or the head. */
  section(raw: readonly string[], ended: boolean): void {
    const { receiver } = this;
    if (!receiver) return;
    this.session.heard++;
    if (readResponseHead(raw, head) !== 0) {
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
    const stream = this.#stream;
    if (ended || !stream) {
      stream?.resume();
      receiver.onResponseEnd('');
      return;
    }
    stream.on('end', onEnd);
    stream.on('data', onData);
    if (!receiver.onResponseFlush()) stream.pause();
  }

  data(chunk: Buffer): void {
    const { receiver } = this;
    if (!receiver) return;
    this.session.heard++;
    this.session.moved();
    if (this.#remaining >= 0) {
      this.#remaining -= chunk.length;
      if (this.#remaining < 0) {
        receiver.onInvalidResponse();
        return;
      }
    }
    receiver.onResponseData(chunk, 0, chunk.length);
    if (this.receiver !== receiver) return;
    if (!receiver.onResponseFlush()) this.#stream?.pause();
  }

  trailersCame(raw: readonly string[]): void {
    this.#trailers = readTrailers(raw);
  }

  /**
   * All of it was read; or so it looks, where the stream was reset without an error. Servers of node:http2 end answers like that which were held
   * back: all of the content, and in the place of the end a reset. It is cut only where its length says so.
   */
  end(): void {
    const { receiver } = this;
    if (!receiver) return;
    if (this.#remaining > 0 || this.#trailers === null) receiver.onInvalidResponse();
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
    const stream = this.#stream;
    this.#leave();
    // The rest of the request is not wanted; it may wait for a window that never comes.
    if (stream && (!reusable || stream.writableLength > 0)) setImmediate(cancel, stream);
  }

  finish(): void {
    this.destroy();
  }

  destroy(): void {
    const stream = this.#stream;
    if (!stream) {
      this.session.waitNoMore(this, false);
      return;
    }
    if (!this.#answered && !stream.closed && this.session.heard === this.#heardBefore) this.session.doubt();
    this.#leave();
    // Whoever gives it up may do so inside of a read of its session. Node then ends a stream of which nothing more comes before it says CANCEL, and
    // the process with it, where the end of the request was still to be sent (Http2Stream::OnTrailers asserts that the stream is there).
    setImmediate(cancel, stream);
  }

  abort(): void {
    this.destroy();
  }

  closed(code: number, id: number | undefined): void {
    const { receiver } = this;
    this.receiver = null;
    this.#leave();
    const refused = !this.#answered && (code === REFUSED_STREAM || this.session.refuses(id));
    receiver?.onUpstreamClosed(null, refused);
  }

  #leave(): void {
    const stream = this.#stream;
    if (!stream) return;
    stream.leg = null;
    // What still comes is read away.
    stream.resume();
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

// Listeners of all streams alike: what a stream belongs to is written on it.

function ignore(): void {}

function cancel(stream: LegStream): void {
  if (!stream.destroyed) stream.close(CANCEL);
}

function onInformational(this: LegStream, _fields: unknown, _flags: number, raw: readonly string[]): void {
  this.leg?.section(raw, false);
}

function onResponse(this: LegStream, _fields: unknown, flags: number, raw: readonly string[]): void {
  this.leg?.section(raw, (flags & END_STREAM) !== 0);
}

function onTrailers(this: LegStream, _fields: unknown, _flags: number, raw: readonly string[]): void {
  this.leg?.trailersCame(raw);
}

function onData(this: LegStream, chunk: Buffer): void {
  this.leg?.data(chunk);
}

function onEnd(this: LegStream): void {
  // A stream that was reset ends too.
  if (this.rstCode === NO_ERROR) this.leg?.end();
}

function onDrain(this: LegStream): void {
  this.leg?.drained();
}

function onWantTrailers(this: LegStream): void {
  this.sendTrailers(fieldMap(this.lastTrailers));
}

function onClose(this: LegStream): void {
  holdSessionBehind(this);
  this.shared.streamClosed();
  this.leg?.closed(this.rstCode, this.id);
}
