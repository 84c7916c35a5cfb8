import { z } from 'zod';
import { milliseconds, stateKey } from './values.ts';

export const bulkheadPlan = z.object({
  stateKey,
  maxConcurrent: z.number().int().min(1).max(100_000),
  maxQueued: z.number().int().min(0).max(100_000),
  queueTimeoutMs: milliseconds,
});
export type BulkheadPlan = z.infer<typeof bulkheadPlan>;
