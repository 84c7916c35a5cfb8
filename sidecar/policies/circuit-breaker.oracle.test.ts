// Two libraries as a second opinion, wherever their semantics are ours.
//
// cockatiel 4.0.0, run beside ours call by call. Where they part, and why:
//  - it sees calls one after the other here. With calls at a time, its results from before the trip reopen a half-open circuit, and further
//    calls wait for the probe without bound; ours ignores the former and refuses the latter.
//  - its rates decide at a failure alone, and above the threshold; ours after every call, and at the threshold, as resilience4j's. A success
//    can only complete the minimum, so the two are compared where a failure does.
//  - its SamplingBreaker is left out: its window turns one bucket per call and not with time.
//  - half open, it admits `calls` in all, ours so many at a time until `halfOpenSuccesses` are there; one call after the other is the same.
//
// resilience4j 2.x by the examples of its documentation and of its CircuitBreakerStateMachineTest and SlidingTimeWindowMetricsTest. Where they part:
//  - it has no consecutive failures; they are off here.
//  - half open, it waits for all permitted calls and compares their rate; ours reopens at the first failure, and closes at the successes
//    needed. Where all fail or all succeed that is the same, but for ours deciding on the first failure.
//  - its window has a bucket for each second, ours ten whatever its length: 10 s are the same in both, and its example of 5 s is told with
//    doubled times.
import {
  ConsecutiveBreaker,
  CountBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleAll,
  noJitterGenerator,
} from 'cockatiel';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CallWindow } from './call-window.ts';
import { BREAKER_STATES, type BreakerPlan, CircuitBreaker, Outcome } from './circuit-breaker.ts';

const { Success, Failure, Ignored } = Outcome;

const BASE: BreakerPlan = {
  failureOn: ['ServerError'],
  consecutiveFailures: 0,
  failureRate: null,
  slowCalls: null,
  windowMs: 10_000,
  openForMs: 1000,
  maxOpenForMs: 1000,
  halfOpenMaxProbes: 1,
  halfOpenSuccesses: 1,
  halfOpenProbeTimeoutMs: 5000,
  force: null,
};

