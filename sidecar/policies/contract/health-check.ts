// Health checks under the contract of every policy: a call is a check.
import { expect } from 'vitest';
import { type CheckedEndpoint, HealthChecks } from '../health-check.ts';
import type { Ending, Subject } from './contract.ts';

const NAMES = ['a', 'b', 'c'];
const PROBLEMS: Partial<Record<Ending, string>> = { Answered: '', Failed: 'status 503', TimedOut: 'no answer' };

export function healthSubject(first: number): Subject<CheckedEndpoint> {
  const numbersOf = (number: number) => ({
    intervalMs: 40 + (number % 30),
    unhealthyThreshold: 1 + (number % 2),
    healthyThreshold: 1 + (number % 3),
  });
  const checks = new HealthChecks(numbersOf(first), () => 0.5);
  checks.setEndpoints(NAMES, 0);
  const queue: CheckedEndpoint[] = [];
  return {
    begin(nowMs) {
      checks.takeDue(nowMs, queue);
      const next = queue.shift();
      // The others are taken when they are next looked for.
      for (const waiting of queue.splice(0)) checks.cancel(waiting);
      if (next === undefined) return null;
      checks.begin(next, nowMs);
      return next;
    },
    end(checked, ending, nowMs) {
      const problem = PROBLEMS[ending];
      if (problem === undefined) checks.cancel(checked);
      else checks.settle(checked, problem, nowMs);
      return Array.from(checks.endpoints, ({ healthy, contraryInRow, dueAtMs }) => ({
        healthy,
        contraryInRow,
        dueAtMs,
      }));
    },
    update(number, nowMs) {
      checks.update(numbersOf(number), nowMs);
      checks.setEndpoints(NAMES, nowMs);
    },
    held: () => Array.from(checks.endpoints).filter(({ underway }) => underway).length,
    situation: () => (checks.unhealthy.length === 0 ? 'all healthy' : 'some unhealthy'),
    idle(nowMs) {
      // Longer than any interval: everybody is asked again.
      checks.takeDue(nowMs + 1000, queue);
      expect(queue.map(({ name }) => name).sort()).toEqual(NAMES);
      for (const checked of queue) for (let nth = 0; nth < 3; nth += 1) checks.settle(checked, '', nowMs + 1000);
      expect(checks.unhealthy).toEqual([]);
    },
  };
}
