import { describe, expect, it } from 'vitest';
import { type BreakerPlan, BreakerState, CircuitBreaker, isProbe, Outcome } from './circuit-breaker.ts';
import { FailureBit } from './failures.ts';
import { BREAKER_PLAN } from './testing/breaker-plan.ts';

const { Closed, Open, HalfOpen, ForcedOpen, ForcedClosed } = BreakerState;
const { Success, Failure, Ignored } = Outcome;

const defaults = BREAKER_PLAN;
const rates: BreakerPlan = { ...defaults, consecutiveFailures: 0, failureRate: { percent: 50, minimumCalls: 20 } };
const slow: BreakerPlan = {
  ...defaults,
  consecutiveFailures: 0,
  slowCalls: { percent: 80, minimumCalls: 20, thresholdMs: 1000 },
};

const breakerOf = (spec: BreakerPlan = defaults, random = 0) => new CircuitBreaker(spec, () => random);

/** Admits and settles `count` calls at one moment. */
function calls(breaker: CircuitBreaker, count: number, outcome: number, nowMs: number, durationMs = 1): void {
  for (let call = 0; call < count; call += 1) {
    const permit = breaker.admit(nowMs);
    expect(permit).toBeGreaterThan(0);
    breaker.settle(permit, outcome, durationMs, nowMs);
  }
}

/** A breaker that opened at time 0. */
function opened(spec: BreakerPlan = defaults, random = 0): CircuitBreaker {
  const breaker = breakerOf({ ...spec, consecutiveFailures: 5 }, random);
  calls(breaker, 5, Failure, 0);
  expect(breaker.state(0)).toBe(Open);
  return breaker;
}

describe('what a circuit tells', () => {
  it('is whether calls are let through and not as probes, and time is not followed for that', () => {
    const breaker = opened();
    const told = [breaker.isClosed];
    expect(breaker.state(30_000)).toBe(HalfOpen);
    told.push(breaker.isClosed);
    for (const force of ['Open', 'Closed', null] as const) {
      breaker.update({ ...defaults, force }, 30_000);
      told.push(breaker.isClosed);
    }
    expect(told).toEqual([false, false, false, true, true]);
    const late = opened();
    const changes: number[] = [];
    late.onTransition = (state) => changes.push(state);
    expect([late.isClosed, changes]).toEqual([false, []]);
  });

  it('is what its window holds at that time', () => {
    const breaker = breakerOf({ ...slow, failureOn: ['Reset'] });
    calls(breaker, 3, Success, 0);
    calls(breaker, 2, Failure, 0);
    calls(breaker, 4, Success, 5_000, 1_001);
    expect(breaker.counts(5_000)).toEqual({ calls: 9, failures: 2, slow: 4 });
    expect(breaker.counts(12_000)).toEqual({ calls: 4, failures: 0, slow: 4 });
    expect(breaker.counts(60_000)).toEqual({ calls: 0, failures: 0, slow: 0 });
  });
});

