// The layers that each attempt to connect for an opaque connection passes, and what follows one that failed: another one, or the end of them. What
// attempt-layers.ts is for a request; their order is in the table of opaque-connection.ts, which knows the application and asks for them.
import { AttemptResult, Suppression } from '../../metrics/route-metrics.ts';
import { TcpResult } from '../../metrics/tcp-metrics.ts';
import { Admission, type BulkheadWaiter } from '../../policies/bulkhead.ts';
import { Outcome } from '../../policies/circuit-breaker.ts';
import { ConnectionResult } from '../../policies/connection-result.ts';
import { ConnectionAttempts } from '../../policies/connection-retry.ts';
import { FailureBit } from '../../policies/failures.ts';
import type { RoutePolicy } from '../dependency/route-policies.ts';
import { AttemptBooks } from '../exchange/attempt-books.ts';
import type { ConnectFailure, UpstreamEndpoint } from '../exchange/upstream.ts';
import type { ConnectionShadow } from './connection-shadow.ts';
import { OpaqueLeg, type OpaqueLegOwner } from './opaque-leg.ts';
import { OpaqueRoute, type OpaqueRouteOptions } from './opaque-route.ts';

const Phase = { None: 0, Queued: 1, Backoff: 2, Resolving: 3, Connecting: 4, Connected: 5 } as const;

export interface OpaqueAttemptsOwner {
  /** Nothing happens before `untilMs`, then `timeOver` is to be called; infinity: nothing is waited for. */
  waitUntil(untilMs: number): void;
  /** The dependency has taken the connection, and no byte has passed. */
  attemptConnected(nowMs: number): void;
  /** Of this connection: the dependency has sent something, or ended its side. */
  attemptMoved(): void;
  /** None follows. `refusal`: why there is no connection, a `TcpResult`. */
  attemptsOver(refusal: number, nowMs: number): void;
}

export class OpaqueAttempts implements BulkheadWaiter, OpaqueLegOwner {
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;
  readonly books = new AttemptBooks();
  /** What the connection of the last one has shown. */
  result = new ConnectionResult();
  /** Of the one in progress; null: nothing is dialled. */
  leg: OpaqueLeg | null = null;
  readonly #options: OpaqueRouteOptions;
  readonly #policy: RoutePolicy;
  readonly #shadow: ConnectionShadow;
  readonly #owner: OpaqueAttemptsOwner;
  readonly #retries: ConnectionAttempts;
  readonly #route: OpaqueRoute;
  #phase: number = Phase.None;

  constructor(options: OpaqueRouteOptions, policy: RoutePolicy, shadow: ConnectionShadow, owner: OpaqueAttemptsOwner) {
    this.#options = options;
    this.#policy = policy;
    this.#shadow = shadow;
    this.#owner = owner;
    const { budget, choice, metrics, retries } = policy;
    this.#retries = new ConnectionAttempts(retries, budget, options.context.random, metrics, Suppression);
    this.#route = new OpaqueRoute(options, choice);
  }

  /** A connection was made, and no byte has passed on it. */
  get connected(): boolean {
    return this.#phase === Phase.Connected;
  }

  // ---- layers ---------------------------------------------------------------------------------------------------------------------

  /** The next attempt. */
  start(nowMs: number): void {
    this.#phase = Phase.None;
    const { breaker, bulkhead, plan } = this.#policy;
    if (breaker && !breaker.look(nowMs)) {
      this.#giveUp(TcpResult.circuitOpen, nowMs);
      return;
    }
    if (bulkhead) {
      const admission = bulkhead.acquire(this);
      if (admission === Admission.Full) {
        this.#giveUp(TcpResult.bulkheadFull, nowMs);
        return;
      }
      if (admission === Admission.Queued) {
        this.#wait(Phase.Queued, nowMs + (plan.bulkhead?.queueTimeoutMs ?? 0));
        return;
      }
      this.books.takePlace(bulkhead);
    }
    this.#admitted(nowMs);
  }

