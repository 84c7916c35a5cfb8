// The conductor of an opaque connection: one connection of the application to a declared dependency whose bytes cannot be read as requests,
// from its accept to the end of both directions. What exchange.ts is for a request, with the layers that a connection has:
//
//   layer          where                     why here
//   shadow         connection-shadow.ts      told of what the others do, and seen by none of them
//   observe        #count                    every connection is counted once, whatever became of it
//   breaker look   #startAttempt             refuse early, before a place in the queue is taken
//   bulkhead       #startAttempt, granted    one place for each connection, held until both directions have ended
//   breaker admit  #admitted                 it may have opened while the connection waited
//   pick           #admitted                 an endpoint, another one than those that failed, where there is one
//   connect        #dial, opaque-leg.ts      within the connect timeout; elsewhere where that fails (connection-retry.ts), as nothing was sent
//   judgement      opaque-flow.ts            what the connection says of the dependency; the end of the breaker's interest
//   idle           pipe.ts                   from here on only silence ends it
//
// All of it is decided before the first byte passes: nothing is asked again while bytes flow. A refusal can be nothing but a reset.
//
// Until it is connected, what the application sends is read and kept, up to a bound, so that an application that goes away is seen and gives
// everything back.
import { AttemptResult, Suppression } from '../../metrics/route-metrics.ts';
import { type TcpMetrics, TcpResult } from '../../metrics/tcp-metrics.ts';
import { Admission, type BulkheadWaiter } from '../../policies/bulkhead.ts';
import { Outcome } from '../../policies/circuit-breaker.ts';
import { ConnectionResult } from '../../policies/connection-result.ts';
import { ConnectionAttempts } from '../../policies/connection-retry.ts';
import { FailureBit } from '../../policies/failures.ts';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { RoutePolicy } from '../dependency/route-policies.ts';
import { AttemptBooks } from '../exchange/attempt-books.ts';
import type { ConnectFailure, UpstreamEndpoint } from '../exchange/upstream.ts';
import type { Ahead } from '../intake/ahead.ts';
import { EarlyBytes, type EarlyBytesOwner } from '../intake/early-bytes.ts';
import { Pipe } from '../intake/pipe.ts';
import type { ByteStream } from '../sockets/byte-stream.ts';
import { ConnectionShadow } from './connection-shadow.ts';
import { OpaqueFlow, type OpaqueFlowOwner, settleConnection } from './opaque-flow.ts';
import { OpaqueLeg, type OpaqueLegOwner } from './opaque-leg.ts';
import { OpaqueRoute, type OpaqueRouteOptions } from './opaque-route.ts';

/** While nobody knows whether it is HTTP, which would get an answer, a refusal waits so long for its first bytes. */
const REFUSED_SILENCE_MS = 1_000;

/** Connected: no byte has passed in either direction. */
const Phase = {
  Idle: 0,
  Queued: 1,
  Backoff: 2,
  Resolving: 3,
  Connecting: 4,
  Connected: 5,
  Flowing: 6,
  Refused: 7,
  Closed: 8,
} as const;

export interface OpaqueConnectionOptions extends OpaqueRouteOptions {
  client: ByteStream;
  onClosed(connection: OpaqueConnection): void;
}

