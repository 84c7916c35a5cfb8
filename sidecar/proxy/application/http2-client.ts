// A connection of the application that speaks HTTP/2 without TLS, with prior knowledge. Each of its streams is a request of its own with an
// exchange of its own; these are big, and so they are used again, one stream after the other.
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { CLIENT_OPTIONS, CONNECTION_WINDOW_BYTES, CONTROL_FRAMES } from '../../http2/limits.ts';
import { nativeHalf } from '../../http2/native-halves.ts';
import { ENHANCE_YOUR_CALM, nodeHttp2 } from '../../http2/node-http2.ts';
import { TokenBucket, toMicroseconds } from '../../policies/token-bucket.ts';
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { ClientConnectionOptions } from './client-connection.ts';
import { Http2Call } from './http2-call.ts';

const END_STREAM = 0x1;

export interface Http2ClientOptions extends Omit<ClientConnectionOptions, 'owner' | 'onClosed'> {
  /** What was read of it already: the beginning of its preface, at least. */
  first: Buffer;
  onClosed(client: Http2Client): void;
}

export class Http2Client {
  readonly context: ProxyContext;
  readonly dependency: DependencyRuntime;
  readonly originalDestination: { address: string; port: number } | null;
  readonly rewriteHost: boolean;
  /** Of its session (native-halves.ts); null: it is over. */
  sessionHalf: object | null;
  readonly #session: ServerHttp2Session;
  readonly #spare: Http2Call[] = [];
  readonly #controlFrames: TokenBucket;

  constructor(socket: Socket, options: Http2ClientOptions) {
    this.context = options.context;
    this.dependency = options.dependency;
    this.originalDestination = options.originalDestination;
    this.rewriteHost = options.rewriteHost;
    socket.pause();
    socket.unshift(options.first);
    const session = nodeHttp2().performServerHandshake(socket, CLIENT_OPTIONS);
    this.#session = session;
    this.sessionHalf = nativeHalf(session);
    this.#controlFrames = new TokenBucket(CONTROL_FRAMES, toMicroseconds(this.context.ticker.nowMs()));
    this.context.clientConnections++;
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    session.on('stream', (stream, _fields, flags, raw) => this.#begin(stream, raw, (flags & END_STREAM) !== 0));
    session.on('ping', () => this.#controlled());
    session.on('remoteSettings', () => this.#controlled());
    session.on('error', () => {});
    session.on('close', () => {
      this.sessionHalf = null;
      this.context.clientConnections--;
      options.onClosed(this);
    });
    // An application that sends no more takes no answers either: HTTP/2 has its own way to say the one without the other.
    socket.on('end', () => this.destroy());
  }

  /** Takes no further request; what is in progress is finished. */
  close(): void {
    this.#session.close();
  }

  destroy(): void {
    this.#session.destroy();
  }

  /** Sent away once there is a reason to, as HTTP/1.1 closes its connection behind an answer. */
  closeIfUnwanted(): void {
    if (!this.context.keepsConnections || !this.dependency.enforced) this.close();
  }

  /** Content has moved, in either direction. */
  moved(): void {
    this.#controlFrames.giveBack();
  }

  /** A frame came that costs us an answer, and brings nobody anything. */
  #controlled(): void {
    if (this.#controlFrames.take(toMicroseconds(this.context.ticker.nowMs()))) return;
    this.#session.destroy(new Error('too many control frames'), ENHANCE_YOUR_CALM);
  }

  /** A stream is over. */
  giveBack(call: Http2Call): void {
    this.#spare.push(call);
  }

  #begin(stream: ServerHttp2Stream, raw: readonly string[], ended: boolean): void {
    const call = this.#spare.pop() ?? new Http2Call(this);
    call.begin(stream, raw, ended);
    this.closeIfUnwanted();
  }
}
