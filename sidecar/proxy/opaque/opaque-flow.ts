// An opaque connection while its bytes flow: what passes is counted, what it shows of the dependency is judged once, and only silence ends it.
import { AttemptResult } from '../../metrics/route-metrics.ts';
import { type TcpMetrics, TcpResult } from '../../metrics/tcp-metrics.ts';
import { type ConnectionResult, Verdict } from '../../policies/connection-result.ts';
import { FailureBit } from '../../policies/failures.ts';
import type { RoutePolicy } from '../dependency/route-policies.ts';
import type { AttemptBooks } from '../exchange/attempt-books.ts';
import { PipeEnd, type PipeOwner } from '../intake/pipe.ts';
import type { Ticker } from '../ticker.ts';
import type { ConnectionShadow } from './connection-shadow.ts';

/** How a pipe ended, as the metrics say it. */
const RESULT_OF_END: Readonly<Record<number, number>> = {
  [PipeEnd.Ended]: TcpResult.ended,
  [PipeEnd.ClientReset]: TcpResult.resetByApplication,
  [PipeEnd.UpstreamReset]: TcpResult.resetByDependency,
  [PipeEnd.Idle]: TcpResult.idleTimeout,
  [PipeEnd.Destroyed]: TcpResult.shutdown,
};

export interface OpaqueFlowOwner {
  /** Nothing of a probe is waited for any more. */
  flowJudged(): void;
  /** Both directions have ended. `attemptResult`: what the attempt counts as. */
  flowOver(attemptResult: number): void;
}

export interface OpaqueFlowOptions {
  ticker: Ticker;
  metrics: TcpMetrics;
  shadow: ConnectionShadow;
  policy: RoutePolicy;
  books: AttemptBooks;
  result: ConnectionResult;
  owner: OpaqueFlowOwner;
}

export class OpaqueFlow implements PipeOwner {
  readonly #options: OpaqueFlowOptions;
  readonly #openedMs: number;
  #answered = false;
  #attemptResult: number = AttemptResult.success;

  constructor(options: OpaqueFlowOptions) {
    this.#options = options;
    this.#openedMs = options.ticker.nowMs();
    options.metrics.open();
  }

  onBytes(fromClient: boolean, bytes: number): void {
    const { metrics, result, shadow } = this.#options;
    shadow.active();
    if (fromClient) {
      metrics.sentBytes += bytes;
      return;
    }
    metrics.receivedBytes += bytes;
    if (this.#answered) return;
    this.#answered = true;
    this.#judge(result.answered());
  }

  onEnd(fromClient: boolean): void {
    const { result } = this.#options;
    if (fromClient) result.applicationEnded();
    else this.#judge(result.dependencyEnded(true));
  }

  /** The time of a probe is over. */
  stood(): void {
    this.#judge(this.#options.result.stood());
  }

  onClosed(end: number): void {
    const { metrics, owner, result, ticker } = this.#options;
    this.#judge(end === PipeEnd.UpstreamReset ? result.dependencyEnded(false) : result.dropped());
    metrics.close(RESULT_OF_END[end] ?? TcpResult.ended, ticker.nowMs() - this.#openedMs);
    owner.flowOver(this.#attemptResult);
  }

  /** The place in the bulkhead stays taken. */
  #judge(verdict: number): void {
    if (verdict === Verdict.Nothing || verdict === Verdict.Unknown) return;
    const { books, owner, policy, shadow, ticker } = this.#options;
    if (verdict === Verdict.Reset) this.#attemptResult = AttemptResult.reset;
    settleConnection(verdict, books, policy, shadow, ticker.nowMs());
    owner.flowJudged();
  }
}

/** What a connection has shown goes into all books, and it goes on. `verdict`: Success or Reset. */
export function settleConnection(
  verdict: number,
  books: AttemptBooks,
  policy: RoutePolicy,
  shadow: ConnectionShadow,
  nowMs: number,
): void {
  books.failureBits = verdict === Verdict.Reset ? FailureBit.Reset : 0;
  shadow.judged(books, nowMs);
  books.settleEarly(policy, nowMs);
}
