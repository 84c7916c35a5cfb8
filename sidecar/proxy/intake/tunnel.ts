// A connection that is passed on untouched and without policies: nobody declared where to, or a kill switch is thrown. It is dialled, elsewhere
// where that fails, and then its bytes flow (pipe.ts).
import type { Socket } from 'node:net';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import type { Network } from '../sockets/network.ts';
import type { Ticker } from '../ticker.ts';
import { Pipe, type PipeOwner } from './pipe.ts';

/** More addresses than these are not tried for one connection: its application waits. */
const MAX_DIALS = 4;

export interface TunnelTarget {
  address: string;
  port: number;
}

export interface TunnelTargets {
  /** Where to dial at once; null: nowhere is known yet. */
  readonly first: TunnelTarget | null;
  /** Where else, asked for once when the first could not be reached; null: nowhere. */
  readonly others: (() => Promise<readonly TunnelTarget[]>) | null;
}

export function onlyTarget(target: TunnelTarget): TunnelTargets {
  return { first: target, others: null };
}

function sameTarget(one: TunnelTarget, other: TunnelTarget | null): boolean {
  return one.address === other?.address && one.port === other.port;
}

export interface TunnelOptions {
  client: Socket;
  network: Pick<Network, 'dial'>;
  targets: TunnelTargets;
  /** Bytes already read from the client, to be sent first. */
  first: Buffer | null;
  /** A connection to the first target that is already open or on its way; null: dial. */
  upstream: Socket | null;
  /** Of each dial. 0: none. */
  connectTimeoutMs: number;
  ticker: Ticker;
  onDialFailed(): void;
  onClosed(): void;
}

export class Tunnel implements TimerNode, PipeOwner {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly #options: TunnelOptions;
  readonly #client: Socket;
  #upstream: Socket | null = null;
  readonly #dialled: TunnelTarget | null;
  /** Those left to be tried; null: not asked for yet. */
  #others: TunnelTarget[] | null = null;
  #pipe: Pipe | null = null;
  #closed = false;

  constructor(options: TunnelOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#client.on('error', () => this.#lost(this.#client));
    this.#client.on('close', () => this.#lost(this.#client));
    const { first } = options.targets;
    this.#dialled = first;
    if (options.upstream) this.#use(options.upstream);
    else if (first) this.#dial(first);
    else this.#dialNext();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The wheel calls: not connected in time. */
  expire(): void {
    this.#upstream?.destroy();
    this.#dialNext();
  }

  destroy(): void {
    this.#client.destroy();
    this.#upstream?.destroy();
    if (this.#pipe) this.#pipe.destroy();
    else this.#end();
  }

  onBytes(): void {}

  onEnd(): void {}

  onClosed(): void {
    this.#end();
  }

  #dial({ address, port }: TunnelTarget): void {
    this.#use(this.#options.network.dial(address, port));
  }

  #use(upstream: Socket): void {
    this.#upstream = upstream;
    upstream.on('error', () => this.#lost(upstream));
    upstream.on('close', () => this.#lost(upstream));
    const { connectTimeoutMs, ticker } = this.#options;
    if (upstream.connecting) {
      upstream.once('connect', () => this.#begin(upstream));
      if (connectTimeoutMs > 0) ticker.arm(this, ticker.nowMs() + connectTimeoutMs);
    } else if (upstream.destroyed) {
      this.#dialNext();
    } else {
      this.#begin(upstream);
    }
  }

  /** What was dialled cannot be reached. Nothing was sent, so anywhere else is as good. */
  #dialNext(): void {
    this.#upstream = null;
    this.#options.ticker.disarm(this);
    const { others } = this.#options.targets;
    if (this.#others === null && others !== null) {
      this.#others = [];
      void this.#askOthers(others);
      return;
    }
    const next = this.#others?.shift();
    if (next) this.#dial(next);
    else this.#fail();
  }

  async #askOthers(others: () => Promise<readonly TunnelTarget[]>): Promise<void> {
    const targets = await others().catch(() => []);
    this.#others = targets.filter((each) => !sameTarget(each, this.#dialled)).slice(0, MAX_DIALS - 1);
    if (!this.#closed) this.#dialNext();
  }

  #begin(upstream: Socket): void {
    if (this.#closed || upstream !== this.#upstream) return;
    const { ticker, first } = this.#options;
    ticker.disarm(this);
    this.#pipe = new Pipe(this.#client, upstream, first && first.length > 0 ? [first] : [], 0, ticker, this);
  }

  /** Before there was a connection to the target; later it is the pipe's to see. */
  #lost(socket: Socket): void {
    if (this.#pipe) return;
    if (socket === this.#client) this.#fail();
    else if (socket === this.#upstream) this.#dialNext();
  }

  /** The application was accepted by the kernel before the target was dialled; the nearest to a refusal that is left is a reset. */
  #fail(): void {
    if (this.#closed) return;
    if (!this.#client.destroyed) {
      this.#options.onDialFailed();
      this.#client.resetAndDestroy();
    }
    this.#upstream?.destroy();
    this.#end();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.ticker.disarm(this);
    this.#options.onClosed();
  }
}
