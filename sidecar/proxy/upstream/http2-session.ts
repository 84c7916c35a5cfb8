// One connection to a dependency that speaks HTTP/2: with prior knowledge, or over TLS and agreed by ALPN. Usable once the settings of the other side have come: a server
// that speaks something else never sends them, and counts as not reached.
//
// A peer that is gone without a word would swallow every request until the kernel gives up after minutes. So whoever gives a request up on a
// connection that has been silent since it was sent makes the connection suspect: it is asked by a PING, and takes no request until it answers.
//
// A connection that is to end with its streams is never told so to Node: once a session has said GOAWAY by itself (close(), which Node also calls
// where the other side says it), Node does not notice any more that nghttp2 has ended it because of an error. Nothing is read then, not even the end
// of the connection, and its streams would never end.
import type { ClientHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import {
  CONNECTION_WINDOW_BYTES,
  CONTROL_FRAMES,
  MAX_CONCURRENT_STREAMS,
  UPSTREAM_OPTIONS,
} from '../../http2/limits.ts';
import { nativeHalf } from '../../http2/native-halves.ts';
import { CANCEL, ENHANCE_YOUR_CALM, nodeHttp2 } from '../../http2/node-http2.ts';
import { TokenBucket, toMicroseconds } from '../../policies/token-bucket.ts';
import type { ConnectFailure } from '../exchange/upstream.ts';
import { connectFailureOf, tlsFailureOf } from './http1-connection.ts';
import type { Http2Leg } from './http2-leg.ts';
import type { Http2Pool } from './http2-pool.ts';

/** Stream identifiers of a connection are used up at some time (RFC 9113, 5.1.1): a new one is made long before. */
const MAX_STREAMS_EVER = 1_000_000_000;
/** A suspect connection that has not answered by the second look at it after this time is closed. */
const SUSPECT_MS = 5_000;

export class Http2Session {
  readonly #pool: Http2Pool;
  readonly #socket: Socket;
  readonly #session: ClientHttp2Session;
  readonly #generation: number;
  /** Of the requests on it. */
  readonly scheme: 'http' | 'https';
  /** Of the session (native-halves.ts); null: it is not ready, or over. */
  sessionHalf: object | null = null;
  readonly #waiting = new Set<Http2Leg>();
  #capacity = 0;
  #active = 0;
  #opened = 0;
  #ready = false;
  /** Takes no further stream. */
  #leaving = false;
  /** Somebody waited for it in vain. */
  #slow = false;
  #suspect = false;
  /** Since when a sweep has seen it without streams, or suspect; below zero: it has not. */
  #idleSinceMs = -1;
  #suspectSinceMs = -1;
  /** The last stream that the other side takes; what has a higher number was not executed. */
  #lastStream = Number.POSITIVE_INFINITY;
  #connectFailure: ConnectFailure = 'refused';
  /** Grows with whatever comes in. */
  heard = 0;
  readonly #controlFrames = new TokenBucket(CONTROL_FRAMES, 0);
  /** Of the last sweep: it is precise enough for what is brought by seconds. */
  #nowUs = 0;

  constructor(pool: Http2Pool) {
    this.#pool = pool;
    const { address, port, name, network, tls, generation } = pool.endpoint;
    this.#generation = generation;
    this.scheme = tls === null ? 'http' : 'https';
    const socket = tls === null ? network.dial(address, port) : tls.dial(name, address, port);
    this.#socket = socket;
    // It comes here first: a session tells of it under other names, and behind a GOAWAY takes a connection that was reset for one that has ended.
    // Without an error Node would end its streams as if they were whole, and half an answer would pass for all of it.
    socket.on('error', (error) => {
      if (!this.#ready && tls !== null) this.#connectFailure = tlsFailureOf(tls, name, error);
      this.#session.destroy(error);
    });
    const options = { ...UPSTREAM_OPTIONS, createConnection: () => socket };
    const session = nodeHttp2().connect(`${this.scheme}://breakwater.invalid`, options);
    this.#session = session;
    session.close = () => this.close();
    session.once('remoteSettings', ({ maxConcurrentStreams = MAX_CONCURRENT_STREAMS }) =>
      this.#begin(maxConcurrentStreams),
    );
    session.on('goaway', (_code, lastStream) => {
      this.#leaving = true;
      this.#lastStream = lastStream;
    });
    this.#guard();
    session.on('error', (error: NodeJS.ErrnoException) => {
      if (!this.#ready && tls === null) this.#connectFailure = connectFailureOf(error.code);
    });
    session.on('close', () => this.#closed());
    // A server that sends no more gives no answers.
    socket.on('end', () => socket.destroy());
  }

  /** Another stream may begin now. */
  get hasRoom(): boolean {
    return this.#ready && !this.#suspect && !this.#outdated && this.#active < this.#capacity && !this.#isOver;
  }

  /** It ends or has ended; `close` says so only once its socket is gone, which may take long. */
  get #isOver(): boolean {
    return this.#leaving || this.#session.closed || this.#session.destroyed;
  }

  /** It is being made, and nobody has waited for it in vain. */
  get takesWaiting(): boolean {
    return !this.#ready && !this.#slow && !this.#outdated && !this.#isOver;
  }

  /** Settings or credentials of TLS are others by now. */
  get #outdated(): boolean {
    return this.#generation !== this.#pool.endpoint.generation;
  }

  get node(): ClientHttp2Session {
    return this.#session;
  }

  /** What may come without a request, and costs us something, is bounded. */
  #guard(): void {
    const controlled = (): void => this.#controlled();
    for (const event of ['ping', 'remoteSettings', 'goaway', 'altsvc', 'origin'] as const)
      this.#session.on(event, controlled);
  }

  #controlled(): void {
    if (this.#controlFrames.take(this.#nowUs)) return;
    this.#session.destroy(new Error('too many control frames'), ENHANCE_YOUR_CALM);
  }

  /** A head or content has moved, in either direction. */
  moved(): void {
    this.#controlFrames.giveBack();
  }

  wait(leg: Http2Leg): void {
    this.#waiting.add(leg);
  }

  /** `inVain`: it took too long. Otherwise it is made for whoever comes next: callers that give up are not to cost a connection each. */
  waitNoMore(leg: Http2Leg, inVain: boolean): void {
    if (!this.#waiting.delete(leg)) return;
    if (inVain) this.#slow = true;
    if (this.#waiting.size === 0 && (this.#slow || this.#pool.removed)) this.#destroy();
  }

  streamOpened(): void {
    this.#active++;
    if (++this.#opened >= MAX_STREAMS_EVER) this.close();
  }

  streamClosed(): void {
    this.#active--;
    if (this.#active === 0 && (this.#leaving || this.#pool.removed)) this.close();
  }

  /** Whether the other side has said of this stream that it was not executed. */
  refuses(id: number | undefined): boolean {
    return id !== undefined && id > this.#lastStream;
  }

  /** A request was given up that nothing has come for, nor for any other since it was sent. */
  doubt(): void {
    if (this.#suspect || this.#session.destroyed) return;
    this.#suspect = true;
    this.#suspectSinceMs = -1;
    this.#session.ping(() => {
      this.#suspect = this.#session.destroyed;
    });
  }

  /** Takes no further stream, and ends with the last one. */
  close(): void {
    this.#leaving = true;
    if (this.#active === 0) this.#session.destroy();
  }

  /** The endpoint is gone. What is being made is made for those who wait for it, and ends with the last of their streams. */
  retire(): void {
    if (this.#ready) this.close();
    else if (this.#waiting.size === 0) this.#destroy();
  }

  /** The session alone would first wait for its connection to be made, or for what was written to go out. With an error: see the constructor. */
  #destroy(): void {
    this.#session.destroy(new Error('given up'), CANCEL);
    this.#socket.destroy();
  }

  sweep(nowMs: number, idleMs: number): void {
    this.#nowUs = toMicroseconds(nowMs);
    if (!this.#ready) return;
    if (this.#outdated) this.close();
    if (this.#suspect) {
      if (this.#suspectSinceMs < 0) this.#suspectSinceMs = nowMs;
      else if (nowMs - this.#suspectSinceMs >= SUSPECT_MS) this.#destroy();
      return;
    }
    if (this.#active > 0) this.#idleSinceMs = -1;
    else if (this.#idleSinceMs < 0) this.#idleSinceMs = nowMs;
    else if (nowMs - this.#idleSinceMs >= idleMs) this.close();
  }

  #begin(maxConcurrentStreams: number): void {
    this.#ready = true;
    this.sessionHalf = nativeHalf(this.#session);
    this.#pool.endpoint.tls?.answered();
    this.#capacity = Math.min(maxConcurrentStreams, MAX_CONCURRENT_STREAMS);
    this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    this.#session.on('remoteSettings', (settings) => {
      this.#capacity = Math.min(settings.maxConcurrentStreams ?? MAX_CONCURRENT_STREAMS, MAX_CONCURRENT_STREAMS);
    });
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    const served = waiting.slice(0, Math.max(1, this.#capacity));
    this.#pool.moveOn(waiting.slice(served.length));
    for (const [index, leg] of served.entries()) leg.connected(index === 0);
  }

  #closed(): void {
    this.#leaving = true;
    this.sessionHalf = null;
    this.#pool.forget(this);
    this.#socket.destroy();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const leg of waiting) leg.notConnected(this.#connectFailure);
  }
}
