// The edges of timeouts in shadow, and what an attempt is to the shadows after them that a timeout would have ended.
import { describe, expect, it } from 'vitest';
import type { CircuitBreakerPlan } from '../../../plan/policies/circuit-breaker.ts';
import type { FallbackReason } from '../../../plan/policies/fallback.ts';
import { BreakerState, CircuitBreaker, Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { fallbackMask } from '../fallback.ts';
import { RetryBudget } from '../retry-budget.ts';
import { MEAN_CHANCE, ShadowCall } from './block-shadow.ts';
import { CircuitShadow, ShadowCircuit } from './circuit-shadow.ts';
import { FallbackShadow } from './fallback-shadow.ts';
import { RetriesShadow } from './retries-shadow.ts';
import { type Happens, Route } from './testing.ts';
import { TimeoutsShadow } from './timeouts-shadow.ts';

const NONE = { requestMs: 0, attemptMs: 0, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 };
const timeouts = (changes: Partial<typeof NONE>) => new TimeoutsShadow({ ...NONE, ...changes });
const RETRIES = {
  stateKey: '',
  maxAttempts: 3,
  retryOn: ['ConnectFailure' as const, 'AttemptTimeout' as const, 'Reset' as const],
  retryOnStatusCodes: [],
  retryOnGrpcStatusCodes: [],
  maxRetryAfterMs: 1_000,
  methods: 'Idempotent' as const,
  backoffInitialMs: 20,
  backoffMaxMs: 100,
  budgetPercent: 0,
  budgetMinPerSecond: 100,
};
const retries = () => new RetriesShadow(RETRIES, new RetryBudget(RETRIES, 0));
const fallback = (...reasons: FallbackReason[]) =>
  new FallbackShadow({
    mask: fallbackMask(reasons),
    allMethods: false,
    hasResponse: true,
    lastGood: null,
    asksAnother: null,
    floorMs: 1,
  });

describe('a timeout in shadow', () => {
  it.each<[string, Partial<typeof NONE>, Happens, Record<string, number>]>([
    ['a request at its end', { requestMs: 1_000 }, { endMs: 1_000 }, {}],
    ['a request past it', { requestMs: 1_000 }, { endMs: 1_000.5 }, { deadline: 1 }],
    ['a connect at its end', { connectMs: 50 }, { connectedMs: 50, endMs: 60 }, {}],
    ['a slow answer on a connection that came quickly', { connectMs: 50 }, { connectedMs: 40, endMs: 300 }, {}],
    ['a later one of these', { connectMs: 50 }, { startMs: 1_000, connectedMs: 1_040, endMs: 1_300 }, {}],
    ['a slow answer on one that was there', { connectMs: 50 }, { endMs: 300 }, {}],
    ['a reset after a while', { connectMs: 50 }, { endMs: 60, bits: FailureBit.Reset }, {}],
    [
      'an answer that came before the request was sent',
      { connectMs: 50 },
      { endMs: 60, unsent: true, answered: true },
      {},
    ],
    [
      'a connect and an answer that are slow, as the one that comes first',
      { connectMs: 50, attemptMs: 100 },
      { connectedMs: 51, endMs: 300 },
      { 'connect-timeout': 1 },
    ],
  ])('counts of %s', (_, plan, happens, decisions) => {
    const route = new Route(timeouts(plan));
    route.request(happens);
    expect(route.decisions).toEqual(decisions);
  });

  it('of 0 is none to retries in shadow either', () => {
    const route = new Route(timeouts({}), retries());
    route.request({ endMs: 10, bits: FailureBit.Reset });
    expect(route.decisions).toEqual({ retry: 1 });
  });

  it('leaves the sooner of two deadlines', () => {
    const route = new Route(timeouts({ requestMs: 1_000 }), retries());
    route.request({ endMs: 10, bits: FailureBit.Reset }, 'GET', 15);
    expect(route.decisions).toEqual({ 'suppressed-deadline': 1 });
  });

  it('counts silence on a stream from its head on, at no earlier time, once', () => {
    const streamed = (idleMs: number, ...atMs: number[]) => {
      const route = new Route(timeouts({ idleMs }));
      const call = route.begin(0);
      route.attempt(call, 0);
      route.facts(call, { endMs: 7_000 });
      route.shadow.streamBegan(call, 7_000);
      for (const each of atMs) route.shadow.active(call, each);
      route.endAttempt(call, { endMs: 30_000 });
      route.shadow.end(call, 30_000);
      return route.decisions;
    };
    expect(streamed(5_000, 12_000, 17_000, 22_000, 27_000)).toEqual({});
    expect(streamed(5_000, 12_001, 17_000, 22_000, 27_000)).toEqual({ 'idle-timeout': 1 });
    expect(streamed(5_000, 12_000, 17_000, 22_000)).toEqual({ 'idle-timeout': 1 });
    expect(streamed(0)).toEqual({});
  });
});

describe('an attempt that a timeout in shadow would have ended', () => {
  it('while it connected, was never sent: it is tried again whatever its method, and failed of that', () => {
    const route = new Route(timeouts({ connectMs: 50 }), retries());
    route.request({ connectedMs: 60, endMs: 70, replayable: false }, 'POST');
    expect(route.decisions).toEqual({ 'connect-timeout': 1, retry: 1 });
    const given = new Route(timeouts({ connectMs: 50 }), fallback('ConnectFailure'));
    given.request({ connectedMs: 60, endMs: 70, headMs: 70, status: 200 });
    expect(given.decisions).toEqual({ 'connect-timeout': 1, response: 1 });
  });

  it('has no answer any more, and nothing that this said', () => {
    const route = new Route(timeouts({ attemptMs: 400 }), retries());
    route.request({ endMs: 500, headMs: 450, status: 503, answered: true, refusesRetry: true, retryAfterMs: 9_000 });
    expect(route.decisions).toEqual({ 'attempt-timeout': 1, retry: 1 });
  });

  it.each<[string, Happens, Record<string, number>]>([
    ['without an answer', { endMs: 900, bits: FailureBit.Reset }, { response: 1 }],
    ['before its head', { endMs: 900, headMs: 401, status: 200 }, { response: 1 }],
    ['after its head, which came at the last moment', { endMs: 900, headMs: 400, status: 200 }, {}],
  ])('is replaced by a fallback: %s', (_, happens, decisions) => {
    const route = new Route(timeouts({ attemptMs: 400 }), fallback('AttemptTimeout'));
    route.request(happens);
    expect(route.decisions).toEqual({ 'attempt-timeout': 1, ...decisions });
  });

  const CIRCUIT: CircuitBreakerPlan = {
    stateKey: '',
    failureOn: ['ServerError'],
    consecutiveFailures: 2,
    failureRate: null,
    slowCalls: { percent: 100, minimumCalls: 1, thresholdMs: 401 },
    windowMs: 10_000,
    openForMs: 1_000,
    maxOpenForMs: 1_000,
    halfOpenMaxProbes: 1,
    halfOpenSuccesses: 1,
    halfOpenProbeTimeoutMs: 500,
    force: null,
  };
  const circuit = (changes: Partial<CircuitBreakerPlan>) => {
    const plan = { ...CIRCUIT, ...changes };
    const breaker = new CircuitBreaker(plan, MEAN_CHANCE);
    return { breaker, shadow: new CircuitShadow(new ShadowCircuit(breaker, plan)) };
  };

  it('is no success to a circuit that does not count timeouts, and no failure either', () => {
    const { breaker, shadow } = circuit({ slowCalls: null });
    const route = new Route(timeouts({ attemptMs: 400 }), shadow);
    const failed = { bits: FailureBit.ServerError, answered: true };
    route.request({ ...failed, endMs: 10 });
    route.request({ startMs: 20, endMs: 520 });
    expect(breaker.state(600)).toBe(BreakerState.Closed);
    route.request({ ...failed, startMs: 600, endMs: 610 });
    expect(breaker.state(700)).toBe(BreakerState.Open);
  });

  it('took no longer than it was given', () => {
    const { breaker, shadow } = circuit({ failureOn: ['AttemptTimeout'], consecutiveFailures: 0 });
    const route = new Route(timeouts({ attemptMs: 400 }), shadow);
    route.request({ endMs: 900, outcome: Outcome.Success });
    expect(breaker.state(1_000)).toBe(BreakerState.Closed);
  });

  it('though the dependency took only its time, says nothing of it', () => {
    const { breaker, shadow } = circuit({ failureOn: ['AttemptTimeout'], consecutiveFailures: 1, slowCalls: null });
    const route = new Route(timeouts({ attemptMs: 400 }), shadow);
    route.request({ endMs: 900, responseMs: 400 });
    expect(breaker.state(1_000)).toBe(BreakerState.Closed);
    route.request({ startMs: 1_000, endMs: 1_900, responseMs: 400.5 });
    expect(breaker.state(2_000)).toBe(BreakerState.Open);
  });
});

describe('a request that a timeout in shadow would have ended', () => {
  it.each<[string, Happens, Record<string, number>]>([
    ['before its head', { endMs: 1_100, headMs: 1_001, status: 200 }, { response: 1 }],
    ['without an answer', { endMs: 1_100, bits: FailureBit.Reset }, { response: 1 }],
    ['after its head, which was good', { endMs: 1_100, headMs: 1_000, status: 200 }, {}],
    ['after its head, which was bad', { endMs: 1_100, headMs: 900, status: 503 }, { response: 1 }],
  ])('is replaced by a fallback: %s', (_, happens, decisions) => {
    const mask = happens.status === 503 ? 'ServerError' : 'Deadline';
    const route = new Route(timeouts({ requestMs: 1_000 }), fallback(mask));
    route.request(happens);
    expect(route.decisions).toEqual({ deadline: 1, ...decisions });
  });

  it('though it was never sent, and the request before had failed of a timeout', () => {
    const route = new Route(timeouts({ requestMs: 1_000, attemptMs: 400 }));
    const only = new ShadowCall();
    route.nextCall = () => only;
    route.request({ endMs: 900 });
    const call = route.begin(1_000);
    route.shadow.end(call, 2_001);
    expect(route.decisions).toEqual({ 'attempt-timeout': 1, deadline: 1 });
  });

  it('failed of that already before its next attempt', () => {
    const route = new Route(timeouts({ requestMs: 1_000 }), fallback('Deadline'));
    const call = route.begin(0);
    route.attempt(call, 1_001);
    expect(call.over).toBe(true);
    route.endAttempt(call, { endMs: 1_002, headMs: 1_002, status: 200 });
    route.shadow.end(call, 1_002);
    expect(route.decisions).toEqual({ deadline: 1, response: 1 });
  });
});
