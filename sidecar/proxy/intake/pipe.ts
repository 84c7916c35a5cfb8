// Two connected sockets, their bytes passed on untouched in both directions: each direction ends on its own (half-close), a reset stays a
// reset, and a slow reader slows its writer down. Only silence in both directions for the idle time ends it.
//
// A direction of which more than a read has come is read into the buffer of all connections and written through an outbox, which copies
// (read-buffer.ts, outbox.ts): a stream of Node allocates 64 KiB for each read, and to collect them costs more than all writes. Until then, and on
// sockets that cannot share, bytes come as 'data' and are written as they are: most connections that are short send once each way. What Node
// has read already comes first either way.
import type { Socket } from 'node:net';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import { Outbox } from '../sockets/outbox.ts';
import { readShared } from '../sockets/read-buffer.ts';
import type { Ticker } from '../ticker.ts';

const KEEP_ALIVE_PROBE_MS = 30_000;
/** A connection that is this old is probed from then on: to ask for it takes eight system calls, and most connections are shorter. */
const PROBED_AFTER_MS = 10_000;
const SHARES_AT_READ = 2;

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

export class Pipe implements TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #ticker: Ticker;
  readonly #idleTimeoutMs: number;
  readonly #owner: PipeOwner;
  #lastActivityMs: number;
  #probed = false;
  #closed = false;

  /** Both are connected and paused. `first`: bytes that were read from the client already. `idleTimeoutMs` 0: none. */
  constructor(
    client: Socket,
    upstream: Socket,
    first: readonly Buffer[],
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
    for (const chunk of first) {
      owner.onBytes(true, chunk.length);
      upstream.write(chunk);
    }
    this.#forward(client, upstream, true);
    this.#forward(upstream, client, false);
  }

  get closed(): boolean {
    return this.#closed;
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
      this.#client.setKeepAlive(true, KEEP_ALIVE_PROBE_MS);
      this.#upstream.setKeepAlive(true, KEEP_ALIVE_PROBE_MS);
    }
    if (idleAtMs !== Number.POSITIVE_INFINITY) this.#ticker.arm(this, idleAtMs);
  }

  get #idleMs(): number {
    return this.#idleTimeoutMs > 0 ? this.#idleTimeoutMs : Number.POSITIVE_INFINITY;
  }

  destroy(): void {
    this.#destroy(PipeEnd.Destroyed);
  }

  #forward(from: Socket, to: Socket, fromClient: boolean): void {
    const end = (): void => {
      if (this.#closed) return;
      this.#owner.onEnd(fromClient);
      to.end();
    };
    let reads = 0;
    from.on('data', (chunk: Buffer) => {
      if (!this.#passes(fromClient, chunk.length)) return;
      to.write(chunk);
      reads += 1;
      if (reads === SHARES_AT_READ) this.#share(from, to, fromClient);
      if (to.writableNeedDrain) from.pause();
    });
    to.on('drain', () => from.resume());
    if (from.readableEnded) end();
    else from.once('end', end);
    from.on('error', () => this.#lost(to, fromClient));
    from.on('close', () => this.#gone(from, to));
    if (to.writableNeedDrain) from.pause();
    else from.resume();
  }

  #share(from: Socket, to: Socket, fromClient: boolean): void {
    const out = new Outbox(to);
    readShared(from, (buffer, bytes) => {
      if (!this.#passes(fromClient, bytes)) return;
      out.bytes(buffer, 0, bytes);
      if (!out.flush()) from.pause();
    });
  }

  #passes(fromClient: boolean, bytes: number): boolean {
    if (this.#closed) return false;
    this.#lastActivityMs = this.#ticker.nowMs();
    this.#owner.onBytes(fromClient, bytes);
    return true;
  }

  #lost(other: Socket, fromClient: boolean): void {
    if (this.#closed) return;
    other.resetAndDestroy();
    this.#end(fromClient ? PipeEnd.ClientReset : PipeEnd.UpstreamReset);
  }

  #gone(from: Socket, to: Socket): void {
    if (this.#closed) return;
    if (to.closed) this.#end(PipeEnd.Ended);
    else if (!from.readableEnded) to.destroy();
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
