import { z } from 'zod';
import { formatDuration, MINUTE, SECOND } from '../duration.ts';
import { DOC_DEFAULT, duration, integer, setList } from '../fields.ts';
import { withRules } from '../rules.ts';
import { FAILURE_KINDS, type FailureKind, failureKind } from './failure-kinds.ts';
import { GRPC_STATUS_CODES, type GrpcStatusCode, grpcStatusCode } from './grpc-status-codes.ts';
import { modeWithShadow } from './mode.ts';

const retryOnDefault: readonly FailureKind[] = ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError'];

/** Durations in milliseconds. */
export const retriesDefaults = {
  maxAttempts: 3,
  retryOn: retryOnDefault,
  retryOnStatusCodes: [] as readonly number[],
  retryOnGrpcStatusCodes: [] as readonly GrpcStatusCode[],
  methods: 'Idempotent',
  backoff: { initial: 25, max: 250 },
  maxRetryAfter: SECOND,
  budget: { percent: 20, minPerSecond: 10 },
} as const;

const defaults = retriesDefaults;

const backoff = withRules(
  z
    .object({
      initial: duration({
        description: 'Upper bound of the first pause.',
        minMs: 1,
        maxMs: 10 * SECOND,
        default: formatDuration(defaults.backoff.initial),
      }).optional(),
      max: duration({
        description: 'Upper bound of any pause.',
        minMs: 1,
        maxMs: MINUTE,
        default: formatDuration(defaults.backoff.max),
      }).optional(),
    })
    .meta({
      description:
        'Pause before a retry: random between zero and a bound that doubles from initial to max (full jitter).',
    }),
  [
    {
      cel: '!has(self.initial) || !has(self.max) || duration(self.max) >= duration(self.initial)',
      message: 'max must not be shorter than initial; lengthen max or shorten initial',
      fieldPath: '.max',
      holds: ({ initial, max }) => initial === undefined || max === undefined || max >= initial,
    },
  ],
);

export const retries = z
  .object({
    mode: modeWithShadow,
    maxAttempts: integer({
      description: 'Total number of attempts, including the first. 1 means no retry.',
      min: 1,
      max: 10,
      default: defaults.maxAttempts,
    }).optional(),
    retryOn: setList(failureKind, {
      description:
        'Which failures of an attempt are retried. A request that was never sent, as with ConnectFailure, is retried whatever its method.',
      max: FAILURE_KINDS.length,
      default: defaults.retryOn.join(', '),
    }).optional(),
    retryOnStatusCodes: setList(integer({ description: 'A status code of an answer.', min: 400, max: 599 }), {
      description:
        'Status codes that are retried in addition to retryOn, such as 409 or 425 if the dependency means "try again" by them.',
      max: 32,
      default: 'none',
    }).optional(),
    retryOnGrpcStatusCodes: setList(grpcStatusCode, {
      description:
        'gRPC statuses that are retried in addition to those covered by retryOn, if the answer is trailers-only. Most gRPC calls are not retried by default: see methods.',
      max: GRPC_STATUS_CODES.length,
      default: 'none',
    }).optional(),
    methods: z
      .enum(['Idempotent', 'All'])
      .meta({
        description:
          'Which requests may run twice. Idempotent: GET, HEAD, OPTIONS, TRACE, PUT, DELETE, and those with an Idempotency-Key. All: every request, for services that tolerate it.',
        [DOC_DEFAULT]: defaults.methods,
      })
      .optional(),
    backoff: backoff.optional(),
    maxRetryAfter: duration({
      description:
        'The longest Retry-After that a retry waits for. If the answer asks for more, or the wait would miss the deadline, there is no retry.',
      minMs: 1,
      maxMs: MINUTE,
      zero: 'no notice of Retry-After',
      default: formatDuration(defaults.maxRetryAfter),
    }).optional(),
    budget: z
      .object({
        percent: integer({
          description: 'Retries as a share of requests, in percent.',
          min: 0,
          max: 100,
          default: defaults.budget.percent,
        }).optional(),
        minPerSecond: integer({
          description: 'Retries per second that are always allowed.',
          min: 0,
          max: 1000,
          default: defaults.budget.minPerSecond,
        }).optional(),
      })
      .meta({
        description:
          'Bounds all retries to the dependency, so that they never multiply an outage. Unused budget is kept for two seconds.',
      })
      .optional(),
  })
  .meta({
    description:
      'When a failed attempt is retried. If no policy sets retries, only a request that was never sent is tried once more, and an opaque connection that was not made, or was cut before any byte.',
  });