describe('closed', () => {
  it.each([undefined, ''])('counts each connection that was lost nobody knows where (%j)', (endpoint) => {
    const breaker = breakerOf({ ...defaults, consecutiveFailures: 3 });
    const permits = [1, 2, 3].map(() => breaker.admit(0));
    for (const permit of permits) breaker.settle(permit, Failure, 500, 500, FailureBit.Reset, endpoint, 0);
    expect(breaker.state(500)).toBe(Open);
  });

  it('opens after consecutive failures, whatever time lies between', () => {
    const breaker = breakerOf();
    for (let hour = 0; hour < 4; hour += 1) calls(breaker, 1, Failure, hour * 3_600_000);
    expect(breaker.state(4 * 3_600_000)).toBe(Closed);
    calls(breaker, 1, Failure, 4 * 3_600_000);
    expect(breaker.state(4 * 3_600_000)).toBe(Open);
    expect(breaker.reason).toBe('5 consecutive failures');
  });

  it('names the last failure by its narrowest kind that counts', () => {
    const breaker = breakerOf({ ...defaults, consecutiveFailures: 2 });
    for (const bits of [FailureBit.ConnectFailure, FailureBit.GatewayError | FailureBit.ServerError]) {
      breaker.settle(breaker.admit(0), Failure, 1, 0, bits);
    }
    // GatewayError is not in failureOn.
    expect(breaker.reason).toBe('2 consecutive failures (last: ServerError)');
    breaker.settle(breaker.admit(30_000), Failure, 1, 30_000, FailureBit.Reset);
    expect([breaker.state(30_000), breaker.reason]).toEqual([Open, 'a probe failed (Reset)']);
  });

  it('names the last failure beside the rate too, and no failure of a call that succeeded', () => {
    const breaker = breakerOf(rates);
    for (let call = 0; call < 10; call += 1) breaker.settle(breaker.admit(0), Failure, 1, 0, FailureBit.Reset);
    for (let call = 0; call < 10; call += 1) breaker.settle(breaker.admit(0), Success, 1, 0, FailureBit.ServerError);
    expect(breaker.reason).toBe('10 of 20 calls failed (last: Reset)');
  });

  it('starts to count again after a success', () => {
    const breaker = breakerOf();
    calls(breaker, 4, Failure, 0);
    calls(breaker, 1, Success, 0);
    calls(breaker, 4, Failure, 0);
    expect(breaker.state(0)).toBe(Closed);
  });

  it('counts nothing that is ignored', () => {
    const breaker = breakerOf();
    calls(breaker, 4, Failure, 0);
    calls(breaker, 100, Ignored, 0, 60_000);
    expect(breaker.state(0)).toBe(Closed);
    calls(breaker, 1, Failure, 0);
    expect(breaker.state(0)).toBe(Open);
  });

  it('never opens by consecutive failures where they are off', () => {
    const breaker = breakerOf({ ...defaults, consecutiveFailures: 0 });
    calls(breaker, 1000, Failure, 0);
    expect(breaker.state(0)).toBe(Closed);
  });

  it('opens by failure rate at the minimum of calls, not before', () => {
    const breaker = breakerOf(rates);
    calls(breaker, 10, Failure, 0);
    calls(breaker, 9, Success, 0);
    expect(breaker.state(0)).toBe(Closed);
    calls(breaker, 1, Success, 0);
    expect(breaker.state(0)).toBe(Open);
    expect(breaker.reason).toBe('10 of 20 calls failed');
  });

  it('stays closed just under the rate', () => {
    const breaker = breakerOf(rates);
    calls(breaker, 51, Success, 0);
    calls(breaker, 50, Failure, 0);
    expect(breaker.state(0)).toBe(Closed);
    calls(breaker, 1, Failure, 0);
    expect(breaker.state(0)).toBe(Open);
  });

  it('forgets calls older than the window by elapsed time: an idle circuit is cold', () => {
    const breaker = breakerOf(rates);
    calls(breaker, 19, Failure, 0);
    calls(breaker, 1, Failure, 3_600_000);
    expect(breaker.state(3_600_000)).toBe(Closed);
    calls(breaker, 18, Failure, 3_600_000);
    expect(breaker.state(3_600_000)).toBe(Closed);
    calls(breaker, 1, Failure, 3_609_999);
    expect(breaker.state(3_609_999)).toBe(Open);
  });

  it('opens by slow calls, successful or not', () => {
    const breaker = breakerOf(slow);
    calls(breaker, 4, Success, 0, 1000);
    calls(breaker, 8, Success, 0, 1001);
    calls(breaker, 7, Failure, 0, 5000);
    expect(breaker.state(0)).toBe(Closed);
    calls(breaker, 1, Success, 0, 1001);
    expect(breaker.state(0)).toBe(Open);
    expect(breaker.reason).toBe('16 of 20 calls were slower than 1000 ms');
  });

  it('admits while calls are in flight without limit', () => {
    const breaker = breakerOf();
    for (let call = 0; call < 1000; call += 1) expect(breaker.admit(0)).toBeGreaterThan(0);
  });
});

