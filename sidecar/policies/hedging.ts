// When a request that is not answered yet is sent a second time, to another endpoint, and the first good answer is taken.
//
// Semantics (backup requests of Dean and Barroso, "The Tail at Scale", 2013; Finagle's BackupRequestFilter): the second attempt begins when
// the first has taken longer than most do, so that it costs only the few percent of load above the percentile. The delay follows the
// latency of the last minute; before enough calls tell it, nothing is sent twice. A latency is the time to the head of the answer of the
// first attempt, because the head decides which attempt wins; where the second one won, the first is counted with the time it had had,
// which is above the delay, so that the share above it stays true and hedging does not feed on itself.
import type { HedgingPlan } from '../../plan/policies/hedging.ts';
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import { LatencyQuantile } from './latency-quantile.ts';

/** What is shared. How many hedges one request may have is its own plan's to say, for as long as it takes. */
export type HedgingNumbers = Omit<HedgingPlan, 'stateKey' | 'maxHedges'>;

/** Whatever the percentile; a higher one needs as many calls as put one above it. */
const MINIMUM_CALLS = 20;
/** So long an estimate holds: what it is made of changes slowly, and reading it costs a walk over all buckets. */
const ESTIMATE_MS = 100;

/**
 * Whether two copies of a request may be under way at a time. To run twice one after the other is less: a copy of a PUT or a DELETE that lost may
 * be executed after the next request of its application, and undo that. So only safe methods (RFC 9110, 9.2.1), what has a key by which the dependency
 * knows a copy, and what the policy says of all. Methods are case-sensitive.
 */
export function mayRunBeside(method: string, hasIdempotencyKey: boolean, methods: RetriesPlan['methods']): boolean {
  if (hasIdempotencyKey || methods === 'All') return true;
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS' || method === 'TRACE';
}

export class Hedging {
  #spec: HedgingNumbers;
  readonly #latencies: LatencyQuantile;
  /** Nobody asks for it before the first estimate. */
  #delayMs = 0;
  #freshUntilMs = Number.NEGATIVE_INFINITY;

  constructor(spec: HedgingNumbers, nowMs: number) {
    this.#spec = spec;
    this.#latencies = new LatencyQuantile(nowMs);
  }

  /** Changed numbers hold from now on; latencies stay known. */
  update(spec: HedgingNumbers): void {
    const { afterPercentile, minDelayMs, maxDelayMs } = this.#spec;
    const isSame =
      spec.afterPercentile === afterPercentile && spec.minDelayMs === minDelayMs && spec.maxDelayMs === maxDelayMs;
    this.#spec = spec;
    if (isSame) return;
    this.#freshUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** Calls that the delay is made of. */
  calls(nowMs: number): number {
    return this.#latencies.count(nowMs);
  }

  /** Milliseconds from the start of the first attempt to that of the second; -1: not enough calls were seen to say. */
  delayMs(nowMs: number): number {
    if (nowMs < this.#freshUntilMs) return this.#delayMs;
    this.#freshUntilMs = nowMs + ESTIMATE_MS;
    const { afterPercentile, minDelayMs, maxDelayMs } = this.#spec;
    const minimumCalls = Math.max(MINIMUM_CALLS, Math.ceil(100 / (100 - afterPercentile)));
    if (this.calls(nowMs) < minimumCalls) this.#delayMs = -1;
    else {
      const delayMs = Math.max(minDelayMs, this.#latencies.estimateMs(afterPercentile, nowMs));
      this.#delayMs = maxDelayMs === null ? delayMs : Math.min(maxDelayMs, delayMs);
    }
    return this.#delayMs;
  }

  /** Counts a first attempt that was answered, timed out or was overtaken. Failures that came fast say nothing about how long an answer takes. */
  record(latencyMs: number, nowMs: number): void {
    this.#latencies.record(latencyMs, nowMs);
  }
}
