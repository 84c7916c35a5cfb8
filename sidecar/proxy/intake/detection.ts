// Whose protocol is it? Waits for the first bytes of the application, and meanwhile dials where it wanted to go, so that a server which
// speaks first loses no time. Ends in HTTP, of one version or the other, or in a tunnel, and never holds a byte back from either for longer than a bounded time.
import type { Socket } from 'node:net';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import type { Ticker } from '../ticker.ts';
import type { Ahead } from './ahead.ts';
import { classifyFirstBytes, FirstBytes } from './first-bytes.ts';

/** An application that speaks first usually does so at once, and where it speaks HTTP the dial would be wasted. */
const DIAL_AFTER_MS = 10;
/** So long an unfinished method name may stay unfinished before it is taken for another protocol, or, where HTTP is declared, for a slow head. */
const UNDECIDED_LIMIT_MS = 1_000;
/** Where to dial may not be known yet: it is looked again after this time. */
const LOOK_AGAIN_MS = 50;

export interface DetectionOptions<Dialled extends Ahead = Ahead> {
  socket: Socket;
  ticker: Ticker;
  /** Declared HTTP: nothing but HTTP/1.1 and the preface of HTTP/2 exists, and nothing is dialled ahead. */
  declaredHttp: boolean;
  /** Makes what dials; null: nothing is to be dialled. */
  ahead: (() => Dialled) | null;
  /** One of FirstBytes for all bytes that have come; what `classifyFirstBytes` says where absent. */
  judge?(bytes: Buffer): number;
  /** So long the application may be silent before the server is dialled, or where nothing is, before it is taken for one that waits for it. */
  silenceMs?: number;
  onHttp(first: Buffer): void;
  onHttp2(first: Buffer): void;
  /** `first` null: the application has not said a word. `ahead` null: nothing was dialled. */
  onTunnel(first: Buffer | null, ahead: Dialled | null): void;
}

export class Detection<Dialled extends Ahead = Ahead> implements TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly #options: DetectionOptions<Dialled>;
  #first: Buffer | null = null;
  #ahead: Dialled | null = null;
  /** The server is being dialled, or was. */
  #begun = false;
  #decided = false;
  /** What the first bytes are so far: one of FirstBytes. */
  #kind: number = FirstBytes.NeedMore;

  readonly #onData = (chunk: Buffer): void => this.#take(chunk);
  readonly #onEnd = (): void => this.#giveUp();
  readonly #onClose = (): void => this.#abandon();

  constructor(options: DetectionOptions<Dialled>) {
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
      if (this.#options.declaredHttp || this.#kind === FirstBytes.MethodSeen) this.#http(this.#first);
      else this.#tunnel();
      return;
    }
    if (this.#begun) return;
    const { ahead, ticker } = this.#options;
    if (!ahead) {
      this.#tunnel();
      return;
    }
    this.#ahead ??= ahead();
    this.#begun = this.#ahead.begin(() => this.#tunnel());
    if (!this.#begun) ticker.arm(this, ticker.nowMs() + LOOK_AGAIN_MS);
  }

  #take(chunk: Buffer): void {
    const begun = this.#first !== null;
    const first = this.#first ? Buffer.concat([this.#first, chunk]) : chunk;
    this.#first = first;
    const kind = this.#options.judge?.(first) ?? classifyFirstBytes(first);
    this.#kind = kind;
    if (kind === FirstBytes.H2c) {
      this.#decide();
      this.#drop();
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
    this.#drop();
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
    this.#drop();
  }

  #tunnel(): void {
    if (this.#decided) return;
    this.#decide();
    this.#options.socket.pause();
    this.#options.onTunnel(this.#first, this.#begun ? this.#ahead : null);
  }

  #drop(): void {
    if (this.#begun) this.#ahead?.drop();
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
