// A policy block in shadow: it is told what really happens to the requests of its route, and counts what it would have done. It is given
// nothing by which it could touch a request: no timer, no connection, and no chance, for a number drawn here would change those that the
// enforced policies draw.

import type { BulkheadWaiter } from '../bulkhead.ts';
import { Outcome } from '../circuit-breaker.ts';

/** In the place of chance: what chance gives in the mean. */
export const MEAN_CHANCE = (): number => 0.5;

/** A request as the shadows of its route see it. One object per client connection, reused for every request on it. */
export class ShadowCall implements BulkheadWaiter {
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;
  /** Where what a shadow would have done is counted, by slot. */
  counts: Float64Array = new Float64Array(0);
  /** A shadow would have ended the request: what really happens to it from then on would not have happened. */
  over = false;
  /** Monotonic, as all times here. */
  startMs = 0;
  /** Attempts that were really made. */
  attempts = 0;
  method = '';
  hasIdempotencyKey = false;
  /** By what is enforced; infinity: never. */
  deadlineMs = Number.POSITIVE_INFINITY;

  // Of the attempt in progress, or the last one.
  attemptStartMs = 0;
  /** When the connection stood that was dialled for it; 0: none was dialled. */
  connectedMs = 0;
  /** When the head of its answer came, and what the status is; 0: it has not. */
  headMs = 0;
  headFailureBits = 0;
  status = 0;
  /** The status of gRPC that was the whole answer; below zero: there was none. */
  grpcStatus = -1;
  /** Milliseconds of its Retry-After; below zero: it has none. */
  retryAfterMs = -1;
  /** The answer says that it is not to be tried again. */
  refusesRetry = false;
  /** How it ended: an `Outcome`, before any policy says what counts. */
  outcome: number = Outcome.Ignored;
  /** `FailureBit`s of what it failed of. */
  failureBits = 0;
  /** A status answered it. */
  answered = false;
  /** No byte of the request was handed to a connection. */
  unsent = false;
  /** The body, as far as it was sent, is small enough to be kept and sent again. */
  replayable = true;
  /** What the dependency took of the time. */
  responseMs = 0;
  /** The application has not sent all of the request. */
  sending = false;
  /** A shadowed timeout would have ended it. */
  timedOut = false;
  /** It became a stream or a tunnel, which only silence ends. */
  stream = false;
  lastActivityMs = 0;

  // What blocks keep of it.
  permit = 0;
  holdsPlace = false;
  queuedSinceMs = 0;

  begin(counts: Float64Array, nowMs: number): void {
    this.counts = counts;
    this.over = false;
    this.startMs = nowMs;
    this.attempts = 0;
    this.timedOut = false;
    this.stream = false;
  }

  count(slot: number): void {
    this.counts[slot] = (this.counts[slot] ?? 0) + 1;
  }
}

/** What does not concern a block it leaves as it is here. */
export abstract class BlockShadow {
  begin(_call: ShadowCall, _nowMs: number): void {}

  /** An attempt begins, which no enforced policy refused. False: this block would have; the others give back what they took. */
  attempt(_call: ShadowCall, _nowMs: number): boolean {
    return true;
  }

  /** What the attempt showed of the dependency is known: at its end, or at the head of a stream. */
  judge(_call: ShadowCall, _nowMs: number): void {}

  /** The attempt is over, or would never have been: nothing of it stays taken. */
  giveBack(_call: ShadowCall, _nowMs: number): void {}

  /** Bytes passed on a stream, or it ends. */
  active(_call: ShadowCall, _nowMs: number): void {}

  /** The request is over. */
  end(_call: ShadowCall, _nowMs: number): void {}
}