describe('open', () => {
  it('refuses everything for the open time, and says how long', () => {
    const breaker = opened();
    for (const nowMs of [0, 1, 15_000, 29_999]) {
      expect([breaker.look(nowMs), breaker.admit(nowMs), breaker.state(nowMs)]).toEqual([false, 0, Open]);
      expect(breaker.retryAfterMs(nowMs)).toBe(30_000 - nowMs);
    }
  });

  it('lets late results decide nothing', () => {
    const breaker = breakerOf();
    const late = [breaker.admit(0), breaker.admit(0), breaker.admit(0)];
    calls(breaker, 5, Failure, 0);
    expect(breaker.state(30_000)).toBe(HalfOpen);
    breaker.settle(late[0] ?? 0, Failure, 1, 30_000);
    expect(breaker.state(30_000)).toBe(HalfOpen);
    breaker.settle(late[1] ?? 0, Success, 1, 30_000);
    breaker.settle(late[2] ?? 0, Success, 1, 30_000);
    expect(breaker.state(30_000)).toBe(HalfOpen);
    expect([breaker.admit(30_000) > 0, breaker.admit(30_000) > 0, breaker.admit(30_000)]).toEqual([true, true, 0]);
  });

  it('lengthens the open time by at most 10 %, and never shortens it', () => {
    expect(opened(defaults, 0).retryAfterMs(0)).toBe(30_000);
    expect(opened(defaults, 0.5).retryAfterMs(0)).toBeCloseTo(31_500);
    expect(opened(defaults, 0.999_999).retryAfterMs(0)).toBeLessThanOrEqual(33_000);
  });

  it('follows time by whatever is asked of it', () => {
    expect(opened().retryAfterMs(30_000)).toBe(0);
    // Asked for the first time when that is long over.
    expect(opened().retryAfterMs(45_000)).toBe(0);
    expect(opened().openTimeMs(30_000)).toBe(0);
    expect(opened().look(30_000)).toBe(true);
  });

  it('says how long it stays open in all, and nothing of that in any other state', () => {
    const breaker = opened(defaults, 0.5);
    for (const nowMs of [0, 20_000]) expect(breaker.openTimeMs(nowMs)).toBeCloseTo(31_500);
    calls(breaker, 1, Failure, 40_000);
    expect(breaker.openTimeMs(40_001)).toBeCloseTo(63_000);
    expect(breakerOf().openTimeMs(0)).toBe(0);
  });

  it('takes a new open time at once', () => {
    const breaker = opened();
    breaker.update({ ...defaults, openForMs: 1000 }, 500);
    expect([breaker.state(999), breaker.state(1000)]).toEqual([Open, HalfOpen]);
  });
});

