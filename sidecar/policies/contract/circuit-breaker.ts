// The circuit breaker under the contract of every policy.
import { expect } from 'vitest';
import { type BreakerPlan, BreakerState, CircuitBreaker, isProbe, Outcome } from '../circuit-breaker.ts';
import type { Ending, Subject } from './contract.ts';

const STATES = Object.keys(BreakerState);

interface Admitted {
  permit: number;
  /** Changes of the circuit before it was admitted: a result of another era is late. */
  era: number;
}

export function breakerSubject(first: number): Subject<Admitted> {
  const planOf = (number: number): BreakerPlan => ({
    failureOn: ['ServerError', 'AttemptTimeout'],
    consecutiveFailures: 2 + (number % 3),
    failureRate: { percent: 60, minimumCalls: 4 },
    slowCalls: null,
    windowMs: 1000,
    openForMs: 100 + (number % 100),
    maxOpenForMs: 400,
    halfOpenMaxProbes: 1 + (number % 4),
    halfOpenSuccesses: 3,
    halfOpenProbeTimeoutMs: 5000,
    force: number % 7 === 0 ? 'Open' : number % 5 === 0 ? 'Closed' : null,
  });
  let plan = planOf(first);
  let era = 0;
  const breaker = new CircuitBreaker(plan, () => 0.5);
  breaker.onTransition = () => {
    era += 1;
  };
  const outcomeOf = (ending: Ending) => {
    if (ending === 'Failed' || ending === 'TimedOut') return Outcome.Failure;
    return ending === 'Answered' ? Outcome.Success : Outcome.Ignored;
  };
  return {
    begin(nowMs) {
      const permit = breaker.admit(nowMs);
      return permit === 0 ? null : { permit, era };
    },
    end: ({ permit }, ending, nowMs) => breaker.settle(permit, outcomeOf(ending), 1, nowMs),
    update(number, nowMs) {
      plan = planOf(number);
      breaker.update(plan, nowMs);
    },
    held: () => breaker.probesInFlight,
    situation: (nowMs) => (breaker.probesInFlight > 0 ? 'probing' : (STATES[breaker.state(nowMs)] ?? '')),
    counted: (nowMs) => breaker.counts(nowMs).calls,
    counts(call, ending, nowMs) {
      breaker.state(nowMs);
      // A probe may close the circuit, which then starts with no memory.
      if (call.era === era && isProbe(call.permit)) return null;
      return call.era === era && outcomeOf(ending) !== Outcome.Ignored;
    },
    idle(nowMs) {
      breaker.update({ ...plan, force: null }, nowMs);
      // Longer than any open time.
      const laterMs = nowMs + 1000;
      const admitted = Array.from({ length: 100 }, () => breaker.admit(laterMs)).filter((permit) => permit > 0);
      const closed = breaker.state(laterMs) === BreakerState.Closed;
      expect(admitted).toHaveLength(closed ? 100 : plan.halfOpenMaxProbes);
    },
  };
}
