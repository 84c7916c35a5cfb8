// The conductor of an opaque connection: one connection of the application to a declared dependency whose bytes cannot be read as requests,
// from its accept to the end of both directions. What exchange.ts is for a request, with the layers that a connection has:
//
//   layer          where                     why here
//   shadow         connection-shadow.ts      told of what the others do, and seen by none of them
//   observe        #leave, #reset, flow      every connection is counted once, whatever became of it
//   then, for each attempt to connect (opaque-attempts.ts):
//   breaker look   start                     refuse early, before a place in the queue is taken
//   bulkhead       start, granted            one place for each connection, held until both directions have ended
//   breaker admit  #admitted                 it may have opened while the connection waited
//   pick           #admitted                 an endpoint, another one than those that failed, where there is one
//   connect        #dial, opaque-leg.ts      within the connect timeout; elsewhere where that fails (connection-retry.ts), as nothing was sent
//   and of the connection that stands:
//   judgement      opaque-flow.ts            what the connection says of the dependency; the end of the breaker's interest
//   idle           pipe.ts                   from here on only silence ends it
//
// All of it is decided before the first byte passes: nothing is asked again while bytes flow. A refusal can be nothing but a reset.
//
// Until it is connected, what the application sends is read and kept, up to a bound, so that an application that goes away is seen and gives
// everything back.
import { type TcpMetrics, TcpResult } from '../../metrics/tcp-metrics.ts';
import { Outcome } from '../../policies/circuit-breaker.ts';
import type { TimerNode } from '../../policies/timer-wheel.ts';
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { RoutePolicy } from '../dependency/route-policies.ts';
import type { Ahead } from '../intake/ahead.ts';
import { EarlyBytes, type EarlyBytesOwner } from '../intake/early-bytes.ts';
import { Pipe } from '../intake/pipe.ts';
import type { ByteStream } from '../sockets/byte-stream.ts';
import { ConnectionShadow } from './connection-shadow.ts';
import { OpaqueAttempts, type OpaqueAttemptsOwner } from './opaque-attempts.ts';
import { OpaqueFlow, type OpaqueFlowOwner, settleConnection } from './opaque-flow.ts';
import type { OpaqueRouteOptions } from './opaque-route.ts';

/** While nobody knows whether it is HTTP, which would get an answer, a refusal waits so long for its first bytes. */
const REFUSED_SILENCE_MS = 1_000;

const Phase = { Idle: 0, Attempting: 1, Flowing: 2, Refused: 3, Closed: 4 } as const;

export interface OpaqueConnectionOptions extends OpaqueRouteOptions {
  client: ByteStream;
  onClosed(connection: OpaqueConnection): void;
}

export class OpaqueConnection implements Ahead, EarlyBytesOwner, OpaqueAttemptsOwner, OpaqueFlowOwner, TimerNode {
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;
  readonly #options: OpaqueConnectionOptions;
  readonly #context: ProxyContext;
  readonly #client: ByteStream;
  readonly #dependency: DependencyRuntime;
  /** As it was at the beginning; what is shared of it takes new numbers by itself. */
  readonly #policy: RoutePolicy;
  readonly #metrics: TcpMetrics;
  readonly #shadow: ConnectionShadow;
  readonly #attempts: OpaqueAttempts;
  #early: EarlyBytes | null = null;
  #phase: number = Phase.Idle;
  #flow: OpaqueFlow | null = null;
  #pipe: Pipe | null = null;
  /** It is known to be opaque, and `#early` reads the application. */
  #decided = false;
  #onSpoke: () => void = () => {};
  #refusal: number = TcpResult.abandoned;