  /** The bulkhead gave a place to this connection, which waited for it. */
  granted(): void {
    const { context } = this.#options;
    this.books.takePlace(this.#policy.bulkhead);
    if (this.#phase === Phase.Queued) {
      this.#owner.waitUntil(Number.POSITIVE_INFINITY);
      this.#admitted(context.ticker.nowMs());
    } else {
      this.books.givePlace(context);
    }
  }

  #admitted(nowMs: number): void {
    const { context } = this.#options;
    if (!this.books.admit(this.#policy, nowMs)) {
      this.books.givePlace(context);
      this.#giveUp(TcpResult.circuitOpen, nowMs);
      return;
    }
    const found = this.#route.find(nowMs);
    if (found instanceof Promise) {
      this.#phase = Phase.Resolving;
      // The application may be gone meanwhile.
      void found.then((endpoint) => {
        if (this.#phase === Phase.Resolving) this.#go(endpoint, context.ticker.nowMs());
      });
    } else {
      this.#go(found, nowMs);
    }
  }

  #go(endpoint: UpstreamEndpoint | null, nowMs: number): void {
    if (endpoint) {
      this.#dial(endpoint, nowMs);
      return;
    }
    this.end(Outcome.Ignored, 0, -1, nowMs);
    this.#giveUp(TcpResult.noEndpoints, nowMs);
  }

  #dial(endpoint: UpstreamEndpoint, nowMs: number): void {
    const { connectMs } = this.#policy.plan.timeouts;
    this.#retries.started();
    this.#shadow.attempt(endpoint, nowMs, nowMs);
    this.books.begin(endpoint, this.#policy, nowMs);
    this.result = new ConnectionResult();
    const connectEndMs = connectMs > 0 ? nowMs + connectMs : Number.POSITIVE_INFINITY;
    this.#wait(Phase.Connecting, Math.min(connectEndMs, this.books.probeEndMs(this.#policy)));
    this.leg = new OpaqueLeg(this.#options.context.network, endpoint.address, endpoint.port, this);
  }

  // ---- what becomes of the connection ---------------------------------------------------------------------------------------------

  legConnected(): void {
    const { context, dependency } = this.#options;
    const nowMs = context.ticker.nowMs();
    context.metrics.countConnect(dependency.label, 'success');
    this.#shadow.connected(nowMs);
    // What balancing and slowCalls go by: nothing else of the time is the dependency's for certain.
    this.books.noteResponse(nowMs);
    this.#phase = Phase.Connected;
    this.#owner.attemptConnected(nowMs);
  }

  legMoved(): void {
    this.#owner.attemptMoved();
  }

  legFailed(failure: ConnectFailure): void {
    const { context, dependency } = this.#options;
    const { endpoints, label } = dependency;
    const { endpoint } = this.books;
    const nowMs = context.ticker.nowMs();
    context.metrics.countConnect(label, failure);
    this.books.noteResponse(nowMs);
    const rerouted = endpoint !== null && endpoints.reroutes(endpoint, this.#route.failed, context.endpointsStale());
    const { connectFailure } = AttemptResult;
    this.#failed(FailureBit.ConnectFailure, connectFailure, TcpResult.connectFailed, rerouted, nowMs);
  }

  /** As far as the application goes, it was never connected; but where it stood for long, it is told of the end. */
  legLost(): void {
    const nowMs = this.#options.context.ticker.nowMs();
    if (!this.result.judged) {
      this.#failed(FailureBit.Reset, AttemptResult.reset, TcpResult.reset, false, nowMs);
      return;
    }
    this.leg = null;
    this.end(Outcome.Ignored, 0, AttemptResult.success, nowMs);
    this.#giveUp(TcpResult.reset, nowMs);
  }

  /** Nothing was sent, so that anywhere else is as good. `rerouted`: we did not know better, and the dependency is not to blame. */
  #failed(failureBits: number, result: number, refusal: number, rerouted: boolean, nowMs: number): void {
    const { endpoint } = this.books;
    this.leg = null;
    this.#wait(Phase.None, Number.POSITIVE_INFINITY);
    this.end(rerouted ? Outcome.Ignored : Outcome.Failure, failureBits, result, nowMs);
    if (endpoint) this.#route.failed.push(endpoint);
    if (rerouted) {
      this.#retries.takeBack();
      this.start(nowMs);
      return;
    }
    const delayMs = this.#retries.next(failureBits, result, nowMs);
    if (delayMs > 0) this.#wait(Phase.Backoff, nowMs + delayMs);
    else if (delayMs === 0) this.start(nowMs);
    else this.#giveUp(refusal, nowMs);
  }

  // ---- time -----------------------------------------------------------------------------------------------------------------------

  #wait(phase: number, untilMs: number): void {
    this.#phase = phase;
    this.#owner.waitUntil(untilMs);
  }

  /** What was waited for has not come; asked while nothing is connected. */
  timeOver(nowMs: number): void {
    switch (this.#phase) {
      case Phase.Queued:
        this.#policy.bulkhead?.cancel(this);
        this.#giveUp(TcpResult.queueTimeout, nowMs);
        break;
      case Phase.Backoff:
        this.start(nowMs);
        break;
      case Phase.Connecting:
        this.leg?.giveUp();
        break;
    }
  }

  // ---- ends -----------------------------------------------------------------------------------------------------------------------

  #giveUp(refusal: number, nowMs: number): void {
    this.#phase = Phase.None;
    this.#owner.attemptsOver(refusal, nowMs);
  }

  /** In all books. `result` below zero: nothing was tried. */
  end(outcome: number, failureBits: number, result: number, nowMs: number): void {
    this.#shadow.attemptEnded(this.books, outcome, failureBits, nowMs);
    this.books.end(this.#policy, this.#options.context, outcome, failureBits, result, nowMs);
  }

  /** Whatever it holds or waits for is given back, and nobody is to blame. `counted`: the attempt in progress, where there is one, was one. */
  abandon(counted: boolean, nowMs: number): void {
    this.leg?.destroy();
    this.leg = null;
    this.#wait(Phase.None, Number.POSITIVE_INFINITY);
    if (this.bulkheadQueued) this.#policy.bulkhead?.cancel(this);
    this.end(Outcome.Ignored, 0, counted && this.books.endpoint ? AttemptResult.cancelled : -1, nowMs);
  }

  /** What was dialled ahead is told to the shadows now that it is known to be opaque. */
  tellShadow(nowMs: number): void {
    const { endpoint, startMs, responseMs } = this.books;
    if (endpoint === null) return;
    this.#shadow.attempt(endpoint, startMs, nowMs);
    if (this.connected) this.#shadow.connected(startMs + responseMs);
  }
}
