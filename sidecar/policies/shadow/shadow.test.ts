import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CircuitBreakerPlan } from '../../../plan/policies/circuit-breaker.ts';
import type { RetriesPlan } from '../../../plan/policies/retries.ts';
import type { TimeoutsPlan } from '../../../plan/policies/timeouts.ts';
import { BreakerState, CircuitBreaker, Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { RetryBudget } from '../retry-budget.ts';
import { MEAN_CHANCE, ShadowCall } from './block-shadow.ts';
import { BulkheadShadow, ShadowPlaces } from './bulkhead-shadow.ts';
import { CircuitShadow, ShadowCircuit } from './circuit-shadow.ts';
import { RetriesShadow } from './retries-shadow.ts';
import { Route } from './testing.ts';
import { TimeoutsShadow } from './timeouts-shadow.ts';

const TIMEOUTS: TimeoutsPlan = { requestMs: 1000, attemptMs: 400, connectMs: 50, idleMs: 5000, opaqueIdleMs: 0 };
const RETRIES: RetriesPlan = {
  stateKey: 'shadow.retries:base',
  maxAttempts: 3,
  retryOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError'],
  retryOnStatusCodes: [409],
  retryOnGrpcStatusCodes: [],
  maxRetryAfterMs: 1000,
  methods: 'Idempotent',
  backoffInitialMs: 20,
  backoffMaxMs: 100,
  budgetPercent: 0,
  budgetMinPerSecond: 1,
};
const CIRCUIT: CircuitBreakerPlan = {
  stateKey: 'shadow.circuitBreaker:base',
  failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
  consecutiveFailures: 2,
  failureRate: null,
  slowCalls: null,
  windowMs: 10_000,
  openForMs: 1000,
  maxOpenForMs: 4000,
  halfOpenMaxProbes: 1,
  halfOpenSuccesses: 1,
  halfOpenProbeTimeoutMs: 500,
  force: null,
};

const retries = (changes: Partial<RetriesPlan> = {}) => {
  const plan = { ...RETRIES, ...changes };
  return new RetriesShadow(plan, new RetryBudget(plan, 0));
};
const circuit = (plan = CIRCUIT) => {
  const breaker = new CircuitBreaker(plan, MEAN_CHANCE);
  const circuits = new ShadowCircuit(breaker, plan);
  return { breaker, circuits, shadow: new CircuitShadow(circuits) };
};

describe('shadowed timeouts', () => {
  it.each([
    ['an attempt in time', { endMs: 400 }, {}],
    ['an attempt that took longer', { endMs: 401 }, { 'attempt-timeout': 1 }],
    ['a request that an attempt timeout would have ended', { endMs: 5000 }, { 'attempt-timeout': 1 }],
    ['a slow connect', { connectedMs: 51, endMs: 60 }, { 'connect-timeout': 1 }],
    [
      'a connect that failed late',
      { endMs: 60, unsent: true, bits: FailureBit.ConnectFailure },
      { 'connect-timeout': 1 },
    ],
    ['a request whose application went away', { endMs: 900, outcome: Outcome.Ignored }, { 'attempt-timeout': 1 }],
  ] as const)('count %s', (_, happens, decisions) => {
    const route = new Route(new TimeoutsShadow(TIMEOUTS));
    route.request(happens);
    expect(route.decisions).toEqual(decisions);
  });

  it('count a request that was over before its next attempt, once', () => {
    const route = new Route(new TimeoutsShadow(TIMEOUTS));
    const call = route.begin(0);
    for (const startMs of [0, 300, 700, 1100, 1500]) {
      route.attempt(call, startMs);
      route.endAttempt(call, { endMs: startMs + 100, bits: FailureBit.Reset });
    }
    route.shadow.end(call, 1600);
    expect(route.decisions).toEqual({ deadline: 1 });
  });

  it('count a wait before the first attempt', () => {
    const route = new Route(new TimeoutsShadow(TIMEOUTS));
    const call = route.begin(0);
    route.attempt(call, 900);
    route.endAttempt(call, { endMs: 1100 });
    route.shadow.end(call, 1100);
    expect(route.decisions).toEqual({ deadline: 1 });
  });

  it('leave a stream to its idle time', () => {
    const route = new Route(new TimeoutsShadow(TIMEOUTS));
    const call = route.begin(0);
    route.attempt(call, 0);
    route.facts(call, { endMs: 10 });
    route.shadow.streamBegan(call, 10);
    for (const atMs of [4000, 8000, 14_000, 30_000]) route.shadow.active(call, atMs);
    route.endAttempt(call, { endMs: 60_000 });
    route.shadow.end(call, 60_000);
    expect(route.decisions).toEqual({ 'idle-timeout': 1 });
  });

  it('leave alone what 0 stands for', () => {
    const route = new Route(
      new TimeoutsShadow({ requestMs: 0, attemptMs: 0, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 }),
    );
    route.request({ endMs: 1e6, connectedMs: 1e5 });
    expect(route.decisions).toEqual({});
  });
});

describe('shadowed retries', () => {
  const failed = { endMs: 10, bits: FailureBit.Reset };
  it.each([
    ['a failure of the list', failed, 'GET', {}, { retry: 1 }],
    ['no failure', { endMs: 10 }, 'GET', {}, {}],
    ['another failure', { endMs: 10, bits: FailureBit.TooManyRequests, answered: true }, 'GET', {}, {}],
    ['what is nobody’s fault', { ...failed, outcome: Outcome.Ignored }, 'GET', {}, {}],
    ['a method that must not run twice', failed, 'POST', {}, { 'suppressed-unsafe': 1 }],
    ['a method that the policy allows', failed, 'POST', { methods: 'All' }, { retry: 1 }],
    ['what was never sent', { ...failed, unsent: true, replayable: false }, 'POST', {}, { retry: 1 }],
    ['a body that is gone', { ...failed, replayable: false }, 'PUT', {}, { 'suppressed-body': 1 }],
    ['a status of the list', { endMs: 10, status: 409 }, 'GET', {}, { retry: 1 }],
    [
      'an answer that refuses it',
      { endMs: 10, status: 409, refusesRetry: true },
      'GET',
      {},
      { 'suppressed-refused': 1 },
    ],
    ['a short Retry-After', { endMs: 10, status: 409, retryAfterMs: 900 }, 'GET', {}, { retry: 1 }],
    ['a long Retry-After', { endMs: 10, status: 409, retryAfterMs: 9000 }, 'GET', {}, { 'suppressed-retry-after': 1 }],
    ['the last attempt', failed, 'GET', { maxAttempts: 1 }, { 'suppressed-attempts': 1 }],
    ['no budget', failed, 'GET', { budgetMinPerSecond: 0 }, { 'suppressed-budget': 1 }],
  ] as const)('count %s', (_, happens, method, changes, decisions) => {
    const route = new Route(retries(changes));
    route.request(happens, method);
    expect(route.decisions).toEqual(decisions);
  });

  it('keep to the deadline, by their own timeouts too', () => {
    const enforced = new Route(retries());
    enforced.request(failed, 'GET', 15);
    expect(enforced.decisions).toEqual({ 'suppressed-deadline': 1 });
    const shadowed = new Route(new TimeoutsShadow({ ...TIMEOUTS, requestMs: 15, attemptMs: 0 }), retries());
    shadowed.request(failed);
    expect(shadowed.decisions).toEqual({ 'suppressed-deadline': 1 });
  });

  it('have a budget of their own', () => {
    const route = new Route(retries());
    for (let nth = 0; nth < 15; nth++) route.request(failed);
    expect(route.decisions).toEqual({ retry: 2, 'suppressed-budget': 13 });
  });

  it('try again what a shadowed timeout would have ended, though it succeeded', () => {
    const route = new Route(new TimeoutsShadow(TIMEOUTS), retries());
    route.request({ endMs: 500 });
    expect(route.decisions).toEqual({ 'attempt-timeout': 1, retry: 1 });
  });
});

describe('a shadowed circuit', () => {
  const failed = (atMs: number) => ({ startMs: atMs, endMs: atMs + 10, bits: FailureBit.ServerError, answered: true });

  it('opens by what really happens, counts what it would refuse, and closes by what is really made', () => {
    const { breaker, shadow } = circuit();
    const route = new Route(shadow);
    for (const atMs of [0, 20, 40, 60]) route.request(failed(atMs));
    expect(breaker.state(100)).toBe(BreakerState.Open);
    expect(route.decisions).toEqual({ 'circuit-open': 2 });
    route.request({ startMs: 2000, endMs: 2010 });
    expect(breaker.state(2010)).toBe(BreakerState.Closed);
    expect(route.decisions).toEqual({ 'circuit-open': 2 });
  });

  it('counts a request once, however often it is really tried', () => {
    const { shadow } = circuit();
    const route = new Route(shadow);
    for (const atMs of [0, 20]) route.request(failed(atMs));
    const call = route.begin(50);
    for (const atMs of [50, 70, 90]) {
      route.attempt(call, atMs);
      route.endAttempt(call, failed(atMs));
    }
    expect(route.decisions).toEqual({ 'circuit-open': 1 });
  });

  it('takes what a shadowed timeout would have ended for a failure', () => {
    const { breaker, shadow } = circuit();
    const route = new Route(new TimeoutsShadow(TIMEOUTS), shadow);
    for (const startMs of [0, 600]) route.request({ startMs, endMs: startMs + 500 });
    expect(breaker.state(1200)).toBe(BreakerState.Open);
    expect(breaker.reason).toBe('2 consecutive failures (last: AttemptTimeout)');
  });

  it('does not take a slow reader for a slow dependency', () => {
    const { breaker, shadow } = circuit();
    const route = new Route(new TimeoutsShadow(TIMEOUTS), shadow);
    for (const startMs of [0, 600]) route.request({ startMs, endMs: startMs + 500, responseMs: 30 });
    expect(breaker.state(1200)).toBe(BreakerState.Closed);
  });

  it('gives back the probe of a call that the bulkhead in shadow would have refused', () => {
    const { breaker, shadow } = circuit();
    const places = new ShadowPlaces(
      { stateKey: '', maxConcurrent: 1, maxQueued: 0, queueTimeoutMs: 0, adaptive: null },
      0,
    );
    const route = new Route(shadow, new BulkheadShadow(places));
    for (const atMs of [0, 20]) route.request(failed(atMs));
    const holder = new ShadowCall();
    holder.begin(route.counts, 0);
    expect(places.enter(holder, 0)).toBe(true);
    const call = route.begin(2000);
    route.attempt(call, 2000);
    expect(route.decisions).toEqual({ 'bulkhead-full': 1 });
    expect(breaker.look(2000)).toBe(true);
    route.endAttempt(call, failed(2000));
    expect(breaker.state(2020)).toBe(BreakerState.HalfOpen);
  });

  it('judges a probe that hangs when its time is over, by the head where that came, and not while the request is sent', () => {
    const probing = () => {
      const { breaker, circuits, shadow } = circuit();
      const route = new Route(shadow);
      for (const atMs of [0, 20]) route.request(failed(atMs));
      const call = route.begin(2000);
      route.attempt(call, 2000);
      return { breaker, call, sweep: (atMs: number) => circuits.sweep(atMs), route };
    };
    const hanging = probing();
    hanging.sweep(2500);
    expect(hanging.breaker.state(2500)).toBe(BreakerState.HalfOpen);
    hanging.sweep(2501);
    expect(hanging.breaker.state(2501)).toBe(BreakerState.Open);
    expect(hanging.breaker.reason).toBe('a probe failed (AttemptTimeout)');
    hanging.route.endAttempt(hanging.call, { endMs: 2600 });
    expect(hanging.breaker.state(2600)).toBe(BreakerState.Open);
    const answering = probing();
    Object.assign(answering.call, { headMs: 2100, headFailureBits: 0 });
    answering.sweep(2501);
    expect(answering.breaker.state(2501)).toBe(BreakerState.Closed);
    const sending = probing();
    sending.call.sending = true;
    sending.sweep(2501);
    expect([sending.breaker.state(2501), sending.breaker.probesInFlight]).toEqual([BreakerState.HalfOpen, 0]);
  });

  it('with the numbers of the enforced one does what that one does', () => {
    const step = fc.record({
      waitMs: fc.integer({ min: 0, max: 900 }),
      tookMs: fc.integer({ min: 0, max: 300 }),
      bits: fc.constantFrom(0, 0, FailureBit.Reset, FailureBit.ServerError, FailureBit.TooManyRequests),
      outcome: fc.constantFrom(Outcome.Success, Outcome.Failure, Outcome.Failure, Outcome.Ignored),
    });
    const plans = fc.record({
      consecutiveFailures: fc.integer({ min: 0, max: 3 }),
      failureRate: fc.constantFrom(null, { percent: 50, minimumCalls: 3 }),
      slowCalls: fc.constantFrom(null, { percent: 50, minimumCalls: 2, thresholdMs: 200 }),
    });
    let opened = 0;
    fc.assert(
      fc.property(plans, fc.array(step, { maxLength: 60, size: 'max' }), (changes, steps) => {
        const plan = { ...CIRCUIT, ...changes };
        const enforced = new CircuitBreaker(plan, MEAN_CHANCE);
        const { breaker, shadow } = circuit(plan);
        const route = new Route(shadow);
        let nowMs = 0;
        for (const { waitMs, tookMs, bits, outcome } of steps) {
          nowMs += waitMs;
          const permit = enforced.admit(nowMs);
          if (permit === 0) continue;
          const call = route.begin(nowMs);
          route.attempt(call, nowMs);
          nowMs += tookMs;
          const answered = bits !== FailureBit.Reset;
          const counts = outcome === Outcome.Failure && (enforced.failureMask & bits) !== 0;
          const settled =
            counts || outcome !== Outcome.Failure ? outcome : answered ? Outcome.Success : Outcome.Ignored;
          enforced.settle(permit, settled, tookMs, nowMs, bits);
          route.endAttempt(call, { endMs: nowMs, bits, outcome, answered, responseMs: tookMs });
          expect(breaker.state(nowMs)).toBe(enforced.state(nowMs));
          expect(breaker.reason).toBe(enforced.reason);
          if (breaker.state(nowMs) === BreakerState.Open) opened++;
        }
        expect(route.decisions).toEqual({});
      }),
      { numRuns: 300 },
    );
    expect(opened).toBeGreaterThan(10);
  });
});

describe('a shadowed bulkhead', () => {
  const places = (maxConcurrent: number, maxQueued: number, queueTimeoutMs = 100) =>
    new ShadowPlaces({ stateKey: '', maxConcurrent, maxQueued, queueTimeoutMs, adaptive: null }, 0);
  const entered = (route: Route, nowMs: number) => {
    const call = route.begin(nowMs);
    route.attempt(call, nowMs);
    return call;
  };

  it('counts who would wait and who would be refused, and nobody does', () => {
    const books = places(1, 1);
    const route = new Route(new BulkheadShadow(books));
    const calls = [0, 1, 2].map((nowMs) => entered(route, nowMs));
    expect(route.decisions).toEqual({ queued: 1, 'bulkhead-full': 1 });
    for (const call of calls) route.endAttempt(call, { endMs: 50 });
    expect(route.decisions).toEqual({ queued: 1, 'bulkhead-full': 1 });
    expect([books.inFlight, books.queued]).toEqual([0, 0]);
  });

  it('counts who would have waited for too long, when a place comes free or another one comes', () => {
    const books = places(1, 2);
    const route = new Route(new BulkheadShadow(books));
    const [first, second] = [entered(route, 0), entered(route, 10)];
    const third = entered(route, 111);
    expect(second.over).toBe(true);
    expect(route.decisions).toEqual({ queued: 2, 'queue-timeout': 1 });
    route.endAttempt(first, { endMs: 300 });
    expect(third.over).toBe(true);
    expect(route.decisions).toEqual({ queued: 2, 'queue-timeout': 2 });
    expect([books.inFlight, books.queued]).toEqual([0, 0]);
    route.endAttempt(second, { endMs: 400 });
    route.endAttempt(third, { endMs: 400 });
    expect([books.inFlight, books.queued]).toEqual([0, 0]);
  });

  it('lets those in who wait when its limit is raised', () => {
    const books = places(1, 2);
    const route = new Route(new BulkheadShadow(books));
    const calls = [entered(route, 0), entered(route, 0)];
    books.update({ stateKey: '', maxConcurrent: 2, maxQueued: 2, queueTimeoutMs: 100, adaptive: null }, 10);
    expect([books.inFlight, books.queued]).toEqual([2, 0]);
    for (const call of calls) route.endAttempt(call, { endMs: 20 });
    expect([books.inFlight, books.queued]).toEqual([0, 0]);
  });

  it('finds an adaptive limit by the calls that are made', () => {
    const adaptive = { minConcurrent: 1, latencyTolerancePercent: 25, probeIntervalMs: 60_000 };
    const books = new ShadowPlaces({ stateKey: '', maxConcurrent: 40, maxQueued: 0, queueTimeoutMs: 0, adaptive }, 0);
    const route = new Route(new BulkheadShadow(books));
    let nowMs = 0;
    const wave = (tookMs: number) => {
      const calls = Array.from({ length: 30 }, () => entered(route, nowMs));
      nowMs += tookMs;
      for (const call of calls) route.endAttempt(call, { endMs: nowMs });
    };
    for (let nth = 0; nth < 20; nth++) wave(10);
    const before = route.decisions['bulkhead-full'] ?? 0;
    for (let nth = 0; nth < 20; nth++) wave(200);
    expect((route.decisions['bulkhead-full'] ?? 0) - before).toBeGreaterThan(100);
    expect([books.inFlight, books.queued]).toEqual([0, 0]);
  });

  it('keeps the books of a list of calls', () => {
    const ends = fc.constantFrom(true, false, false);
    const event = fc.record({ waitMs: fc.integer({ min: 0, max: 80 }), ends, which: fc.nat() });
    let timeouts = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3 }),
        fc.nat(3),
        fc.array(event, { minLength: 20, maxLength: 80, size: 'max' }),
        (max, queue, events) => {
          const books = places(max, queue);
          const route = new Route(new BulkheadShadow(books));
          const model: { held: Set<ShadowCall>; line: { call: ShadowCall; sinceMs: number }[] } = {
            held: new Set(),
            line: [],
          };
          const wanted = { queued: 0, 'bulkhead-full': 0, 'queue-timeout': 0 };
          const calls: ShadowCall[] = [];
          let nowMs = 0;
          const tidy = () => {
            for (;;) {
              const [head] = model.line;
              if (head && nowMs - head.sinceMs > 100) wanted['queue-timeout']++;
              else if (head && model.held.size < max) model.held.add(head.call);
              else return;
              model.line.shift();
            }
          };
          for (const { waitMs, ends, which } of events) {
            nowMs += waitMs;
            const leaver = ends ? calls.splice(which % Math.max(1, calls.length), 1)[0] : undefined;
            tidy();
            if (leaver) {
              model.held.delete(leaver);
              model.line = model.line.filter(({ call }) => call !== leaver);
              tidy();
              route.endAttempt(leaver, { endMs: nowMs });
            } else if (!ends) {
              const call = entered(route, nowMs);
              calls.push(call);
              if (model.held.size < max) model.held.add(call);
              else if (model.line.length >= queue) wanted['bulkhead-full']++;
              else {
                wanted.queued++;
                model.line.push({ call, sinceMs: nowMs });
              }
            }
            if (leaver || !ends) expect([books.inFlight, books.queued]).toEqual([model.held.size, model.line.length]);
          }
          const told = Object.fromEntries(Object.entries(wanted).filter(([, count]) => count > 0));
          tidy();
          for (const call of calls) route.endAttempt(call, { endMs: nowMs });
          timeouts += wanted['queue-timeout'];
          expect(Object.keys(route.decisions).sort()).toEqual(expect.arrayContaining(Object.keys(told).sort()));
          expect(route.decisions['queued'] ?? 0).toBe(wanted.queued);
          expect(route.decisions['bulkhead-full'] ?? 0).toBe(wanted['bulkhead-full']);
          expect(route.decisions['queue-timeout'] ?? 0).toBe(wanted['queue-timeout']);
          expect([books.inFlight, books.queued]).toEqual([0, 0]);
        },
      ),
    );
    expect(timeouts).toBeGreaterThan(20);
  });
});
