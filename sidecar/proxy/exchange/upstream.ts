// What an exchange needs of the other side. An endpoint makes legs; a leg carries one request and its response at a time, in whatever
// protocol it speaks. HTTP/1.1 over sockets is http1-endpoint.ts and http1-connection.ts, HTTP/2 is http2-pool.ts and http2-leg.ts.
//
// Behind each interface stands one class for each protocol, so that the calls stay monomorphic where an application speaks one of them.
import type { BalancedEndpoint } from '../../balance/candidates.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import type { TlsFailure } from '../../tls/failures.ts';
import type { OutgoingRequest } from './current-request.ts';

/** What nobody would send again takes a leg that was idle for less than this, or a fresh one. */
export const FRESH_ENOUGH_MS = 1_000;

/** Why a connection was not made; the `result` of the metric. */
export type ConnectFailure = 'refused' | 'timeout' | 'unreachable' | TlsFailure;

/** What a leg tells whoever uses it. Nothing of it is told inside `connect`, and after `receiver` was set to null nothing at all. */
export interface ResponseReceiver {
  /** `made`: a connection of its own, and not one that another leg was told of. */
  onConnected(made: boolean): void;
  /** A 1xx other than 101. */
  onInformational(head: ResponseHead): void;
  /** False: the response is not wanted, and the leg has been given up. */
  onResponseHead(head: ResponseHead): boolean;
  /** Bytes of the body; the buffer is reused after the call. */
  onResponseData(buffer: Buffer, start: number, end: number): void;
  /** `trailers` has CR LF before each line. */
  onResponseEnd(trailers: string): void;
  /** All that was read at once has been given: write it out. False: stop reading until `resume`. */
  onResponseFlush(): boolean;
  onTunnelData(buffer: Buffer, start: number, end: number): boolean;
  onTunnelEnd(): void;
  /** The connection of a tunnel is gone. `inOrder`: `onTunnelEnd` was told before; otherwise it was cut. */
  onTunnelClosed(inOrder: boolean): void;
  onUpstreamDrain(): void;
  /**
   * The connection is gone, or was not made, for this reason. `refused`: the dependency said of the request that it was not executed, though
   * all of it may have been sent.
   */
  onUpstreamClosed(connectFailure: ConnectFailure | null, refused: boolean): void;
  onInvalidResponse(): void;
}

export interface UpstreamLeg {
  /** Whom it tells; null: nobody any more. */
  receiver: ResponseReceiver | null;
  /** The head of a request; the next that is received is its response. */
  sendHead(receiver: ResponseReceiver, request: OutgoingRequest): void;
  /** Bytes of the body. The buffer is read into again after the call. */
  sendData(buffer: Buffer, start: number, end: number): void;
  /** The end of a body. `trailers` has CR LF before each line. */
  sendEnd(trailers: string): void;
  /** Writes out what was gathered. False: the peer reads slower than we write; `onUpstreamDrain` follows. */
  flush(): boolean;
  /** Reads on after `onResponseFlush` or `onTunnelData` said false. */
  resume(): void;
  /** After a 101 was passed on. */
  becomeTunnel(): void;
  /** Bytes of a tunnel; as `sendData`. */
  sendTunnelData(buffer: Buffer, start: number, end: number): void;
  /** Nothing more is written to a tunnel; its other direction goes on. */
  endWriting(): void;
  /** The response is complete. `reusable`: so was the request, and the next one may use what this one used. */
  release(reusable: boolean, nowMs: number): void;
  /** Ends it once what was written has gone out. */
  finish(): void;
  /** The connection was not made in time: `onUpstreamClosed` follows at once. */
  giveUpConnecting(): void;
  /** The rest of the response is not wanted. */
  destroy(): void;
  /** Ends it so that the peer does not take what it got for a whole message. */
  abort(): void;
}

export interface LegSource {
  /** A leg that may carry the next request at once, or null. */
  takeIdle(nowMs: number, maxIdleMs: number): UpstreamLeg | null;
  /** A new leg; `onConnected` or `onUpstreamClosed` follows, never inside this call. */
  connect(receiver: ResponseReceiver): UpstreamLeg;
}

/** Its own legs speak HTTP/1.1. `name` is as logs, answers and metrics write it: ADDRESS:PORT. */
export interface UpstreamEndpoint extends BalancedEndpoint, LegSource {
  readonly address: string;
  readonly port: number;
  /** Legs that speak HTTP/2. */
  readonly http2: LegSource;
  /** Connections that lie idle. */
  readonly idleCount: number;
  /** Closes what was idle for too long. */
  sweep(nowMs: number): void;
  /** No longer in the set: from now on nothing is kept. */
  remove(): void;
}
