import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RetryBudget } from './retry-budget.ts';

const plan = (budgetPercent: number, budgetMinPerSecond: number) => ({ budgetPercent, budgetMinPerSecond });

/** One that has given away what it holds at first. */
function emptied(budgetPercent: number, budgetMinPerSecond: number): RetryBudget {
  const budget = new RetryBudget(plan(budgetPercent, budgetMinPerSecond), 0);
  withdrawAll(budget, 0);
  return budget;
}

function withdrawAll(budget: RetryBudget, nowMs: number): number {
  let granted = 0;
  while (budget.tryWithdraw(nowMs)) granted += 1;
  return granted;
}

describe('RetryBudget', () => {
  it('allows what two seconds bring at once, and no more', () => {
    expect(withdrawAll(new RetryBudget(plan(20, 10), 5000), 5000)).toBe(20);
  });

  it('is full at first: the first request may be retried, unless the policy allows nothing', () => {
    expect(withdrawAll(new RetryBudget(plan(20, 0), 5000), 5000)).toBe(1);
    expect(withdrawAll(new RetryBudget(plan(0, 0), 5000), 5000)).toBe(0);
  });

  it('adds its share of the requests', () => {
    const budget = emptied(20, 0);
    for (let count = 0; count < 50; count += 1) budget.recordRequest(0);
    expect(withdrawAll(budget, 100)).toBe(10);
  });

  it('rounds down: four requests at 20 % allow none', () => {
    const budget = emptied(20, 0);
    for (let count = 0; count < 4; count += 1) budget.recordRequest(0);
    expect(budget.tryWithdraw(0)).toBe(false);
    budget.recordRequest(0);
    expect(budget.tryWithdraw(0)).toBe(true);
  });

  it('adds what each second brings, little by little', () => {
    const budget = new RetryBudget(plan(0, 2), 0);
    expect(withdrawAll(budget, 0)).toBe(4);
    expect(withdrawAll(budget, 499)).toBe(0);
    expect(withdrawAll(budget, 500)).toBe(1);
    expect(withdrawAll(budget, 2000)).toBe(3);
  });

  it('keeps what the present second and the one before brought', () => {
    const budget = new RetryBudget(plan(100, 0), 0);
    for (const nowMs of [500, 1500, 2500]) for (let count = 0; count < 5; count += 1) budget.recordRequest(nowMs);
    expect(withdrawAll(budget, 2999)).toBe(10);
    expect(withdrawAll(budget, 3000)).toBe(0);
  });

  it('knows from its first second on which one it is', () => {
    const budget = new RetryBudget(plan(100, 0), 5_000);
    for (const nowMs of [5_500, 6_500, 7_500]) for (let count = 0; count < 5; count += 1) budget.recordRequest(nowMs);
    expect(withdrawAll(budget, 7_999)).toBe(10);
  });

  it('keeps one retry, however few requests it is a share of', () => {
    const budget = emptied(20, 0);
    for (let nowMs = 0; nowMs < 50_000; nowMs += 5000) budget.recordRequest(nowMs);
    expect(withdrawAll(budget, 3_600_000)).toBe(1);
    expect(withdrawAll(budget, 7_200_000)).toBe(0);
  });

  it('keeps nothing where the policy allows nothing', () => {
    const budget = new RetryBudget(plan(100, 0), 0);
    for (let count = 0; count < 5; count += 1) budget.recordRequest(0);
    budget.update(plan(0, 0));
    expect(budget.tryWithdraw(0)).toBe(false);
  });

  it('is cold after a long pause', () => {
    const budget = new RetryBudget(plan(100, 1), 0);
    for (let count = 0; count < 50; count += 1) budget.recordRequest(0);
    expect(withdrawAll(budget, 3_600_000)).toBe(2);
    expect(withdrawAll(budget, 3_600_000)).toBe(0);
  });

  it('takes new numbers and keeps what it counted', () => {
    const budget = new RetryBudget(plan(0, 1), 0);
    expect(withdrawAll(budget, 0)).toBe(2);
    budget.update(plan(0, 4));
    expect(withdrawAll(budget, 0)).toBe(0);
    expect(withdrawAll(budget, 500)).toBe(2);
  });

  it('ignores time that goes back', () => {
    const budget = new RetryBudget(plan(0, 1), 50_000);
    expect(withdrawAll(budget, 50_000)).toBe(2);
    expect(withdrawAll(budget, 10_000)).toBe(0);
    expect(withdrawAll(budget, 50_999)).toBe(0);
    expect(withdrawAll(budget, 51_000)).toBe(1);
    const full = new RetryBudget(plan(0, 1), 50_000);
    expect(full.tryWithdraw(50_000)).toBe(true);
    expect(withdrawAll(full, 49_000)).toBe(1);
  });

  it('does not let the retries of an outage come in bursts', () => {
    const budget = new RetryBudget(plan(20, 10), 0);
    const retries: number[] = [];
    for (let nowMs = 0; nowMs < 60_000; nowMs += 5) {
      budget.recordRequest(nowMs);
      const second = Math.floor(nowMs / 1000);
      // Everything fails from the tenth second on, and would be tried twice more.
      if (second >= 10) retries[second - 10] = (retries[second - 10] ?? 0) + Math.min(2, withdrawAll(budget, nowMs));
    }
    // 200 requests a second bring 50; the first second has what was kept besides.
    expect(retries[0]).toBeLessThanOrEqual(50 + 100);
    for (const perSecond of retries.slice(1)) expect(perSecond).toBeLessThanOrEqual(51);
    expect(retries.at(-1)).toBeGreaterThanOrEqual(49);
  });
});

