// ResiliencePolicy: how failure of the targets is handled. Blocks merge over policies from wide to narrow targets, so no field of a block
// has a default here; POLICY_DEFAULTS says what compile fills in after the merge.
import { z } from 'zod';
import { formatDuration } from './duration.ts';
import { DOC_DEFAULT, dnsLabel, duration, integer, listMeta, mapList, objectSet, setList, text } from './fields.ts';
import { commonStatus, type ObjectMeta, targetReference } from './kubernetes.ts';
import { withRules } from './rules.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

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

const retryOnDefault: readonly FailureKind[] = ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError'];
const failureOnDefault: readonly FailureKind[] = ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'];

/**
 * Defaults of the fields of a block that is there, applied by compile after the merge; the descriptions below are written from them.
 * Durations in milliseconds. `timeouts.attempt` defaults to the request timeout and `bulkhead.maxQueued` to `maxConcurrent`. `failureRate`
 * and `slowCalls` act only where written.
 */
export const POLICY_DEFAULTS = {
  timeouts: { request: 5 * SECOND, connect: 2 * SECOND, idle: 5 * MINUTE, opaqueIdle: HOUR },
  retries: {
    maxAttempts: 3,
    retryOn: retryOnDefault,
    methods: 'Idempotent',
    backoff: { initial: 25, max: 250 },
    budget: { percent: 20, minPerSecond: 10 },
  },
  circuitBreaker: {
    failureOn: failureOnDefault,
    consecutiveFailures: 5,
    failureRate: { percent: 50, minimumCalls: 20 },
    slowCalls: { percent: 80, minimumCalls: 20 },
    window: 10 * SECOND,
    openFor: 30 * SECOND,
    maxOpenFor: 5 * MINUTE,
    halfOpen: { maxProbes: 2, successes: 2 },
  },
  bulkhead: { maxConcurrent: 20, queueTimeout: 500 },
} as const;

const defaults = POLICY_DEFAULTS;

const mode = z
  .enum(['Enforce', 'Disabled'])
  .meta({
    description:
      'Disabled switches the block off, also where a policy with a wider target sets it: the only way to do so.',
    [DOC_DEFAULT]: 'Enforce',
  })
  .optional();

const failureKind = z.enum(FAILURE_KINDS).meta({
  description:
    'ConnectFailure: no connection. Reset: the connection was lost before the response head. AttemptTimeout: the attempt took too long. GatewayError: 502, 503, 504. ServerError: any 5xx. TooManyRequests: 429.',
});

export const timeouts = withRules(
  z
    .object({
      mode,
      request: duration({
        description:
          'From the head of the request to the end of the response, over all attempts. For upgrades and event streams it ends at the response head.',
        minMs: 1,
        maxMs: HOUR,
        zero: 'none',
        default: formatDuration(defaults.timeouts.request),
      }).optional(),
      attempt: duration({
        description: 'One attempt; not longer than request.',
        minMs: 1,
        maxMs: HOUR,
        zero: 'none',
        default: 'as request',
      }).optional(),
      connect: duration({
        description:
          'Until a connection to an endpoint stands. Holds with its default also where no policy sets timeouts.',
        minMs: 1,
        maxMs: 75 * SECOND,
        zero: 'none',
        default: formatDuration(defaults.timeouts.connect),
      }).optional(),
      idle: duration({
        description: 'How long an event stream, an upgraded or an opaque connection may carry no byte.',
        minMs: SECOND,
        maxMs: 24 * HOUR,
        zero: 'none',
        default: `${formatDuration(defaults.timeouts.idle)} for HTTP streams and upgrades, ${formatDuration(defaults.timeouts.opaqueIdle)} for opaque TCP`,
      }).optional(),
    })
    .meta({ description: 'How long anything may take.' }),
  [
    {
      cel: "!has(self.attempt) || !has(self.request) || duration(self.request) == duration('0s') || duration(self.attempt) <= duration(self.request)",
      message: 'attempt must not be longer than request; shorten attempt or lengthen request',
      fieldPath: '.attempt',
      holds: ({ attempt, request }) =>
        attempt === undefined || request === undefined || request === 0 || attempt <= request,
    },
  ],
);

