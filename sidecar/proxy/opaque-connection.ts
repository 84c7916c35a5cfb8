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
//   connect        #dial                     within the connect timeout; elsewhere where that fails (connection-retry.ts), as nothing was sent
//   judgement      connection-result.ts      what the connection says of the dependency; the end of the breaker's interest
//   idle           pipe.ts                   from here on only silence ends it
//
// All of it is decided before the first byte passes: nothing is asked again while bytes flow. A refusal can be nothing but a reset.
//
// Until it is connected, what the application sends is read and kept, up to a bound, so that an application that goes away is seen and gives
// everything back.
import type { Socket } from 'node:net';
import { AttemptResult, Suppression } from '../metrics/route-metrics.ts';
import { type TcpMetrics, TcpResult } from '../metrics/tcp-metrics.ts';
import { Admission, type BulkheadWaiter } from '../policies/bulkhead.ts';
import { Outcome } from '../policies/circuit-breaker.ts';
import { ConnectionResult, Verdict } from '../policies/connection-result.ts';
import { ConnectionAttempts, ConnectionRetry } from '../policies/connection-retry.ts';
import { FailureBit } from '../policies/failures.ts';
import type { TimerNode } from '../policies/timer-wheel.ts';
import type { Ahead } from './ahead.ts';
import { AttemptBooks } from './attempt-books.ts';
import { ConnectionShadow } from './connection-shadow.ts';
import type { ProxyContext } from './context.ts';
import type { DependencyRuntime } from './dependency.ts';
import { EarlyBytes } from './early-bytes.ts';
import { connectFailureOf } from './http1-connection.ts';
import { Pipe, PipeEnd, type PipeOwner } from './pipe.ts';
import type { RoutePolicy } from './route-policies.ts';
import type { TunnelTarget, TunnelTargets } from './tunnel.ts';
import type { ConnectFailure, UpstreamEndpoint } from './upstream.ts';

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

/** How a pipe ended, as the metrics say it. */
const RESULT_OF_END: Readonly<Record<number, number>> = {
  [PipeEnd.Ended]: TcpResult.ended,
  [PipeEnd.ClientReset]: TcpResult.resetByApplication,
  [PipeEnd.UpstreamReset]: TcpResult.resetByDependency,
  [PipeEnd.Idle]: TcpResult.idleTimeout,
  [PipeEnd.Destroyed]: TcpResult.shutdown,
};

export interface OpaqueConnectionOptions {
  client: Socket;
  context: ProxyContext;
  dependency: DependencyRuntime;
  /** Where it goes while the endpoints are not known. */
  targets: TunnelTargets;
  /** Where a captured connection was made to; null where a listener decides. */
  original: TunnelTarget | null;
  onClosed(connection: OpaqueConnection): void;
}

