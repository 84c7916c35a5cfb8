import * as z from 'zod';
import { milliseconds, stateKey } from './values.ts';

export const bulkheadPlan = z.object({
  stateKey,
  maxConcurrent: z.number().int().min(1).max(100_000),
  maxQueued: z.number().int().min(0).max(100_000),
  queueTimeoutMs: milliseconds,
  /** The limit is found by measuring, `maxConcurrent` at most; null: it is `maxConcurrent`. */
  adaptive: z
    .object({
      minConcurrent: z.number().int().min(1).max(100_000),
      latencyTolerancePercent: z.number().int().min(1).max(1000),
      probeIntervalMs: milliseconds.min(1000),
    })
    .nullable()
    .default(null),
});
export type BulkheadPlan = z.infer<typeof bulkheadPlan>;
