// A policy block in shadow: it is told what really happens to the requests of its route, and counts what it would have done. It is given
// nothing by which it could touch a request: no timer, no connection, and no chance but that of the shadows, for a number drawn from the
// other would change those that the enforced policies draw.
import type { BalancedEndpoint } from '../../balance/candidates.ts';
import type { KeyedRequest } from '../../balance/hash-key.ts';
import type { BulkheadWaiter } from '../bulkhead.ts';
import { Outcome } from '../circuit-breaker.ts';
import type { OutlierMember } from '../outlier-detection.ts';
import type { TimerNode } from '../timer-wheel.ts';
import { EXPECTED_COSTS, SHADOW_SLOTS } from './decisions.ts';

/** In the place of chance: what chance gives in the mean. */
export const MEAN_CHANCE = (): number => 0.5;

/** What shadows write to: the counters of a route. */
export interface ShadowCounts {
  /** What they would have done, by slot. */
  readonly decisions: Float64Array;
  /** By `ExpectedCost`, in milliseconds. */
  readonly expectedCostMs: Float64Array;
}

export function shadowCounts(): ShadowCounts {
  return {
    decisions: new Float64Array(SHADOW_SLOTS.length),
    expectedCostMs: new Float64Array(EXPECTED_COSTS.length),
  };
}

/** The head of a request; `fields` has CR LF before each line. */
export interface ShadowedHead extends KeyedRequest {
  readonly method: string;
  readonly target: string;
  readonly hasIdempotencyKey: boolean;
  /** The protocol that it asks for; empty: none. */
  readonly upgrade: string;
  readonly acceptsEventStream: boolean;
}

export const NO_HEAD: ShadowedHead = {
  method: '',
  target: '',
  host: '',
  fields: '',
  hasIdempotencyKey: false,
  upgrade: '',
  acceptsEventStream: false,
};

const NO_COUNTS = shadowCounts();

/** Hedging in shadow. */
interface HedgeWatcher {
  due(call: ShadowCall, nowMs: number): void;
}

/** A request as the shadows of its route see it. One object per client connection, reused for every request on it. */
export class ShadowCall implements BulkheadWaiter, TimerNode {
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  /** Where what a shadow would have done is counted. */
  counts: ShadowCounts = NO_COUNTS;
  /** A shadow would have ended the request: what really happens to it from then on would not have happened. */
  over = false;
  /** What the request failed of, `FallbackBit`s: by a shadow that would have ended it, or really. 0: it has not. */
  failedBits = 0;
  /** By the retries in shadow another attempt would have followed. */
  wouldRetry = false;
  /** Nobody is there to be answered any more. */
  left = false;
  /** Monotonic, as all times here. */
  startMs = 0;
  /** Attempts that were really made. */
  attempts = 0;
  head: ShadowedHead = NO_HEAD;
  /** By what name the dependency is called. */
  host = '';
  /** By what is enforced; infinity: never. */
  deadlineMs = Number.POSITIVE_INFINITY;

  /** Where attempts before this one failed, in that order. */
  readonly failedEndpoints: BalancedEndpoint[] = [];

  // Of the attempt in progress, or the last one.
  endpoint: BalancedEndpoint | null = null;
  attemptStartMs = 0;
  /** When a shadow would have ended it; infinity: at no time. */
  attemptEndMs = Number.POSITIVE_INFINITY;
  /** From when on the dependency alone had the request: its start, or the end of an upload. */
  sentMs = 0;
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
  member: OutlierMember | null = null;
  memberGeneration = 0;
  /** Who watches the attempt; null: nobody does. */
  hedging: HedgeWatcher | null = null;
  hedgeDelayMs = -1;
  /** Hedges that the request would have had, and of them those of this attempt; when the last one would have been sent. */
  hedges = 0;
  hedgesOut = 0;
  hedgeSentMs = 0;

  begin(counts: ShadowCounts, nowMs: number): void {
    this.counts = counts;
    this.over = false;
    this.failedBits = 0;
    this.wouldRetry = false;
    this.left = false;
    this.startMs = nowMs;
    this.attempts = 0;
    this.endpoint = null;
    this.failedEndpoints.length = 0;
    this.headMs = 0;
    this.status = 0;
    this.timedOut = false;
    this.stream = false;
    this.replayable = true;
    this.hedges = 0;
  }

  /** A hedge would be due. */
  expire(nowMs: number): void {
    this.hedging?.due(this, nowMs);
  }

  count(slot: number): void {
    const { decisions } = this.counts;
    decisions[slot] = (decisions[slot] ?? 0) + 1;
  }

  /** A shadow would have ended the request, of what `failedBits` (`FallbackBit`s) say. */
  end(slot: number, failedBits: number): void {
    this.count(slot);
    this.over = true;
    this.failedBits = failedBits;
  }

  /** The sidecar itself is about to answer, for what `failedBits` say. What a shadow would have ended before is over already. */
  refuse(failedBits: number): void {
    if (!this.over && this.failedBits === 0) this.failedBits = failedBits;
  }

  /** What belongs to others is let go of. */
  release(): void {
    this.head = NO_HEAD;
    this.endpoint = null;
    this.failedEndpoints.length = 0;
    this.member = null;
  }
}

/** What does not concern a block it leaves as it is here. */
export abstract class BlockShadow {
  begin(_call: ShadowCall, _nowMs: number): void {}

  /** No fault was injected that ended the request. False: this block would have ended it. */
  admit(_call: ShadowCall, _nowMs: number): boolean {
    return true;
  }

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
