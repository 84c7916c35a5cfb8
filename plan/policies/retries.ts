import * as z from 'zod';
import { failureKind, grpcStatusCode, milliseconds, percent, stateKey } from './values.ts';

export const retriesPlan = z.object({
  stateKey,
  maxAttempts: z.number().int().min(1).max(10),
  retryOn: z.array(failureKind).max(6),
  /** Beside `retryOn`. */
  retryOnStatusCodes: z.array(z.number().int().min(400).max(599)).max(32).default([]),
  /** Of calls of gRPC, beside `retryOn`. */
  retryOnGrpcStatusCodes: z.array(grpcStatusCode).max(16).default([]),
  methods: z.enum(['Idempotent', 'All']),
  backoffInitialMs: milliseconds,
  backoffMaxMs: milliseconds,
  /** The longest Retry-After that is waited for; 0: it is not looked at. */
  maxRetryAfterMs: milliseconds.default(0),
  budgetPercent: percent,
  budgetMinPerSecond: z.number().int().min(0).max(1000),
});
export type RetriesPlan = z.infer<typeof retriesPlan>;
