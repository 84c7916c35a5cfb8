import { assert, integer, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import { ConnectionAttempts, NO_RETRY } from './connection-retry.ts';
import { FailureBit } from './failures.ts';
import { RetryBudget } from './retry-budget.ts';

const RETRIES: RetriesPlan = {
  stateKey: 'retries:base',
  maxAttempts: 3,
  retryOn: ['ConnectFailure'],
  methods: 'Idempotent',
  backoffInitialMs: 10,
  backoffMaxMs: 15,
  retryOnStatusCodes: [],
  retryOnGrpcStatusCodes: [],
  maxRetryAfterMs: 1_000,
  budgetPercent: 0,
  budgetMinPerSecond: 10,
};
const CAUSE = 1;
const { ConnectFailure, Reset } = FailureBit;

function machine(retries: RetriesPlan | null, budget: RetryBudget | null = null) {
  const counts = { retries: new Float64Array(4), suppressed: new Float64Array(4) };
  const slots = { attempts: 0, budget: 2 };
  return { attempts: new ConnectionAttempts(retries, budget, () => 0.5, counts, slots), counts };
}

describe('another attempt to connect', () => {
  it('is made once, and at once, where no policy says how often', () => {
    const { attempts, counts } = machine(null);
    attempts.started();
    expect(attempts.next(Reset, CAUSE, 0)).toBe(0);
    attempts.started();
    expect(attempts.next(ConnectFailure, CAUSE, 0)).toBe(NO_RETRY);
    expect(counts.retries[CAUSE]).toBe(1);
    expect(counts.suppressed.every((count) => count === 0)).toBe(true);
  });

  it('is made as often as the policy says, after a pause that grows to its bound', () => {
    const { attempts, counts } = machine(RETRIES);
    attempts.started();
    expect(attempts.next(ConnectFailure, CAUSE, 0)).toBe(5);
    expect(counts.retries[CAUSE]).toBe(0);
    attempts.started();
    expect(counts.retries[CAUSE]).toBe(1);
    expect(attempts.next(ConnectFailure, CAUSE, 0)).toBe(7.5);
    attempts.started();
    expect(attempts.next(ConnectFailure, CAUSE, 0)).toBe(NO_RETRY);
    expect(counts.suppressed[0]).toBe(1);
  });

  it('may follow after a millisecond, which is not the word for none', () => {
    const { attempts } = machine({ ...RETRIES, backoffInitialMs: 2 });
    attempts.started();
    const delayMs = attempts.next(ConnectFailure, CAUSE, 0);
    expect(delayMs).toBe(1);
    expect(delayMs).not.toBe(NO_RETRY);
  });

  it('is counted by what the one before failed of, once', () => {
    const { attempts, counts } = machine(RETRIES);
    attempts.started();
    expect(attempts.next(ConnectFailure, 0, 0)).toBe(5);
    expect(attempts.count).toBe(1);
    attempts.started();
    expect(attempts.count).toBe(2);
    attempts.takeBack();
    expect(attempts.count).toBe(1);
    attempts.started();
    expect([...counts.retries]).toEqual([1, 0, 0, 0]);
  });

  it('is not made for what the policy does not name', () => {
    const { attempts, counts } = machine(RETRIES);
    attempts.started();
    expect(attempts.next(Reset, CAUSE, 0)).toBe(NO_RETRY);
    expect(counts.suppressed[0]).toBe(0);
  });

  it('is not counted where it failed of our not knowing where to go', () => {
    const { attempts } = machine({ ...RETRIES, maxAttempts: 1 });
    attempts.started();
    attempts.takeBack();
    expect(attempts.next(ConnectFailure, CAUSE, 0)).toBeGreaterThanOrEqual(0);
  });

  it('is paid for by the budget, which is asked last', () => {
    assert(
      property(integer({ min: 1, max: 6 }), integer({ min: 0, max: 12 }), (maxAttempts, connections) => {
        const budget = new RetryBudget({ budgetPercent: 0, budgetMinPerSecond: 2 }, 0);
        let made = 0;
        let suppressed = 0;
        for (let connection = 0; connection < connections; connection++) {
          const { attempts, counts } = machine({ ...RETRIES, maxAttempts }, budget);
          let tries = 0;
          do {
            attempts.started();
            tries += 1;
          } while (attempts.next(ConnectFailure, CAUSE, 0) !== NO_RETRY);
          expect(tries).toBeLessThanOrEqual(maxAttempts);
          expect(counts.retries[CAUSE]).toBe(tries - 1);
          expect(counts.suppressed[tries < maxAttempts ? 2 : 0]).toBe(1);
          made += tries - 1;
          suppressed += counts.suppressed.reduce((sum, count) => sum + count, 0);
        }
        // What two seconds bring.
        expect(made).toBe(Math.min(4, connections * (maxAttempts - 1)));
        expect(suppressed).toBe(connections);
      }),
    );
  });
});
