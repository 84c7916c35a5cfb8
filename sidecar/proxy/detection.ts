// Whose protocol is it? Waits for the first bytes of the application, and meanwhile dials where it wanted to go, so that a server which
// speaks first loses no time. Ends in HTTP, of one version or the other, or in a tunnel, and never holds a byte back from either for longer than a bounded time.
import type { Socket } from 'node:net';
import type { TimerNode } from '../policies/timer-wheel.ts';
import { classifyFirstBytes, FirstBytes } from './first-bytes.ts';
import type { Network } from './network.ts';
import type { Ticker } from './ticker.ts';
import type { TunnelTargets } from './tunnel.ts';

/** The application usually speaks at once; only then the dial would be wasted. */
const DIAL_AFTER_MS = 10;
/** So long an unfinished method name may stay unfinished before it is taken for another protocol, or, where HTTP is declared, for a slow head. */
const UNDECIDED_LIMIT_MS = 1_000;
/** Where to dial may not be known yet: it is looked again after this time. */
const LOOK_AGAIN_MS = 50;

export interface DetectionOptions {
  socket: Socket;
  network: Pick<Network, 'dial'>;
  ticker: Ticker;
  /** Declared HTTP: nothing but HTTP/1.1 and the preface of HTTP/2 exists, and nothing is dialled ahead. */
  declaredHttp: boolean;
  /** Null: nothing is to be dialled. */
  targets: TunnelTargets | null;
  /** One of FirstBytes for all bytes that have come; what `classifyFirstBytes` says where absent. */
  judge?(bytes: Buffer): number;
  /** Where nothing is dialled: so long the application may be silent before it is taken for one that waits for the server to speak. */
  silenceMs?: number;
  onHttp(first: Buffer): void;
  onHttp2(first: Buffer): void;
  onTunnel(first: Buffer | null, upstream: Socket | null): void;
}

export class Detection implements TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly #options: DetectionOptions;
  #first: Buffer | null = null;
  #upstream: Socket | null = null;
  #decided = false;

  readonly #onData = (chunk: Buffer): void => this.#take(chunk);
  readonly #onEnd = (): void => this.#giveUp();
  readonly #onClose = (): void => this.#abandon();
  readonly #onUpstreamSpeaks = (chunk: Buffer): void => {
    this.#upstream?.pause();
    this.#upstream?.unshift(chunk);
    this.#tunnel();
  };
  readonly #onUpstreamEnds = (): void => this.#tunnel();

  constructor(options: DetectionOptions) {
    this.#options = options;
    const { socket, ticker, declaredHttp, silenceMs = DIAL_AFTER_MS } = options;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onClose);
    socket.on('error', this.#onClose);
    if (!declaredHttp) ticker.arm(this, ticker.nowMs() + silenceMs);
  }

  expire(): void {
    if (this.#first) {
      if (this.#options.declaredHttp) this.#http(this.#first);
      else this.#tunnel();
      return;
    }
    if (this.#upstream) return;
    const { targets, ticker } = this.#options;
    if (!targets) {
      this.#tunnel();
      return;
    }
    const target = targets.first;
    if (!target) {
      if (targets.others) ticker.arm(this, ticker.nowMs() + LOOK_AGAIN_MS);
      return;
    }
    const upstream = this.#options.network.dial(target.address, target.port);
    this.#upstream = upstream;
    upstream.on('data', this.#onUpstreamSpeaks);
    upstream.on('end', this.#onUpstreamEnds);
    // A dial that fails ends in a tunnel that fails: one place resets the application.
    upstream.on('error', this.#onUpstreamEnds);
  }

  #take(chunk: Buffer): void {
    const begun = this.#first !== null;
    const first = this.#first ? Buffer.concat([this.#first, chunk]) : chunk;
    this.#first = first;
    const kind = this.#options.judge?.(first) ?? classifyFirstBytes(first);
    if (kind === FirstBytes.H2c) {
      this.#decide();
      this.#dropUpstream();
      this.#options.onHttp2(first);
    } else if (kind === FirstBytes.Http || (this.#options.declaredHttp && kind === FirstBytes.Opaque)) {
      this.#http(first);
    } else if (kind === FirstBytes.Opaque) {
      this.#tunnel();
    } else if (!begun) {
      const { ticker } = this.#options;
      ticker.arm(this, ticker.nowMs() + UNDECIDED_LIMIT_MS);
    }
  }

  #http(first: Buffer): void {
    this.#decide();
    this.#dropUpstream();
    this.#options.onHttp(first);
  }

  /** The application ended its side before it could be told what it speaks. */
  #giveUp(): void {
    if (this.#options.declaredHttp) {
      this.#decide();
      this.#options.socket.destroy();
      return;
    }
    this.#tunnel();
  }

  #abandon(): void {
    if (this.#decided) return;
    this.#decide();
    this.#dropUpstream();
  }

  #tunnel(): void {
    if (this.#decided) return;
    this.#decide();
    const upstream = this.#upstream;
    if (upstream) {
      upstream.off('data', this.#onUpstreamSpeaks);
      upstream.off('end', this.#onUpstreamEnds);
      upstream.off('error', this.#onUpstreamEnds);
      upstream.pause();
    }
    this.#options.socket.pause();
    this.#options.onTunnel(this.#first, upstream);
  }

  #dropUpstream(): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    if (!upstream) return;
    upstream.removeAllListeners();
    upstream.on('error', () => {});
    upstream.destroy();
  }

  #decide(): void {
    this.#decided = true;
    const { socket, ticker } = this.#options;
    ticker.disarm(this);
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('close', this.#onClose);
    socket.off('error', this.#onClose);
  }
}