interface Model {
  nowMs: number;
  percent: number;
  minPerSecond: number;
  requests: number[];
  /** Retries, when it was asked last. */
  balance: number;
  askedMs: number;
}

/** What the bucket holds at most: what two seconds brought, or one retry. */
function most({ nowMs, percent, minPerSecond, requests }: Model): number {
  if (percent === 0 && minPerSecond === 0) return 0;
  const recent = requests.filter((atMs) => Math.floor(atMs / 1000) >= Math.floor(nowMs / 1000) - 1).length;
  return Math.max(1, (percent * recent) / 100 + 2 * minPerSecond);
}

class Request implements fc.Command<Model, RetryBudget> {
  check = () => true;
  run(model: Model, budget: RetryBudget): void {
    model.requests.push(model.nowMs);
    model.balance += model.percent / 100;
    budget.recordRequest(model.nowMs);
  }
  toString = () => 'request';
}

class Withdraw implements fc.Command<Model, RetryBudget> {
  check = () => true;
  run(model: Model, budget: RetryBudget): void {
    const came = model.balance + (model.minPerSecond * (model.nowMs - model.askedMs)) / 1000;
    model.askedMs = model.nowMs;
    model.balance = Math.min(came, most(model));
    // Sums of hundredths are not exact.
    const granted = model.balance > 1 - 1e-6;
    expect(budget.tryWithdraw(model.nowMs)).toBe(granted);
    if (granted) model.balance -= 1;
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
    fc.property(fc.commands(commands, { maxCommands: 80, size: 'max' }), fc.nat({ max: 1_000_000 }), (run, nowMs) => {
      fc.modelRun(
        () => ({
          model: {
            nowMs,
            percent: 50,
            minPerSecond: 0,
            requests: [],
            balance: Number.POSITIVE_INFINITY,
            askedMs: nowMs,
          },
          real: new RetryBudget(plan(50, 0), nowMs),
        }),
        run,
      );
    }),
    { numRuns: 200 },
  );
});

it('holds over any time: retries are within the share of its requests, the floor of its seconds, and what two seconds bring', () => {
  const event = fc.record({ waitMs: fc.integer({ min: 0, max: 700 }), requests: fc.nat({ max: 6 }) });
  let granted = 0;
  fc.assert(
    fc.property(
      fc.array(event, { minLength: 20, maxLength: 60, size: 'max' }),
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
        // The times at which it is tightest begin and end with a retry.
        for (const [first, fromMs] of retries.entries()) {
          const before = requests.filter((atMs) => atMs >= fromMs - 2000 && atMs <= fromMs).length;
          const keptOf = Math.max(1, (percent * before) / 100 + 2 * minPerSecond);
          const earlier = requests.filter((atMs) => atMs < fromMs).length;
          let until = earlier;
          for (const [further, toMs] of retries.slice(first).entries()) {
            while ((requests[until] ?? Number.POSITIVE_INFINITY) <= toMs) until += 1;
            const share = (percent * (until - earlier)) / 100 + (minPerSecond * (toMs - fromMs)) / 1000;
            // So many pairs that `expect` itself would be most of the test.
            if (further + 1 > share + keptOf + 1e-6) expect(further + 1).toBeLessThanOrEqual(share + keptOf);
          }
        }
      },
    ),
    { numRuns: 120 },
  );
  expect(granted).toBeGreaterThan(1_000);
});