export class OpaqueConnection
  implements Ahead, BulkheadWaiter, EarlyBytesOwner, OpaqueFlowOwner, OpaqueLegOwner, TimerNode
{
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;

  readonly #options: OpaqueConnectionOptions;
  readonly #context: ProxyContext;
  readonly #client: ByteStream;
  readonly #dependency: DependencyRuntime;
  /** As it was at the beginning; what is shared of it takes new numbers by itself. */
  readonly #policy: RoutePolicy;
  readonly #metrics: TcpMetrics;
  readonly #books = new AttemptBooks();
  readonly #attempts: ConnectionAttempts;
  readonly #shadow: ConnectionShadow;
  readonly #route: OpaqueRoute;
  #early: EarlyBytes | null = null;
  #result = new ConnectionResult();
  #phase: number = Phase.Idle;
  #leg: OpaqueLeg | null = null;
  #flow: OpaqueFlow | null = null;
  #pipe: Pipe | null = null;
  /** It is known to be opaque, and `#early` reads the application. */
  #decided = false;
  #onSpoke: () => void = () => {};
  #started = false;
  #refusal: number = TcpResult.abandoned;

  constructor(options: OpaqueConnectionOptions) {
    const { client, context, dependency } = options;
    this.#options = options;
    this.#context = context;
    this.#client = client;
    this.#dependency = dependency;
    this.#policy = dependency.connectionPolicy;
    this.#metrics = context.metrics.tcp(dependency.label);
    const { budget, connectionShadow, metrics, retries } = this.#policy;
    const counts = { retries: metrics.retries, suppressed: metrics.suppressed, slots: Suppression };
    this.#attempts = new ConnectionAttempts(retries, budget, context.random, counts);
    this.#route = new OpaqueRoute(options, this.#policy.choice);
    this.#shadow = new ConnectionShadow(connectionShadow, context.ticker);
  }

  get closed(): boolean {
    return this.#phase === Phase.Closed;
  }

  /** It is opaque for certain. `first`: what was read of it. */
  proceed(first: Buffer | null): void {
    if (this.closed) return;
    const nowMs = this.#context.ticker.nowMs();
    this.#decided = true;
    this.#context.metrics.countTunnel('opaque');
    this.#policy.budget?.recordRequest(nowMs);
    this.#shadow.begin(nowMs);
    if (this.#phase === Phase.Refused) {
      this.#reset();
      return;
    }
    this.#tellShadow(nowMs);
    this.#early = new EarlyBytes(this.#client, first, this);
    if (!this.#started) this.#start(nowMs);
    else if (this.#phase === Phase.Connected) this.#silent(nowMs);
  }

  /** What was dialled ahead is told now that it is known to be opaque. */
  #tellShadow(nowMs: number): void {
    const { endpoint, startMs, responseMs } = this.#books;
    if (endpoint === null) return;
    this.#shadow.attempt(endpoint, startMs, nowMs);
    if (this.#phase === Phase.Connected) this.#shadow.connected(startMs + responseMs);
  }

  begin(onSpoke: () => void): boolean {
    this.#onSpoke = onSpoke;
    this.#start(this.#context.ticker.nowMs());
    return true;
  }

  drop(): void {
    if (this.closed) return;
    this.#giveUp();
    this.#close();
  }

  /** The sidecar ends. */
  destroy(): void {
    if (this.closed) return;
    if (this.#pipe) {
      this.#pipe.destroy();
      return;
    }
    this.#leave(TcpResult.shutdown);
  }

  /** Of EarlyBytes: there are some, or the application ended its side. */
  earlyArrived(): void {
    if (this.#phase === Phase.Connected) this.#beginFlow();
  }

  /** Of EarlyBytes: the application is gone. */
  earlyGone(): void {
    if (!this.closed) this.#leave(TcpResult.abandoned);
  }

  #start(nowMs: number): void {
    this.#started = true;
    this.#context.tunnels++;
    this.#startAttempt(nowMs);
  }

  #startAttempt(nowMs: number): void {
    this.#phase = Phase.Idle;
    const { breaker, bulkhead, plan } = this.#policy;
    if (breaker && !breaker.look(nowMs)) {
      this.#refuse(TcpResult.circuitOpen, nowMs);
      return;
    }
    if (bulkhead) {
      const admission = bulkhead.acquire(this);
      if (admission === Admission.Full) {
        this.#refuse(TcpResult.bulkheadFull, nowMs);
        return;
      }
      if (admission === Admission.Queued) {
        this.#wait(Phase.Queued, nowMs + (plan.bulkhead?.queueTimeoutMs ?? 0));
        return;
      }
      this.#books.takePlace(bulkhead);
    }
    this.#admitted(nowMs);
  }

  /** The bulkhead gave a place to this connection, which waited for it. */
  granted(): void {
    this.#books.takePlace(this.#policy.bulkhead);
    if (this.#phase === Phase.Queued) {
      this.#context.ticker.disarm(this);
      this.#admitted(this.#context.ticker.nowMs());
    } else {
      this.#books.givePlace(this.#context);
    }
  }

  #admitted(nowMs: number): void {
    if (!this.#books.admit(this.#policy, nowMs)) {
      this.#books.givePlace(this.#context);
      this.#refuse(TcpResult.circuitOpen, nowMs);
      return;
    }
    const found = this.#route.find(nowMs);
    if (found instanceof Promise) {
      this.#phase = Phase.Resolving;
      // The application may be gone meanwhile.
      void found.then((endpoint) => {
        if (this.#phase === Phase.Resolving) this.#go(endpoint, this.#context.ticker.nowMs());
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
    this.#endAttempt(Outcome.Ignored, -1, 0, nowMs);
    this.#refuse(TcpResult.noEndpoints, nowMs);
  }

  #dial(endpoint: UpstreamEndpoint, nowMs: number): void {
    const { connectMs } = this.#policy.plan.timeouts;
    this.#attempts.started();
    this.#shadow.attempt(endpoint, nowMs, nowMs);
    this.#books.begin(endpoint, this.#policy, nowMs);
    this.#result = new ConnectionResult();
    const connectEndMs = connectMs > 0 ? nowMs + connectMs : Number.POSITIVE_INFINITY;
    this.#wait(Phase.Connecting, Math.min(connectEndMs, this.#books.probeEndMs(this.#policy)));
    this.#leg = new OpaqueLeg(this.#context.network, endpoint.address, endpoint.port, this);
  }

  legConnected(): void {
    const nowMs = this.#context.ticker.nowMs();
    this.#context.metrics.countConnect(this.#dependency.label, 'success');
    this.#shadow.connected(nowMs);
    // What balancing and slowCalls go by: nothing else of the time is the dependency's for certain.
    this.#books.noteResponse(nowMs);
    this.#silent(nowMs);
  }

  /** Connected, and no byte has passed: who speaks first ends it, or the time that silence may last. */
  #silent(nowMs: number): void {
    if (this.#early && (this.#leg?.moved || this.#early.hasArrived)) {
      this.#beginFlow();
      return;
    }
    const { opaqueIdleMs } = this.#policy.plan.timeouts;
    const idleAtMs = opaqueIdleMs > 0 ? nowMs + opaqueIdleMs : Number.POSITIVE_INFINITY;
    this.#wait(Phase.Connected, Math.min(idleAtMs, this.#books.probeEndMs(this.#policy)));
  }

  legMoved(): void {
    if (this.#decided) this.#beginFlow();
    else this.#onSpoke();
  }

  legFailed(failure: ConnectFailure): void {
    const nowMs = this.#context.ticker.nowMs();
    const { endpoint } = this.#books;
    const { endpoints, label } = this.#dependency;
    this.#context.metrics.countConnect(label, failure);
    this.#books.noteResponse(nowMs);
    const rerouted =
      endpoint !== null && endpoints.reroutes(endpoint, this.#route.failed, this.#context.endpointsStale());
    const { connectFailure } = AttemptResult;
    this.#failedUnsent(FailureBit.ConnectFailure, connectFailure, TcpResult.connectFailed, rerouted, nowMs);
  }

  /** As far as the application goes, it was never connected; but where it stood for long, it is told of the end. */
  legLost(): void {
    const nowMs = this.#context.ticker.nowMs();
    if (!this.#result.judged) {
      this.#failedUnsent(FailureBit.Reset, AttemptResult.reset, TcpResult.reset, false, nowMs);
      return;
    }
    this.#leg = null;
    this.#endAttempt(Outcome.Ignored, AttemptResult.success, 0, nowMs);
    this.#refuse(TcpResult.reset, nowMs);
  }

  /** Nothing was sent, so that anywhere else is as good. `rerouted`: we did not know better, and the dependency is not to blame. */
  #failedUnsent(failureBits: number, result: number, refusal: number, rerouted: boolean, nowMs: number): void {
    const { endpoint } = this.#books;
    this.#leg = null;
    this.#context.ticker.disarm(this);
    this.#endAttempt(rerouted ? Outcome.Ignored : Outcome.Failure, result, failureBits, nowMs);
    if (endpoint) this.#route.failed.push(endpoint);
    if (rerouted) {
      this.#attempts.takeBack();
      this.#startAttempt(nowMs);
      return;
    }
    const delayMs = this.#attempts.next(failureBits, result, nowMs);
    if (delayMs > 0) {
      this.#wait(Phase.Backoff, nowMs + delayMs);
    } else if (delayMs === 0) {
      this.#startAttempt(nowMs);
    } else {
      this.#refuse(refusal, nowMs);
    }
  }

  #beginFlow(): void {
    const leg = this.#leg;
    const early = this.#early;
    if (!leg || !early) return;
    if (early.first || leg.moved) this.#dependency.spoken.noteOpaque(early.first);
    this.#wait(Phase.Flowing, this.#books.probeEndMs(this.#policy));
    const { opaqueIdleMs } = this.#policy.plan.timeouts;
    this.#flow = new OpaqueFlow({
      ticker: this.#context.ticker,
      metrics: this.#metrics,
      shadow: this.#shadow,
      policy: this.#policy,
      books: this.#books,
      result: this.#result,
      owner: this,
    });
    const { ticker } = this.#context;
    this.#pipe = new Pipe(this.#client, leg.stream, early.take(), leg.take(), opaqueIdleMs, ticker, this.#flow);
  }

  flowJudged(): void {
    this.#context.ticker.disarm(this);
  }

  flowOver(attemptResult: number): void {
    this.#endAttempt(Outcome.Ignored, attemptResult, 0, this.#context.ticker.nowMs());
    this.#close();
  }

  #wait(phase: number, untilMs: number): void {
    this.#phase = phase;
    if (untilMs === Number.POSITIVE_INFINITY) this.#context.ticker.disarm(this);
    else this.#context.ticker.arm(this, untilMs);
  }

  expire(nowMs: number): void {
    switch (this.#phase) {
      case Phase.Queued:
        this.#policy.bulkhead?.cancel(this);
        this.#refuse(TcpResult.queueTimeout, nowMs);
        break;
      case Phase.Backoff:
        this.#startAttempt(nowMs);
        break;
      case Phase.Connecting:
        this.#leg?.giveUp();
        break;
      case Phase.Connected:
        this.#silenceIsOver(nowMs);
        break;
      case Phase.Flowing:
        this.#flow?.stood();
        break;
      case Phase.Refused:
        this.#onSpoke();
        break;
    }
  }

  #silenceIsOver(nowMs: number): void {
    if (nowMs >= this.#books.probeEndMs(this.#policy)) {
      settleConnection(this.#result.stood(), this.#books, this.#policy, this.#shadow, nowMs);
      this.#silent(nowMs);
      return;
    }
    this.#leave(TcpResult.idleTimeout);
  }

  #endAttempt(outcome: number, result: number, failureBits: number, nowMs: number): void {
    this.#shadow.attemptEnded(this.#books, outcome, failureBits, nowMs);
    this.#books.end(this.#policy, this.#context, outcome, result, failureBits, nowMs);
  }

  /** Before any byte passed. */
  #leave(result: number): void {
    this.#giveUp();
    this.#client.destroy();
    if (this.#decided) this.#metrics.count(result);
    this.#close();
  }

  /** Whatever it holds or waits for is given back, and nobody is to blame. */
  #giveUp(): void {
    this.#leg?.destroy();
    this.#leg = null;
    this.#context.ticker.disarm(this);
    if (this.bulkheadQueued) this.#policy.bulkhead?.cancel(this);
    const counted = this.#decided && this.#books.endpoint ? AttemptResult.cancelled : -1;
    this.#endAttempt(Outcome.Ignored, counted, 0, this.#context.ticker.nowMs());
  }

  #refuse(result: number, nowMs: number): void {
    this.#refusal = result;
    if (this.#decided) this.#reset();
    else this.#wait(Phase.Refused, nowMs + REFUSED_SILENCE_MS);
  }

  /** The application was accepted by the kernel before anybody was asked; the nearest to a refusal that is left is a reset. */
  #reset(): void {
    this.#metrics.count(this.#refusal);
    if (this.#refusal === TcpResult.connectFailed) this.#context.metrics.countTunnelDialFailure();
    this.#client.reset();
    this.#close();
  }

  #close(): void {
    if (this.closed) return;
    this.#context.ticker.disarm(this);
    this.#phase = Phase.Closed;
    if (this.#started) this.#context.tunnels--;
    this.#shadow.end(this.#context.ticker.nowMs());
    this.#options.onClosed(this);
  }
}
