import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BreakerPlan, BreakerState, CircuitBreaker, Outcome } from './circuit-breaker.ts';
import { FailureBit } from './failures.ts';

const { Closed, Open, HalfOpen } = BreakerState;
const { Success, Failure, Ignored } = Outcome;

const defaults: BreakerPlan = {
  failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
  consecutiveFailures: 5,
  failureRate: null,
  slowCalls: null,
  windowMs: 10_000,
  openForMs: 30_000,
  maxOpenForMs: 300_000,
  halfOpenMaxProbes: 2,
  halfOpenSuccesses: 2,
};
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

describe('closed', () => {
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
    calls(breaker, 4, Success, 0, 999);
    calls(breaker, 8, Success, 0, 1000);
    calls(breaker, 7, Failure, 0, 5000);
    expect(breaker.state(0)).toBe(Closed);
    calls(breaker, 1, Success, 0, 1000);
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
    calls(breaker, 1, Success, 30_000, 1000);
    expect([breaker.state(30_000), breaker.reason]).toEqual([Open, 'a probe was slow']);
  });

  it('opens again where all its probes hang, and is not kept shut by them', () => {
    const breaker = opened({ ...defaults, openForMs: 1000 });
    const hanging = [breaker.admit(1000), breaker.admit(2000)];
    expect([breaker.state(31_999), breaker.admit(31_999)]).toEqual([HalfOpen, 0]);
    expect([breaker.state(32_000), breaker.reason]).toEqual([Open, 'the probes are not answered']);
    expect(breaker.retryAfterMs(32_000)).toBe(2000);
    for (const permit of hanging) breaker.settle(permit, Success, 33_000, 33_000);
    expect(breaker.state(33_999)).toBe(Open);
    calls(breaker, 2, Success, 34_000);
    expect(breaker.state(34_000)).toBe(Closed);
  });

  it('waits for a hanging probe as long as another one may still be sent', () => {
    const breaker = opened();
    breaker.admit(30_000);
    expect([breaker.state(3_600_000), breaker.look(3_600_000)]).toEqual([HalfOpen, true]);
  });

  it('waits for slow probes as long as it was open', () => {
    const breaker = opened({ ...defaults, openForMs: 60_000 });
    breaker.admit(60_000);
    breaker.admit(60_000);
    expect([breaker.state(119_999), breaker.state(120_000)]).toEqual([HalfOpen, Open]);
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

describe('the window', () => {
  const call = fc.record({
    waitMs: fc.integer({ min: 0, max: 350 }),
    failed: fc.boolean(),
    slow: fc.integer({ min: 0, max: 3 }).map((number) => number === 0),
  });

  it.each([
    ['failures', { failureRate: { percent: 60, minimumCalls: 6 } }],
    ['slow calls', { slowCalls: { percent: 40, minimumCalls: 6, thresholdMs: 100 } }],
  ] as const)('counts %s exactly, over ten buckets of elapsed time', (kind, rate) => {
    fc.assert(
      fc.property(fc.array(call, { minLength: 6, maxLength: 40 }), fc.nat({ max: 5000 }), (list, startMs) => {
        const breaker = breakerOf({ ...defaults, consecutiveFailures: 0, windowMs: 1000, ...rate });
        const seen: { bucket: number; counts: boolean }[] = [];
        let nowMs = startMs;
        for (const { waitMs, failed, slow: isSlow } of list) {
          nowMs += waitMs;
          breaker.settle(breaker.admit(nowMs), failed ? Failure : Success, isSlow ? 100 : 99, nowMs);
          const bucket = Math.floor(nowMs / 100);
          seen.push({ bucket, counts: kind === 'failures' ? failed : isSlow });
          const window = seen.filter((one) => one.bucket > bucket - 10);
          const count = window.filter(({ counts }) => counts).length;
          const trips = window.length >= 6 && count * 100 >= (kind === 'failures' ? 60 : 40) * window.length;
          expect(breaker.state(nowMs)).toBe(trips ? Open : Closed);
          if (trips) return;
        }
      }),
      { numRuns: 1000 },
    );
  });
});

// The model knows every call by its time and recounts from the list; it draws no jitter.
interface Permit {
  value: number;
  generation: number;
  probe: boolean;
}
interface Model {
  nowMs: number;
  spec: BreakerPlan;
  state: number;
  generation: number;
  consecutive: number;
  calls: { atMs: number; failed: boolean; slow: boolean }[];
  openedAtMs: number;
  reopenings: number;
  probes: number;
  successes: number;
  lastProbeMs: number;
  permits: Permit[];
}

function change(model: Model, state: number): void {
  model.state = state;
  model.generation += 1;
  model.probes = 0;
  model.successes = 0;
  if (state === Open) model.openedAtMs = model.nowMs;
  if (state !== Closed) return;
  model.reopenings = 0;
  model.consecutive = 0;
  model.calls = [];
}

function passTime(model: Model): void {
  const { openForMs, maxOpenForMs, halfOpenMaxProbes } = model.spec;
  const openMs = Math.min(openForMs * 2 ** model.reopenings, Math.max(openForMs, maxOpenForMs));
  if (model.state === Open && model.nowMs >= model.openedAtMs + openMs) {
    change(model, HalfOpen);
  } else if (
    model.state === HalfOpen &&
    model.probes >= halfOpenMaxProbes &&
    model.nowMs >= model.lastProbeMs + 30_000
  ) {
    model.reopenings += 1;
    change(model, Open);
  }
}

function admits(model: Model): boolean {
  return model.state === Closed || (model.state === HalfOpen && model.probes < model.spec.halfOpenMaxProbes);
}

function settleInModel(model: Model, permit: Permit, outcome: number, durationMs: number): void {
  const { slowCalls, failureRate, consecutiveFailures, windowMs, halfOpenSuccesses } = model.spec;
  if (permit.generation !== model.generation) return;
  if (permit.probe) model.probes -= 1;
  if (outcome === Ignored) return;
  const failed = outcome === Failure;
  const isSlow = slowCalls !== null && durationMs >= slowCalls.thresholdMs;
  if (permit.probe) {
    if (failed || isSlow) {
      model.reopenings += 1;
      change(model, Open);
    } else {
      model.successes += 1;
      if (model.successes >= halfOpenSuccesses) change(model, Closed);
    }
    return;
  }
  model.consecutive = failed ? model.consecutive + 1 : 0;
  model.calls.push({ atMs: model.nowMs, failed, slow: isSlow });
  const bucket = (atMs: number) => Math.floor(atMs / (windowMs / 10));
  const window = model.calls.filter(({ atMs }) => bucket(atMs) > bucket(model.nowMs) - 10);
  const share = (count: number) => (count * 100) / window.length;
  const trips =
    (consecutiveFailures > 0 && model.consecutive >= consecutiveFailures) ||
    (failureRate !== null &&
      window.length >= failureRate.minimumCalls &&
      share(window.filter((call) => call.failed).length) >= failureRate.percent) ||
    (slowCalls !== null &&
      window.length >= slowCalls.minimumCalls &&
      share(window.filter((call) => call.slow).length) >= slowCalls.percent);
  if (trips) change(model, Open);
}

abstract class BreakerCommand implements fc.Command<Model, CircuitBreaker> {
  readonly number: number;
  constructor(number: number) {
    this.number = number;
  }
  check(model: Readonly<Model>): boolean {
    return model.generation > 0;
  }
  run(model: Model, breaker: CircuitBreaker): void {
    passTime(model);
    this.act(model, breaker);
    passTime(model);
    expect(breaker.look(model.nowMs)).toBe(admits(model));
    expect(breaker.state(model.nowMs)).toBe(model.state);
  }
  abstract act(model: Model, breaker: CircuitBreaker): void;
  toString(): string {
    return `${this.constructor.name} ${this.number}`;
  }
}

class Admit extends BreakerCommand {
  act(model: Model, breaker: CircuitBreaker): void {
    const value = breaker.admit(model.nowMs);
    expect(value > 0).toBe(admits(model));
    if (value === 0) return;
    const probe = model.state === HalfOpen;
    if (probe) {
      model.probes += 1;
      model.lastProbeMs = model.nowMs;
    }
    model.permits.push({ value, generation: model.generation, probe });
  }
}

class Settle extends BreakerCommand {
  override check(model: Readonly<Model>): boolean {
    return model.permits.length > 0;
  }
  act(model: Model, breaker: CircuitBreaker): void {
    const [permit] = model.permits.splice(this.number % model.permits.length, 1);
    if (permit === undefined) return;
    const outcome = [Success, Failure, Failure, Ignored][this.number % 4] ?? Success;
    const durationMs = (this.number % 3) * 600;
    breaker.settle(permit.value, outcome, durationMs, model.nowMs);
    settleInModel(model, permit, outcome, durationMs);
  }
}

class Pass extends BreakerCommand {
  act(model: Model): void {
    model.nowMs += this.number;
  }
}

class Update extends BreakerCommand {
  act(model: Model, breaker: CircuitBreaker): void {
    const spec: BreakerPlan = {
      ...defaults,
      consecutiveFailures: this.number % 5,
      failureRate: this.number % 2 === 0 ? { percent: 50, minimumCalls: 4 } : null,
      slowCalls: this.number % 3 === 0 ? { percent: 60, minimumCalls: 3, thresholdMs: 1000 } : null,
      windowMs: this.number % 7 === 0 ? 2000 : 1000,
      openForMs: 300 + (this.number % 3) * 200,
      maxOpenForMs: 900,
      halfOpenMaxProbes: 1 + (this.number % 3),
      halfOpenSuccesses: 1 + (this.number % 2),
    };
    if (spec.windowMs !== model.spec.windowMs) model.calls = [];
    model.spec = spec;
    breaker.update(spec, model.nowMs);
  }
}

it('does as its model does', () => {
  const of = (make: (number: number) => BreakerCommand, max?: number) =>
    fc.nat(max === undefined ? {} : { max }).map(make);
  const commands = [
    of((number) => new Admit(number)),
    of((number) => new Admit(number)),
    of((number) => new Settle(number)),
    of((number) => new Settle(number)),
    of((number) => new Pass(number), 150),
    of((number) => new Pass(number), 1200),
    fc.constantFrom(29_999, 30_000).map((number) => new Pass(number)),
    of((number) => new Update(number)),
  ];
  const spec: BreakerPlan = { ...defaults, consecutiveFailures: 3, windowMs: 1000, openForMs: 300, maxOpenForMs: 1000 };
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 120 }), (run) => {
      const model: Model = {
        nowMs: 5000,
        spec,
        state: Closed,
        generation: 1,
        consecutive: 0,
        calls: [],
        openedAtMs: 0,
        reopenings: 0,
        probes: 0,
        successes: 0,
        lastProbeMs: 0,
        permits: [],
      };
      fc.modelRun(() => ({ model, real: breakerOf(spec) }), run);
    }),
    { numRuns: 1000 },
  );
});
