// Tells the shadows of a dependency what happens to an opaque connection. To them it is a call without a head, whose answer is a stream: the
// first byte of the dependency shows what there is to know of it, and then only silence could end it.
import { Outcome } from '../../policies/circuit-breaker.ts';
import { ShadowCall } from '../../policies/shadow/block-shadow.ts';
import type { RouteShadow } from '../../policies/shadow/route-shadow.ts';
import type { AttemptBooks } from '../exchange/attempt-books.ts';
import type { UpstreamEndpoint } from '../exchange/upstream.ts';
import type { Ticker } from '../ticker.ts';

export class ConnectionShadow {
  readonly #route: RouteShadow | null;
  readonly #ticker: Ticker;
  /** Null until it begins, and after its end. */
  #call: ShadowCall | null = null;
  #attempting = false;
  #judged = false;

  /** `route` null: nothing is shadowed. */
  constructor(route: RouteShadow | null, ticker: Ticker) {
    this.#route = route;
    this.#ticker = ticker;
  }

  begin(nowMs: number): void {
    if (this.#route === null) return;
    this.#call = new ShadowCall();
    this.#route.begin(this.#call, Number.POSITIVE_INFINITY, nowMs);
    this.#route.admit(this.#call, nowMs);
  }

  /** An attempt to connect has its endpoint. `startMs`: when it began, which may be before the connection was known to be opaque. */
  attempt(endpoint: UpstreamEndpoint, startMs: number, nowMs: number): void {
    if (this.#route === null || this.#call === null) return;
    this.#attempting = true;
    this.#judged = false;
    this.#route.attempt(this.#call, endpoint, nowMs);
    this.#call.attemptStartMs = startMs;
  }

  connected(atMs: number): void {
    if (this.#call === null) return;
    this.#call.connectedMs = atMs;
    // A connection that stands is as good as the head of an answer: what waits for one is not to take it for hanging.
    this.#call.headMs = atMs;
  }

  /** What the connection has shown of the dependency is known, and it goes on. */
  judged(books: AttemptBooks, nowMs: number): void {
    if (this.#route === null || this.#call === null || !this.#attempting || this.#judged) return;
    this.#judged = true;
    const { failureBits, responseMs } = books;
    this.#note(failureBits === 0 ? Outcome.Success : Outcome.Failure, failureBits, false, responseMs);
    this.#route.streamBegan(this.#call, nowMs);
  }

  /** Bytes pass. */
  active(): void {
    if (this.#judged && this.#route !== null && this.#call !== null)
      this.#route.active(this.#call, this.#ticker.nowMs());
  }

  /** `failureBits`: what it failed of before a byte was sent. */
  attemptEnded(books: AttemptBooks, outcome: number, failureBits: number, nowMs: number): void {
    if (this.#route === null || this.#call === null || !this.#attempting) return;
    this.#attempting = false;
    if (!this.#judged) this.#note(outcome, failureBits, outcome === Outcome.Failure, books.responseMs);
    this.#route.attemptEnded(this.#call, nowMs);
  }

  end(nowMs: number): void {
    if (this.#route === null || this.#call === null) return;
    this.#route.end(this.#call, nowMs);
    this.#call = null;
  }

  #note(outcome: number, failureBits: number, unsent: boolean, responseMs: number): void {
    const call = this.#call;
    if (call === null) return;
    call.outcome = outcome;
    call.failureBits = failureBits;
    call.answered = outcome === Outcome.Success;
    call.unsent = unsent;
    call.responseMs = responseMs;
  }
}
