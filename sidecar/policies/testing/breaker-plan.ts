import type { BreakerPlan } from '../circuit-breaker.ts';

/** What a circuit is compiled to where a policy writes the block and nothing in it. */
export const BREAKER_PLAN: BreakerPlan = {
  failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
  consecutiveFailures: 5,
  failureRate: null,
  slowCalls: null,
  windowMs: 10_000,
  openForMs: 30_000,
  maxOpenForMs: 300_000,
  halfOpenMaxProbes: 2,
  halfOpenSuccesses: 2,
  halfOpenProbeTimeoutMs: 5000,
  force: null,
};
