// The circuit breaker of one dependency and route: closed, open, half-open; or forced open or closed by its policy.
//
// Semantics: of resilience4j (failure rate and slow-call rate over a window, with a minimum of calls; evaluated after every call; capped
// calls while half-open; forced states) and of Linkerd's unified breaker (exact counts in buckets rolled by elapsed time, so that an idle
// circuit starts cold; consecutive failures have no minimum and no window). Beyond both:
//  - Every permit carries the generation, which changes with every change of state and every reset. A result of an older generation decides
//    nothing, so a late answer of a call from before the trip neither closes nor reopens a half-open circuit.
//  - A permit given back without a result (Ignored: the caller went away, our own refusal) frees its place and decides nothing.
//  - Half-open is entered by time alone: whoever asks after the open time sees it, whether or not calls come.
//  - The open time doubles with every reopening up to a maximum, and starts over once the circuit has closed. Jitter only lengthens it.
//  - A probe that succeeds but is slow by the circuit's own threshold is a failure: else a circuit that opened for slowness would flap.
//  - Whoever holds the permit of a probe settles it within `halfOpenProbeTimeoutMs`, whatever other timeouts the call has. So the places of
//    a half-open circuit always come back, and the machine needs no time of its own for calls that hang.
//  - Connections that one endpoint loses in one moment are one failure in a row (connection-losses.ts); in the window each call counts.
//  - Forced closed, it counts as when closed and never opens; no longer forced, the next result decides by those counts. Forced open, it
//    admits nothing, probes neither, and promises no time; no longer forced, it is closed and knows nothing.
import type { CircuitBreakerPlan } from '../../plan/policies/circuit-breaker.ts';
import type { Random } from '../../runtime/random.ts';
import { CallWindow } from './call-window.ts';
import { ConnectionLosses } from './connection-losses.ts';
import { FailureBit, failureMask, failureName } from './failures.ts';

export const Outcome = { Success: 0, Failure: 1, Ignored: 2 } as const;
export const BreakerState = { Closed: 0, Open: 1, HalfOpen: 2, ForcedOpen: 3, ForcedClosed: 4 } as const;
export type BreakerState = (typeof BreakerState)[keyof typeof BreakerState];
/** Names of the states, by their number. */
export const BREAKER_STATES = ['Closed', 'Open', 'HalfOpen', 'ForcedOpen', 'ForcedClosed'] as const;

export type BreakerPlan = Omit<CircuitBreakerPlan, 'stateKey'>;
export type BreakerListener = (state: BreakerState, reason: string, nowMs: number) => void;

const JITTER = 0.1;

/** Whether a permit is that of a probe, whose holder has `halfOpenProbeTimeoutMs` to settle it. */
export function isProbe(permit: number): boolean {
  return permit % 2 === 1;
}

export class CircuitBreaker {
  #spec: BreakerPlan;
  readonly #random: Random;
  #state: BreakerState = BreakerState.Closed;
  #generation = 1;
  #consecutiveFailures = 0;
  readonly #window: CallWindow;
  readonly #losses = new ConnectionLosses();
  #openedAtMs = 0;
  /** Times the circuit opened again from half-open since it was last closed. */
  #reopenings = 0;
  /** Drawn at each opening, in [1, 1.1). */
  #jitter = 1;
  #probesInFlight = 0;
  #probeSuccesses = 0;
  /** `FailureBit`s of the last failure that counted. */
  #lastFailure = 0;
  /** Why it is in its state, and of a half-open circuit why it had opened; empty while it never changed. */
  reason = '';
  /** Called after every change of state. */
  onTransition: BreakerListener | null = null;
  /** The failures (`FailureBit`) that this circuit counts. */
  failureMask: number;

  constructor(spec: BreakerPlan, random: Random) {
    this.#spec = spec;
    this.#random = random;
    this.#window = new CallWindow(spec.windowMs);
    this.failureMask = failureMask(spec.failureOn);
    // When it is does not matter: nobody listens yet.
    this.#followForce(0);
  }

