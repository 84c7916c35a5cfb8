// What may go wrong with one attempt, for the blocks that decide by it.
import { z } from 'zod';

/** What may go wrong with one attempt: the words of retryOn and failureOn. */
export const FAILURE_KINDS = [
  'ConnectFailure',
  'Reset',
  'AttemptTimeout',
  'GatewayError',
  'ServerError',
  'TooManyRequests',
] as const;
export type FailureKind = (typeof FAILURE_KINDS)[number];

export const failureKind = z.enum(FAILURE_KINDS).meta({
  description:
    'ConnectFailure: no connection. Reset: the connection was lost before the response head. AttemptTimeout: the attempt took too long. GatewayError: 502, 503, 504. ServerError: any 5xx. TooManyRequests: 429.',
});
