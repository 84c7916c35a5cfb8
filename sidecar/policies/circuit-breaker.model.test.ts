// The circuit breaker against a model that is deliberately naive: it keeps a list of all calls and of all changes of state with their
// times, and no counter at all. Whatever it is asked, it counts anew from the lists.
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { type BreakerPlan, BreakerState, CircuitBreaker, isProbe, Outcome } from './circuit-breaker.ts';
import { FailureBit } from './failures.ts';

const { Closed, Open, HalfOpen, ForcedOpen, ForcedClosed } = BreakerState;
const { Success, Failure, Ignored } = Outcome;

const SPEC: BreakerPlan = {
  failureOn: ['ServerError'],
  consecutiveFailures: 3,
  failureRate: null,
  slowCalls: null,
  windowMs: 1000,
  openForMs: 300,
  maxOpenForMs: 1000,
  halfOpenMaxProbes: 2,
  halfOpenSuccesses: 2,
  halfOpenProbeTimeoutMs: 5000,
  force: null,
};
const RANDOM = 0.5;
const JITTER = 1.05;

interface Call {
  permit: number;
  /** Number of the change after which it was admitted. */
  era: number;
  endpoint: string;
  startMs: number;
  /** `inRow`: a failure that is none in a row for itself is false. */
  result: { atMs: number; failed: boolean; inRow: boolean; slow: boolean; ignored: boolean; position: number } | null;
}

class NaiveModel {
  nowMs = 5000;
  spec = SPEC;
  readonly calls: Call[] = [];
  readonly changes: { atMs: number; state: BreakerState }[] = [{ atMs: 0, state: Closed }];
  /** Calls settled before these positions are forgotten: for all purposes, and for the window alone. */
  forgottenTo = 0;
  windowFrom = 0;
  results = 0;
  /** Calls of an era before this one decide nothing, although the state did not change. */
  resetEra = -1;
  reopeningsFrom = 0;
  /** Lost connections that were events of their own. */
  readonly losses: { endpoint: string; atMs: number }[] = [];

  get state(): BreakerState {
    return this.changes.at(-1)?.state ?? Closed;
  }

  get probesInFlight(): number {
    return this.calls.filter(({ era, permit, result }) => era === this.changes.length && isProbe(permit) && !result)
      .length;
  }

  get reopenings(): number {
    const since = this.changes.slice(this.reopeningsFrom);
    return since.filter(({ state }, index) => state === Open && since[index - 1]?.state === HalfOpen).length;
  }

  get openUntilMs(): number {
    const { openForMs, maxOpenForMs } = this.spec;
    const openMs = Math.min(openForMs * 2 ** this.reopenings, Math.max(openForMs, maxOpenForMs));
    return (this.changes.findLast(({ state }) => state === Open)?.atMs ?? 0) + openMs * JITTER;
  }

  get admits(): boolean {
    if (this.state === HalfOpen) return this.probesInFlight < this.spec.halfOpenMaxProbes;
    return this.state === Closed || this.state === ForcedClosed;
  }

  passTime(): void {
    if (this.state === Open && this.nowMs >= this.openUntilMs) this.change(HalfOpen);
  }

  change(state: BreakerState, forgets = false): void {
    this.changes.push({ atMs: this.nowMs, state });
    if (forgets) this.forget();
  }

  forget(): void {
    this.forgottenTo = this.results;
    this.reopeningsFrom = this.changes.length;
  }

  admit(permit: number, endpoint: string): void {
    this.calls.push({ permit, era: this.changes.length, endpoint, startMs: this.nowMs, result: null });
  }

  settle(call: Call, outcome: number, durationMs: number, lost: boolean): void {
    const { slowCalls, halfOpenSuccesses } = this.spec;
    const slow = slowCalls !== null && durationMs > slowCalls.thresholdMs;
    const late = call.era !== this.changes.length;
    const ignored = late || outcome === Ignored;
    const position = ignored ? -1 : this.results++;
    const failed = outcome === Failure;
    call.result = { atMs: this.nowMs, failed, inRow: failed, slow, ignored, position };
    if (ignored) return;
    if (failed && lost && !isProbe(call.permit)) call.result.inRow = this.#isNewLoss(call);
    if (this.state === HalfOpen) {
      if (outcome === Failure || slow) this.change(Open);
      else if (this.#probesThatSucceeded() >= halfOpenSuccesses) this.change(Closed, true);
    } else if (this.state === Closed && this.#trips()) {
      this.change(Open);
    }
  }

  update(spec: BreakerPlan): void {
    if (spec.windowMs !== this.spec.windowMs) this.windowFrom = this.results;
    this.spec = spec;
    const forced = this.state === ForcedOpen || this.state === ForcedClosed;
    const wanted =
      spec.force === null ? (forced ? Closed : this.state) : spec.force === 'Open' ? ForcedOpen : ForcedClosed;
    if (wanted !== this.state) this.change(wanted, spec.force !== null);
  }

  reset(): void {
    if (this.state === Open || this.state === HalfOpen) this.change(Closed, true);
    // The same state once more: an era of its own, in which no call of the one before counts.
    else this.change(this.state, true);
  }

  #isNewLoss({ endpoint, startMs }: Call): boolean {
    const last = this.losses.findLast((it) => it.endpoint === endpoint);
    if (last !== undefined && startMs < last.atMs && this.nowMs - last.atMs <= 100) return false;
    this.losses.push({ endpoint, atMs: this.nowMs });
    return true;
  }

