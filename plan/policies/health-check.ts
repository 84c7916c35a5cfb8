import * as z from 'zod';
import { milliseconds, stateKey } from './values.ts';

const status = z.number().int().min(200).max(599);
const threshold = z.number().int().min(1).max(100);

export const healthCheckPlan = z.object({
  stateKey,
  /** Path and query, as on the wire. Null: asked by gRPC. */
  path: z
    .string()
    .regex(/^\/[!-"$-~]*$/)
    .max(1024)
    .nullable(),
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
  /** Numbers, and ranges with both their ends: "200-299". Null: asked by gRPC. */
  expectedStatuses: z
    .array(z.union([status, z.string().regex(/^[2-5][0-9]{2}-[2-5][0-9]{2}$/)]))
    .min(1)
    .max(32)
    .nullable(),
  /** Null: asked by HTTP, as by an operator from before gRPC. `service` empty: the server as a whole. */
  grpc: z
    .object({
      service: z
        .string()
        .regex(/^[!-~]*$/)
        .max(253),
    })
    .nullable()
    .default(null),
});
export type HealthCheckPlan = z.infer<typeof healthCheckPlan>;
