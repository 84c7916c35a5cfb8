// The one timer of a request: the end of its present phase, its deadline, or the silence that ends a stream, whichever comes first.
import type { TimerNode } from '../../policies/timer-wheel.ts';
import type { Ticker } from '../ticker.ts';

export interface TimedRequest {
  /** The phase or the deadline is over. `deadline`: the latter. */
  onTimeOver(nowMs: number, deadline: boolean): void;
  /** Nothing came for the idle time. */
  onIdle(): void;
}

export class RequestTimer implements TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  /** No attempt and no wait goes beyond it; infinity: there is none. */
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #ticker: Ticker;
  readonly #request: TimedRequest;
  /** Of a stream; 0: none, or not a stream. */
  #idleMs = 0;
  #lastActivityMs = 0;

  constructor(ticker: Ticker, request: TimedRequest) {
    this.#ticker = ticker;
    this.#request = request;
  }

  /** `requestMs` 0: no deadline. */
  begin(nowMs: number, requestMs: number): void {
    this.deadlineMs = requestMs > 0 ? nowMs + requestMs : Number.POSITIVE_INFINITY;
  }

  /** The deadline moves to `atMs` where that is sooner. */
  shorten(atMs: number): void {
    if (atMs < this.deadlineMs) this.deadlineMs = atMs;
  }

  /** A phase that ends at the deadline, or before it at `phaseEndMs`. */
  enter(phaseEndMs: number): void {
    this.#idleMs = 0;
    const atMs = Math.min(phaseEndMs, this.deadlineMs);
    if (atMs === Number.POSITIVE_INFINITY) this.#ticker.disarm(this);
    else this.#ticker.arm(this, atMs);
  }

  /** From the head of a stream on only silence ends it, and no deadline. `idleMs` 0: not even that. */
  enterIdle(nowMs: number, idleMs: number): void {
    this.#idleMs = idleMs;
    this.#lastActivityMs = nowMs;
    if (idleMs > 0) this.#ticker.arm(this, nowMs + idleMs);
    else this.#ticker.disarm(this);
  }

  /** The stream is not silent. */
  touch(): void {
    this.#lastActivityMs = this.#ticker.nowMs();
  }

  stop(): void {
    this.#ticker.disarm(this);
  }

  expire(nowMs: number): void {
    if (this.#idleMs === 0) this.#request.onTimeOver(nowMs, nowMs >= this.deadlineMs);
    else if (nowMs < this.#lastActivityMs + this.#idleMs) this.#ticker.arm(this, this.#lastActivityMs + this.#idleMs);
    else this.#request.onIdle();
  }
}
