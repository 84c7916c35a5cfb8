import * as z from 'zod';
import { milliseconds, stateKey } from './values.ts';

const threshold = z.number().int().min(1).max(100);

export const healthCheckPlan = z.object({
  stateKey,
  /** Path and query, as on the wire. */
  path: z
    .string()
    .regex(/^\/[!-"$-~]*$/)
    .max(1024),
  /** Value of the field Host. Null: the authority of the dependency. */
  host: z
    .string()
    .regex(/^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]{1,5})?$/)
    .max(259)
    .nullable(),
  /** Null: the port of the endpoint. */
  port: z.number().int().min(1).max(65_535).nullable(),
  intervalMs: milliseconds.min(1000),
  timeoutMs: milliseconds.min(100),
  unhealthyThreshold: threshold,
  healthyThreshold: threshold,
  expectedStatuses: z.array(z.number().int().min(200).max(599)).min(1).max(32),
});
export type HealthCheckPlan = z.infer<typeof healthCheckPlan>;
