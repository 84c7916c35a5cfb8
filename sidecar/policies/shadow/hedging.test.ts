import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HedgingPlan } from '../../../plan/policies/hedging.ts';
import type { RetriesPlan } from '../../../plan/policies/retries.ts';
import { Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { RetryBudget } from '../retry-budget.ts';
import type { ShadowCall } from './block-shadow.ts';
import { type HedgedLayers, HedgingShadow, ShadowHedges } from './hedging-shadow.ts';
import { RetriesShadow } from './retries-shadow.ts';
import { Route } from './testing.ts';
import { TimeoutsShadow } from './timeouts-shadow.ts';

/** Hedges after 100 ms, once 20 calls were seen. */
const HEDGING: HedgingPlan = {
  stateKey: 'shadow.hedging:base',
  afterPercentile: 95,
  minDelayMs: 100,
  maxDelayMs: 100,
  maxHedges: 1,
};
const RETRIES: RetriesPlan = {
  stateKey: 'shadow.retries:base',
  maxAttempts: 3,
  retryOn: ['Reset', 'AttemptTimeout', 'ServerError'],
  retryOnStatusCodes: [409],
  retryOnGrpcStatusCodes: [],
  maxRetryAfterMs: 1000,
  methods: 'Idempotent',
  backoffInitialMs: 20,
  backoffMaxMs: 100,
  budgetPercent: 0,
  budgetMinPerSecond: 1000,
};
const ENOUGH_CALLS = 20;

interface Setting {
  hedging?: Partial<HedgingPlan>;
  retries?: Partial<RetriesPlan>;
  layers?: Partial<HedgedLayers>;
  calls?: number;
}

function setting({ hedging = {}, retries = {}, layers = {}, calls = ENOUGH_CALLS }: Setting = {}) {
  const plan = { ...RETRIES, ...retries };
  const hedges = new ShadowHedges({ ...HEDGING, ...hedging }, 0);
  const all: HedgedLayers = {
    maxHedges: hedging.maxHedges ?? HEDGING.maxHedges,
    retries: plan,
    budget: new RetryBudget(plan, 0),
    keepsBudget: true,
    circuitClosed: () => true,
    hasPlace: () => true,
    otherEndpoints: () => 2,
    ...layers,
  };
  const shadow = new HedgingShadow(hedges, all, 1);
  for (let call = 0; call < calls; call += 1) hedges.hedging.record(20, 0);
  return { hedges, shadow, layers: all, route: new Route(shadow) };
}

const answered = (endMs: number) => ({ endMs, headMs: endMs, status: 200 });

describe('a hedge that would be sent', () => {
  it.each([
    ['an answer after the delay', answered(150), 'GET', { hedge: 1 }],
    ['an answer in time', answered(95), 'GET', {}],
    ['an answer that begins in time, and ends late', { endMs: 5_000, headMs: 90, status: 200 }, 'GET', {}],
    ['a failure after the delay', { endMs: 150, bits: FailureBit.Reset }, 'GET', { hedge: 1 }],
    ['a failure in time', { endMs: 50, bits: FailureBit.Reset }, 'GET', {}],
    ['an application that goes away', { endMs: 300, outcome: Outcome.Ignored }, 'GET', { hedge: 1 }],
    ['what must not run twice', answered(150), 'POST', { 'suppressed-unsafe': 1 }],
    ['what may be retried, and not run twice at a time', answered(150), 'PUT', { 'suppressed-unsafe': 1 }],
    ['a body that is not kept', { ...answered(150), replayable: false }, 'GET', { 'suppressed-body': 1 }],
  ] as const)('is counted: %s', (_, happens, method, decisions) => {
    const { route, hedges } = setting();
    const call = route.begin(0, method);
    if ('replayable' in happens) call.replayable = false;
    route.attempt(call, 0);
    route.endAttempt(call, happens);
    route.shadow.end(call, happens.endMs);
    expect(route.decisions).toEqual(decisions);
    expect(hedges.watched).toBe(0);
  });

  it.each<[string, Partial<HedgedLayers>]>([
    ['no-other-endpoint', { otherEndpoints: () => 0 }],
    ['bulkhead', { hasPlace: () => false }],
    ['budget', { budget: new RetryBudget({ budgetPercent: 0, budgetMinPerSecond: 0 }, 0) }],
  ])('is counted as one that is kept: %s', (cause, layers) => {
    const { route } = setting({ layers });
    route.request(answered(150));
    expect(route.decisions).toEqual({ [`suppressed-${cause}`]: 1 });
  });

  it('is not, where the circuit has opened meanwhile; and what begins as its probe is not watched', () => {
    let closed = true;
    const { route, hedges } = setting({ layers: { circuitClosed: () => closed } });
    const call = route.begin(0);
    route.attempt(call, 0);
    closed = false;
    route.endAttempt(call, answered(150));
    route.shadow.end(call, 150);
    expect(route.decisions).toEqual({ 'suppressed-circuit': 1 });
    const probe = route.begin(200);
    route.attempt(probe, 200);
    expect(hedges.watched).toBe(0);
    route.endAttempt(probe, answered(400));
    expect(route.decisions).toEqual({ 'suppressed-circuit': 1 });
  });

  it('is not known before enough calls were seen, which teach it', () => {
    const { route, hedges } = setting({ calls: 0 });
    for (let call = 0; call < ENOUGH_CALLS; call += 1) route.request({ ...answered(1_000), startMs: 0 });
    expect([route.decisions, hedges.hedging.delayMs(1_000)]).toEqual([{}, 100]);
    route.request({ ...answered(2_000), startMs: 1_000 });
    expect(route.decisions).toEqual({ hedge: 1 });
  });

  it('is never one of an upgrade, or of what asks for a stream of events', () => {
    const { route, hedges } = setting();
    for (const head of [{ upgrade: 'websocket' }, { acceptsEventStream: true }]) {
      const call = route.begin(0, 'GET', Number.POSITIVE_INFINITY, head);
      route.attempt(call, 0);
      expect(hedges.watched).toBe(0);
      route.endAttempt(call, answered(1_000));
    }
    expect([route.decisions, hedges.hedging.calls(1_000)]).toEqual([{}, ENOUGH_CALLS]);
  });

  it('waits for the end of an upload', () => {
    const { route, hedges } = setting();
    const call = route.begin(0, 'GET');
    call.sending = true;
    route.attempt(call, 0);
    hedges.sweep(500);
    expect([route.decisions, hedges.watched]).toEqual([{}, 1]);
    call.sending = false;
    call.sentMs = 550;
    hedges.sweep(645);
    expect(route.decisions).toEqual({});
    hedges.sweep(650);
    expect([route.decisions, hedges.watched]).toEqual([{ hedge: 1 }, 0]);
    route.endAttempt(call, answered(700));
  });

  it('is one of as many as the request may have, each at an endpoint of its own, over all its attempts', () => {
    const { route } = setting({ hedging: { maxHedges: 3 } });
    route.request(answered(1_000));
    // Two endpoints are there beside the one where the attempt is.
    expect(route.decisions).toEqual({ hedge: 2, 'suppressed-no-other-endpoint': 1 });
    const call = route.begin(2_000);
    for (const startMs of [2_000, 3_000, 4_000]) {
      route.attempt(call, startMs);
      route.endAttempt(call, { endMs: startMs + 150, bits: FailureBit.Reset });
    }
    route.shadow.end(call, 4_150);
    expect(route.decisions).toEqual({ hedge: 5, 'suppressed-no-other-endpoint': 1 });
    route.attempt(call, 5_000);
    route.endAttempt(call, { endMs: 5_150, bits: FailureBit.Reset });
    expect(route.decisions).toEqual({ hedge: 5, 'suppressed-no-other-endpoint': 1 });
  });

  it('is judged when another attempt begins, by a plan that came meanwhile', () => {
    const { hedges, route } = setting();
    route.attempt(route.begin(0), 0);
    hedges.update({ ...HEDGING, minDelayMs: 50, maxDelayMs: 50 });
    const second = route.begin(110);
    route.attempt(second, 110);
    expect([route.decisions, second.hedgeDelayMs]).toEqual([{ hedge: 1 }, 50]);
    route.attempt(route.begin(160), 160);
    expect(route.decisions).toEqual({ hedge: 2 });
  });

  it('is none of a stream that has begun', () => {
    const { hedges, route } = setting();
    const call = route.begin(0);
    route.attempt(call, 0);
    route.facts(call, answered(50));
    call.headMs = 50;
    route.shadow.streamBegan(call, 50);
    expect(hedges.watched).toBe(0);
    hedges.sweep(500);
    route.endAttempt(call, answered(600));
    expect(route.decisions).toEqual({});
  });

  it('is none at the deadline, or when a timeout in shadow would have ended the attempt', () => {
    const { route } = setting();
    route.request(answered(150), 'GET', 100.5);
    expect(route.decisions).toEqual({});
    const { shadow } = setting();
    const timeouts = new TimeoutsShadow({ requestMs: 0, attemptMs: 100, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 });
    const both = new Route(timeouts, shadow);
    both.request(answered(150));
    expect(both.decisions).toEqual({ 'attempt-timeout': 1 });
  });
});

describe('the last moment of', () => {
  it.each<[string, number, number, Record<string, number>]>([
    ['an answer', 100, Number.POSITIVE_INFINITY, {}],
    ['an answer that came just after it', 100.5, Number.POSITIVE_INFINITY, { hedge: 1 }],
    ['a deadline with just enough time', 150, 101, { hedge: 1 }],
    ['a deadline with too little', 150, 100.5, {}],
  ])('%s', (_, headMs, deadlineMs, decisions) => {
    const { route } = setting();
    route.request({ endMs: 200, headMs, status: 200 }, 'GET', deadlineMs);
    expect(route.decisions).toEqual(decisions);
  });

  it.each([
    [100, {}],
    [100.5, { hedge: 1 }],
  ])('an attempt that has %s ms', (attemptMs, decisions) => {
    const { shadow } = setting();
    const timeouts = new TimeoutsShadow({ requestMs: 0, attemptMs, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 });
    const route = new Route(timeouts, shadow);
    route.request(answered(150));
    expect(route.decisions).toEqual({ 'attempt-timeout': 1, ...decisions });
  });

  it('an attempt that a timeout of 0 does not end', () => {
    const { shadow } = setting();
    const timeouts = new TimeoutsShadow({ requestMs: 0, attemptMs: 0, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 });
    const route = new Route(timeouts, shadow);
    route.request(answered(150));
    expect(route.decisions).toEqual({ hedge: 1 });
  });
});

describe('the time that it learns', () => {
  const ATTEMPT_MS = 400;

  function told(happens: Parameters<Route['endAttempt']>[1], prepare: (call: ShadowCall) => void = () => {}) {
    const { hedges, shadow } = setting();
    const times: number[] = [];
    hedges.hedging.record = (latencyMs) => {
      times.push(latencyMs);
    };
    const timeouts = new TimeoutsShadow({
      requestMs: 0,
      attemptMs: ATTEMPT_MS,
      connectMs: 0,
      idleMs: 0,
      opaqueIdleMs: 0,
    });
    const route = new Route(timeouts, shadow);
    const call = route.begin(1_000);
    route.attempt(call, 1_000);
    call.headFailureBits = happens.bits ?? 0;
    prepare(call);
    route.endAttempt(call, {
      ...happens,
      endMs: 1_000 + happens.endMs,
      headMs: happens.headMs ? 1_000 + happens.headMs : 0,
    });
    return times;
  }

  it('is that to the head, counted from when the dependency alone had the request', () => {
    expect(told(answered(30))).toEqual([30]);
    expect(told({ endMs: 300, headMs: 50, status: 200 }, (call) => Object.assign(call, { sentMs: 1_020 }))).toEqual([
      30,
    ]);
    expect(told({ endMs: 900, headMs: ATTEMPT_MS, status: 200 })).toEqual([ATTEMPT_MS]);
    expect(told({ endMs: 900, headMs: ATTEMPT_MS, status: 409 })).toEqual([]);
    expect(told(answered(30), (call) => Object.assign(call, { sentMs: 1_030 }))).toEqual([0]);
  });

  it('is that of a timeout in shadow, whatever was answered after it', () => {
    expect(told({ endMs: 900, headMs: ATTEMPT_MS + 0.5, status: 200 })).toEqual([ATTEMPT_MS]);
    expect(told({ endMs: 900, headMs: 800, status: 409 })).toEqual([ATTEMPT_MS]);
    expect(told({ endMs: 900 }, (call) => Object.assign(call, { sentMs: 1_100 }))).toEqual([ATTEMPT_MS - 100]);
  });

  it('is that of an enforced timeout', () => {
    expect(told({ endMs: 50, bits: FailureBit.AttemptTimeout })).toEqual([50]);
    expect(told({ endMs: 50, bits: FailureBit.Reset })).toEqual([]);
  });

  it('is that which a caller waited, where that was at least the delay, and one is known', () => {
    const ignored = (endMs: number) => ({ endMs, outcome: Outcome.Ignored });
    expect([99.5, 100, 150].map((endMs) => told(ignored(endMs)))).toEqual([[], [100], [150]]);
    expect(told(ignored(150), (call) => Object.assign(call, { hedgeDelayMs: -1 }))).toEqual([]);
    expect(told({ endMs: 150, outcome: Outcome.Success, answered: false })).toEqual([]);
  });

  it('is none of a request that is still sent, or of what is to be tried again', () => {
    expect(told(answered(30), (call) => Object.assign(call, { sending: true }))).toEqual([]);
    expect(told({ endMs: 30, headMs: 30, status: 409 })).toEqual([]);
    expect(told({ endMs: 30, headMs: 30, status: 503, bits: FailureBit.ServerError })).toEqual([]);
  });
});

describe('what it learns of how long answers take', () => {
  it.each<[string, Parameters<Route['endAttempt']>[1], number]>([
    ['an answer', { endMs: 900, headMs: 30, status: 200 }, 1],
    ['an answer that is a failure', { endMs: 30, headMs: 30, status: 503, bits: FailureBit.ServerError }, 0],
    ['an answer that is tried again by its status', { endMs: 30, headMs: 30, status: 409 }, 0],
    ['a reset', { endMs: 30, bits: FailureBit.Reset }, 0],
    ['a timeout', { endMs: 30, bits: FailureBit.AttemptTimeout }, 1],
    ['a request that its application did not wait for', { endMs: 30, outcome: Outcome.Ignored }, 0],
    ['one that it did not wait for after the delay', { endMs: 130, outcome: Outcome.Ignored }, 1],
  ])('%s', (_, happens, records) => {
    const { route, hedges } = setting();
    const call = route.begin(0);
    route.attempt(call, 0);
    call.headFailureBits = happens.bits ?? 0;
    route.endAttempt(call, happens);
    expect(hedges.hedging.calls(happens.endMs) - ENOUGH_CALLS).toBe(records);
  });

  it('nothing of what must not run twice, or was over', () => {
    const { route, hedges } = setting();
    route.request(answered(50), 'POST');
    const call = route.begin(0);
    route.attempt(call, 0);
    call.over = true;
    route.endAttempt(call, answered(50));
    expect(hedges.hedging.calls(50)).toBe(ENOUGH_CALLS);
  });
});

describe('the budget of hedges in shadow', () => {
  it('is fed by requests, and the retries that are really made take from it', () => {
    const { route } = setting({ retries: { budgetPercent: 50, budgetMinPerSecond: 0 } });
    // It is full at first, which is one; and two requests bring another one.
    for (let nth = 0; nth < 6; nth += 1) route.request({ ...answered(nth * 200 + 150), startMs: nth * 200 });
    expect(route.decisions).toEqual({ hedge: 3, 'suppressed-budget': 3 });
    const retried = setting({ retries: { budgetPercent: 50, budgetMinPerSecond: 0 } }).route;
    const call = retried.begin(0);
    for (const startMs of [0, 20, 40]) {
      retried.attempt(call, startMs);
      retried.endAttempt(call, { endMs: startMs + 10, bits: FailureBit.Reset });
    }
    retried.request({ ...answered(200), startMs: 50 });
    expect(retried.decisions).toEqual({ 'suppressed-budget': 1 });
  });

  it('is that of the retries in shadow, where there are any: a hedge that was due first is paid first', () => {
    const plan = { ...RETRIES, budgetPercent: 100, budgetMinPerSecond: 0 };
    const budget = new RetryBudget(plan, 0);
    const { shadow } = setting({ layers: { budget, keepsBudget: false } });
    const route = new Route(shadow, new RetriesShadow(plan, budget));
    route.request({ endMs: 150, bits: FailureBit.Reset });
    expect(route.decisions).toEqual({ hedge: 1, 'suppressed-budget': 1 });
  });
});

describe('against a model', () => {
  /** On no time at which anything happens, which all are on the grid of the wheel, so that nothing is late. */
  const DELAY_MS = 98;
  const steps = fc.array(
    fc.record({ gap: fc.nat({ max: 12 }), end: fc.nat({ max: 5 }), method: fc.constantFrom('GET', 'GET', 'POST') }),
    { minLength: 20, maxLength: 80, size: 'max' },
  );

  it('hedges are as many as calls that outlast their delays, whenever somebody looks', () => {
    let hedged = 0;
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 3 }), (events, maxHedges) => {
        const { route, hedges } = setting({
          hedging: { maxHedges, minDelayMs: DELAY_MS, maxDelayMs: DELAY_MS },
          layers: { otherEndpoints: () => 5 },
        });
        const out: { call: ShadowCall; startMs: number; unsafe: boolean }[] = [];
        const wanted = { hedge: 0, 'suppressed-unsafe': 0 };
        let nowMs = 0;
        const end = (index: number) => {
          const [first] = out.splice(index, 1);
          if (first === undefined) return;
          const due = Math.floor((nowMs - first.startMs) / DELAY_MS);
          if (first.unsafe) wanted['suppressed-unsafe'] += Math.min(1, due);
          else wanted.hedge += Math.min(maxHedges, due);
          route.endAttempt(first.call, answered(nowMs));
          route.shadow.end(first.call, nowMs);
        };
        for (const { gap, end: ending, method } of events) {
          nowMs += gap * 5;
          if (ending < 3) end(ending % Math.max(1, out.length));
          else if (ending === 3) hedges.sweep(nowMs);
          const call = route.begin(nowMs, method);
          route.attempt(call, nowMs);
          out.push({ call, startMs: nowMs, unsafe: method === 'POST' });
        }
        nowMs += 1_000;
        while (out.length > 0) end(0);
        expect({ hedge: 0, 'suppressed-unsafe': 0, ...route.decisions }).toEqual(wanted);
        expect(hedges.watched).toBe(0);
        hedged += wanted.hedge;
      }),
    );
    expect(hedged).toBeGreaterThan(100);
  });
});
