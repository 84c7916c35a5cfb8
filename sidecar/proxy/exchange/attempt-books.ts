// The books of the attempt in progress: the permit of the breaker, the place in the bulkhead, the load of the endpoint, what balancing and
// outlier detection are told of it, and what the metrics count. Whatever way an attempt ends, it ends here once, and nothing stays taken.
import { observeFailure, observeOvertaken, observeSuccess } from '../../balance/endpoint-cost.ts';
import { AttemptResult } from '../../metrics/route-metrics.ts';
import { type CircuitBreaker, isProbe, Outcome } from '../../policies/circuit-breaker.ts';
import { LOCAL_ORIGIN } from '../../policies/failures.ts';
import type { OutlierMember } from '../../policies/outlier-detection.ts';
import type { PlannedBulkhead } from '../../policies/planned-bulkhead.ts';
import type { ProxyContext } from '../context.ts';
import type { RoutePolicy } from '../dependency/route-policies.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** What an outcome is to the breaker: where it does not count this failure, an answer is a success and no answer is nothing. */
function breakerOutcome(breaker: CircuitBreaker, outcome: number, failureBits: number): number {
  if (outcome !== Outcome.Failure || (breaker.failureMask & failureBits) !== 0) return outcome;
  return (failureBits & LOCAL_ORIGIN) === 0 ? Outcome.Success : Outcome.Ignored;
}

export class AttemptBooks {
  startMs = 0;
  /** From when on the dependency alone had the request: its start, or the end of an upload. */
  sentMs = 0;
  /** Time to the end of the answer, or as much of it as tells about the dependency and not about a slow reader. */
  responseMs = 0;
  /** What its status counts as. */
  failureBits = 0;
  /** When the endpoint wants to be asked again, as its answer says; 0: it does not. */
  retryAfterMs = 0;
  endpoint: UpstreamEndpoint | null = null;
  /** Balancing knows how it went. */
  #observed = false;
  #permit = 0;
  #place: PlannedBulkhead | null = null;
  /** What outlier detection knows of the endpoint, as it was at the beginning; null: nothing is to be recorded. */
  #member: OutlierMember | null = null;
  #memberGeneration = 0;

  /** Asks the breaker; false: refused. */
  admit(policy: RoutePolicy, nowMs: number): boolean {
    if (!policy.breaker) return true;
    this.#permit = policy.breaker.admit(nowMs);
    return this.#permit !== 0;
  }

