// One connection to a dependency that speaks HTTP/2: with prior knowledge, or over TLS and agreed by ALPN. Usable once the settings of the other side have come: a server
// that speaks something else never sends them, and counts as not reached.
//
// A peer that is gone without a word would swallow every request until the kernel gives up after minutes. So whoever gives a request up on a
// connection that has been silent since it was sent makes the connection suspect: it is asked by a PING, and takes no request until it answers.
import type { Socket } from 'node:net';
import type { ConnectionOwner } from '../../http2/connection-owner.ts';
import { ErrorCode } from '../../http2/error-code.ts';
import { CONTROL_FRAMES, MAX_CONCURRENT_STREAMS, UPSTREAM_WINDOW_BYTES } from '../../http2/limits.ts';
import type { Http2Stream } from '../../http2/stream.ts';
import { TokenBucket, toMicroseconds } from '../../policies/token-bucket.ts';
import type { ConnectFailure } from '../exchange/upstream.ts';
import { Http2Socket } from '../sockets/http2-socket.ts';
import { connectFailureOf, tlsFailureOf } from './http1-connection.ts';
import type { Http2Leg } from './http2-leg.ts';
import type { Http2Pool } from './http2-pool.ts';

/** Stream identifiers of a connection are used up at some time (RFC 9113, 5.1.1): a new one is made long before. */
const MAX_STREAMS_EVER = 1_000_000_000;
/** A suspect connection that has not answered by the second look at it after this time is closed. */
const SUSPECT_MS = 5_000;

export class Http2Session implements ConnectionOwner {
  readonly #pool: Http2Pool;
  readonly socket: Socket;
  /** Null: it is not connected. */
  #framed: Http2Socket | null = null;
  readonly #generation: number;
  /** Of the requests on it. */
  readonly scheme: 'http' | 'https';
  readonly #waiting = new Set<Http2Leg>();
  #capacity = 0;
  #opened = 0;
  #ready = false;
  /** Takes no further stream. */
  #leaving = false;
  /** Nothing more comes of it. */
  #over = false;
  /** Somebody waited for it in vain. */
  #slow = false;
  #suspect = false;
  /** Since when a sweep has seen it without streams, or suspect; below zero: it has not. */
  #idleSinceMs = -1;
  #suspectSinceMs = -1;
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
    this.socket = socket;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#ready) return;
      this.#connectFailure = tls === null ? connectFailureOf(error.code) : tlsFailureOf(tls, name, error);
    });
    socket.on(tls === null ? 'connect' : 'secureConnect', () => {
      if (!this.#over) this.#framed = new Http2Socket(socket, false, UPSTREAM_WINDOW_BYTES, this);
    });
    socket.on('close', () => this.#closed());
    // A server that sends no more gives no answers.
    socket.on('end', () => socket.destroy());
  }

  /** Another stream may begin now. */
  get hasRoom(): boolean {
    if (!this.#ready || this.#suspect || this.#outdated || this.#isOver || this.#active >= this.#capacity) return false;
    return this.#framed?.connection.isFull === false;
  }

  get #isOver(): boolean {
    // Its streams are told of an error before it is.
    return this.#leaving || this.#over || this.#framed?.connection.isOver === true;
  }

  get #active(): number {
    return this.#framed?.connection.streamCount ?? 0;
  }

  /** It is being made, and nobody has waited for it in vain. */
  get takesWaiting(): boolean {
    return !this.#ready && !this.#slow && !this.#outdated && !this.#isOver;
  }

  /** Settings or credentials of TLS are others by now. */
  get #outdated(): boolean {
    return this.#generation !== this.#pool.endpoint.generation;
  }

  /** A stream for a request. Call it only where one has been told of the connection, or `hasRoom`. */
  open(): Http2Stream | null {
    if (++this.#opened >= MAX_STREAMS_EVER) this.#leaving = true;
    const connection = this.#framed?.connection;
    return !connection || connection.isOver ? null : connection.open();
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

  /** A request was given up that nothing has come for, nor for any other since it was sent. */
  doubt(): void {
    if (this.#suspect || this.#over) return;
    this.#suspect = true;
    this.#suspectSinceMs = -1;
    this.#framed?.connection.ping();
  }

  /** Takes no further stream, and ends with the last one. */
  close(): void {
    this.#leaving = true;
    if (this.#active > 0 || this.#over) return;
    this.#framed?.connection.close();
    this.#end(ErrorCode.Cancel);
  }

  /** The endpoint is gone. What is being made is made for those who wait for it, and ends with the last of their streams. */
  retire(): void {
    if (this.#ready) this.close();
    else if (this.#waiting.size === 0) this.#destroy();
  }

  /** At once: nobody answers there, or nobody waits any more. */
  #destroy(): void {
    this.#over = true;
    this.#framed?.connection.end(ErrorCode.Cancel);
    this.socket.destroy();
  }

  /** Once what was said last has left. */
  #end(code: number): void {
    this.#over = true;
    this.#framed?.connection.end(code);
    if (this.#framed) this.#framed.end();
    else this.socket.destroy();
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

  // ---- what the connection tells -------------------------------------------------------------------------------------------------------

  settingsCame(maxConcurrentStreams: number): void {
    this.#capacity = Math.min(maxConcurrentStreams, MAX_CONCURRENT_STREAMS);
    if (this.#ready) return;
    this.#ready = true;
    this.#pool.endpoint.tls?.answered();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    const served = waiting.slice(0, Math.max(1, this.#capacity));
    this.#pool.moveOn(waiting.slice(served.length));
    for (const [index, leg] of served.entries()) leg.connected(index === 0);
  }

  goAwayCame(): void {
    this.#leaving = true;
    // Those that were not taken are told of it now; where there are others it ends with the last of them.
    if (this.#active === 0) setImmediate(endIfIdle, this);
  }

  endIfIdle(): void {
    if (this.#active === 0) this.close();
  }

  pongCame(): void {
    this.#suspect = false;
  }

  streamOver(): void {
    if (this.#active === 0 && (this.#leaving || this.#pool.removed)) this.close();
  }

  takesControlFrame(): boolean {
    return this.#controlFrames.take(this.#nowUs);
  }

  failed(code: number): void {
    this.#leaving = true;
    this.#end(code);
  }

  // Of a server alone.

  streamBegan(): void {}

  takesReset(): boolean {
    return true;
  }

  #closed(): void {
    this.#leaving = true;
    this.#over = true;
    this.#framed?.connection.end(ErrorCode.Cancel);
    this.#pool.forget(this);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const leg of waiting) leg.notConnected(this.#connectFailure);
  }
}

function endIfIdle(session: Http2Session): void {
  session.endIfIdle();
}