describe('half-open', () => {
  it('is entered by time alone', () => {
    const breaker = opened();
    const seen: unknown[] = [];
    breaker.onTransition = (state, reason, nowMs) => seen.push([state, reason, nowMs]);
    expect(breaker.state(30_000)).toBe(HalfOpen);
    expect(seen).toEqual([[HalfOpen, 'the open time is over; it had opened for: 5 consecutive failures', 30_000]]);
    expect(breaker.retryAfterMs(30_000)).toBe(0);
  });

  it('admits at most the probes, and looking takes none', () => {
    const breaker = opened();
    for (let look = 0; look < 10; look += 1) expect(breaker.look(30_000)).toBe(true);
    const [first, second] = [breaker.admit(30_000), breaker.admit(30_000)];
    expect([first > 0, second > 0, breaker.admit(30_000), breaker.look(30_000)]).toEqual([true, true, 0, false]);
    breaker.settle(first, Success, 1, 30_001);
    expect(breaker.look(30_001)).toBe(true);
  });

  it('closes after the successes needed, and starts with no memory', () => {
    const breaker = opened();
    calls(breaker, 1, Success, 30_000);
    expect(breaker.state(30_000)).toBe(HalfOpen);
    calls(breaker, 1, Success, 30_000);
    expect([breaker.state(30_000), breaker.reason]).toEqual([Closed, '2 probes succeeded']);
    calls(breaker, 4, Failure, 30_000);
    expect(breaker.state(30_000)).toBe(Closed);
  });

  it('opens again at one failure, and lets the other probe decide nothing', () => {
    const breaker = opened();
    const [first, second] = [breaker.admit(30_000), breaker.admit(30_000)];
    breaker.settle(first, Failure, 1, 30_001);
    expect([breaker.state(30_001), breaker.reason]).toEqual([Open, 'a probe failed']);
    breaker.settle(second, Success, 1, 90_001);
    expect(breaker.state(90_001)).toBe(HalfOpen);
    expect([breaker.admit(90_001) > 0, breaker.admit(90_001) > 0, breaker.admit(90_001)]).toEqual([true, true, 0]);
  });

  it('doubles the open time at each reopening up to the maximum, and starts over after closing', () => {
    const breaker = opened({ ...defaults, maxOpenForMs: 200_000 });
    let nowMs = 0;
    for (const openForMs of [30_000, 60_000, 120_000, 200_000, 200_000]) {
      expect(breaker.retryAfterMs(nowMs)).toBe(openForMs);
      nowMs += openForMs;
      calls(breaker, 1, Failure, nowMs);
    }
    nowMs += 200_000;
    calls(breaker, 2, Success, nowMs);
    calls(breaker, 5, Failure, nowMs);
    expect(breaker.retryAfterMs(nowMs)).toBe(30_000);
  });

  it('gives an ignored probe back without deciding', () => {
    const breaker = opened();
    for (let round = 0; round < 100; round += 1) calls(breaker, 1, Ignored, 30_000 + round);
    expect(breaker.state(30_100)).toBe(HalfOpen);
    const permits = [breaker.admit(30_100), breaker.admit(30_100)];
    expect(breaker.admit(30_100)).toBe(0);
    for (const permit of permits) breaker.settle(permit, Ignored, 1, 30_100);
    expect(breaker.admit(30_100)).toBeGreaterThan(0);
  });

  it('does not close on probes that are slow by its own threshold', () => {
    const breaker = opened(slow);
    calls(breaker, 1, Success, 30_000, 1001);
    expect([breaker.state(30_000), breaker.reason]).toEqual([Open, 'a probe was slow']);
  });

  it('waits for its probes as long as they take: their time is the caller’s to keep', () => {
    const breaker = opened();
    const probes = [breaker.admit(30_000), breaker.admit(30_000)];
    expect([breaker.state(3_600_000), breaker.look(3_600_000), breaker.probesInFlight]).toEqual([HalfOpen, false, 2]);
    for (const probe of probes) breaker.settle(probe, Success, 1, 3_600_000);
    expect([breaker.state(3_600_000), breaker.probesInFlight]).toEqual([Closed, 0]);
  });

  it('tells the permit of a probe from any other', () => {
    const breaker = breakerOf();
    expect(isProbe(breaker.admit(0))).toBe(false);
    calls(breaker, 5, Failure, 0);
    expect(isProbe(breaker.admit(30_000))).toBe(true);
  });

  it('opens for the open time where the plan caps it lower', () => {
    expect(opened({ ...defaults, maxOpenForMs: 100 }).retryAfterMs(0)).toBe(30_000);
  });
});

