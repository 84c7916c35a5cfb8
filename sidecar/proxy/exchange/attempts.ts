// The attempts of one request: how many there were, where the last one failed, and whether another one follows. One object per client
// connection, reused for every request on it.
import { parseHttpDate } from '../../http1/http-date.ts';
import type { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import { AttemptResult, Suppression } from '../../metrics/route-metrics.ts';
import { isRetryAfterTooLong, mayRunTwice, retryDelayMs } from '../../policies/retry.ts';
import type { RoutePolicy } from '../dependency/route-policies.ts';
import type { Ticker } from '../ticker.ts';
import type { CurrentRequest } from './current-request.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** With less than this left no attempt begins. */
export const ATTEMPT_FLOOR_MS = 1;

/** The policy says that the request may be sent again although it may have been executed. */
export function mayRepeat(policy: RoutePolicy, request: RequestHead): boolean {
  const { retries } = policy;
  return retries !== null && mayRunTwice(request.method, request.hasIdempotencyKey, retries.methods);
}

/** The policy names the status itself. */
export function isListed({ retryStatuses, retryGrpcStatuses }: RoutePolicy, answer: ResponseHead): boolean {
  return (
    retryStatuses?.[answer.status] === 1 || (answer.grpcStatus > 0 && retryGrpcStatuses?.[answer.grpcStatus] === 1)
  );
}

export class Attempts {
  readonly #request: CurrentRequest;
  /** Those that reached for an endpoint, hedges among them. */
  count = 0;
  /** Copies that were sent while an attempt was not answered: to `maxAttempts` they belong to that attempt. */
  hedges = 0;
  /** An answer that was not taken, for another copy of the request was out, said that it is not to be asked again. */
  refused = false;
  /** Where they failed, in that order. */
  readonly failedEndpoints: UpstreamEndpoint[] = [];
  /** The one attempt that is allowed without any policy, after a request that was never sent. */
  #unsentRetryUsed = false;
  /** What the attempt before failed of, until the next one begins; -1: there was none. */
  #retryCause = -1;

  constructor(request: CurrentRequest) {
    this.#request = request;
  }

  /** There was none yet. */
  reset(): void {
    this.count = 0;
    this.hedges = 0;
    this.refused = false;
    this.failedEndpoints.length = 0;
    this.#unsentRetryUsed = false;
    this.#retryCause = -1;
  }

  /** An attempt has its endpoint. Retries are counted here and not where they were decided: our own layers may refuse what was wanted. */
  started(): void {
    this.count++;
    if (this.#retryCause < 0) return;
    const { retries } = this.#request.policy.metrics;
    retries[this.#retryCause] = (retries[this.#retryCause] ?? 0) + 1;
    this.#retryCause = -1;
  }

  /** A copy of the attempt has its endpoint. */
  hedged(): void {
    this.count++;
    this.hedges++;
  }

  /**
   * What the dependency is told as the number of the last one; 0: nothing. Only who may be asked again is told, from the first attempt on:
   * where the field is missing, nobody repeats anything.
   */
  get toldNumber(): number {
    const { retries, hedging } = this.#request.policy;
    return retries !== null && (retries.maxAttempts > 1 || hedging !== null) ? this.count : 0;
  }

  /** Where the next one goes: to none of those, where there is another; null: there is no endpoint at all. */
  pick(avoided: readonly UpstreamEndpoint[], nowMs: number): UpstreamEndpoint | null {
    const { client, context, declared, dependency, head, policy } = this.#request;
    // Where the application's connection was made to says nothing of another dependency.
    const original = dependency === declared ? client.originalDestination : null;
    const { balancer } = policy.choice;
    return dependency.endpoints.pick(balancer, avoided, balancer.keyOf(head, context.ownKey), original, nowMs);
  }

  failedAt(endpoint: UpstreamEndpoint | null): void {
    if (endpoint) this.failedEndpoints.push(endpoint);
  }

  /** True: what could not be connected leads elsewhere from now on. */
  rerouted(endpoint: UpstreamEndpoint | null): boolean {
    const { context, dependency } = this.#request;
    const isStale = context.endpointsStale();
    return endpoint !== null && dependency.endpoints.reroutes(endpoint, this.failedEndpoints, isStale);
  }

  /** The last one does not count: it failed of our not knowing where to go, or was refused by who leaves in order. */
  takeBack(): void {
    this.count--;
  }

  /**
   * Once, what was never sent, where no policy for retries does more; and what the dependency says it did not execute, whatever policies say
   * (transparent retries, gRPC A6). `result`: what the attempt failed of.
   */
  mayGoAgainUnsent(unsent: boolean, result: number): boolean {
    const refused = result === AttemptResult.refused;
    if ((this.#request.policy.retries && !refused) || !unsent || this.#unsentRetryUsed) return false;
    if (!this.#request.replay.complete) return false;
    this.#unsentRetryUsed = true;
    this.#retryCause = result;
    return true;
  }

  /**
   * When the next attempt begins, monotonic milliseconds; -1: there is none, and the reason is counted where the policy would have wanted
   * one. `failureBits` and `result` are what the attempt failed of, `unsent` that no byte of the request was handed to a connection,
   * `answer` the head of the answer that was the failure. The budget
   * is asked last, since asking spends it.
   */
  nextAtMs(
    failureBits: number,
    result: number,
    unsent: boolean,
    answer: ResponseHead | null,
    deadlineMs: number,
    nowMs: number,
  ): number {
    const { policy, head, replay, context } = this.#request;
    const { retries, budget, metrics } = policy;
    const listed = answer !== null && isListed(policy, answer);
    if (!retries || ((policy.retryMask & failureBits) === 0 && !listed)) return -1;
    const retryAfterMs = answer === null ? -1 : retryAfterMsOf(answer, context.ticker);
    const attempts = this.count - this.hedges;
    const delayMs = retryDelayMs(retries, attempts, retryAfterMs, context.random());
    let suppression = -1;
    if (attempts >= retries.maxAttempts) suppression = Suppression.attempts;
    else if (!unsent && !mayRepeat(policy, head)) suppression = Suppression.unsafe;
    else if (!replay.complete) suppression = Suppression.body;
    else if (this.refused || answer?.refusesRetry) suppression = Suppression.refused;
    else if (isRetryAfterTooLong(retryAfterMs, retries.maxRetryAfterMs)) suppression = Suppression.retryAfter;
    else if (nowMs + delayMs + ATTEMPT_FLOOR_MS > deadlineMs) suppression = Suppression.deadline;
    else if (budget && !budget.tryWithdraw(nowMs)) suppression = Suppression.budget;
    if (suppression >= 0) {
      metrics.suppressed[suppression] = (metrics.suppressed[suppression] ?? 0) + 1;
      return -1;
    }
    this.#retryCause = result;
    return nowMs + delayMs;
  }
}

/** Retry-After in milliseconds from now; -1: it says nothing that can be read. */
export function retryAfterMsOf(
  { pushbackMs, retryAfterSeconds, retryAfterDate }: ResponseHead,
  ticker: Ticker,
): number {
  if (pushbackMs >= 0) return pushbackMs;
  if (retryAfterSeconds >= 0) return retryAfterSeconds * 1000;
  if (retryAfterDate === '') return -1;
  const unixMs = ticker.unixMs();
  const atMs = parseHttpDate(retryAfterDate, unixMs);
  return Number.isNaN(atMs) ? -1 : Math.max(0, atMs - unixMs);
}
