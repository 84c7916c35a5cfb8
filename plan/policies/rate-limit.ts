import * as z from 'zod';
import { stateKey } from './values.ts';

const rate = z.number().int().min(1).max(1_000_000);

export const rateLimitPlan = z.object({
  stateKey,
  requestsPerSecond: rate,
  burst: rate,
  /** Name as it was written, in any case; each value of it has the limit for itself. */
  perHeader: z.object({ name: z.string().min(1).max(64), maxValues: z.number().int().min(1).max(10_000) }).nullable(),
});
export type RateLimitPlan = z.infer<typeof rateLimitPlan>;
