// Two sockets, their bytes passed on untouched in both directions: each direction ends on its own (half-close), a reset stays a reset,
// and a slow reader slows its writer down.
import net, { type Socket } from 'node:net';
import type { TimerNode } from '../policies/timer-wheel.ts';
import type { Ticker } from './ticker.ts';

const KEEP_ALIVE_PROBE_MS = 30_000;

export interface TunnelTarget {
  address: string;
  port: number;
}

export interface TunnelOptions {
  client: Socket;
  target: TunnelTarget;
  /** Bytes already read from the client, to be sent first. */
  first: Buffer | null;
  /** A connection to the target that is already open or on its way; null: dial. */
  upstream: Socket | null;
  /** 0: none. */
  connectTimeoutMs: number;
  /** 0: none. */
  idleTimeoutMs: number;
  ticker: Ticker;
  onDialFailed(): void;
  onClosed(): void;
}

export class Tunnel implements TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly #options: TunnelOptions;
  readonly #client: Socket;
  readonly #upstream: Socket;
  #connected = false;
  #closed = false;
  #lastActivityMs: number;

  constructor(options: TunnelOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#lastActivityMs = options.ticker.nowMs();
    this.#upstream =
      options.upstream ??
      net.connect({ host: options.target.address, port: options.target.port, noDelay: true, allowHalfOpen: true });
    this.#client.setKeepAlive(true, KEEP_ALIVE_PROBE_MS);
    this.#watch(this.#client);
    this.#watch(this.#upstream);
    if (this.#upstream.connecting) {
      this.#upstream.once('connect', () => this.#begin());
      if (options.connectTimeoutMs > 0) options.ticker.arm(this, this.#lastActivityMs + options.connectTimeoutMs);
    } else if (this.#upstream.destroyed) {
      this.#fail();
    } else {
      this.#begin();
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The wheel calls: not connected in time, or idle for too long, or only to look again. */
  expire(nowMs: number): void {
    if (!this.#connected) {
      this.#fail();
      return;
    }
    const idleAtMs = this.#lastActivityMs + this.#options.idleTimeoutMs;
    if (nowMs >= idleAtMs) this.destroy();
    else this.#options.ticker.arm(this, idleAtMs);
  }

  destroy(): void {
    this.#client.destroy();
    this.#upstream.destroy();
    this.#end();
  }

  #begin(): void {
    if (this.#closed) return;
    this.#connected = true;
    const { ticker, idleTimeoutMs, first } = this.#options;
    this.#upstream.setKeepAlive(true, KEEP_ALIVE_PROBE_MS);
    if (idleTimeoutMs > 0) ticker.arm(this, ticker.nowMs() + idleTimeoutMs);
    else ticker.disarm(this);
    if (first && first.length > 0) this.#upstream.write(first);
    this.#forward(this.#client, this.#upstream);
    this.#forward(this.#upstream, this.#client);
  }

  #forward(from: Socket, to: Socket): void {
    from.on('data', (chunk: Buffer) => {
      this.#lastActivityMs = this.#options.ticker.nowMs();
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => from.resume());
    if (from.readableEnded) to.end();
    else from.once('end', () => to.end());
    from.resume();
  }

  #watch(socket: Socket): void {
    const other = socket === this.#client ? this.#upstream : this.#client;
    socket.on('error', () => {
      if (this.#connected) {
        other.resetAndDestroy();
        this.#end();
      } else {
        this.#fail();
      }
    });
    socket.on('close', () => {
      if (this.#closed) return;
      if (!this.#connected) this.#fail();
      else if (this.#client.closed && this.#upstream.closed) this.#end();
      else if (!socket.readableEnded) other.destroy();
    });
  }

  /** The application was accepted by the kernel before the target was dialled; the nearest to a refusal that is left is a reset. */
  #fail(): void {
    if (this.#closed) return;
    if (!this.#client.destroyed) {
      this.#options.onDialFailed();
      this.#client.resetAndDestroy();
    }
    this.#upstream.destroy();
    this.#end();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.ticker.disarm(this);
    this.#options.onClosed();
  }
}
