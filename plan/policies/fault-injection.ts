import * as z from 'zod';
import { milliseconds, percent } from './values.ts';

/** A null fault is not injected; each share is drawn on its own. */
export const faultInjectionPlan = z.object({
  delay: z.object({ fixedMs: milliseconds, percent }).nullable(),
  abort: z.object({ statusCode: z.number().int().min(400).max(599), percent }).nullable(),
});
export type FaultInjectionPlan = z.infer<typeof faultInjectionPlan>;