describe('update', () => {
  it('keeps state, generation and counts where only numbers change', () => {
    const breaker = breakerOf();
    const permit = breaker.admit(0);
    calls(breaker, 3, Failure, 0);
    breaker.update({ ...defaults, consecutiveFailures: 4, openForMs: 1000 }, 0);
    expect(breaker.state(0)).toBe(Closed);
    breaker.settle(permit, Failure, 1, 0);
    expect(breaker.state(0)).toBe(Open);
    breaker.update(defaults, 0);
    expect(breaker.state(0)).toBe(Open);
  });

  it('drops the counts of a changed window, and only those', () => {
    const breaker = breakerOf(rates);
    calls(breaker, 19, Failure, 0);
    breaker.update({ ...rates, windowMs: 20_000 }, 0);
    calls(breaker, 19, Failure, 0);
    expect(breaker.state(0)).toBe(Closed);
    breaker.update({ ...rates, windowMs: 20_000, openForMs: 1 }, 0);
    calls(breaker, 1, Failure, 0);
    expect(breaker.state(0)).toBe(Open);
  });

  it('changes which failures count', () => {
    const breaker = breakerOf();
    expect(breaker.failureMask & FailureBit.TooManyRequests).toBe(0);
    breaker.update({ ...defaults, failureOn: ['TooManyRequests'] }, 0);
    expect(breaker.failureMask).toBe(FailureBit.TooManyRequests);
  });

  it('admits more probes where the limit was raised', () => {
    const breaker = opened({ ...defaults, halfOpenMaxProbes: 1 });
    expect([breaker.admit(30_000) > 0, breaker.admit(30_000)]).toEqual([true, 0]);
    breaker.update({ ...defaults, halfOpenMaxProbes: 2 }, 30_000);
    expect([breaker.admit(30_000) > 0, breaker.admit(30_000)]).toEqual([true, 0]);
  });
});

describe('forced open', () => {
  const forced = { ...defaults, force: 'Open' } as const;

  it('refuses all from the first call on, and promises no time', () => {
    const breaker = breakerOf(forced);
    for (const nowMs of [0, 30_000, 3_600_000]) {
      expect([breaker.state(nowMs), breaker.look(nowMs), breaker.admit(nowMs)]).toEqual([ForcedOpen, false, 0]);
      expect([breaker.retryAfterMs(nowMs), breaker.openTimeMs(nowMs)]).toEqual([0, 0]);
    }
    expect(breaker.reason).toBe('the policy forces it open');
  });

  it('is entered from any state, and left for closed with no memory', () => {
    for (const breaker of [breakerOf(), opened()]) {
      for (const reached of [0, 30_000]) {
        breaker.update(forced, reached);
        expect(breaker.state(reached)).toBe(ForcedOpen);
        breaker.update(defaults, reached);
        expect([breaker.state(reached), breaker.reason]).toEqual([Closed, 'the policy no longer forces it']);
        calls(breaker, 4, Failure, reached);
        expect(breaker.state(reached)).toBe(Closed);
        calls(breaker, 1, Failure, reached);
        expect([breaker.state(reached), breaker.reopenings]).toEqual([Open, 0]);
        breaker.state(reached + 30_000);
      }
    }
  });

  it('lets the results of calls from before decide nothing', () => {
    const breaker = breakerOf({ ...defaults, consecutiveFailures: 1 });
    const before = breaker.admit(0);
    breaker.update({ ...forced, consecutiveFailures: 1 }, 0);
    breaker.settle(before, Failure, 1, 1);
    breaker.update({ ...defaults, consecutiveFailures: 1 }, 2);
    expect(breaker.state(2)).toBe(Closed);
  });
});

