// Probes of a circuit in shadow, which nobody ends when their time is over, and what decides nothing.
import { describe, expect, it } from 'vitest';
import type { CircuitBreakerPlan } from '../../../plan/policies/circuit-breaker.ts';
import { BreakerState, CircuitBreaker, Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { FallbackBit } from '../fallback.ts';
import { MEAN_CHANCE, type ShadowCall } from './block-shadow.ts';
import { BulkheadShadow, ShadowPlaces } from './bulkhead-shadow.ts';
import { CircuitShadow, ShadowCircuit } from './circuit-shadow.ts';
import { FallbackShadow } from './fallback-shadow.ts';
import { Route } from './testing.ts';

const PLAN: CircuitBreakerPlan = {
  stateKey: '',
  failureOn: ['ServerError', 'AttemptTimeout'],
  consecutiveFailures: 1,
  failureRate: null,
  slowCalls: null,
  windowMs: 10_000,
  openForMs: 1_000,
  maxOpenForMs: 1_000,
  halfOpenMaxProbes: 1,
  halfOpenSuccesses: 1,
  halfOpenProbeTimeoutMs: 500,
  force: null,
};
const FAILED = { bits: FailureBit.ServerError, answered: true };

function circuit(changes: Partial<CircuitBreakerPlan> = {}) {
  const plan = { ...PLAN, ...changes };
  const breaker = new CircuitBreaker(plan, MEAN_CHANCE);
  const circuits = new ShadowCircuit(breaker, plan);
  return { breaker, circuits, shadow: new CircuitShadow(circuits) };
}

/** Opened at 10, half-open, and its probe began at 2,000. */
function probing(changes: Partial<CircuitBreakerPlan> = {}) {
  const { breaker, circuits, shadow } = circuit(changes);
  const route = new Route(shadow);
  route.request({ ...FAILED, endMs: 10 });
  const call = route.begin(2_000);
  route.attempt(call, 2_000);
  expect([breaker.state(2_000), breaker.probesInFlight]).toEqual([BreakerState.HalfOpen, 1]);
  return { breaker, circuits, route, call };
}

describe('a probe in shadow', () => {
  it('that ends after its time failed, though it succeeded', () => {
    const { breaker, route, call } = probing();
    route.endAttempt(call, { endMs: 2_501 });
    expect([breaker.state(2_501), breaker.reason]).toEqual([BreakerState.Open, 'a probe failed (AttemptTimeout)']);
    const inTime = probing();
    inTime.route.endAttempt(inTime.call, { endMs: 2_500 });
    expect(inTime.breaker.state(2_500)).toBe(BreakerState.Closed);
  });

  it('whose time is over is judged before the next one is let in', () => {
    const { breaker, route } = probing();
    const next = route.begin(2_501);
    route.attempt(next, 2_501);
    expect(breaker.state(2_501)).toBe(BreakerState.Open);
    expect(route.decisions).toEqual({ 'circuit-open': 1 });
  });

  it('whose time is over leaves no place to another one, though there are two', () => {
    const { breaker, route } = probing({ halfOpenMaxProbes: 2 });
    route.attempt(route.begin(2_501), 2_501);
    expect(breaker.state(2_501)).toBe(BreakerState.Open);
    expect(route.decisions).toEqual({ 'circuit-open': 1 });
  });

  it('is none any more once it was judged, whatever its object stands for later', () => {
    const { breaker, circuits, route, call } = probing();
    route.endAttempt(call, { endMs: 2_100 });
    expect(breaker.state(2_100)).toBe(BreakerState.Closed);
    route.nextCall = () => call;
    route.attempt(route.begin(3_000), 3_000);
    circuits.sweep(9_000);
    expect(breaker.state(9_000)).toBe(BreakerState.Closed);
  });

  it('has the time of a plan that came meanwhile', () => {
    const { breaker, circuits } = probing();
    circuits.update({ ...PLAN, halfOpenProbeTimeoutMs: 900 }, 2_100);
    circuits.sweep(2_900);
    expect(breaker.state(2_900)).toBe(BreakerState.HalfOpen);
    circuits.update({ ...PLAN, halfOpenProbeTimeoutMs: 100 }, 2_900);
    circuits.sweep(2_900);
    expect(breaker.state(2_900)).toBe(BreakerState.Open);
  });

  it('is judged by its head, where that came, even by a bad one, and whatever else of it is still sent', () => {
    const bad = probing();
    Object.assign(bad.call, { headMs: 2_100, headFailureBits: FailureBit.ServerError, sending: true });
    bad.circuits.sweep(2_501);
    expect([bad.breaker.state(2_501), bad.breaker.reason]).toEqual([BreakerState.Open, 'a probe failed (ServerError)']);
    const other = probing();
    Object.assign(other.call, { headMs: 2_100, headFailureBits: FailureBit.TooManyRequests });
    other.circuits.sweep(2_501);
    expect(other.breaker.state(2_501)).toBe(BreakerState.Closed);
  });

  it('that hangs took its time, which may be slow for a circuit', () => {
    const slow = (thresholdMs: number) => {
      const { breaker, call, circuits } = probing({ slowCalls: { percent: 100, minimumCalls: 10, thresholdMs } });
      call.headMs = 2_100;
      call.headFailureBits = 0;
      circuits.sweep(9_000);
      return breaker.state(9_000);
    };
    expect([slow(501), slow(499)]).toEqual([BreakerState.Closed, BreakerState.Open]);
  });

  it('is judged once, and its place is free after that', () => {
    const { breaker, circuits, route, call } = probing();
    circuits.sweep(2_501);
    const next = route.begin(3_600);
    route.attempt(next, 3_600);
    expect(breaker.state(3_600)).toBe(BreakerState.HalfOpen);
    circuits.sweep(3_601);
    route.endAttempt(call, { endMs: 3_700 });
    expect([breaker.state(3_700), breaker.probesInFlight]).toEqual([BreakerState.HalfOpen, 1]);
    route.endAttempt(next, { endMs: 3_800 });
    expect([breaker.state(3_800), breaker.probesInFlight]).toEqual([BreakerState.Closed, 0]);
    circuits.sweep(9_000);
    expect(breaker.state(9_000)).toBe(BreakerState.Closed);
  });
});

describe('a circuit in shadow', () => {
  it('learns nothing from a call that another shadow ended while it lasted', () => {
    const { breaker, shadow } = circuit();
    const places = new ShadowPlaces(
      { stateKey: '', maxConcurrent: 1, maxQueued: 1, queueTimeoutMs: 100, adaptive: null },
      0,
    );
    const route = new Route(shadow, new BulkheadShadow(places));
    const [holder, waiter] = [0, 0].map((nowMs) => {
      const call = route.begin(nowMs);
      route.attempt(call, nowMs);
      return call;
    }) as [ShadowCall, ShadowCall];
    places.sweep(101);
    route.endAttempt(waiter, { ...FAILED, endMs: 200 });
    expect([waiter.over, breaker.state(200)]).toEqual([true, BreakerState.Closed]);
    route.endAttempt(holder, { ...FAILED, endMs: 300 });
    expect(breaker.state(300)).toBe(BreakerState.Open);
  });

  it('goes by the numbers of a plan that came meanwhile', () => {
    const { breaker, circuits, shadow } = circuit();
    circuits.update({ ...PLAN, consecutiveFailures: 2 }, 0);
    const route = new Route(shadow);
    route.request({ ...FAILED, endMs: 10 });
    expect(breaker.state(10)).toBe(BreakerState.Closed);
    route.request({ ...FAILED, startMs: 20, endMs: 30 });
    expect(breaker.state(30)).toBe(BreakerState.Open);
  });

  it('takes a failure that it does not count for an answer, or for nothing where there was none', () => {
    const opened = (between: { bits: number; answered: boolean; outcome?: number }) => {
      const { breaker, shadow } = circuit({ consecutiveFailures: 2 });
      const route = new Route(shadow);
      route.request({ ...FAILED, endMs: 10 });
      route.request({ ...between, startMs: 20, endMs: 30 });
      route.request({ ...FAILED, startMs: 40, endMs: 50 });
      return breaker.state(50) === BreakerState.Open;
    };
    expect(opened({ bits: FailureBit.TooManyRequests, answered: true })).toBe(false);
    expect(opened({ bits: FailureBit.Reset, answered: false })).toBe(true);
    expect(opened({ bits: FailureBit.ServerError, answered: true, outcome: Outcome.Ignored })).toBe(true);
    expect(opened({ bits: 0, answered: true })).toBe(false);
  });

  it('fails what it would refuse of that', () => {
    const { shadow } = circuit();
    const fallback = new FallbackShadow({
      mask: FallbackBit.CircuitOpen,
      allMethods: false,
      hasResponse: true,
      lastGood: null,
      asksAnother: null,
      floorMs: 1,
    });
    const route = new Route(shadow, fallback);
    route.request({ ...FAILED, endMs: 10 });
    expect(route.request({ startMs: 20, endMs: 30 }).over).toBe(true);
    expect(route.decisions).toEqual({ 'circuit-open': 1, response: 1 });
  });
});

describe('a circuit in shadow', () => {
  it('takes what one endpoint loses in one moment for one failure in a row, as an enforced one does', () => {
    const { breaker, shadow } = circuit({ failureOn: ['Reset'], consecutiveFailures: 2 });
    const route = new Route(shadow);
    const calls = [0, 1, 2].map(() => {
      const call = route.begin(0);
      route.attempt(call, 0);
      return call;
    });
    for (const call of calls) route.endAttempt(call, { endMs: 10, bits: FailureBit.Reset });
    expect([breaker.state(10), breaker.counts(10).failures]).toEqual([BreakerState.Closed, 3]);
    route.request({ startMs: 10, endMs: 11, bits: FailureBit.Reset });
    expect(breaker.state(11)).toBe(BreakerState.Open);
  });
});