  #probesThatSucceeded(): number {
    return this.calls.filter(({ era, result }) => era === this.changes.length && result && !result.ignored).length;
  }

  #trips(): boolean {
    const { consecutiveFailures, failureRate, slowCalls, windowMs } = this.spec;
    const counted = this.calls
      .flatMap(({ result }) => (result && result.position >= this.forgottenTo ? [result] : []))
      .sort((a, b) => a.position - b.position);
    const lastSuccess = counted.findLastIndex(({ failed }) => !failed);
    const inRow = counted.slice(lastSuccess + 1).filter((result) => result.inRow).length;
    if (consecutiveFailures > 0 && inRow >= consecutiveFailures) return true;
    const bucket = (atMs: number) => Math.floor(atMs / (windowMs / 10));
    const window = counted.filter(
      ({ atMs, position }) => position >= this.windowFrom && bucket(atMs) > bucket(this.nowMs) - 10,
    );
    const reaches = (rate: { percent: number; minimumCalls: number } | null, count: number) =>
      rate !== null && window.length >= rate.minimumCalls && (count * 100) / window.length >= rate.percent;
    return (
      reaches(failureRate, window.filter(({ failed }) => failed).length) ||
      reaches(slowCalls, window.filter(({ slow }) => slow).length)
    );
  }
}

function specOf(number: number): BreakerPlan {
  return {
    ...SPEC,
    consecutiveFailures: number % 5,
    failureRate: number % 2 === 0 ? { percent: 50, minimumCalls: 4 } : null,
    slowCalls: number % 3 === 0 ? { percent: 60, minimumCalls: 3, thresholdMs: 1000 } : null,
    windowMs: number % 7 === 0 ? 2000 : 1000,
    openForMs: 300 + (number % 3) * 200,
    maxOpenForMs: 900,
    halfOpenMaxProbes: 1 + (number % 3),
    halfOpenSuccesses: 1 + (number % 2),
    force: number % 11 === 0 ? 'Open' : number % 13 === 0 ? 'Closed' : null,
  };
}

function act(kind: string, number: number, model: NaiveModel, breaker: CircuitBreaker): void {
  if (kind === 'pass') {
    // Short times for what happens in one moment, long ones for windows and open circuits.
    model.nowMs += number % 3 === 0 ? number % 70 : number % 1200;
  } else if (kind === 'update') {
    model.update(specOf(number));
    breaker.update(specOf(number), model.nowMs);
  } else if (kind === 'reset') {
    model.reset();
    breaker.reset('reset', model.nowMs);
  } else if (kind === 'admit') {
    const permit = breaker.admit(model.nowMs);
    expect(permit > 0).toBe(model.admits);
    if (permit > 0) model.admit(permit, `${number % 2}`);
  } else {
    const inFlight = model.calls.filter(({ result }) => result === null);
    const call = inFlight[number % Math.max(inFlight.length, 1)];
    if (call === undefined) return;
    const outcome = [Success, Failure, Failure, Ignored, Success][number % 5] ?? Success;
    const durationMs = (number % 4) * 500;
    const lost = number % 7 < 5;
    const bits = lost ? FailureBit.Reset : FailureBit.ServerError;
    breaker.settle(call.permit, outcome, durationMs, model.nowMs, bits, call.endpoint, call.startMs);
    model.settle(call, outcome, durationMs, lost);
  }
}

const step = fc.record({
  kind: fc.constantFrom('admit', 'admit', 'admit', 'settle', 'settle', 'settle', 'pass', 'pass', 'update', 'reset'),
  number: fc.nat({ max: 100_000 }),
});
/** Mostly steps without updates and resets: what only a long quiet run reaches. */
const quiet = fc.record({
  kind: fc.constantFrom('admit', 'admit', 'settle', 'settle', 'pass'),
  number: fc.nat({ max: 100_000 }),
});

it('does as a model does that counts anew from a list of all calls', () => {
  let reached = 0;
  const steps = fc.oneof(
    fc.array(step, { maxLength: 80, size: 'max' }),
    fc.array(quiet, { minLength: 40, maxLength: 80, size: 'max' }),
  );
  fc.assert(
    fc.property(steps, fc.nat({ max: 1000 }), (run, first) => {
      const model = new NaiveModel();
      const breaker = new CircuitBreaker(SPEC, () => RANDOM);
      act('update', first, model, breaker);
      for (const { kind, number } of run) {
        model.passTime();
        act(kind, number, model, breaker);
        model.passTime();
        expect(breaker.state(model.nowMs)).toBe(model.state);
        expect(breaker.look(model.nowMs)).toBe(model.admits);
        expect(breaker.probesInFlight).toBe(model.probesInFlight);
        expect(breaker.reopenings).toBe(model.reopenings);
        expect(breaker.retryAfterMs(model.nowMs)).toBe(model.state === Open ? model.openUntilMs - model.nowMs : 0);
        reached |= 1 << model.state;
        if (model.reopenings > 1) reached |= 32;
        if (model.calls.some(({ result }) => result?.failed && !result.inRow)) reached |= 64;
      }
    }),
    { numRuns: 800 },
  );
  // A run that never opened would prove nothing: every state was reached, reopening more than once, and losses of one moment.
  expect(reached).toBe(127);
});
