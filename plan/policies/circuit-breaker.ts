import * as z from 'zod';
import { failureKind, milliseconds, percent, stateKey } from './values.ts';

const ratio = z.object({ percent: percent.min(1), minimumCalls: z.number().int().min(1).max(100_000) });

export const circuitBreakerPlan = z.object({
  stateKey,
  failureOn: z.array(failureKind).max(6),
  /** Zero: consecutive failures do not trip. */
  consecutiveFailures: z.number().int().min(0).max(1000),
  failureRate: ratio.nullable(),
  slowCalls: ratio.extend({ thresholdMs: milliseconds.min(1) }).nullable(),
  windowMs: milliseconds.min(1000),
  openForMs: milliseconds.min(100),
  maxOpenForMs: milliseconds.min(100),
  halfOpenMaxProbes: z.number().int().min(1).max(100),
  halfOpenSuccesses: z.number().int().min(1).max(100),
  /** Within it a probe is settled, whatever other timeouts its call has. */
  halfOpenProbeTimeoutMs: milliseconds.min(1).default(5000),
  /** Null: the calls decide. */
  force: z.enum(['Open', 'Closed']).nullable().default(null),
});
export type CircuitBreakerPlan = z.infer<typeof circuitBreakerPlan>;
