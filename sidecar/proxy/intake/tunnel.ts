// A connection that is passed on untouched and without policies: nobody declared where to, or a kill switch is thrown. It is dialled, elsewhere
// where that fails, and then its bytes flow (pipe.ts).
import type { TimerNode } from '../../policies/timer-wheel.ts';
import type { ByteStream, ByteStreamOwner } from '../sockets/byte-stream.ts';
import type { Network } from '../sockets/network.ts';
import type { Ticker } from '../ticker.ts';
import type { Dialled } from './ahead.ts';
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
  client: ByteStream;
  network: Pick<Network, 'dialStream'>;
  targets: TunnelTargets;
  /** Bytes already read from the client, to be sent first. */
  first: Buffer | null;
  /** A connection that is already open or on its way; null: dial. */
  upstream: Dialled | null;
  /** Of each dial. 0: none. */
  connectTimeoutMs: number;
  ticker: Ticker;
  onDialFailed(): void;
  onClosed(): void;
}

export class Tunnel implements ByteStreamOwner, PipeOwner, TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly #options: TunnelOptions;
  readonly #client: ByteStream;
  #upstream: ByteStream | null = null;
  readonly #dialled: TunnelTarget | null;
  /** Those left to be tried; null: not asked for yet. */
  #others: TunnelTarget[] | null = null;
  #pipe: Pipe | null = null;
  #closed = false;

  constructor(options: TunnelOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#client.owner = this;
    const { targets, upstream } = options;
    this.#dialled = upstream === null ? targets.first : upstream.target;
    if (upstream) this.#use(upstream.stream);
    else if (this.#dialled) this.#dial(this.#dialled);
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
    if (this.#pipe) {
      this.#pipe.destroy();
      return;
    }
    this.#client.destroy();
    this.#upstream?.destroy();
    this.#end();
  }

  streamConnected(upstream: ByteStream): void {
    if (upstream === this.#upstream) this.#begin(upstream);
  }

  /** Neither is read before both are connected. */
  streamArrived(): void {}

  streamEnded(): void {}

  streamDrained(): void {}

  /** Before there was a connection to the target; later it is the pipe's to see. */
  streamClosed(stream: ByteStream): void {
    if (stream === this.#client) this.#fail();
    else if (stream === this.#upstream) this.#dialNext();
  }

  onBytes(): void {}

  onEnd(): void {}

  onClosed(): void {
    this.#end();
  }

  #dial({ address, port }: TunnelTarget): void {
    this.#use(this.#options.network.dialStream(address, port));
  }

  #use(upstream: ByteStream): void {
    this.#upstream = upstream;
    upstream.owner = this;
    const { connectTimeoutMs, ticker } = this.#options;
    if (upstream.isClosed) this.#dialNext();
    else if (!upstream.connecting) this.#begin(upstream);
    else if (connectTimeoutMs > 0) ticker.arm(this, ticker.nowMs() + connectTimeoutMs);
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

  #begin(upstream: ByteStream): void {
    const { ticker, first } = this.#options;
    ticker.disarm(this);
    const fromClient = first && first.length > 0 ? [first] : [];
    const fromUpstream = upstream === this.#options.upstream?.stream ? this.#options.upstream.first : [];
    this.#pipe = new Pipe(this.#client, upstream, fromClient, fromUpstream, 0, ticker, this);
  }

  /** The application was accepted by the kernel before the target was dialled; the nearest to a refusal that is left is a reset. */
  #fail(): void {
    if (this.#closed) return;
    if (!this.#client.isClosed) {
      this.#options.onDialFailed();
      this.#client.reset();
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
