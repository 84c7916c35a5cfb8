// The retry budget under the contract of every policy.
import { expect } from 'vitest';
import { RetryBudget } from '../retry-budget.ts';
import type { Subject } from './contract.ts';

/** Lends nothing; what it must not lose, or count twice, are the requests that retries are a share of. */
export function budgetSubject(first: number): Subject<'Request'> {
  const planOf = (number: number) => ({ budgetPercent: (number % 5) * 25, budgetMinPerSecond: number % 3 });
  let plan = planOf(first);
  let last = '';
  const budget = new RetryBudget(plan, 0);
  const withdrawals = (nowMs: number) => {
    let granted = 0;
    while (granted < 10_000 && budget.tryWithdraw(nowMs)) granted += 1;
    return granted;
  };
  return {
    begin(nowMs) {
      budget.recordRequest(nowMs);
      return 'Request';
    },
    end(_request, ending, nowMs) {
      if (ending === 'Failed') last = budget.tryWithdraw(nowMs) ? 'granted' : 'refused';
      return last;
    },
    update(number) {
      plan = planOf(number);
      budget.update(plan);
    },
    held: () => 0,
    situation: () => last,
    idle(nowMs) {
      const laterMs = nowMs + 20_000;
      for (let request = 0; request < 40; request += 1) budget.recordRequest(laterMs);
      expect(withdrawals(laterMs)).toBe((40 * plan.budgetPercent) / 100 + 2 * plan.budgetMinPerSecond);
    },
  };
}
