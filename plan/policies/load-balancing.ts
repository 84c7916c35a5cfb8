import * as z from 'zod';
import { milliseconds, stateKey } from './values.ts';

/** Null in a row means the same as PeakEwma without slow start, by the hints of endpoints. */
export const loadBalancingPlan = z.object({
  stateKey,
  algorithm: z.enum(['PeakEwma', 'LeastRequest', 'RoundRobin', 'ConsistentHash']),
  /** Not null with ConsistentHash, and only then. */
  consistentHash: z
    .object({
      key: z.enum(['Header', 'Cookie', 'SourceAddress']),
      /** Of the header, in any case, or the cookie; null with SourceAddress. */
      name: z.string().min(1).max(256).nullable(),
      maxLoadPercent: z.number().int().min(101).max(10_000),
    })
    .nullable(),
  slowStart: z.object({ windowMs: milliseconds.min(1) }).nullable(),
  zoneAware: z.enum(['Hints', 'Disabled']),
});
export type LoadBalancingPlan = z.infer<typeof loadBalancingPlan>;
