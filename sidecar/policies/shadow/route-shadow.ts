// All that is shadowed for the requests of one row of the plan, in the order of the layers. Each block is judged by what really happens, and
// by what the shadows before it make of that; a request that one of them would have ended is nothing to the others any more, but for the
// fallback, which would have been asked for another answer.
import type { BalancedEndpoint } from '../../balance/candidates.ts';
import type { LastGood } from '../last-good.ts';
import type { BlockShadow, ShadowCall, ShadowCounts } from './block-shadow.ts';

export class RouteShadow {
  /** Which answers a fallback in shadow would keep; null: none. */
  readonly lastGood: LastGood | null;
  readonly #blocks: readonly BlockShadow[];
  readonly #counts: ShadowCounts;

  /** `counts`: of the route. */
  constructor(blocks: readonly BlockShadow[], counts: ShadowCounts, lastGood: LastGood | null = null) {
    this.#blocks = blocks;
    this.#counts = counts;
    this.lastGood = lastGood;
  }

  /** `deadlineMs`: by what is enforced. */
  begin(call: ShadowCall, deadlineMs: number, nowMs: number): void {
    call.begin(this.#counts, nowMs);
    call.deadlineMs = deadlineMs;
    for (const block of this.#blocks) block.begin(call, nowMs);
  }

  /** No fault that is injected ended the request. */
  admit(call: ShadowCall, nowMs: number): void {
    if (call.over) return;
    for (const block of this.#blocks) if (!block.admit(call, nowMs)) return;
  }

  /** An attempt has its endpoint, and does not count as load of it yet. */
  attempt(call: ShadowCall, endpoint: BalancedEndpoint, nowMs: number): void {
    if (call.endpoint !== null) call.failedEndpoints.push(call.endpoint);
    call.endpoint = endpoint;
    call.attempts += 1;
    call.attemptStartMs = nowMs;
    call.attemptEndMs = Number.POSITIVE_INFINITY;
    call.sentMs = nowMs;
    call.connectedMs = 0;
    call.headMs = 0;
    call.status = 0;
    call.grpcStatus = -1;
    call.retryAfterMs = -1;
    call.refusesRetry = false;
    call.timedOut = false;
    if (call.over) return;
    // It went on after what failed before.
    call.failedBits = 0;
    call.wouldRetry = false;
    for (const block of this.#blocks) {
      if (block.attempt(call, nowMs)) continue;
      for (const other of this.#blocks) other.giveBack(call, nowMs);
      return;
    }
  }

  /** The attempt became a stream or a tunnel: what it showed is known, and its place stays taken. The facts are in the call. */
  streamBegan(call: ShadowCall, nowMs: number): void {
    for (const block of this.#blocks) block.judge(call, nowMs);
    call.stream = true;
    call.lastActivityMs = nowMs;
  }

  /** Bytes passed on a stream. */
  active(call: ShadowCall, nowMs: number): void {
    for (const block of this.#blocks) block.active(call, nowMs);
    call.lastActivityMs = nowMs;
  }

  /** The attempt is over. Its facts are in the call. */
  attemptEnded(call: ShadowCall, nowMs: number): void {
    if (call.stream) this.active(call, nowMs);
    else for (const block of this.#blocks) block.judge(call, nowMs);
    for (const block of this.#blocks) block.giveBack(call, nowMs);
  }

  end(call: ShadowCall, nowMs: number): void {
    for (const block of this.#blocks) block.end(call, nowMs);
    call.release();
  }
}
