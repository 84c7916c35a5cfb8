// A circuit breaker as it lives in a dependency: with the wall-clock times that status tells of it.
import type { CircuitBreakerPlan } from '../../../plan/policies/circuit-breaker.ts';
import type { Random } from '../../../runtime/random.ts';
import { BreakerState, CircuitBreaker } from '../../policies/circuit-breaker.ts';

export interface CircuitEntry {
  readonly key: string;
  readonly breaker: CircuitBreaker;
  sinceUnixMs: number;
  /** When it opened after it had been closed; null while it is closed or forced. */
  failingSinceUnixMs: number | null;
}

/** A circuit that is not present any more tells nothing. */
export function createCircuit(
  plan: CircuitBreakerPlan,
  random: Random,
  unixMs: () => number,
  isPresent: (circuit: CircuitEntry) => boolean,
  onTransition: (circuit: CircuitEntry, state: BreakerState) => void,
): CircuitEntry {
  const breaker = new CircuitBreaker(plan, random);
  const circuit: CircuitEntry = { key: plan.stateKey, breaker, sinceUnixMs: unixMs(), failingSinceUnixMs: null };
  breaker.onTransition = (state) => {
    // A request that began before a plan which no longer has this circuit may still move it.
    if (!isPresent(circuit)) return;
    circuit.sinceUnixMs = unixMs();
    if (state === BreakerState.Open || state === BreakerState.HalfOpen)
      circuit.failingSinceUnixMs ??= circuit.sinceUnixMs;
    else circuit.failingSinceUnixMs = null;
    onTransition(circuit, state);
  };
  return circuit;
}
