import * as z from 'zod';
import { milliseconds, stateKey } from './values.ts';

export const hedgingPlan = z.object({
  stateKey,
  /** Percent of the attempts that are answered before a hedge is sent. */
  afterPercentile: z.number().int().min(50).max(99),
  minDelayMs: milliseconds.min(1),
  /** Null: there is no upper bound. */
  maxDelayMs: milliseconds.min(1).nullable(),
  maxHedges: z.number().int().min(1).max(3),
});
export type HedgingPlan = z.infer<typeof hedgingPlan>;