describe('cockatiel', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'], now: 0 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  type Theirs = ReturnType<typeof circuitBreaker>;

  /** One call after `waitMs`; false: refused. */
  async function theirCall(policy: Theirs, nowMs: number, fails: boolean): Promise<boolean> {
    vi.setSystemTime(nowMs);
    let ran = false;
    const call = policy.execute(() => {
      ran = true;
      if (fails) throw new Error('the dependency failed');
    });
    await call.catch(() => {});
    return ran;
  }

  function ourCall(breaker: CircuitBreaker, nowMs: number, fails: boolean): boolean {
    const permit = breaker.admit(nowMs);
    if (permit > 0) breaker.settle(permit, fails ? Failure : Success, 1, nowMs);
    return permit > 0;
  }

  const THEIR_STATES = ['Closed', 'Open', 'HalfOpen', 'ForcedOpen'];

  async function agree(theirs: Theirs, ours: CircuitBreaker, run: { waitMs: number; fails: boolean }[]): Promise<void> {
    let nowMs = 1000;
    for (const { waitMs, fails } of run) {
      nowMs += waitMs;
      const admitted = await theirCall(theirs, nowMs, fails);
      expect(ourCall(ours, nowMs, fails)).toBe(admitted);
      expect(BREAKER_STATES[ours.state(nowMs)]).toBe(THEIR_STATES[theirs.state]);
    }
  }

  const run = fc.array(
    fc.record({ waitMs: fc.constantFrom(0, 1, 499, 500, 999, 1000, 2000, 4001), fails: fc.boolean() }),
    { minLength: 10, maxLength: 60, size: 'max' },
  );
  const failing = fc.array(
    fc.record({ waitMs: fc.constantFrom(0, 499, 500, 1000, 2000, 4000), fails: fc.nat(9).map((number) => number < 8) }),
    { minLength: 10, maxLength: 60, size: 'max' },
  );

  it('opens and closes at the same calls by consecutive failures, with a fixed open time', async () => {
    await fc.assert(
      fc.asyncProperty(run, fc.integer({ min: 1, max: 4 }), async (calls, threshold) => {
        const theirs = circuitBreaker(handleAll, { halfOpenAfter: 1000, breaker: new ConsecutiveBreaker(threshold) });
        await agree(theirs, new CircuitBreaker({ ...BASE, consecutiveFailures: threshold }, () => 0), calls);
      }),
      { numRuns: 100 },
    );
  });

  it('lengthens the open time alike, up to the maximum, and starts over after closing', async () => {
    await fc.assert(
      fc.asyncProperty(failing, async (calls) => {
        const halfOpenAfter = new ExponentialBackoff({
          generator: noJitterGenerator,
          initialDelay: 500,
          maxDelay: 4000,
        });
        const theirs = circuitBreaker(handleAll, { halfOpenAfter, breaker: new ConsecutiveBreaker(2) });
        const plan = { ...BASE, consecutiveFailures: 2, openForMs: 500, maxOpenForMs: 4000 };
        await agree(theirs, new CircuitBreaker(plan, () => 0), calls);
      }),
      { numRuns: 100 },
    );
  });

  it('needs the same successes of probes, and reopens at the same failure', async () => {
    await fc.assert(
      fc.asyncProperty(run, fc.integer({ min: 1, max: 3 }), async (calls, successes) => {
        const theirs = circuitBreaker(handleAll, {
          halfOpenAfter: 500,
          breaker: new ConsecutiveBreaker(1),
          halfOpenSampling: { calls: successes, threshold: 0 },
        });
        const plan = {
          ...BASE,
          consecutiveFailures: 1,
          openForMs: 500,
          maxOpenForMs: 500,
          halfOpenSuccesses: successes,
          halfOpenProbeTimeoutMs: 5000,
        };
        await agree(theirs, new CircuitBreaker(plan, () => 0), calls);
      }),
      { numRuns: 100 },
    );
  });

  it('opens at the same failure by a rate, above the minimum of calls', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 3, maxLength: 40, size: 'max' }), async (results) => {
        results[3] = true;
        const breaker = new CountBreaker({ threshold: 0.4999, size: 40, minimumNumberOfCalls: 4 });
        const theirs = circuitBreaker(handleAll, { halfOpenAfter: 1000, breaker });
        const ours = new CircuitBreaker({ ...BASE, failureRate: { percent: 50, minimumCalls: 4 } }, () => 0);
        // All in one moment, so that neither forgets any.
        await agree(
          theirs,
          ours,
          results.map((fails) => ({ waitMs: 0, fails })),
        );
      }),
      { numRuns: 100 },
    );
  });

  it('isolates as ours is forced open, and closes as ours when that is over', async () => {
    const theirs = circuitBreaker(handleAll, { halfOpenAfter: 1000, breaker: new ConsecutiveBreaker(2) });
    const plan = { ...BASE, consecutiveFailures: 2 };
    const ours = new CircuitBreaker(plan, () => 0);
    const handle = theirs.isolate();
    ours.update({ ...plan, force: 'Open' }, 0);
    await agree(theirs, ours, [
      { waitMs: 0, fails: false },
      { waitMs: 100_000, fails: false },
    ]);
    handle.dispose();
    ours.update(plan, 100_000);
    await agree(
      theirs,
      ours,
      [true, true, true].map((fails) => ({ waitMs: 0, fails })),
    );
  });
});

