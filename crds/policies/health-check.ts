import { z } from 'zod';
import { formatDuration, MINUTE, SECOND } from '../duration.ts';
import { DOC_DEFAULT, DOC_TYPE, duration, integer, setList } from '../fields.ts';
import { formRule, withRules } from '../rules.ts';
import { modeWithShadow } from './mode.ts';

/** Durations in milliseconds. `port` defaults to that of the endpoint, `host` to the name of the dependency. */
export const healthCheckDefaults = {
  path: '/',
  interval: 10 * SECOND,
  timeout: SECOND,
  unhealthyThreshold: 3,
  healthyThreshold: 2,
  expectedStatuses: [200, 204] as readonly number[],
} as const;

const defaults = healthCheckDefaults;

export const healthCheck = withRules(
  z
    .object({
      mode: modeWithShadow,
      path: withRules(
        z
          .string()
          .max(1024, { abort: true })
          .meta({
            description: 'What is asked for by GET, as it is on the wire: path, and query where there is one.',
            [DOC_DEFAULT]: defaults.path,
          }),
        [
          {
            cel: "self.matches('^/[!-~]*$') && !self.contains('#')",
            message:
              'write a path of visible ASCII that starts with "/" and has no "#", such as /healthz; percent-encode the rest',
            holds: (value) => /^\/[!-"$-~]*$/.test(value),
          },
        ],
      ).optional(),
      port: integer({
        description:
          'Port that is asked, where it is another one than that of the calls; of an opaque dependency it has to be one that speaks HTTP.',
        min: 1,
        max: 65_535,
        default: 'that of the endpoint',
      }).optional(),
      host: withRules(
        z
          .string()
          .max(259, { abort: true })
          .meta({
            description: 'Value of the field Host, where the check is for another name than the calls.',
            [DOC_TYPE]: 'DNS name, with a port or without',
            [DOC_DEFAULT]: 'the name of the dependency, as its calls say it',
          }),
        [
          formRule(
            '^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]{1,5})?$',
            'write the name of a host, with a port or without, such as status.example.com or status.example.com:8080',
          ),
        ],
      ).optional(),
      interval: duration({
        description:
          'From one check of an endpoint to the next, by each sidecar. Jitter only lengthens it, by 10 % at most; the first check comes within one interval.',
        minMs: SECOND,
        maxMs: 10 * MINUTE,
        default: formatDuration(defaults.interval),
      }).optional(),
      timeout: duration({
        description: 'Until the head of the answer is there, connecting included; not longer than interval.',
        minMs: 100,
        maxMs: MINUTE,
        default: formatDuration(defaults.timeout),
      }).optional(),
      unhealthyThreshold: integer({
        description: 'Failed checks in a row that make an endpoint unhealthy.',
        min: 1,
        max: 100,
        default: defaults.unhealthyThreshold,
      }).optional(),
      healthyThreshold: integer({
        description: 'Passed checks in a row that make it healthy again.',
        min: 1,
        max: 100,
        default: defaults.healthyThreshold,
      }).optional(),
      expectedStatuses: setList(integer({ description: 'Status of an answer.', min: 200, max: 599 }), {
        description: 'Statuses that pass.',
        min: 1,
        max: 32,
        default: defaults.expectedStatuses.join(', '),
      }).optional(),
    })
    .meta({
      description:
        'Asks every endpoint of the dependency by GET, in plain HTTP/1.1, whether it is healthy, and sends no calls to those that are not. An endpoint that was never checked is healthy. Where too few are healthy all are used.',
    }),
  [
    {
      cel: '!has(self.timeout) || !has(self.interval) || duration(self.timeout) <= duration(self.interval)',
      message: 'timeout must not be longer than interval; shorten timeout or lengthen interval',
      fieldPath: '.timeout',
      holds: ({ timeout, interval }) => timeout === undefined || interval === undefined || timeout <= interval,
    },
  ],
);
