import * as z from 'zod';
import { failureKind, milliseconds, percent, stateKey } from './values.ts';

export const outlierDetectionPlan = z.object({
  stateKey,
  failureOn: z.array(failureKind).max(6),
  /** Zero: failures in a row do not eject. */
  consecutiveFailures: z.number().int().min(0).max(1000),
  consecutiveLocalOriginFailures: z.number().int().min(0).max(1000),
  successRate: z
    .object({
      minimumEndpoints: z.number().int().min(2).max(10_000),
      minimumCalls: z.number().int().min(1).max(100_000),
      deviationFactorPercent: z.number().int().min(100).max(1000),
    })
    .nullable(),
  intervalMs: milliseconds.min(1000),
  maxEjectionPercent: percent,
  ejectForMs: milliseconds.min(1000),
  maxEjectForMs: milliseconds.min(1000),
  panicThresholdPercent: percent,
});
export type OutlierDetectionPlan = z.infer<typeof outlierDetectionPlan>;
