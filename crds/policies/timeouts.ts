import { z } from 'zod';
import { formatDuration, HOUR, MINUTE, SECOND } from '../duration.ts';
import { DOC_DEFAULT, duration } from '../fields.ts';
import { withRules } from '../rules.ts';
import { modeWithShadow } from './mode.ts';

/** Milliseconds. `attempt` defaults to the request timeout. */
export const timeoutsDefaults = {
  request: 5 * SECOND,
  connect: 2 * SECOND,
  idle: 5 * MINUTE,
  opaqueIdle: HOUR,
  deadline: { propagate: 'InCluster' },
} as const;

const defaults = timeoutsDefaults;

export const timeouts = withRules(
  z
    .object({
      mode: modeWithShadow,
      request: duration({
        description:
          'From the head of the request to the end of the response, over all attempts. For upgrades and event streams it ends at the response head.',
        minMs: 1,
        maxMs: HOUR,
        zero: 'none',
        default: formatDuration(defaults.request),
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
        default: formatDuration(defaults.connect),
      }).optional(),
      idle: duration({
        description: 'How long an event stream, an upgraded or an opaque connection may carry no byte.',
        minMs: SECOND,
        maxMs: 24 * HOUR,
        zero: 'none',
        default: `${formatDuration(defaults.idle)} for HTTP streams and upgrades, ${formatDuration(defaults.opaqueIdle)} for opaque TCP`,
      }).optional(),
      deadline: z
        .object({
          propagate: z
            .enum(['InCluster', 'Always', 'Never'])
            .meta({
              description:
                'Who is told how long the caller still waits, in x-breakwater-deadline and tracestate. InCluster: Services. Always: hosts outside the cluster too. Never: nobody, and a deadline that a request comes with does not shorten it either.',
              [DOC_DEFAULT]: defaults.deadline.propagate,
            })
            .optional(),
        })
        .meta({ description: 'How deadlines travel from call to call.' })
        .optional(),
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
