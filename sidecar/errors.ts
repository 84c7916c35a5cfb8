// The one table of answers that the sidecar gives itself, in the place of the dependency. The code is the value of the header
// `breakwater-reason`, the metric label `reason`, and a row of docs/errors.md (a test keeps page and table equal).
import { GrpcStatus } from './grpc/status.ts';

export interface LocalAnswer {
  code: string;
  status: number;
  /** The same to a call of gRPC: its status code. */
  grpcStatus: number;
  /** Title of the problem document (RFC 9457). */
  title: string;
  /** What happened and what to look at, for the person who reads it at night. */
  detail: string;
  /** The connection cannot be used any more: what follows on it has no certain meaning. */
  closes: boolean;
}

const answer = (
  code: string,
  status: number,
  grpcStatus: number,
  title: string,
  detail: string,
  closes = false,
): LocalAnswer => ({
  code,
  status,
  grpcStatus,
  title,
  detail,
  closes,
});

export const LOCAL_ANSWERS = {
  circuitOpen: answer(
    'circuit-open',
    503,
    GrpcStatus.Unavailable,
    'The circuit of this dependency is open',
    'Too many calls failed, so calls are refused until the next probe; see Retry-After and the status of the ServiceDependency.',
  ),
  bulkheadFull: answer(
    'bulkhead-full',
    503,
    GrpcStatus.Unavailable,
    'The bulkhead and its queue are full',
    'As many calls are in progress as bulkhead.maxConcurrent or its adaptive limit allows, and bulkhead.maxQueued wait; the dependency is slow, or the limit is too low.',
  ),
  queueTimeout: answer(
    'queue-timeout',
    503,
    GrpcStatus.Unavailable,
    'No place in the bulkhead became free in time',
    'The call waited for bulkhead.queueTimeout; the dependency is slow, or the limit is too low.',
  ),
  rateLimited: answer(
    'rate-limited',
    429,
    GrpcStatus.ResourceExhausted,
    'More requests than the rate limit allows',
    'rateLimit.requestsPerSecond is used up, and so is its burst; nothing was sent to the dependency. When to come back: Retry-After.',
  ),
  noEndpoints: answer(
    'no-endpoints',
    503,
    GrpcStatus.Unavailable,
    'The dependency has no endpoint that can serve',
    'No pod of the Service is ready; see kubectl get endpointslices for the Service.',
  ),
  shed: answer(
    'shed',
    503,
    GrpcStatus.Unavailable,
    'The sidecar sheds load',
    'The memory or the event loop of the sidecar itself is used up; nothing was sent to the dependency. Give the sidecar more memory or processor, or the workload more pods.',
  ),
  deadline: answer(
    'deadline',
    504,
    GrpcStatus.DeadlineExceeded,
    'The request did not finish within its deadline',
    'timeouts.request passed, with all attempts, waits and backoffs included.',
  ),
  attemptTimeout: answer(
    'attempt-timeout',
    504,
    GrpcStatus.DeadlineExceeded,
    'The dependency did not answer in time',
    'timeouts.attempt passed for the last attempt, and no other attempt was allowed.',
  ),
  connectFailed: answer(
    'connect-failed',
    502,
    GrpcStatus.Unavailable,
    'The dependency could not be reached',
    'The connection was refused, unreachable, or not made within timeouts.connect; the request was not sent.',
  ),
  reset: answer(
    'reset',
    502,
    GrpcStatus.Unavailable,
    'The dependency closed the connection before it answered',
    'The request may have been executed; it was not repeated unless that is safe.',
  ),
  invalidResponse: answer(
    'invalid-response',
    502,
    GrpcStatus.Internal,
    'The answer of the dependency is not valid HTTP',
    'What was received could be read in two ways or not at all, so it was not passed on.',
  ),
  faultInjected: answer(
    'fault-injected',
    503,
    GrpcStatus.Unavailable,
    'A fault was injected on purpose',
    'faultInjection.abort of a policy chose this call, for a game day, and says the status, whatever this table does; nothing was sent to the dependency.',
  ),
  undeclared: answer(
    'undeclared',
    403,
    GrpcStatus.PermissionDenied,
    'Nobody declared that this destination is called',
    'A ServiceDependency of this workload says undeclared: Deny. Declare the destination, or let the ServiceDependency say Warn or Allow.',
    true,
  ),
  noPlan: answer(
    'no-plan',
    503,
    GrpcStatus.Unavailable,
    'TLS is to be spoken to this host, and the sidecar has no plan yet',
    'host.tls of a ServiceDependency names this host, and how to speak TLS to it comes with the first plan, so nothing was sent in plain text. See whether the operator can be reached: breakwater status, and the log of the sidecar.',
    true,
  ),
  malformed: answer(
    'malformed',
    400,
    GrpcStatus.Internal,
    'The request is not valid HTTP',
    'The request could be read in two ways or not at all.',
    true,
  ),
  headTooLarge: answer(
    'head-too-large',
    431,
    GrpcStatus.ResourceExhausted,
    'The head of the request is too large',
    'At most 16 KiB and 100 fields are accepted.',
    true,
  ),
  targetTooLong: answer(
    'target-too-long',
    414,
    GrpcStatus.ResourceExhausted,
    'The target of the request is too long',
    'At most 8 KiB are accepted.',
    true,
  ),
} as const satisfies Record<string, LocalAnswer>;

export type LocalAnswerName = keyof typeof LOCAL_ANSWERS;

export const LOCAL_ANSWER_NAMES = Object.keys(LOCAL_ANSWERS) as LocalAnswerName[];
