// Tells the shadows of a route what happens to the request in progress. Where nothing is shadowed, each call is one comparison. One object per
// client connection, reused for every request on it.
import type { RequestHead } from '../../http1/request-head.ts';
import type { ResponseHead } from '../../http1/response-head.ts';
import { AttemptResult } from '../../metrics/route-metrics.ts';
import { Outcome } from '../../policies/circuit-breaker.ts';
import { mayBeKept } from '../../policies/keepable.ts';
import { ShadowCall } from '../../policies/shadow/block-shadow.ts';
import { keptBy } from '../../policies/shadow/fallback-shadow.ts';
import { MeasuredAnswer } from '../../policies/shadow/last-good-shadow.ts';
import type { RouteShadow } from '../../policies/shadow/route-shadow.ts';
import type { Ticker } from '../ticker.ts';
import type { AttemptBooks } from './attempt-books.ts';
import { retryAfterMsOf } from './attempts.ts';
import type { ReplayBody } from './replay-body.ts';
import type { UpstreamEndpoint } from './upstream.ts';

export class RequestShadow {
  readonly #ticker: Ticker;
  readonly #replay: ReplayBody;
  /** Of the route of this request; null: nothing is shadowed. */
  #route: RouteShadow | null = null;
  /** Made with the first request that needs it. */
  #call: ShadowCall | null = null;
  #attempting = false;

  constructor(ticker: Ticker, replay: ReplayBody) {
    this.#ticker = ticker;
    this.#replay = replay;
  }

  /** `deadlineMs`: by what is enforced. */
  begin(
    route: RouteShadow | null,
    head: RequestHead,
    host: string,
    sending: boolean,
    deadlineMs: number,
    nowMs: number,
  ): void {
    this.#route = route;
    if (route === null) return;
    this.#call ??= new ShadowCall();
    this.#call.head = head;
    this.#call.host = host;
    this.#call.sending = sending;
    this.#attempting = false;
    route.begin(this.#call, deadlineMs, nowMs);
  }

  /** No fault that is injected ended the request. */
  admit(nowMs: number): void {
    if (this.#route !== null && this.#call !== null) this.#route.admit(this.#call, nowMs);
  }

  /** An attempt has its endpoint, and does not count as load of it yet. */
  attempt(endpoint: UpstreamEndpoint, nowMs: number): void {
    if (this.#route === null || this.#call === null) return;
    this.#attempting = true;
    this.#route.attempt(this.#call, endpoint, nowMs);
  }

  connected(): void {
    if (this.#route !== null && this.#call !== null) this.#call.connectedMs = this.#ticker.nowMs();
  }

  /** The application has sent all of the request. */
  sent(): void {
    if (this.#route === null || this.#call === null) return;
    this.#call.sending = false;
    this.#call.sentMs = this.#ticker.nowMs();
    this.#call.replayable = this.#replay.fits;
  }

  /** The head of the answer came. */
  headCame(head: ResponseHead, failureBits: number, nowMs: number): void {
    if (this.#route === null || this.#call === null) return;
    this.#call.status = head.status;
    this.#call.grpcStatus = head.grpcStatus;
    this.#call.refusesRetry = head.refusesRetry;
    this.#call.retryAfterMs = retryAfterMsOf(head, this.#ticker);
    this.#call.headMs = nowMs;
    this.#call.headFailureBits = failureBits;
  }

  /** The answer is a stream, or the connection a tunnel: its head has shown what there is to know of the dependency. */
  streamBegan(books: AttemptBooks, nowMs: number): void {
    if (this.#route === null || this.#call === null) return;
    const { failureBits, responseMs } = books;
    this.#note(failureBits === 0 ? Outcome.Success : Outcome.Failure, failureBits, true, false, responseMs);
    this.#route.streamBegan(this.#call, nowMs);
  }

  /** Bytes passed on a stream or a tunnel. */
  active(): void {
    if (this.#route !== null && this.#call !== null) this.#route.active(this.#call, this.#ticker.nowMs());
  }

  /** `answering`: an answer had begun. `written`: bytes of the request were handed to a connection. */
  attemptEnded(
    books: AttemptBooks,
    outcome: number,
    failureBits: number,
    result: number,
    answering: boolean,
    written: boolean,
    nowMs: number,
  ): void {
    if (this.#route === null || this.#call === null || !this.#attempting) return;
    this.#attempting = false;
    const answered = result === AttemptResult.success || result === AttemptResult.failureStatus;
    const unsent = result === AttemptResult.connectFailure || !written;
    const responseMs = answering ? books.responseMs : nowMs - books.sentMs;
    this.#note(outcome, failureBits, answered, unsent, responseMs);
    this.#route.attemptEnded(this.#call, nowMs);
  }

  /** The sidecar is about to answer, or to give what takes the place of that, for what `failedBits` (`FallbackBit`s) say. */
  refused(failedBits: number): void {
    if (this.#route !== null && this.#call !== null) this.#call.refuse(failedBits);
  }

  /** The application is gone; whoever was answered already has been. */
  left(): void {
    if (this.#route !== null && this.#call !== null) this.#call.left = !this.#attempting || this.#call.headMs === 0;
  }

  /** An answer that begins to pass by, where a fallback in shadow would keep it; else null. */
  measure(response: ResponseHead, nowMs: number): MeasuredAnswer | null {
    const lastGood = this.#route === null ? null : this.#route.lastGood;
    if (lastGood === null || this.#call === null || this.#call.over) return null;
    const { head } = this.#call;
    if (response.contentLength > lastGood.spec.maxAnswerBytes) return null;
    if (!mayBeKept(head.method, head.fields, response, lastGood.spec)) return null;
    return new MeasuredAnswer(lastGood, keptBy(this.#call), head.fields, response.fields, nowMs);
  }

  end(): void {
    if (this.#route === null || this.#call === null) return;
    this.#call.replayable = this.#replay.fits;
    this.#route.end(this.#call, this.#ticker.nowMs());
    this.#route = null;
  }

  #note(outcome: number, failureBits: number, answered: boolean, unsent: boolean, responseMs: number): void {
    const call = this.#call;
    if (call === null) return;
    call.outcome = outcome;
    call.failureBits = failureBits;
    call.answered = answered;
    call.unsent = unsent;
    call.responseMs = responseMs;
    call.replayable = this.#replay.fits;
  }
}
