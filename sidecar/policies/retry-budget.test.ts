import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RetryBudget } from './retry-budget.ts';

const plan = (budgetPercent: number, budgetMinPerSecond: number) => ({ budgetPercent, budgetMinPerSecond });

function withdrawAll(budget: RetryBudget, nowMs: number): number {
  let granted = 0;
  while (budget.tryWithdraw(nowMs)) granted += 1;
  return granted;
}

describe('RetryBudget', () => {
  it('allows the floor at once, and no more', () => {
    expect(withdrawAll(new RetryBudget(plan(20, 10), 5000), 5000)).toBe(100);
    expect(withdrawAll(new RetryBudget(plan(20, 0), 5000), 5000)).toBe(0);
  });

  it('adds its share of the requests', () => {
    const budget = new RetryBudget(plan(20, 0), 0);
    for (let count = 0; count < 50; count += 1) budget.recordRequest(0);
    expect(withdrawAll(budget, 100)).toBe(10);
  });

  it('rounds down: four requests at 20 % allow none', () => {
    const budget = new RetryBudget(plan(20, 0), 0);
    for (let count = 0; count < 4; count += 1) budget.recordRequest(0);
    expect(budget.tryWithdraw(0)).toBe(false);
    budget.recordRequest(0);
    expect(budget.tryWithdraw(0)).toBe(true);
  });

  it('forgets after 10 s, requests and retries alike', () => {
    const budget = new RetryBudget(plan(100, 0), 0);
    for (let count = 0; count < 5; count += 1) budget.recordRequest(500);
    expect(budget.tryWithdraw(9999)).toBe(true);
    expect(budget.tryWithdraw(10_000)).toBe(false);
    budget.recordRequest(10_000);
    expect(withdrawAll(budget, 10_000)).toBe(0);
    expect(withdrawAll(budget, 19_000)).toBe(1);
  });

  it('is cold after a long pause', () => {
    const budget = new RetryBudget(plan(100, 1), 0);
    expect(withdrawAll(budget, 0)).toBe(10);
    expect(withdrawAll(budget, 3_600_000)).toBe(10);
  });

  it('is cold after a long pause for good: what it held before is not given back a second time', () => {
    const budget = new RetryBudget({ budgetPercent: 0, budgetMinPerSecond: 1 }, 0);
    const granted = (nowMs: number) =>
      Array.from({ length: 20 }, () => budget.tryWithdraw(nowMs)).filter(Boolean).length;
    expect([granted(5_000), granted(100_000), granted(105_000)]).toEqual([10, 10, 0]);
  });

  it('is cold after a long pause for good: requests of before are not taken off a second time', () => {
    const budget = new RetryBudget({ budgetPercent: 100, budgetMinPerSecond: 0 }, 0);
    for (const nowMs of [5_000, 100_000]) for (let request = 0; request < 10; request += 1) budget.recordRequest(nowMs);
    const granted = Array.from({ length: 20 }, () => budget.tryWithdraw(105_000)).filter(Boolean).length;
    expect(granted).toBe(10);
  });

  it('takes new numbers and keeps what it counted', () => {
    const budget = new RetryBudget(plan(0, 1), 0);
    expect(withdrawAll(budget, 0)).toBe(10);
    budget.update(plan(0, 2));
    expect(withdrawAll(budget, 0)).toBe(10);
    budget.update(plan(0, 1));
    expect(withdrawAll(budget, 0)).toBe(0);
  });

  it('ignores time that goes back', () => {
    const budget = new RetryBudget(plan(0, 1), 50_000);
    expect(withdrawAll(budget, 50_000)).toBe(10);
    expect(withdrawAll(budget, 10_000)).toBe(0);
    expect(withdrawAll(budget, 59_999)).toBe(0);
    expect(withdrawAll(budget, 60_000)).toBe(10);
  });
});

interface Model {
  nowMs: number;
  percent: number;
  minPerSecond: number;
  requests: number[];
  retries: number[];
}

/** Of the events in the last ten slots of a second, the current one included. */
const recent = (times: readonly number[], nowMs: number) =>
  times.filter((time) => Math.floor(time / 1000) > Math.floor(nowMs / 1000) - 10).length;

