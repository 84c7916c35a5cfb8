import * as z from 'zod';
import { milliseconds, stateKey } from './values.ts';

/** What a fallback may take the place of: the reasons of local answers, and kinds of final answers of the dependency. */
export const fallbackReason = z.enum([
  'CircuitOpen',
  'BulkheadFull',
  'QueueTimeout',
  'RateLimited',
  'NoEndpoints',
  'ConnectFailure',
  'Reset',
  'InvalidResponse',
  'AttemptTimeout',
  'Deadline',
  'GatewayError',
  'ServerError',
  'TooManyRequests',
]);
export type FallbackReason = z.infer<typeof fallbackReason>;

const bytes = z
  .number()
  .int()
  .min(1)
  .max(16 * 1024 * 1024);

export const fixedResponsePlan = z.object({
  statusCode: z.number().int().min(200).max(599),
  contentType: z
    .string()
    .max(256)
    .regex(/^[!-~ ]*$/),
  body: z.string().max(8_192),
});
export type FixedResponsePlan = z.infer<typeof fixedResponsePlan>;

export const lastGoodPlan = z.object({
  maxAgeMs: milliseconds,
  maxBytes: bytes,
  maxAnswerBytes: bytes,
  audience: z.enum(['Anonymous', 'Everyone']),
  /** Names of request headers in lower case, sorted, each once. */
  keyHeaders: z.array(z.string().max(64)).max(8),
});
export type LastGoodPlan = z.infer<typeof lastGoodPlan>;

/** Exactly one of `response`, `lastGood` and `dependency` is not null. */
export const fallbackPlan = z.object({
  /** Of the answers that are kept. */
  stateKey,
  fallbackOn: z.array(fallbackReason).max(fallbackReason.options.length),
  methods: z.enum(['Safe', 'All']),
  response: fixedResponsePlan.nullable(),
  lastGood: lastGoodPlan.nullable(),
  /** Name of another entry of the same ServiceDependency. */
  dependency: z.string().max(253).nullable(),
});
export type FallbackPlan = z.infer<typeof fallbackPlan>;