export class OpaqueConnection implements Ahead, BulkheadWaiter, PipeOwner, TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;

  readonly #options: OpaqueConnectionOptions;
  readonly #context: ProxyContext;
  readonly #client: Socket;
  readonly #dependency: DependencyRuntime;
  /** As it was at the beginning; what is shared of it takes new numbers by itself. */
  readonly #policy: RoutePolicy;
  readonly #metrics: TcpMetrics;
  readonly #books = new AttemptBooks();
  readonly #attempts: ConnectionAttempts;
  readonly #shadow: ConnectionShadow;
  readonly #failed: UpstreamEndpoint[] = [];
  #early: EarlyBytes | null = null;
  #result = new ConnectionResult();
  #phase: number = Phase.Idle;
  #upstream: Socket | null = null;
  #pipe: Pipe | null = null;
  /** It is known to be opaque, and `#early` reads the application. */
  #decided = false;
  #onSpoke: () => void = () => {};
  #started = false;
  /** The dependency has sent something, or ended its side, and nothing of it was read. */
  #upstreamMoved = false;
  #answered = false;
  #attemptResult: number = AttemptResult.success;
  #refusal: number = TcpResult.abandoned;
  #connectFailure: ConnectFailure | null = null;
  #openedMs = 0;

  constructor(options: OpaqueConnectionOptions) {
    const { client, context, dependency } = options;
    this.#options = options;
    this.#context = context;
    this.#client = client;
    this.#dependency = dependency;
    this.#policy = dependency.connectionPolicy;
    this.#metrics = context.metrics.tcp(dependency.label);
    const { budget, connectionShadow, retries } = this.#policy;
    this.#attempts = new ConnectionAttempts(retries, budget, context.random);
    this.#shadow = new ConnectionShadow(connectionShadow, context.ticker);
  }

  get closed(): boolean {
    return this.#phase === Phase.Closed;
  }

  // ---- what the application does ----------------------------------------------------------------------------------------------------

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
    if (this.#books.endpoint) this.#shadow.attempt(this.#books.endpoint, nowMs);
    this.#early = new EarlyBytes(this.#client, first, this);
    if (!this.#started) this.#start(nowMs);
    else if (this.#phase === Phase.Connected) this.#silent(nowMs);
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
    this.#giveUp();
    this.#client.destroy();
    if (this.#decided) this.#metrics.count(TcpResult.shutdown);
    this.#close();
  }

  /** Of EarlyBytes: there are some, or the application ended its side. */
  earlyArrived(): void {
    if (this.#phase === Phase.Connected) this.#flow();
  }

  /** Of EarlyBytes: the application is gone. */
  earlyGone(): void {
    if (this.closed) return;
    this.#giveUp();
    this.#metrics.count(TcpResult.abandoned);
    this.#client.destroy();
    this.#close();
  }

  // ---- layers -----------------------------------------------------------------------------------------------------------------------

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
    const { endpoints } = this.#dependency;
    const { balancer } = this.#policy.choice;
    const key = balancer.keyOfConnection(this.#context.ownKey);
    const endpoint = endpoints.pick(balancer, this.#failed, key, this.#options.original, nowMs);
    if (endpoint) this.#dial(endpoint, nowMs);
    else if (endpoints.count < 0) this.#dialUnknown(nowMs);
    else this.#nobodyThere(nowMs);
  }

  #nobodyThere(nowMs: number): void {
    this.#endAttempt(Outcome.Ignored, -1, 0, nowMs);
    this.#refuse(TcpResult.noEndpoints, nowMs);
  }

  /** Unknown is not empty: it goes where the application would have gone without a sidecar. */
  #dialUnknown(nowMs: number): void {
    const { first, others } = this.#options.targets;
    if (first && !this.#hasFailed(first)) {
      this.#dial(this.#dependency.endpoints.at(first), nowMs);
    } else if (others) {
      this.#phase = Phase.Resolving;
      void this.#askOthers(others);
    } else {
      this.#nobodyThere(nowMs);
    }
  }

  async #askOthers(others: () => Promise<readonly TunnelTarget[]>): Promise<void> {
    const targets = await others().catch(() => []);
    if (this.#phase !== Phase.Resolving) return;
    const nowMs = this.#context.ticker.nowMs();
    const target = targets.find((each) => !this.#hasFailed(each));
    if (target) this.#dial(this.#dependency.endpoints.at(target), nowMs);
    else this.#nobodyThere(nowMs);
  }

  #hasFailed({ address, port }: TunnelTarget): boolean {
    return this.#failed.some((endpoint) => endpoint.address === address && endpoint.port === port);
  }

  // ---- the connection to the dependency ---------------------------------------------------------------------------------------------

  #dial(endpoint: UpstreamEndpoint, nowMs: number): void {
    const { plan } = this.#policy;
    const cause = this.#attempts.started();
    const { retries } = this.#policy.metrics;
    if (cause >= 0) retries[cause] = (retries[cause] ?? 0) + 1;
    this.#shadow.attempt(endpoint, nowMs);
    this.#books.begin(endpoint, this.#policy, nowMs);
    this.#result = new ConnectionResult();
    this.#connectFailure = null;
    this.#upstreamMoved = false;
    const { connectMs } = plan.timeouts;
    const connectEndMs = connectMs > 0 ? nowMs + connectMs : Number.POSITIVE_INFINITY;
    this.#wait(Phase.Connecting, Math.min(connectEndMs, this.#probeEndMs));
    const upstream = this.#context.network.dial(endpoint.address, endpoint.port);
    this.#upstream = upstream;
    upstream.on('connect', () => this.#connected(upstream));
    upstream.on('error', (error: NodeJS.ErrnoException) => this.#upstreamLost(upstream, error.code));
    upstream.on('close', () => this.#upstreamLost(upstream, undefined));
  }

  /** When a probe has to have shown something; infinity: it is none, or has. */
  get #probeEndMs(): number {
    const { circuitBreaker } = this.#policy.plan;
    if (circuitBreaker === null || !this.#books.probing) return Number.POSITIVE_INFINITY;
    return this.#books.startMs + circuitBreaker.halfOpenProbeTimeoutMs;
  }

  #connected(upstream: Socket): void {
    if (upstream !== this.#upstream || this.#phase !== Phase.Connecting) return;
    const nowMs = this.#context.ticker.nowMs();
    this.#context.metrics.countConnect(this.#dependency.label, 'success');
    this.#shadow.connected(nowMs);
    // What balancing and slowCalls go by: nothing else of the time is the dependency's for certain.
    this.#books.noteResponse(nowMs);
    this.#phase = Phase.Connected;
    upstream.on('data', this.#onUpstreamSpoke);
    upstream.on('end', this.#onUpstreamEnded);
    this.#silent(nowMs);
  }

  /** Connected, and no byte has passed: who speaks first ends it, or the time that silence may last. */
  #silent(nowMs: number): void {
    if (this.#upstreamMoved || this.#early?.hasArrived) {
      this.#flow();
      return;
    }
    const { opaqueIdleMs } = this.#policy.plan.timeouts;
    const idleAtMs = opaqueIdleMs > 0 ? nowMs + opaqueIdleMs : Number.POSITIVE_INFINITY;
    this.#wait(Phase.Connected, Math.min(idleAtMs, this.#probeEndMs));
  }

  readonly #onUpstreamSpoke = (chunk: Buffer): void => {
    this.#upstream?.pause();
    this.#upstream?.unshift(chunk);
    this.#moved();
  };
  readonly #onUpstreamEnded = (): void => this.#moved();

  #moved(): void {
    const upstream = this.#upstream;
    this.#upstreamMoved = true;
    upstream?.off('data', this.#onUpstreamSpoke);
    upstream?.off('end', this.#onUpstreamEnded);
    if (this.#decided) this.#flow();
    else this.#onSpoke();
  }

  #upstreamLost(upstream: Socket, code: string | undefined): void {
    if (upstream !== this.#upstream || this.#pipe) return;
    const nowMs = this.#context.ticker.nowMs();
    this.#upstream = null;
    upstream.destroy();
    if (this.#phase === Phase.Connecting) {
      this.#connectFailed(this.#connectFailure ?? connectFailureOf(code), nowMs);
    } else if (this.#phase === Phase.Connected && this.#result.judged) {
      // It stood for so long that the application is told of the end that it came to.
      this.#endAttempt(Outcome.Ignored, AttemptResult.success, 0, nowMs);
      this.#refuse(TcpResult.reset, nowMs);
    } else if (this.#phase === Phase.Connected) {
      // Accepted and cut before a byte passed: as far as the application goes, it was never connected.
      this.#failedUnsent(FailureBit.Reset, AttemptResult.reset, TcpResult.reset, false, nowMs);
    }
  }

  #connectFailed(failure: ConnectFailure, nowMs: number): void {
    const { endpoint } = this.#books;
    this.#context.metrics.countConnect(this.#dependency.label, failure);
    this.#books.noteResponse(nowMs);
    const rerouted = endpoint !== null && this.#dependency.endpoints.reroutes(endpoint, this.#failed, this.#isStale);
    const { connectFailure } = AttemptResult;
    this.#failedUnsent(FailureBit.ConnectFailure, connectFailure, TcpResult.connectFailed, rerouted, nowMs);
  }

  get #isStale(): boolean {
    return this.#context.endpointsStale();
  }

  /** Nothing was sent, so that anywhere else is as good. `rerouted`: we did not know better, and the dependency is not to blame. */
  #failedUnsent(failureBits: number, result: number, refusal: number, rerouted: boolean, nowMs: number): void {
    const { endpoint } = this.#books;
    this.#context.ticker.disarm(this);
    this.#endAttempt(rerouted ? Outcome.Ignored : Outcome.Failure, result, failureBits, nowMs);
    if (endpoint) this.#failed.push(endpoint);
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
      this.#countSuppressed(delayMs);
      this.#refuse(refusal, nowMs);
    }
  }

  #countSuppressed(why: number): void {
    if (why === ConnectionRetry.NotWanted) return;
    const slot = why === ConnectionRetry.Budget ? Suppression.budget : Suppression.attempts;
    const { suppressed } = this.#policy.metrics;
    suppressed[slot] = (suppressed[slot] ?? 0) + 1;
  }

  // ---- bytes ------------------------------------------------------------------------------------------------------------------------

  #flow(): void {
    const upstream = this.#upstream;
    const early = this.#early;
    if (!upstream || !early) return;
    const nowMs = this.#context.ticker.nowMs();
    upstream.off('data', this.#onUpstreamSpoke);
    upstream.off('end', this.#onUpstreamEnded);
    this.#wait(Phase.Flowing, this.#probeEndMs);
    this.#openedMs = nowMs;
    this.#metrics.open();
    const { opaqueIdleMs } = this.#policy.plan.timeouts;
    this.#pipe = new Pipe(this.#client, upstream, early.take(), opaqueIdleMs, this.#context.ticker, this);
  }

  onBytes(fromClient: boolean, bytes: number): void {
    this.#shadow.active();
    if (fromClient) {
      this.#metrics.sentBytes += bytes;
      return;
    }
    this.#metrics.receivedBytes += bytes;
    if (this.#answered) return;
    this.#answered = true;
    this.#judge(this.#result.answered());
  }

  onEnd(fromClient: boolean): void {
    if (fromClient) this.#result.applicationEnded();
    else this.#judge(this.#result.dependencyEnded(true));
  }

  onClosed(end: number): void {
    this.#judge(end === PipeEnd.UpstreamReset ? this.#result.dependencyEnded(false) : this.#result.dropped());
    const nowMs = this.#context.ticker.nowMs();
    this.#context.ticker.disarm(this);
    this.#metrics.close(RESULT_OF_END[end] ?? TcpResult.ended, nowMs - this.#openedMs);
    this.#endAttempt(Outcome.Ignored, this.#attemptResult, 0, nowMs);
    this.#close();
  }

  /** What the connection has shown; its place stays taken. */
  #judge(verdict: number): void {
    if (verdict === Verdict.Nothing || verdict === Verdict.Unknown) return;
    const nowMs = this.#context.ticker.nowMs();
    if (verdict === Verdict.Reset) this.#attemptResult = AttemptResult.reset;
    this.#books.failureBits = verdict === Verdict.Reset ? FailureBit.Reset : 0;
    this.#shadow.judged(this.#books, nowMs);
    this.#books.settleEarly(this.#policy, nowMs);
    if (this.#phase === Phase.Flowing) this.#context.ticker.disarm(this);
  }

  // ---- time -------------------------------------------------------------------------------------------------------------------------

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
        this.#connectFailure = 'timeout';
        if (this.#upstream) this.#upstreamLost(this.#upstream, undefined);
        break;
      case Phase.Connected:
        this.#silenceIsOver(nowMs);
        break;
      case Phase.Flowing:
        this.#judge(this.#result.stood());
        break;
      case Phase.Refused:
        this.#onSpoke();
        break;
    }
  }

  #silenceIsOver(nowMs: number): void {
    if (nowMs >= this.#probeEndMs) {
      this.#judge(this.#result.stood());
      this.#silent(nowMs);
      return;
    }
    this.#giveUp();
    this.#client.destroy();
    if (this.#decided) this.#metrics.count(TcpResult.idleTimeout);
    this.#close();
  }

  // ---- ends -------------------------------------------------------------------------------------------------------------------------

  #endAttempt(outcome: number, result: number, failureBits: number, nowMs: number): void {
    this.#shadow.attemptEnded(this.#books, outcome, failureBits, nowMs);
    this.#books.end(this.#policy, this.#context, outcome, result, failureBits, nowMs);
  }

  /** Whatever it holds or waits for is given back, and nobody is to blame. */
  #giveUp(): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    upstream?.destroy();
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
    this.#early?.stop();
    this.#client.resetAndDestroy();
    this.#close();
  }

  #close(): void {
    if (this.closed) return;
    this.#context.ticker.disarm(this);
    this.#phase = Phase.Closed;
    if (this.#started) this.#context.tunnels--;
    this.#early?.stop();
    this.#shadow.end(this.#context.ticker.nowMs());
    this.#options.onClosed(this);
  }
}
