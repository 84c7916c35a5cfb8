import { z } from 'zod';
import { failureKind, milliseconds, percent, stateKey } from './values.ts';

export const retriesPlan = z.object({
  stateKey,
  maxAttempts: z.number().int().min(1).max(10),
  retryOn: z.array(failureKind).max(6),
  methods: z.enum(['Idempotent', 'All']),
  backoffInitialMs: milliseconds,
  backoffMaxMs: milliseconds,
  budgetPercent: percent,
  budgetMinPerSecond: z.number().int().min(0).max(1000),
});
export type RetriesPlan = z.infer<typeof retriesPlan>;