describe('resilience4j', () => {
  /** The configuration of its CircuitBreakerStateMachineTest: 50 %, five calls at least, slow from 4 s on, four test calls. */
  const PLAN: BreakerPlan = {
    ...BASE,
    failureRate: { percent: 50, minimumCalls: 5 },
    slowCalls: { percent: 50, minimumCalls: 5, thresholdMs: 4000 },
    windowMs: 20_000,
    openForMs: 5000,
    maxOpenForMs: 5000,
    halfOpenMaxProbes: 4,
    halfOpenSuccesses: 4,
  };

  function play(breaker: CircuitBreaker, calls: { outcome: number; tookMs?: number; atMs?: number }[]): string[] {
    return calls.map(({ outcome, tookMs = 0, atMs = 0 }) => {
      const permit = breaker.admit(atMs);
      expect(permit).toBeGreaterThan(0);
      breaker.settle(permit, outcome, tookMs, atMs);
      return BREAKER_STATES[breaker.state(atMs)];
    });
  }

  const breakerOf = (plan: BreakerPlan = PLAN) => new CircuitBreaker(plan, () => 0);
  const tripped = () => {
    const breaker = breakerOf();
    play(
      breaker,
      Array.from({ length: 5 }, () => ({ outcome: Failure })),
    );
    return breaker;
  };

  it('needs the minimum of calls: nine that fail of ten do not open it', () => {
    const breaker = breakerOf({ ...BASE, failureRate: { percent: 50, minimumCalls: 10 } });
    const nine = Array.from({ length: 9 }, () => ({ outcome: Failure }));
    expect(play(breaker, nine)).toEqual(nine.map(() => 'Closed'));
    expect(play(breaker, [{ outcome: Failure }])).toEqual(['Open']);
  });

  it('opens on a success where that completes the minimum: 60 % of five', () => {
    const outcomes = [Failure, Failure, Failure, Success, Success];
    expect(
      play(
        breakerOf(),
        outcomes.map((outcome) => ({ outcome })),
      ),
    ).toEqual(['Closed', 'Closed', 'Closed', 'Closed', 'Open']);
  });

  it('opens at the rate, not only above it: three of six, one each second', () => {
    const outcomes = [Success, Success, Success, Failure, Failure, Failure];
    const states = play(
      breakerOf(),
      outcomes.map((outcome, second) => ({ outcome, atMs: second * 1000 })),
    );
    expect(states).toEqual(['Closed', 'Closed', 'Closed', 'Closed', 'Closed', 'Open']);
  });

  it('opens by slow calls, failed or not: 60 % of five', () => {
    const states = play(breakerOf({ ...PLAN, failureRate: null }), [
      { outcome: Failure, tookMs: 5000 },
      { outcome: Success, tookMs: 5000 },
      { outcome: Failure, tookMs: 100 },
      { outcome: Success, tookMs: 100 },
      { outcome: Success, tookMs: 5000 },
    ]);
    expect(states).toEqual(['Closed', 'Closed', 'Closed', 'Closed', 'Open']);
  });

  it('takes a call for slow that takes longer than the threshold, not as long', () => {
    const plan = { ...PLAN, failureRate: null };
    const five = (tookMs: number) => Array.from({ length: 5 }, () => ({ outcome: Success, tookMs }));
    expect(play(breakerOf(plan), five(4000)).at(-1)).toBe('Closed');
    expect(play(breakerOf(plan), five(4001)).at(-1)).toBe('Open');
  });

  it('is half-open after the wait, and not before', () => {
    const breaker = tripped();
    expect([breaker.admit(0), breaker.admit(4999)]).toEqual([0, 0]);
    expect(breaker.admit(5000)).toBeGreaterThan(0);
    expect(BREAKER_STATES[breaker.state(5000)]).toBe('HalfOpen');
  });

  it('permits four calls half open, and one more for each that is released', () => {
    const breaker = tripped();
    const permits = Array.from({ length: 4 }, () => breaker.admit(5000));
    expect(permits.every((permit) => permit > 0)).toBe(true);
    expect([breaker.admit(5000), breaker.admit(5000)]).toEqual([0, 0]);
    breaker.settle(permits[0] ?? 0, Ignored, 0, 5000);
    expect(breaker.admit(5000)).toBeGreaterThan(0);
    expect(breaker.admit(5000)).toBe(0);
  });

  it('closes after four test calls that succeed, opens after four that fail', () => {
    const four = (outcome: number) => Array.from({ length: 4 }, () => ({ outcome, atMs: 5000 }));
    const breaker = tripped();
    expect(play(breaker, four(Success)).at(-1)).toBe('Closed');
    const failing = tripped();
    const permits = Array.from({ length: 4 }, () => failing.admit(5000));
    for (const permit of permits) failing.settle(permit, Failure, 0, 5000);
    expect(BREAKER_STATES[failing.state(5000)]).toBe('Open');
    expect(failing.reopenings).toBe(1);
  });

  it('opens half open by test calls that are slow', () => {
    expect(play(tripped(), [{ outcome: Success, tookMs: 5000, atMs: 5000 }])).toEqual(['Open']);
  });

  it('decides nothing by a call that it ignores', () => {
    const breaker = breakerOf();
    play(
      breaker,
      Array.from({ length: 20 }, () => ({ outcome: Ignored })),
    );
    expect(play(breaker, [{ outcome: Failure }, { outcome: Failure }]).at(-1)).toBe('Closed');
  });

  it('permits as many calls at a time as come: the window bounds what is recorded, not what runs', () => {
    const breaker = breakerOf();
    const permits = Array.from({ length: 20 }, () => breaker.admit(0));
    expect(permits.every((permit) => permit > 0)).toBe(true);
  });

  it('counts in its time window as its own test says, second by second', () => {
    const window = new CallWindow(10_000);
    const seen: number[][] = [];
    const record = (atMs: number, failed: boolean) => {
      window.record(failed, false, atMs);
      seen.push([window.calls, window.calls - window.failures, window.failures]);
    };
    // Its window has 5 s; all times are doubled, so that two buckets of ours are one of its seconds.
    const steps: [number, boolean][] = [
      [0, true],
      [200, false],
      [400, false],
      [2400, false],
      [4400, false],
      [6400, true],
      [8400, false],
      [10_400, false],
      [12_400, false],
      [22_400, false],
    ];
    for (const [atMs, failed] of steps) record(atMs, failed);
    expect(seen).toEqual([
      [1, 0, 1],
      [2, 1, 1],
      [3, 2, 1],
      [4, 3, 1],
      [5, 4, 1],
      [6, 4, 2],
      [7, 5, 2],
      [5, 4, 1],
      [5, 4, 1],
      [1, 1, 0],
    ]);
  });
});