const backoff = withRules(
  z
    .object({
      initial: duration({
        description: 'Upper bound of the first pause.',
        minMs: 1,
        maxMs: 10 * SECOND,
        default: formatDuration(defaults.retries.backoff.initial),
      }).optional(),
      max: duration({
        description: 'Upper bound of any pause.',
        minMs: 1,
        maxMs: MINUTE,
        default: formatDuration(defaults.retries.backoff.max),
      }).optional(),
    })
    .meta({
      description:
        'Pause before another attempt: random between zero and a bound that doubles from initial to max (full jitter).',
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
    mode,
    maxAttempts: integer({
      description: 'Attempts in all, the first one included. 1 means no retry.',
      min: 1,
      max: 10,
      default: defaults.retries.maxAttempts,
    }).optional(),
    retryOn: setList(failureKind, {
      description: 'Which failures of an attempt are worth another one. What was never sent is always tried again.',
      max: FAILURE_KINDS.length,
      default: defaults.retries.retryOn.join(', '),
    }).optional(),
    methods: z
      .enum(['Idempotent', 'All'])
      .meta({
        description:
          'Which requests may run twice. Idempotent: GET, HEAD, OPTIONS, TRACE, PUT, DELETE, and those with an Idempotency-Key. All: every request, for services that say they can take it.',
        [DOC_DEFAULT]: defaults.retries.methods,
      })
      .optional(),
    backoff: backoff.optional(),
    budget: z
      .object({
        percent: integer({
          description: 'Retries as a share of requests, in percent.',
          min: 0,
          max: 100,
          default: defaults.retries.budget.percent,
        }).optional(),
        minPerSecond: integer({
          description: 'Retries per second that are always allowed.',
          min: 0,
          max: 1000,
          default: defaults.retries.budget.minPerSecond,
        }).optional(),
      })
      .meta({
        description:
          'Bound of all retries to the dependency over 10 seconds, so that retries never multiply an outage.',
      })
      .optional(),
  })
  .meta({
    description:
      'When a failed attempt is followed by another one. Where no policy sets retries, a request that was never sent is tried once more, and nothing else.',
  });

const minimumCalls = integer({
  description: 'Below this number of calls in the window it does not trip.',
  min: 1,
  max: 100_000,
  default: defaults.circuitBreaker.failureRate.minimumCalls,
});

export const circuitBreaker = withRules(
  z
    .object({
      mode,
      failureOn: setList(failureKind, {
        description:
          'What counts as a failure of the dependency. Our own refusals, callers that went away and other 4xx never do.',
        max: FAILURE_KINDS.length,
        default: defaults.circuitBreaker.failureOn.join(', '),
      }).optional(),
      consecutiveFailures: integer({
        description: 'Opens after so many failures in a row.',
        min: 0,
        max: 1000,
        zero: 'off',
        default: defaults.circuitBreaker.consecutiveFailures,
      }).optional(),
      failureRate: z
        .object({
          percent: integer({
            description: 'Share of failures in the window that opens, in percent.',
            min: 1,
            max: 100,
            default: defaults.circuitBreaker.failureRate.percent,
          }).optional(),
          minimumCalls: minimumCalls.optional(),
        })
        .meta({ description: 'Opens at a share of failed calls. Acts only where written.' })
        .optional(),
      slowCalls: z
        .object({
          percent: integer({
            description: 'Share of slow calls in the window that opens, in percent.',
            min: 1,
            max: 100,
            default: defaults.circuitBreaker.slowCalls.percent,
          }).optional(),
          threshold: duration({ description: 'A call that takes longer is slow.', minMs: 1, maxMs: HOUR }),
          minimumCalls: minimumCalls.optional(),
        })
        .meta({ description: 'Opens at a share of slow calls. Acts only where written.' })
        .optional(),
      window: duration({
        description: 'The time that failureRate and slowCalls look back.',
        minMs: SECOND,
        maxMs: 10 * MINUTE,
        default: formatDuration(defaults.circuitBreaker.window),
      }).optional(),
      openFor: duration({
        description:
          'How long it refuses before it probes; doubled each time it opens again without having closed. Jitter only lengthens it, by 10 % at most.',
        minMs: 100,
        maxMs: 10 * MINUTE,
        default: formatDuration(defaults.circuitBreaker.openFor),
      }).optional(),
      maxOpenFor: duration({
        description: 'Upper bound of the doubling; not shorter than openFor.',
        minMs: 100,
        maxMs: HOUR,
        default: formatDuration(defaults.circuitBreaker.maxOpenFor),
      }).optional(),
      halfOpen: z
        .object({
          maxProbes: integer({
            description: 'Calls let through at a time.',
            min: 1,
            max: 100,
            default: defaults.circuitBreaker.halfOpen.maxProbes,
          }).optional(),
          successes: integer({
            description: 'Successful probes that close it.',
            min: 1,
            max: 100,
            default: defaults.circuitBreaker.halfOpen.successes,
          }).optional(),
        })
        .meta({ description: 'How it finds out that the dependency is back.' })
        .optional(),
    })
    .meta({ description: 'Refuses calls at once while the dependency fails, in each sidecar on its own.' }),
  [
    {
      cel: '!has(self.openFor) || !has(self.maxOpenFor) || duration(self.maxOpenFor) >= duration(self.openFor)',
      message: 'maxOpenFor must not be shorter than openFor; lengthen maxOpenFor or shorten openFor',
      fieldPath: '.maxOpenFor',
      holds: ({ openFor, maxOpenFor }) => openFor === undefined || maxOpenFor === undefined || maxOpenFor >= openFor,
    },
  ],
);

export const bulkhead = z
  .object({
    mode,
    maxConcurrent: integer({
      description: 'Requests under way at a time, each to the end of its response body.',
      min: 1,
      max: 100_000,
      default: defaults.bulkhead.maxConcurrent,
    }).optional(),
    maxQueued: integer({
      description: 'Requests that may wait for a place; 0 refuses at once.',
      min: 0,
      max: 100_000,
      default: 'as maxConcurrent',
    }).optional(),
    queueTimeout: duration({
      description: 'How long a request may wait for a place.',
      minMs: 0,
      maxMs: MINUTE,
      default: formatDuration(defaults.bulkhead.queueTimeout),
    }).optional(),
  })
  .meta({ description: 'Bounds how much of the consumer one dependency can hold, in each sidecar on its own.' });

const blocks = {
  timeouts: timeouts.optional(),
  retries: retries.optional(),
  circuitBreaker: circuitBreaker.optional(),
  bulkhead: bulkhead.optional(),
};

const path = z
  .object({
    type: z.enum(['Exact', 'PathPrefix']).meta({
      description:
        'Exact: the whole path. PathPrefix: whole segments from its start, so /a matches /a and /a/b, not /ab.',
    }),
    value: withRules(
      z
        .string()
        .max(1024, { abort: true })
        .meta({ description: 'The path, as it is on the wire: percent-encoded, without a query.' }),
      [
        {
          cel: "self.startsWith('/')",
          message: 'write a path that starts with "/", such as /charges',
          holds: (value) => value.startsWith('/'),
        },
        {
          cel: "!self.contains('?') && !self.contains('#')",
          message: 'a path has no query and no fragment; remove what follows "?" or "#"',
          holds: (value) => !/[?#]/.test(value),
        },
        {
          cel: "!self.contains('//') && !self.matches('/[.][.]?(/|$)')",
          message: 'a path has no empty segment, "." or ".."; write the path as the server sees it',
          holds: (value) => !/\/\/|\/\.\.?(\/|$)/.test(value),
        },
        {
          cel: "self.matches('^[!-~]*$')",
          message: 'a path is visible ASCII; percent-encode spaces and other characters',
          holds: (value) => /^[!-~]*$/.test(value),
        },
      ],
    ),
  })
  .meta({ description: 'Path of the request.' });

const match = withRules(
  z.object({
    method: z
      .enum(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'])
      .meta({ description: 'Method of the request; any where absent.' })
      .optional(),
    path: path.optional(),
  }),
  [
    {
      cel: 'has(self.method) || has(self.path)',
      message:
        'a match names a method, a path or both; write one of them, and what holds for every request beside rules',
      holds: (it) => it.method !== undefined || it.path !== undefined,
    },
  ],
);

const rule = z.object({
  name: dnsLabel(
    'Name of this rule: unique in the object, used in metrics and answers. "base" is taken by what stands beside rules.',
  ),
  matches: z
    .array(match.meta({ ...match.meta(), description: 'Matches where everything it names does.' }))
    .min(1)
    .max(16)
    .meta(listMeta('The rule matches where any of these does.', { type: 'atomic' })),
  ...blocks,
});

export const resiliencePolicySpec = z.object({
  targetRefs: objectSet(targetReference.meta({ ...targetReference.meta(), description: 'One target.' }), {
    description:
      'What the policy acts on, in its own namespace. A narrower target overrides a wider one field by field: Service, ServiceDependency, one entry of it.',
    min: 1,
    max: 16,
  }),
  ...blocks,
  rules: mapList(
    withRules(rule.meta({ description: 'Other values for some requests.' }), [
      {
        cel: "self.name != 'base'",
        message: 'the name base stands for what is beside rules; rename the rule',
        fieldPath: '.name',
        holds: (it) => it.name !== 'base',
      },
    ]),
    {
      description:
        'Values for some requests, field by field over those beside rules. The first rule that matches a request counts, no other.',
      keys: ['name'],
      max: 256,
    },
  ).optional(),
});

export const resiliencePolicyStatus = z.object({
  ...commonStatus,
  resolved: text('How many of targetRefs exist, such as "1/1".', 32).optional(),
});

/** Field names are the user's; durations are milliseconds. Absent fields stay absent: compile merges, then applies POLICY_DEFAULTS. */
export type ResiliencePolicySpec = z.output<typeof resiliencePolicySpec>;
export type PolicyRule = NonNullable<ResiliencePolicySpec['rules']>[number];
export type ResiliencePolicyStatus = z.output<typeof resiliencePolicyStatus>;

export interface ResiliencePolicy {
  kind: 'ResiliencePolicy';
  metadata: ObjectMeta;
  spec: ResiliencePolicySpec;
  /** Absent where none was written yet, or where it does not fit the schema (an older or newer operator wrote it). */
  status?: ResiliencePolicyStatus | undefined;
}