  /** New numbers hold from now on, also for an open circuit's time. State and generation stay; a changed window starts its counts anew. */
  update(spec: BreakerPlan, nowMs: number): void {
    if (spec.windowMs !== this.#spec.windowMs) this.#window.resize(spec.windowMs, nowMs);
    this.#spec = spec;
    this.failureMask = failureMask(spec.failureOn);
    this.#followForce(nowMs);
  }

  /** By hand: what was counted is forgotten, calls in flight decide nothing, and a circuit that is not forced is closed. */
  reset(reason: string, nowMs: number): void {
    this.#forget();
    if (this.#state === BreakerState.Open || this.#state === BreakerState.HalfOpen)
      this.#change(BreakerState.Closed, reason, nowMs);
    else this.#generation += 1;
  }

  /** Whether a call would be admitted now; takes nothing. False: refuse it before it queues for anything. */
  look(nowMs: number): boolean {
    if (this.#state === BreakerState.Closed || this.#state === BreakerState.ForcedClosed) return true;
    this.#followTime(nowMs);
    return this.#state === BreakerState.HalfOpen && this.#probesInFlight < this.#spec.halfOpenMaxProbes;
  }

  /** Calls are let through, and not as probes; not even time is followed by asking. */
  get isClosed(): boolean {
    return this.#state === BreakerState.Closed || this.#state === BreakerState.ForcedClosed;
  }

  /** A permit, which must be settled exactly once, or 0: refused. */
  admit(nowMs: number): number {
    if (this.#state === BreakerState.Closed) return this.#generation * 2;
    if (!this.look(nowMs)) return 0;
    if (this.#state === BreakerState.ForcedClosed) return this.#generation * 2;
    this.#probesInFlight += 1;
    return this.#generation * 2 + 1;
  }

  /**
   * Gives a permit back with an `Outcome`. `durationMs`: from admission to the result. `failureBits`: what the reason names. `endpoint` and
   * `startMs`: where the call was and when it began; empty: nobody knows, and its connection was lost by itself.
   */
  settle(
    permit: number,
    outcome: number,
    durationMs: number,
    nowMs: number,
    failureBits = 0,
    endpoint = '',
    startMs = nowMs,
  ): void {
    if (Math.floor(permit / 2) !== this.#generation) return;
    if (outcome === Outcome.Failure) this.#lastFailure = failureBits;
    if (isProbe(permit)) {
      this.#settleProbe(outcome, durationMs, nowMs);
    } else if (outcome === Outcome.Success) {
      this.#consecutiveFailures = 0;
      this.#record(false, durationMs, nowMs);
    } else if (outcome === Outcome.Failure) {
      const lost = endpoint !== '' && (failureBits & FailureBit.Reset) !== 0;
      if (!lost || !this.#losses.belongsToOneBefore(endpoint, startMs, nowMs)) this.#consecutiveFailures += 1;
      this.#record(true, durationMs, nowMs);
    }
  }

  /** A `BreakerState`. */
  state(nowMs: number): BreakerState {
    this.#followTime(nowMs);
    return this.#state;
  }

  /** Milliseconds until an open circuit admits probes; 0 in every other state. */
  retryAfterMs(nowMs: number): number {
    this.#followTime(nowMs);
    return this.#state === BreakerState.Open ? this.#openUntilMs() - nowMs : 0;
  }

  /** How long an open circuit stays open in all; 0 in every other state. */
  openTimeMs(nowMs: number): number {
    this.#followTime(nowMs);
    return this.#state === BreakerState.Open ? this.#openUntilMs() - this.#openedAtMs : 0;
  }

  /** How often it opened again from half-open since it was last closed. */
  get reopenings(): number {
    return this.#reopenings;
  }

  /** Probes that were admitted and not settled. */
  get probesInFlight(): number {
    return this.#probesInFlight;
  }

  /** What the window holds now: calls, and how many of them failed and were slow. */
  counts(nowMs: number): { calls: number; failures: number; slow: number } {
    this.#window.roll(nowMs);
    const { calls, failures, slow } = this.#window;
    return { calls, failures, slow };
  }

  #record(failed: boolean, durationMs: number, nowMs: number): void {
    this.#window.record(failed, this.#isSlow(durationMs), nowMs);
    if (this.#state !== BreakerState.Closed) return;
    const reason = this.#tripReason();
    if (reason !== '') this.#open(reason, nowMs);
  }

  /** Why the counts open the circuit; empty: they do not. */
  #tripReason(): string {
    const { consecutiveFailures, failureRate, slowCalls } = this.#spec;
    if (consecutiveFailures > 0 && this.#consecutiveFailures >= consecutiveFailures) {
      return `${this.#consecutiveFailures} consecutive failures${this.#lastKind('last: ')}`;
    }
    const { calls, failures, slow } = this.#window;
    if (failureRate !== null && calls >= failureRate.minimumCalls && failures * 100 >= failureRate.percent * calls) {
      return `${failures} of ${calls} calls failed${this.#lastKind('last: ')}`;
    }
    if (slowCalls !== null && calls >= slowCalls.minimumCalls && slow * 100 >= slowCalls.percent * calls) {
      return `${slow} of ${calls} calls were slower than ${slowCalls.thresholdMs} ms`;
    }
    return '';
  }

  /** " (last: Reset)"; empty where nobody said what it was. */
  #lastKind(prefix: string): string {
    const kind = failureName(this.#lastFailure & this.failureMask);
    return kind === '' ? '' : ` (${prefix}${kind})`;
  }

  #settleProbe(outcome: number, durationMs: number, nowMs: number): void {
    this.#probesInFlight -= 1;
    if (outcome === Outcome.Ignored) return;
    if (outcome === Outcome.Failure) {
      this.#reopen(`a probe failed${this.#lastKind('')}`, nowMs);
    } else if (this.#isSlow(durationMs)) {
      this.#reopen('a probe was slow', nowMs);
    } else {
      this.#probeSuccesses += 1;
      if (this.#probeSuccesses >= this.#spec.halfOpenSuccesses) this.#close(nowMs);
    }
  }

  #isSlow(durationMs: number): boolean {
    const { slowCalls } = this.#spec;
    return slowCalls !== null && durationMs > slowCalls.thresholdMs;
  }

  #reopen(reason: string, nowMs: number): void {
    this.#reopenings += 1;
    this.#open(reason, nowMs);
  }

  #open(reason: string, nowMs: number): void {
    this.#openedAtMs = nowMs;
    this.#jitter = 1 + JITTER * this.#random();
    this.#change(BreakerState.Open, reason, nowMs);
  }

  #close(nowMs: number): void {
    this.#forget();
    this.#change(BreakerState.Closed, `${this.#probeSuccesses} probes succeeded`, nowMs);
  }

  #forget(): void {
    this.#reopenings = 0;
    this.#consecutiveFailures = 0;
    this.#window.clear();
  }

  /** The changes of state that a policy makes. */
  #followForce(nowMs: number): void {
    const { ForcedOpen, ForcedClosed, Closed } = BreakerState;
    const { force } = this.#spec;
    const forced = this.#state === ForcedOpen || this.#state === ForcedClosed;
    if (force === null) {
      if (forced) this.#change(Closed, 'the policy no longer forces it', nowMs);
      return;
    }
    const state = force === 'Open' ? ForcedOpen : ForcedClosed;
    if (state === this.#state) return;
    this.#forget();
    this.#change(state, force === 'Open' ? 'the policy forces it open' : 'the policy forces it closed', nowMs);
  }

  /** The change of state that time makes. */
  #followTime(nowMs: number): void {
    if (this.#state === BreakerState.Open && nowMs >= this.#openUntilMs())
      this.#change(BreakerState.HalfOpen, `the open time is over; it had opened for: ${this.reason}`, nowMs);
  }

  #openUntilMs(): number {
    const { openForMs, maxOpenForMs } = this.#spec;
    const lengthened = Math.min(openForMs * 2 ** this.#reopenings, Math.max(openForMs, maxOpenForMs));
    return this.#openedAtMs + lengthened * this.#jitter;
  }

  #change(state: BreakerState, reason: string, nowMs: number): void {
    this.#state = state;
    this.#generation += 1;
    this.#probesInFlight = 0;
    this.#probeSuccesses = 0;
    this.reason = reason;
    if (this.onTransition !== null) this.onTransition(state, reason, nowMs);
  }
}
