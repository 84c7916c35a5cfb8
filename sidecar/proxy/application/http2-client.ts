// A connection of the application that speaks HTTP/2 without TLS, with prior knowledge. Each of its streams is a request of its own with an
// exchange of its own; these are big, and so they are used again, one stream after the other.
//
// Once it was told to go and its last stream is over, it is told that nothing follows, and it is for the application to close: what that sends while it
// reads (windows, PING) would be answered by a reset of a closed socket, which overtakes what it has not read yet.
import type { Socket } from 'node:net';
import type { ConnectionOwner } from '../../http2/connection-owner.ts';
import { ErrorCode } from '../../http2/error-code.ts';
import { CLIENT_WINDOW_BYTES, CONTROL_FRAMES, STREAM_RESETS } from '../../http2/limits.ts';
import type { Http2Stream } from '../../http2/stream.ts';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import { TokenBucket, toMicroseconds } from '../../policies/token-bucket.ts';
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import { Http2Socket } from '../sockets/http2-socket.ts';
import type { ClientConnectionOptions } from './client-connection.ts';
import { Http2Call } from './http2-call.ts';
import { LINGER_MS, Lingering } from './lingering.ts';

export interface Http2ClientOptions extends Omit<ClientConnectionOptions, 'owner' | 'onClosed'> {
  /** What was read of it already: the beginning of its preface, at least. */
  first: Buffer;
  onClosed(client: Http2Client): void;
}

export class Http2Client implements ConnectionOwner, TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly context: ProxyContext;
  readonly dependency: DependencyRuntime;
  readonly originalDestination: { address: string; port: number } | null;
  readonly rewriteHost: boolean;
  readonly #socket: Socket;
  readonly #framed: Http2Socket;
  readonly #spare: Http2Call[] = [];
  readonly #controlFrames: TokenBucket;
  readonly #resets: TokenBucket;
  #leaving = false;
  #lingering: Lingering | null = null;

  constructor(socket: Socket, options: Http2ClientOptions) {
    this.context = options.context;
    this.dependency = options.dependency;
    this.originalDestination = options.originalDestination;
    this.rewriteHost = options.rewriteHost;
    this.#socket = socket;
    const nowUs = toMicroseconds(this.context.ticker.nowMs());
    this.#controlFrames = new TokenBucket(CONTROL_FRAMES, nowUs);
    this.#resets = new TokenBucket(STREAM_RESETS, nowUs);
    this.context.clientConnections++;
    this.#framed = new Http2Socket(socket, true, CLIENT_WINDOW_BYTES, this);
    // An application that sends no more takes no answers either: HTTP/2 has its own way to say the one without the other.
    socket.on('end', () => {
      if (this.#lingering === null) this.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.context.ticker.disarm(this);
      this.#framed.connection.end(ErrorCode.Cancel);
      this.context.clientConnections--;
      options.onClosed(this);
    });
    this.#framed.receive(options.first, options.first.length);
  }

  /** Takes no further request; what is in progress is finished. */
  close(): void {
    const { connection } = this.#framed;
    this.#leaving = true;
    connection.close();
    if (connection.streamCount === 0) this.#linger();
  }

  destroy(): void {
    this.#framed.connection.end(ErrorCode.Cancel);
    this.#socket.destroy();
  }

  /** All is said. What still comes is read away until the application closes, or has read nothing for as long as anybody is waited for. */
  #linger(): void {
    if (this.#lingering !== null || this.#framed.connection.isOver) return;
    this.#lingering = new Lingering();
    this.#framed.finish();
    this.context.ticker.arm(this, this.context.ticker.nowMs() + LINGER_MS);
  }

  expire(): void {
    // What the kernel still has of it is not known, and counts as something.
    if (this.#lingering?.goesOn(this.#socket.writableLength + 1)) {
      this.context.ticker.arm(this, this.context.ticker.nowMs() + LINGER_MS);
    } else {
      this.destroy();
    }
  }

  /** Sent away once there is a reason to, as HTTP/1.1 closes its connection behind an answer. */
  closeIfUnwanted(): void {
    if (!this.#leaving && (!this.context.keepsConnections || !this.dependency.enforced)) this.close();
  }

  /** Content has moved, in either direction. */
  moved(): void {
    this.#controlFrames.giveBack();
  }

  /** A request is over. */
  giveBack(call: Http2Call): void {
    this.#spare.push(call);
  }

  // ---- what the connection tells -------------------------------------------------------------------------------------------------------

  streamBegan(stream: Http2Stream, fields: readonly string[], ended: boolean): void {
    const call = this.#spare.pop() ?? new Http2Call(this);
    call.begin(stream, fields, ended);
    this.closeIfUnwanted();
  }

  streamOver(): void {
    if (this.#leaving && this.#framed.connection.streamCount === 0) this.#linger();
  }

  takesControlFrame(): boolean {
    return this.#controlFrames.take(toMicroseconds(this.context.ticker.nowMs()));
  }

  takesReset(): boolean {
    return this.#resets.take(toMicroseconds(this.context.ticker.nowMs()));
  }

  failed(): void {
    this.#framed.end();
  }

  settingsCame(): void {}

  goAwayCame(): void {}

  pongCame(): void {}
}
