// The books of the attempt in progress: the permit of the breaker, the place in the bulkhead, the load of the endpoint, and what the
// metrics count. Whatever way an attempt ends, it ends here once, and nothing stays taken.
import type { Bulkhead } from '../policies/bulkhead.ts';
import { Outcome } from '../policies/circuit-breaker.ts';
import type { ProxyContext } from './context.ts';
import type { RoutePolicy } from './route-policies.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** Whether this kind of failure counts for the breaker. */
export function countsForBreaker(policy: RoutePolicy, failureBits: number): boolean {
  return policy.breaker !== null && (policy.breaker.failureMask & failureBits) !== 0;
}

export class AttemptBooks {
  startMs = 0;
  /** From when on the dependency alone had the request: its start, or the end of an upload. */
  sentMs = 0;
  /** Time to the end of the answer, or as much of it as tells about the dependency and not about a slow reader. */
  responseMs = 0;
  /** What its status counts as. */
  failureBits = 0;
  endpoint: UpstreamEndpoint | null = null;
  #permit = 0;
  #place: Bulkhead | null = null;

  /** Asks the breaker; false: refused. */
  admit(policy: RoutePolicy, nowMs: number): boolean {
    if (!policy.breaker) return true;
    this.#permit = policy.breaker.admit(nowMs);
    return this.#permit !== 0;
  }

  takePlace(bulkhead: Bulkhead | null): void {
    this.#place = bulkhead;
  }

  begin(endpoint: UpstreamEndpoint, nowMs: number): void {
    this.endpoint = endpoint;
    endpoint.inFlight++;
    this.startMs = nowMs;
    this.sentMs = nowMs;
    this.responseMs = 0;
    this.failureBits = 0;
  }

  /** The time so far is what the dependency took: so long it has had the request for itself. */
  noteResponse(nowMs: number): void {
    this.responseMs = nowMs - this.sentMs;
  }

  /** A stream has shown at its head whether the dependency works; its length says nothing. The place in the bulkhead stays taken. */
  settleEarly(policy: RoutePolicy, nowMs: number): void {
    if (this.#permit === 0) return;
    const outcome = countsForBreaker(policy, this.failureBits) ? Outcome.Failure : Outcome.Success;
    policy.breaker?.settle(this.#permit, outcome, this.responseMs, nowMs, this.failureBits);
    this.#permit = 0;
  }

  /** `result` below zero: nothing was tried. `failureBits`: what kind of failure the breaker is to name. */
  end(
    policy: RoutePolicy,
    context: ProxyContext,
    outcome: number,
    result: number,
    failureBits: number,
    nowMs: number,
  ): void {
    if (this.#permit !== 0) {
      policy.breaker?.settle(this.#permit, outcome, this.responseMs, nowMs, failureBits);
      this.#permit = 0;
    }
    if (this.endpoint) {
      this.endpoint.inFlight--;
      this.endpoint = null;
      if (result >= 0) policy.metrics.attempts[result] = (policy.metrics.attempts[result] ?? 0) + 1;
    }
    this.givePlace(context);
  }

  givePlace(context: ProxyContext): void {
    const place = this.#place;
    if (!place) return;
    this.#place = null;
    context.grant(place.release());
  }
}
