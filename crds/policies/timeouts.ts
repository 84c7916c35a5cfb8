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
          'Time from the request head to the end of the response, over all attempts. For upgrades and event streams, to the response head.',
        minMs: 1,
        maxMs: HOUR,
        zero: 'none',
        default: formatDuration(defaults.request),
      }).optional(),
      attempt: duration({
        description: 'Time for one attempt; not longer than request.',
        minMs: 1,
        maxMs: HOUR,
        zero: 'none',
        default: 'as request',
      }).optional(),
      connect: duration({
        description:
          'Time to establish a connection to an endpoint. The default applies even if no policy sets timeouts.',
        minMs: 1,
        maxMs: 75 * SECOND,
        zero: 'none',
        default: formatDuration(defaults.connect),
      }).optional(),
      idle: duration({
        description: 'How long an event stream, an upgraded or an opaque connection may be idle.',
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
                'Which dependencies are sent the deadline of the call, in x-breakwater-deadline and tracestate. InCluster: Services. Always: hosts outside the cluster too. Never: none, and a deadline received with a request is ignored.',
              [DOC_DEFAULT]: defaults.deadline.propagate,
            })
            .optional(),
        })
        .meta({ description: 'How deadlines are passed on from call to call.' })
        .optional(),
    })
    .meta({ description: 'Time limits.' }),
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