it('counts exactly, over ten slots of elapsed time', () => {
  const event = fc.record({
    waitMs: fc.integer({ min: 0, max: 3000 }),
    requests: fc.nat({ max: 3 }),
    retries: fc.nat({ max: 2 }),
  });
  fc.assert(
    fc.property(fc.array(event, { minLength: 10, maxLength: 40 }), fc.nat({ max: 100_000 }), (events, startMs) => {
      const budget = new RetryBudget(plan(50, 0), startMs);
      const requests: number[] = [];
      const retries: number[] = [];
      let nowMs = startMs;
      for (const { waitMs, requests: more, retries: wanted } of events) {
        nowMs += waitMs;
        for (let count = 0; count < more; count += 1) {
          budget.recordRequest(nowMs);
          requests.push(nowMs);
        }
        for (let count = 0; count < wanted; count += 1) {
          const granted = (recent(retries, nowMs) + 1) * 100 <= 50 * recent(requests, nowMs);
          expect(budget.tryWithdraw(nowMs)).toBe(granted);
          if (granted) retries.push(nowMs);
        }
      }
    }),
    { numRuns: 500 },
  );
});

class Request implements fc.Command<Model, RetryBudget> {
  check = () => true;
  run(model: Model, budget: RetryBudget): void {
    model.requests.push(model.nowMs);
    budget.recordRequest(model.nowMs);
  }
  toString = () => 'request';
}

class Withdraw implements fc.Command<Model, RetryBudget> {
  check = () => true;
  run(model: Model, budget: RetryBudget): void {
    const allowed = Math.floor((model.percent * recent(model.requests, model.nowMs)) / 100 + model.minPerSecond * 10);
    const granted = recent(model.retries, model.nowMs) + 1 <= allowed;
    expect(budget.tryWithdraw(model.nowMs)).toBe(granted);
    if (granted) model.retries.push(model.nowMs);
  }
  toString = () => 'withdraw';
}

class Pass implements fc.Command<Model, RetryBudget> {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
  check = () => true;
  run(model: Model): void {
    model.nowMs += this.ms;
  }
  toString = () => `pass ${this.ms}`;
}

class Update implements fc.Command<Model, RetryBudget> {
  readonly percent: number;
  readonly minPerSecond: number;
  constructor(percent: number, minPerSecond: number) {
    this.percent = percent;
    this.minPerSecond = minPerSecond;
  }
  check = () => true;
  run(model: Model, budget: RetryBudget): void {
    model.percent = this.percent;
    model.minPerSecond = this.minPerSecond;
    budget.update(plan(this.percent, this.minPerSecond));
  }
  toString = () => `update ${this.percent} ${this.minPerSecond}`;
}

it('does as its model does', () => {
  const commands = [
    fc.constant(new Request()),
    fc.constant(new Request()),
    fc.constant(new Withdraw()),
    fc.integer({ min: 0, max: 4000 }).map((ms) => new Pass(ms)),
    fc
      .tuple(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 1 }))
      .map(([percent, min]) => new Update(percent, min)),
  ];
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 80 }), fc.nat({ max: 1_000_000 }), (run, nowMs) => {
      fc.modelRun(
        () => ({
          model: { nowMs, percent: 50, minPerSecond: 0, requests: [], retries: [] },
          real: new RetryBudget(plan(50, 0), nowMs),
        }),
        run,
      );
    }),
    { numRuns: 500 },
  );
});

it('holds at every instant: whenever one looks, the retries of the last nine seconds are within the share of the last ten and the floor', () => {
  const event = fc.record({ waitMs: fc.integer({ min: 0, max: 700 }), requests: fc.nat({ max: 6 }) });
  let granted = 0;
  fc.assert(
    fc.property(
      fc.array(event, { minLength: 20, maxLength: 60 }),
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 0, max: 2 }),
      fc.nat({ max: 100_000 }),
      (events, percent, minPerSecond, startMs) => {
        const budget = new RetryBudget(plan(percent, minPerSecond), startMs);
        const requests: number[] = [];
        const retries: number[] = [];
        let nowMs = startMs;
        // Every request fails for ever: whoever asks takes all there is.
        for (const { waitMs, requests: more } of events) {
          nowMs += waitMs;
          for (let count = 0; count < more; count += 1) {
            budget.recordRequest(nowMs);
            requests.push(nowMs);
          }
          while (budget.tryWithdraw(nowMs)) retries.push(nowMs);
        }
        granted += retries.length;
        const within = (times: readonly number[], endMs: number, ms: number) =>
          times.filter((time) => time > endMs - ms && time <= endMs).length;
        // The instants at which it is tightest are those of the retries; in between nothing is added.
        for (const instantMs of retries) {
          const allowed = (percent * within(requests, instantMs, 10_000)) / 100 + minPerSecond * 10;
          expect(within(retries, instantMs, 9_000)).toBeLessThanOrEqual(allowed);
        }
      },
    ),
    { numRuns: 300 },
  );
  expect(granted).toBeGreaterThan(1_000);
});
