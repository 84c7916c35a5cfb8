// The values that blocks of a plan are made of.
import * as z from 'zod';

export const milliseconds = z.number().int().min(0).max(86_400_000);
export const percent = z.number().int().min(0).max(100);

/** Which state a block's counters live in: unchanged over plans as long as the key is. A block without state has no key. */
export const stateKey = z.string().max(1024);

/** Status codes of gRPC, but OK. */
export const grpcStatusCode = z.enum([
  'Cancelled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
]);
export type GrpcStatusCode = z.infer<typeof grpcStatusCode>;

/** What may go wrong with one attempt; the vocabulary of `retryOn` and `failureOn`. */
export const failureKind = z.enum([
  'ConnectFailure',
  'Reset',
  'AttemptTimeout',
  'GatewayError',
  'ServerError',
  'TooManyRequests',
]);
export type FailureKind = z.infer<typeof failureKind>;