describe('forced closed', () => {
  const forced = { ...defaults, force: 'Closed' } as const;

  it('admits all, whatever fails', () => {
    const breaker = breakerOf(forced);
    calls(breaker, 1000, Failure, 0);
    expect([breaker.state(0), breaker.look(0), breaker.reason]).toEqual([
      ForcedClosed,
      true,
      'the policy forces it closed',
    ]);
  });

  it('counts, so that the next result decides once it is no longer forced', () => {
    const breaker = breakerOf(forced);
    calls(breaker, 7, Failure, 0);
    breaker.update(defaults, 1);
    expect(breaker.state(1)).toBe(Closed);
    calls(breaker, 1, Failure, 2);
    expect([breaker.state(2), breaker.reason]).toEqual([Open, '8 consecutive failures']);
  });

  it('closes an open circuit, and forgets why it had opened', () => {
    const breaker = opened();
    breaker.update(forced, 1);
    calls(breaker, 1, Failure, 1);
    breaker.update(defaults, 2);
    calls(breaker, 3, Failure, 2);
    expect(breaker.state(2)).toBe(Closed);
    calls(breaker, 1, Failure, 2);
    expect(breaker.state(2)).toBe(Open);
  });

  it('may be forced open without a closed state between', () => {
    const breaker = breakerOf(forced);
    const seen: number[] = [];
    breaker.onTransition = (state) => seen.push(state);
    breaker.update({ ...defaults, force: 'Open' }, 0);
    breaker.update({ ...defaults, force: 'Open', openForMs: 1 }, 0);
    breaker.update(forced, 0);
    breaker.update(defaults, 0);
    expect(seen).toEqual([ForcedOpen, ForcedClosed, Closed]);
  });
});

describe('reset', () => {
  it.each([
    ['open', 0],
    ['half-open', 30_000],
  ])('closes an %s circuit with no memory, and says who did', (_state, nowMs) => {
    const breaker = opened();
    const probe = breaker.admit(nowMs);
    breaker.reset('reset by hand', nowMs);
    expect([breaker.state(nowMs), breaker.reason, breaker.probesInFlight]).toEqual([Closed, 'reset by hand', 0]);
    if (probe > 0) breaker.settle(probe, Failure, 1, nowMs);
    calls(breaker, 4, Failure, nowMs);
    expect(breaker.state(nowMs)).toBe(Closed);
    calls(breaker, 1, Failure, nowMs);
    expect(breaker.retryAfterMs(nowMs)).toBe(30_000);
  });

  it('lets the open time start over', () => {
    const breaker = opened();
    calls(breaker, 1, Failure, 30_000);
    expect(breaker.reopenings).toBe(1);
    breaker.reset('reset by hand', 30_000);
    expect(breaker.reopenings).toBe(0);
  });

  it('forgets what a closed circuit has counted, and calls in flight; its state does not change', () => {
    const breaker = breakerOf();
    const seen: number[] = [];
    breaker.onTransition = (state) => seen.push(state);
    const inFlight = breaker.admit(0);
    calls(breaker, 4, Failure, 0);
    breaker.reset('reset by hand', 0);
    breaker.settle(inFlight, Failure, 1, 0);
    calls(breaker, 4, Failure, 0);
    expect([breaker.state(0), breaker.reason, seen]).toEqual([Closed, '', []]);
  });

  it('forgets the window too', () => {
    const breaker = breakerOf(rates);
    calls(breaker, 19, Failure, 0);
    breaker.reset('reset by hand', 0);
    calls(breaker, 19, Failure, 0);
    expect(breaker.state(0)).toBe(Closed);
  });

  it.each(['Open', 'Closed'] as const)('leaves a circuit that is forced %s as it is', (force) => {
    const breaker = breakerOf({ ...defaults, force });
    breaker.reset('reset by hand', 0);
    expect(breaker.state(0)).toBe(force === 'Open' ? ForcedOpen : ForcedClosed);
  });
});

it('tells of every change once, in order', () => {
  const breaker = breakerOf();
  const seen: number[] = [];
  breaker.onTransition = (state) => seen.push(state);
  calls(breaker, 5, Failure, 0);
  breaker.look(30_000);
  breaker.look(30_001);
  calls(breaker, 1, Failure, 30_002);
  calls(breaker, 2, Success, 90_002);
  expect(seen).toEqual([Open, HalfOpen, Open, HalfOpen, Closed]);
});