  /** It is a probe of a half-open circuit, which wants to know within its own time. */
  get probing(): boolean {
    return isProbe(this.#permit);
  }

  /** When its attempt timeout is over; infinity: it has none. */
  attemptEndMs({ plan }: RoutePolicy): number {
    const { attemptMs } = plan.timeouts;
    return attemptMs > 0 ? this.startMs + attemptMs : Number.POSITIVE_INFINITY;
  }

  /** When it has to have an answer: as a probe sooner. */
  endMs(policy: RoutePolicy): number {
    return Math.min(this.attemptEndMs(policy), this.probeEndMs(policy));
  }

  /** When a probe has to have shown something; infinity: it is none, or has. */
  probeEndMs({ plan: { circuitBreaker } }: RoutePolicy): number {
    if (circuitBreaker === null || !this.probing) return Number.POSITIVE_INFINITY;
    return this.startMs + circuitBreaker.halfOpenProbeTimeoutMs;
  }

  /**
   * An attempt that the deadline cut short after a moment says nothing about the dependency; one that had half its time does. Where it has none
   * of its own, that is the time of the request; where this has none either, the deadline was the caller's, and says nothing of the dependency.
   */
  ranLongEnough(policy: RoutePolicy, nowMs: number): boolean {
    const { requestMs } = policy.plan.timeouts;
    const requestEndMs = requestMs > 0 ? this.startMs + requestMs : Number.POSITIVE_INFINITY;
    return nowMs >= (this.startMs + Math.min(this.endMs(policy), requestEndMs)) / 2;
  }

  /** The attempt goes on and is no probe any more. `outcome`: by what has come of its answer; Ignored where nothing has. */
  endProbe({ breaker }: RoutePolicy, outcome: number, nowMs: number): void {
    if (breaker === null) return;
    const { failureBits, responseMs } = this;
    breaker.settle(this.#permit, breakerOutcome(breaker, outcome, failureBits), responseMs, nowMs, failureBits);
    this.#permit = 0;
  }

  takePlace(bulkhead: PlannedBulkhead | null): void {
    this.#place = bulkhead;
  }

  begin(endpoint: UpstreamEndpoint, policy: RoutePolicy, nowMs: number): void {
    this.endpoint = endpoint;
    this.#member = policy.detection === null ? null : policy.detection.member(endpoint.name);
    if (this.#member !== null) this.#memberGeneration = this.#member.generation;
    endpoint.begin();
    this.startMs = nowMs;
    this.sentMs = nowMs;
    this.responseMs = 0;
    this.failureBits = 0;
    this.retryAfterMs = 0;
    this.#observed = false;
  }

  /** The time so far is what the dependency took: so long it has had the request for itself. */
  noteResponse(nowMs: number): void {
    this.responseMs = nowMs - this.sentMs;
  }

  /** A stream has shown at its head whether the dependency works; its length says nothing. The place in the bulkhead stays taken. */
  settleEarly(policy: RoutePolicy, nowMs: number): void {
    const outcome = this.failureBits === 0 ? Outcome.Success : Outcome.Failure;
    this.#settle(policy, outcome, this.failureBits, nowMs);
  }

  #settle({ breaker, detection }: RoutePolicy, outcome: number, failureBits: number, nowMs: number): void {
    if (this.#permit !== 0) {
      const settled = breaker === null ? outcome : breakerOutcome(breaker, outcome, failureBits);
      const endpoint = this.endpoint === null ? '' : this.endpoint.name;
      breaker?.settle(this.#permit, settled, this.responseMs, nowMs, failureBits, endpoint, this.startMs);
      this.#permit = 0;
    }
    if (this.#member !== null) {
      if (outcome !== Outcome.Ignored) detection?.record(this.#member, this.#memberGeneration, failureBits, nowMs);
      this.#member = null;
    }
    if (outcome !== Outcome.Ignored) this.#observe(failureBits !== 0, nowMs);
  }

  #observe(failed: boolean, nowMs: number): void {
    if (this.endpoint === null || this.#observed) return;
    this.#observed = true;
    if (failed) observeFailure(this.endpoint, this.responseMs, this.retryAfterMs, nowMs);
    else observeSuccess(this.endpoint, this.responseMs, nowMs);
  }

  /**
   * Another copy of the request was answered first. Breaker and outlier detection hear nothing of it; balancing and an adaptive bulkhead
   * learn that the answer would have taken longer, or they would take an endpoint that is always overtaken for a fast one.
   */
  overtaken(policy: RoutePolicy, context: ProxyContext, nowMs: number): void {
    this.noteResponse(nowMs);
    if (this.endpoint !== null) observeOvertaken(this.endpoint, this.responseMs, nowMs);
    this.#place?.recordTimeout(this.responseMs, nowMs);
    this.end(policy, context, Outcome.Ignored, 0, AttemptResult.cancelled, nowMs);
  }

  /**
   * `outcome`: Failure where the dependency is to blame, by `failureBits`, whether or not a policy counts that; Ignored where nothing is said
   * about it. `result` below zero: nothing was tried.
   */
  end(
    policy: RoutePolicy,
    context: ProxyContext,
    outcome: number,
    failureBits: number,
    result: number,
    nowMs: number,
  ): void {
    this.#settle(policy, outcome, failureBits, nowMs);
    if (this.endpoint) {
      this.endpoint.end();
      this.endpoint = null;
      this.#recordLatency(outcome, result, nowMs);
      if (result >= 0) policy.metrics.attempts[result] = (policy.metrics.attempts[result] ?? 0) + 1;
    }
    this.givePlace(context);
  }

  /** What the bulkhead learns from: answers that are no failures, which may be fast for that, and attempts that took too long. */
  #recordLatency(outcome: number, result: number, nowMs: number): void {
    if (this.#place === null || this.responseMs === 0) return;
    if (outcome === Outcome.Success && result === AttemptResult.success) this.#place.record(this.responseMs, nowMs);
    else if (result === AttemptResult.attemptTimeout) this.#place.recordTimeout(this.responseMs, nowMs);
  }

  givePlace(context: ProxyContext): void {
    const place = this.#place;
    if (!place) return;
    this.#place = null;
    context.grant(place.release());
    // A limit that rose lets in more than the one who takes this place.
    for (let next = place.takeGrantable(); next; next = place.takeGrantable()) context.grant(next);
  }
}
