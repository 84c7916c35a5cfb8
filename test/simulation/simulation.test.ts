// The policies together, over many seeds. Another seed by hand: SEED=7 npx vitest run --project unit test/simulation; more of them: SEEDS=10000.
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { readEnvironment } from '../../runtime/environment.ts';
import { Bulkhead, type BulkheadWaiter } from '../../sidecar/policies/bulkhead.ts';
import { CircuitBreaker, Outcome } from '../../sidecar/policies/circuit-breaker.ts';
import { RetryBudget } from '../../sidecar/policies/retry-budget.ts';
import { type TimerNode, TimerWheel } from '../../sidecar/policies/timer-wheel.ts';
import { emptyTally, OUTCOMES, type Tally, Violation } from './ledger.ts';
import { type MakeMachines, realMachines, simulate } from './simulate.ts';
import { SLOT_MS } from './stack.ts';

const { SEED, SEEDS } = readEnvironment(
  z.object({ SEED: z.coerce.number().int().min(1).optional(), SEEDS: z.coerce.number().int().min(1).default(500) }),
);

function run(seed: number, makeMachines?: MakeMachines): Tally {
  try {
    return simulate(seed, makeMachines);
  } catch (error) {
    throw new Error(`seed ${seed} (replay with SEED=${seed}): ${String(error)}`, { cause: error });
  }
}

function add(total: Tally, one: Tally): void {
  for (const outcome of OUTCOMES) total.outcomes[outcome] += one.outcomes[outcome];
  total.retries += one.retries;
  total.queued += one.queued;
  total.opened += one.opened;
  total.halfOpened += one.halfOpened;
  total.closed += one.closed;
  total.budgetRefusals += one.budgetRefusals;
}

describe('the stack of policies', () => {
  it(
    SEED === undefined ? `keeps its promises for ${SEEDS} seeds` : `keeps its promises for seed ${SEED}`,
    () => {
      const seeds = SEED === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [SEED];
      const total = emptyTally();
      for (const seed of seeds) add(total, run(seed));
      if (seeds.length < 100) return;
      // A promise is worth something only where it was put to the test: everything that can happen has happened.
      for (const outcome of OUTCOMES) expect(total.outcomes[outcome], outcome).toBeGreaterThan(seeds.length / 10);
      const { retries, queued, opened, halfOpened, closed, budgetRefusals } = total;
      for (const count of [retries, queued, opened, halfOpened, closed, budgetRefusals])
        expect(count).toBeGreaterThan(seeds.length / 10);
    },
    20_000 + SEEDS * 100,
  );

  it('runs a seed twice in the same way', () => {
    expect(simulate(4711)).toEqual(simulate(4711));
  });
});

/** Each breaks one promise; the simulation must notice within a few seeds, or it proves nothing. */
const broken: Record<string, MakeMachines> = {
  'a breaker that admits everyone while half-open': (plan, random, nowMs) => {
    class Greedy extends CircuitBreaker {
      override look(lookMs: number): boolean {
        return this.state(lookMs) !== 1;
      }
    }
    return { ...realMachines(plan, random, nowMs), breaker: new Greedy(plan.circuitBreaker, random) };
  },
  'a breaker that keeps the permits of cancelled calls': (plan, random, nowMs) => {
    class Keeping extends CircuitBreaker {
      override settle(permit: number, outcome: number, durationMs: number, settleMs: number): void {
        if (outcome !== Outcome.Ignored) super.settle(permit, outcome, durationMs, settleMs);
      }
    }
    return { ...realMachines(plan, random, nowMs), breaker: new Keeping(plan.circuitBreaker, random) };
  },
  'a bulkhead one too large': (plan, random, nowMs) => {
    class Large extends Bulkhead {
      override update(spec: Parameters<Bulkhead['update']>[0]): void {
        super.update({ ...spec, maxConcurrent: spec.maxConcurrent + 1 });
      }
    }
    return { ...realMachines(plan, random, nowMs), bulkhead: new Large(plan.bulkhead) };
  },
  'a bulkhead that forgets who waits when a slot is freed': (plan, random, nowMs) => {
    class Forgetful extends Bulkhead {
      override release(): BulkheadWaiter | null {
        super.release();
        return null;
      }
    }
    return { ...realMachines(plan, random, nowMs), bulkhead: new Forgetful(plan.bulkhead) };
  },
  'a bulkhead that cannot be cancelled': (plan, random, nowMs) => {
    class Stubborn extends Bulkhead {
      override cancel(): void {
        // Forgets to.
      }
    }
    return { ...realMachines(plan, random, nowMs), bulkhead: new Stubborn(plan.bulkhead) };
  },
  'a budget that always has some left': (plan, random, nowMs) => {
    class Endless extends RetryBudget {
      override tryWithdraw(withdrawMs: number): boolean {
        return super.tryWithdraw(withdrawMs) || true;
      }
    }
    return { ...realMachines(plan, random, nowMs), budget: new Endless(plan.retries, nowMs) };
  },
  'a wheel that is late by a turn': (plan, random, nowMs) => {
    class Late extends TimerWheel {
      override arm(node: TimerNode, atMs: number): void {
        super.arm(node, atMs + SLOT_MS * 50);
      }
    }
    return { ...realMachines(plan, random, nowMs), wheel: new Late(nowMs, SLOT_MS, 50) };
  },
  'a wheel that cannot be disarmed': (plan, random, nowMs) => {
    class Stuck extends TimerWheel {
      override disarm(): void {
        // Forgets to.
      }
    }
    return { ...realMachines(plan, random, nowMs), wheel: new Stuck(nowMs, SLOT_MS, 50) };
  },
};

describe('the simulation', () => {
  it.each(Object.keys(broken))('notices %s', (name) => {
    const makeMachines = broken[name];
    let violation: unknown;
    for (let seed = 1; seed <= 100 && violation === undefined; seed += 1) {
      try {
        simulate(seed, makeMachines);
      } catch (error) {
        violation = error;
      }
    }
    expect(violation).toBeInstanceOf(Violation);
  });
});
