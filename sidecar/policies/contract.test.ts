// What every policy that lends something out must keep: whatever happens in between, once all is given back nothing is missing and
// nothing is left over, and all of it can be lent again.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission, Bulkhead, type BulkheadWaiter } from './bulkhead.ts';
import { type BreakerPlan, BreakerState, CircuitBreaker, Outcome } from './circuit-breaker.ts';
import { type TimerNode, TimerWheel } from './timer-wheel.ts';

/** A policy that lends: `take` is refused by null; `give` ends the loan in one of several ways. */
interface Lender<Loan> {
  take(nowMs: number): Loan | null;
  give(loan: Loan, way: number, nowMs: number): void;
  update(number: number, nowMs: number): void;
  /** Called when all is given back: fails where something is missing or left over. */
  settled(nowMs: number): void;
}

interface Slot extends BulkheadWaiter {
  state: 'Held' | 'Queued' | 'Gone';
}

function bulkheadLender(): Lender<Slot> {
  let limit = 3;
  const bulkhead = new Bulkhead({ maxConcurrent: limit, maxQueued: 4 });
  const letIn = (waiter: BulkheadWaiter | null) => {
    if (waiter !== null) (waiter as Slot).state = 'Held';
  };
  return {
    take() {
      const slot: Slot = { bulkheadPrevious: null, bulkheadNext: null, bulkheadQueued: false, state: 'Gone' };
      const admission = bulkhead.acquire(slot);
      if (admission === Admission.Full) return null;
      slot.state = admission === Admission.Granted ? 'Held' : 'Queued';
      return slot;
    },
    give(slot) {
      if (slot.state === 'Held') letIn(bulkhead.release());
      else bulkhead.cancel(slot);
      slot.state = 'Gone';
    },
    update(number) {
      limit = 1 + (number % 5);
      bulkhead.update({ maxConcurrent: limit, maxQueued: number % 4 });
      for (let waiter = bulkhead.takeGrantable(); waiter !== null; waiter = bulkhead.takeGrantable()) letIn(waiter);
    },
    settled() {
      expect([bulkhead.inFlight, bulkhead.queued, bulkhead.takeGrantable()]).toEqual([0, 0, null]);
      const admissions = Array.from({ length: limit }, () => this.take(0));
      expect(admissions.map((slot) => slot?.state)).toEqual(admissions.map(() => 'Held'));
      expect(this.take(0)?.state).not.toBe('Held');
    },
  };
}

function breakerLender(): Lender<number> {
  let spec: BreakerPlan = {
    failureOn: ['ServerError'],
    consecutiveFailures: 2,
    failureRate: null,
    slowCalls: null,
    windowMs: 1000,
    openForMs: 100,
    maxOpenForMs: 400,
    halfOpenMaxProbes: 2,
    halfOpenSuccesses: 3,
  };
  const breaker = new CircuitBreaker(spec, () => 0.5);
  return {
    take: (nowMs) => breaker.admit(nowMs) || null,
    give: (permit, way, nowMs) =>
      breaker.settle(permit, [Outcome.Success, Outcome.Failure, Outcome.Ignored][way % 3] ?? Outcome.Ignored, 1, nowMs),
    update(number, nowMs) {
      spec = { ...spec, halfOpenMaxProbes: 1 + (number % 4), openForMs: 100 + (number % 100) };
      breaker.update(spec, nowMs);
    },
    settled(nowMs) {
      const laterMs = nowMs + 1000;
      if (breaker.state(laterMs) === BreakerState.Closed) return;
      const probes = Array.from({ length: spec.halfOpenMaxProbes }, () => breaker.admit(laterMs) > 0);
      expect(probes).toEqual(probes.map(() => true));
      expect(breaker.admit(laterMs)).toBe(0);
    },
  };
}

interface Timer extends TimerNode {
  expired: number;
}

function wheelLender(): Lender<Timer> {
  const wheel = new TimerWheel(0, 10, 8);
  let expirations = 0;
  return {
    take(nowMs) {
      const timer: Timer = {
        wheelSlot: -1,
        wheelPrevious: null,
        wheelNext: null,
        wheelAtMs: 0,
        expired: 0,
        expire() {
          timer.expired += 1;
          expirations += 1;
        },
      };
      wheel.arm(timer, nowMs + (expirations % 13) * 17);
      return timer;
    },
    give(timer, way, nowMs) {
      wheel.advance(nowMs);
      if (way % 3 === 0) wheel.arm(timer, nowMs + 500);
      wheel.disarm(timer);
      expect(timer.wheelSlot).toBe(-1);
      expect(timer.expired).toBeLessThanOrEqual(1);
    },
    update: (_number, nowMs) => wheel.advance(nowMs),
    settled(nowMs) {
      expect(wheel.size).toBe(0);
      const before = expirations;
      wheel.advance(nowMs + 10_000);
      expect(expirations).toBe(before);
    },
  };
}

const step = fc.record({
  kind: fc.constantFrom('take', 'take', 'give', 'give', 'pass', 'update'),
  number: fc.nat({ max: 1000 }),
});

function keepsContract<Loan>(makeLender: () => Lender<Loan>): void {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const lender = makeLender();
      const loans: Loan[] = [];
      let nowMs = 0;
      const give = (number: number) => {
        for (const loan of loans.splice(number % loans.length, 1)) lender.give(loan, number, nowMs);
      };
      for (const { kind, number } of steps) {
        if (kind === 'pass') nowMs += number / 7;
        else if (kind === 'update') lender.update(number, nowMs);
        else if (kind === 'give' && loans.length > 0) give(number);
        else if (kind === 'take') {
          const loan = lender.take(nowMs);
          if (loan !== null) loans.push(loan);
        }
      }
      while (loans.length > 0) give(nowMs > 50 ? 2 : 0);
      lender.settled(nowMs);
    }),
    { numRuns: 500 },
  );
}

describe('what is given back is there again', () => {
  it('for slots and places of a bulkhead', () => keepsContract(bulkheadLender));
  it('for permits of a circuit breaker', () => keepsContract(breakerLender));
  it('for timers of a wheel', () => keepsContract(wheelLender));
});