  constructor(options: OpaqueConnectionOptions) {
    const { client, context, dependency } = options;
    this.#options = options;
    this.#context = context;
    this.#client = client;
    this.#dependency = dependency;
    this.#policy = dependency.connectionPolicy;
    this.#metrics = context.metrics.tcp(dependency.label);
    this.#shadow = new ConnectionShadow(this.#policy.connectionShadow, context.ticker);
    this.#attempts = new OpaqueAttempts(options, this.#policy, this.#shadow, this);
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
    this.#attempts.tellShadow(nowMs);
    this.#early = new EarlyBytes(this.#client, first, this);
    if (this.#phase === Phase.Idle) this.#start(nowMs);
    else if (this.#attempts.connected) this.#silent(nowMs);
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
    if (this.#phase === Phase.Attempting && this.#attempts.connected) this.#beginFlow();
  }

  /** Of EarlyBytes: the application is gone. */
  earlyGone(): void {
    if (!this.closed) this.#leave(TcpResult.abandoned);
  }

  #start(nowMs: number): void {
    this.#phase = Phase.Attempting;
    this.#context.tunnels++;
    this.#attempts.start(nowMs);
  }

  waitUntil(untilMs: number): void {
    if (untilMs === Number.POSITIVE_INFINITY) this.#context.ticker.disarm(this);
    else this.#context.ticker.arm(this, untilMs);
  }

  attemptConnected(nowMs: number): void {
    this.#silent(nowMs);
  }

  /** Connected, and no byte has passed: who speaks first ends it, or the time that silence may last. */
  #silent(nowMs: number): void {
    const { books, leg } = this.#attempts;
    if (this.#early && (leg?.moved || this.#early.hasArrived)) {
      this.#beginFlow();
      return;
    }
    const { opaqueIdleMs } = this.#policy.plan.timeouts;
    const idleAtMs = opaqueIdleMs > 0 ? nowMs + opaqueIdleMs : Number.POSITIVE_INFINITY;
    this.waitUntil(Math.min(idleAtMs, books.probeEndMs(this.#policy)));
  }

  attemptMoved(): void {
    if (this.#decided) this.#beginFlow();
    else this.#onSpoke();
  }

  attemptsOver(refusal: number, nowMs: number): void {
    this.#refusal = refusal;
    if (this.#decided) {
      this.#reset();
      return;
    }
    this.#phase = Phase.Refused;
    this.waitUntil(nowMs + REFUSED_SILENCE_MS);
  }

  #beginFlow(): void {
    const { books, leg, result } = this.#attempts;
    const early = this.#early;
    if (!leg || !early) return;
    if (early.first || leg.moved) this.#dependency.spoken.noteOpaque(early.first);
    this.#phase = Phase.Flowing;
    this.waitUntil(books.probeEndMs(this.#policy));
    const { opaqueIdleMs } = this.#policy.plan.timeouts;
    const { ticker } = this.#context;
    this.#flow = new OpaqueFlow({
      ticker,
      metrics: this.#metrics,
      shadow: this.#shadow,
      policy: this.#policy,
      books,
      result,
      owner: this,
    });
    this.#pipe = new Pipe(this.#client, leg.stream, early.take(), leg.take(), opaqueIdleMs, ticker, this.#flow);
  }

  flowJudged(): void {
    this.#context.ticker.disarm(this);
  }

  flowOver(attemptResult: number): void {
    this.#attempts.end(Outcome.Ignored, 0, attemptResult, this.#context.ticker.nowMs());
    this.#close();
  }

  expire(nowMs: number): void {
    switch (this.#phase) {
      case Phase.Attempting:
        if (this.#attempts.connected) this.#silenceIsOver(nowMs);
        else this.#attempts.timeOver(nowMs);
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
    const { books, result } = this.#attempts;
    if (nowMs >= books.probeEndMs(this.#policy)) {
      settleConnection(result.stood(), books, this.#policy, this.#shadow, nowMs);
      this.#silent(nowMs);
      return;
    }
    this.#leave(TcpResult.idleTimeout);
  }

  /** Before any byte passed. */
  #leave(result: number): void {
    this.#giveUp();
    this.#client.destroy();
    if (this.#decided) this.#metrics.count(result);
    this.#close();
  }

  #giveUp(): void {
    this.#attempts.abandon(this.#decided, this.#context.ticker.nowMs());
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
    if (this.#phase !== Phase.Idle) this.#context.tunnels--;
    this.#phase = Phase.Closed;
    this.#shadow.end(this.#context.ticker.nowMs());
    this.#options.onClosed(this);
  }
}
