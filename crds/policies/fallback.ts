import { z } from 'zod';
import { formatDuration, HOUR, MINUTE, SECOND } from '../duration.ts';
import { DOC_DEFAULT, DOC_TYPE, dnsLabel, duration, integer, setList } from '../fields.ts';
import { formRule, withRules } from '../rules.ts';
import { modeWithShadow } from './mode.ts';
import { headerName } from './rate-limit.ts';

/** What a fallback may take the place of: the words of fallbackOn. */
export const FALLBACK_REASONS = [
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
] as const;
export type FallbackReason = (typeof FALLBACK_REASONS)[number];

/** All that says that the dependency failed or is protected from more; what says that the caller does too much, it should hear. */
const fallbackOnDefault: readonly FallbackReason[] = FALLBACK_REASONS.filter(
  (reason) => !['GatewayError', 'TooManyRequests', 'RateLimited'].includes(reason),
);

const KIBIBYTE = 1_024;
const MEBIBYTE = 1_024 * KIBIBYTE;

/** Durations in milliseconds. Of response, lastGood and dependency only one that is written acts. */
export const fallbackDefaults = {
  fallbackOn: fallbackOnDefault,
  methods: 'Safe',
  response: { statusCode: 200, contentType: 'text/plain; charset=utf-8', body: '' },
  lastGood: {
    maxAge: 5 * MINUTE,
    maxBytes: MEBIBYTE,
    maxAnswerBytes: 64 * KIBIBYTE,
    audience: 'Anonymous',
    keyHeaders: [] as readonly string[],
  },
} as const;

const defaults = fallbackDefaults;

/** The answers of which a fallback gives one; where several policies write different ones, the narrowest counts. */
export const FALLBACK_ALTERNATIVES = ['response', 'lastGood', 'dependency'] as const;

const response = z
  .object({
    statusCode: integer({
      description: 'Status of the answer.',
      min: 200,
      max: 599,
      default: defaults.response.statusCode,
    }).optional(),
    contentType: withRules(
      z
        .string()
        .max(256, { abort: true })
        .meta({
          description: 'Content-Type of the answer.',
          [DOC_TYPE]: 'media type',
          [DOC_DEFAULT]: defaults.response.contentType,
        }),
      [
        formRule(
          '^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *; *[A-Za-z0-9!#$&^_.+-]+=[A-Za-z0-9!#$&^_.+-]+)*$',
          'write a media type, such as application/json or text/plain; charset=utf-8',
        ),
      ],
    ).optional(),
    body: z
      .string()
      .max(8_192)
      .meta({
        description: 'The whole body, sent as UTF-8; at most 8192 characters.',
        [DOC_DEFAULT]: 'empty',
      })
      .optional(),
  })
  .meta({ description: 'A fixed answer.' });

const lastGood = z
  .object({
    maxAge: duration({
      description: 'Older answers are not used.',
      minMs: SECOND,
      maxMs: 24 * HOUR,
      default: formatDuration(defaults.lastGood.maxAge),
    }).optional(),
    maxBytes: integer({
      description:
        'Memory for the answers of this rule in each sidecar, in bytes; the least recently used is dropped first. All rules of a sidecar share at most 16 MiB.',
      min: KIBIBYTE,
      max: 16 * MEBIBYTE,
      default: defaults.lastGood.maxBytes,
    }).optional(),
    maxAnswerBytes: integer({
      description: 'An answer with a larger body is not kept.',
      min: 1,
      max: 4 * MEBIBYTE,
      default: defaults.lastGood.maxAnswerBytes,
    }).optional(),
    audience: z
      .enum(['Anonymous', 'Everyone'])
      .meta({
        description:
          'Which requests share answers. Anonymous: only requests without Authorization, Cookie and Proxy-Authorization, unless keyHeaders names them. Everyone: all requests, so one user may get the answer given to another.',
        [DOC_DEFAULT]: defaults.lastGood.audience,
      })
      .optional(),
    keyHeaders: setList(headerName, {
      description:
        'Request headers that the answer depends on, in addition to Vary: each value has its own answers. With authorization here, each user has.',
      max: 8,
      default: 'none',
    }).optional(),
  })
  .meta({
    description:
      'The last 200 answer to the same GET (host, path, query and headers named by Vary), also used for HEAD. Answers that forbid it by Cache-Control (no-store, private, no-cache, must-revalidate) or set a cookie are not kept.',
  });

export const fallback = withRules(
  z
    .object({
      mode: modeWithShadow,
      fallbackOn: setList(
        z.enum(FALLBACK_REASONS).meta({
          description:
            'The breakwater-reason of an answer that the sidecar would give, or GatewayError (502, 503, 504), ServerError (any 5xx) and TooManyRequests (429) for the last answer of the dependency.',
        }),
        {
          description: 'Which failures the fallback replaces.',
          max: FALLBACK_REASONS.length,
          default: defaults.fallbackOn.join(', '),
        },
      ).optional(),
      methods: z
        .enum(['Safe', 'All'])
        .meta({
          description:
            'Which requests have a fallback. Safe: GET, HEAD, OPTIONS. All: all others too, although a failed request may have been executed.',
          [DOC_DEFAULT]: defaults.methods,
        })
        .optional(),
      response: response.optional(),
      lastGood: lastGood.optional(),
      dependency: dnsLabel(
        'Another entry of the same ServiceDependency: the request is sent there once, under the policies of that entry and within the remaining time.',
      ).optional(),
    })
    .meta({
      description:
        'What the application gets instead of a failure: exactly one of response, lastGood and dependency. If several policies set one, the narrowest applies. The answer is marked by breakwater-fallback.',
    }),
  [
    {
      cel: '[has(self.response), has(self.lastGood), has(self.dependency)].filter(it, it).size() <= 1',
      message: 'a fallback gives one answer; write only one of response, lastGood and dependency',
      holds: (it) => FALLBACK_ALTERNATIVES.filter((name) => it[name] !== undefined).length <= 1,
    },
  ],
);
