// Two connected streams, their bytes passed on untouched in both directions: each direction ends on its own (half-close), a reset stays a
// reset, and a slow reader slows its writer down. Only silence in both directions for the idle time ends it.
import type { TimerNode } from '../../policies/timer-wheel.ts';
import type { ByteStream, ByteStreamOwner } from '../sockets/byte-stream.ts';
import type { Ticker } from '../ticker.ts';

const KEEP_ALIVE_PROBE_MS = 30_000;
/** A connection that is this old is probed from then on: to ask for it takes eight system calls, and most connections are shorter. */
const PROBED_AFTER_MS = 10_000;

/** How it ended. Ended: both directions, in order. Destroyed: by `destroy`, or by a side that closed without a word. */
export const PipeEnd = { Ended: 0, ClientReset: 1, UpstreamReset: 2, Idle: 3, Destroyed: 4 } as const;

/** Whoever wants to know what passes. Nothing is told after `onClosed`. */
export interface PipeOwner {
  /** Bytes are about to be passed on. */
  onBytes(fromClient: boolean, bytes: number): void;
  /** One side sends nothing any more, in order. */
  onEnd(fromClient: boolean): void;
  /** Once. `end`: a `PipeEnd`. */
  onClosed(end: number): void;
}

export class Pipe implements ByteStreamOwner, TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly #client: ByteStream;
  readonly #upstream: ByteStream;
  readonly #ticker: Ticker;
  readonly #idleTimeoutMs: number;
  readonly #owner: PipeOwner;
  #lastActivityMs: number;
  #probed = false;
  #closedStreams = 0;
  #closed = false;

  /** Both are connected. `fromClient`, `fromUpstream`: what they sent before. `idleTimeoutMs` 0: none. */
  constructor(
    client: ByteStream,
    upstream: ByteStream,
    fromClient: readonly Buffer[],
    fromUpstream: readonly Buffer[],
    idleTimeoutMs: number,
    ticker: Ticker,
    owner: PipeOwner,
  ) {
    this.#client = client;
    this.#upstream = upstream;
    this.#ticker = ticker;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#owner = owner;
    this.#lastActivityMs = ticker.nowMs();
    ticker.arm(this, this.#lastActivityMs + Math.min(PROBED_AFTER_MS, this.#idleMs));
    client.owner = this;
    upstream.owner = this;
    // Whoever makes a pipe is not told of its end before he has it.
    if (client.isClosed || upstream.isClosed) process.nextTick(() => this.destroy());
    this.#begin(client, upstream, fromClient);
    this.#begin(upstream, client, fromUpstream);
  }

  /** The wheel calls: idle for too long, old enough to be probed, or only to look again. */
  expire(nowMs: number): void {
    const idleAtMs = this.#lastActivityMs + this.#idleMs;
    if (nowMs >= idleAtMs) {
      this.#destroy(PipeEnd.Idle);
      return;
    }
    if (!this.#probed) {
      this.#probed = true;
      this.#client.probeAfter(KEEP_ALIVE_PROBE_MS);
      this.#upstream.probeAfter(KEEP_ALIVE_PROBE_MS);
    }
    if (idleAtMs !== Number.POSITIVE_INFINITY) this.#ticker.arm(this, idleAtMs);
  }

  get #idleMs(): number {
    return this.#idleTimeoutMs > 0 ? this.#idleTimeoutMs : Number.POSITIVE_INFINITY;
  }

  destroy(): void {
    this.#destroy(PipeEnd.Destroyed);
  }

  #begin(from: ByteStream, to: ByteStream, first: readonly Buffer[]): void {
    from.readFor(to);
    let flows = true;
    for (const chunk of first) {
      this.#owner.onBytes(from === this.#client, chunk.length);
      flows = to.pass(chunk, chunk.length);
    }
    if (from.hasEnded) this.streamEnded(from);
    else if (flows) from.resume();
    else from.pause();
  }

  streamConnected(): void {}

  streamArrived(from: ByteStream, buffer: Buffer, bytes: number): void {
    this.#lastActivityMs = this.#ticker.nowMs();
    this.#owner.onBytes(from === this.#client, bytes);
    if (!this.#other(from).pass(buffer, bytes)) from.pause();
  }

  streamDrained(to: ByteStream): void {
    this.#other(to).resume();
  }

  streamEnded(from: ByteStream): void {
    this.#owner.onEnd(from === this.#client);
    this.#other(from).end();
  }

  streamClosed(stream: ByteStream, code: string | null): void {
    if (code !== null) {
      this.#other(stream).reset();
      this.#end(stream === this.#client ? PipeEnd.ClientReset : PipeEnd.UpstreamReset);
      return;
    }
    this.#closedStreams++;
    if (this.#closedStreams === 2) this.#end(PipeEnd.Ended);
  }

  #other(stream: ByteStream): ByteStream {
    return stream === this.#client ? this.#upstream : this.#client;
  }

  #destroy(end: number): void {
    this.#client.destroy();
    this.#upstream.destroy();
    this.#end(end);
  }

  #end(end: number): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ticker.disarm(this);
    this.#owner.onClosed(end);
  }
}
