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
  expectedStatuses: [200, 204] as readonly (number | string)[],
  grpc: { service: '' },
} as const;

/** Asked by HTTP, or by gRPC: a narrower policy that writes one way takes the fields of the other away. */
export const HEALTH_CHECK_ALTERNATIVES = [['path', 'expectedStatuses'], ['grpc']] as const;

const defaults = healthCheckDefaults;

const STATUS_RANGE = /^[2-5][0-9]{2}-[2-5][0-9]{2}$/;

const expectedStatus = withRules(
  z.union([z.int().min(200).max(599), z.string().max(7)]).meta({
    'x-kubernetes-int-or-string': true,
    description: 'Status of an answer, or a range of them with both its ends.',
    [DOC_TYPE]: 'integer, or range such as 200-299',
  }),
  [
    {
      cel: "type(self) == int || (self.matches('^[2-5][0-9]{2}-[2-5][0-9]{2}$') && self.substring(0, 3) <= self.substring(4, 7))",
      message:
        'write a status as a number, such as 204, or a range of them, the lower one first, such as 200-299; both from 200 to 599',
      holds: (it) => typeof it === 'number' || (STATUS_RANGE.test(it) && it.slice(0, 3) <= it.slice(4)),
    },
  ],
);

const grpc = z
  .object({
    service: withRules(
      z
        .string()
        .max(253, { abort: true })
        .meta({
          description: 'Name of the service whose health is checked, as registered in the server.',
          [DOC_TYPE]: 'name of a service',
          [DOC_DEFAULT]: 'the server as a whole',
        }),
      [
        formRule(
          '^[!-~]*$',
          'write a name of visible ASCII, such as payments.v1.Charges, or leave it out to ask for the server as a whole',
        ),
      ],
    ).optional(),
  })
  .meta({
    description:
      'Checks by gRPC instead of HTTP: grpc.health.v1.Health/Check without TLS, like Kubernetes probes. Passes if the answer is SERVING.',
  });

export const healthCheck = withRules(
  z
    .object({
      mode: modeWithShadow,
      path: withRules(
        z
          .string()
          .max(1024, { abort: true })
          .meta({
            description: 'Request target of the GET, as sent on the wire: path, and query if any.',
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
          'Port to check, if it differs from the port of the calls; for an opaque dependency, one that speaks HTTP.',
        min: 1,
        max: 65_535,
        default: 'that of the endpoint',
      }).optional(),
      host: withRules(
        z
          .string()
          .max(259, { abort: true })
          .meta({
            description: 'Host header of the check, or gRPC authority, if it differs from that of the calls.',
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
          'Time between checks of an endpoint, in each sidecar. Jitter adds up to 10 %; the first check comes within one interval.',
        minMs: SECOND,
        maxMs: 10 * MINUTE,
        default: formatDuration(defaults.interval),
      }).optional(),
      timeout: duration({
        description:
          'Time until the response head, or the end of a gRPC answer, including the connect; not longer than interval.',
        minMs: 100,
        maxMs: MINUTE,
        default: formatDuration(defaults.timeout),
      }).optional(),
      unhealthyThreshold: integer({
        description: 'Consecutive failed checks that make an endpoint unhealthy.',
        min: 1,
        max: 100,
        default: defaults.unhealthyThreshold,
      }).optional(),
      healthyThreshold: integer({
        description: 'Consecutive passed checks that make it healthy again.',
        min: 1,
        max: 100,
        default: defaults.healthyThreshold,
      }).optional(),
      expectedStatuses: setList(expectedStatus, {
        description: 'Statuses that pass.',
        min: 1,
        max: 32,
        default: defaults.expectedStatuses.join(', '),
      }).optional(),
      grpc: grpc.optional(),
    })
    .meta({
      description:
        'Actively checks every endpoint, by GET in plain HTTP/1.1 or by gRPC, and sends no calls to unhealthy ones. An endpoint is healthy until checked. If too few are healthy, all are used.',
    }),
  [
    {
      cel: '!has(self.timeout) || !has(self.interval) || duration(self.timeout) <= duration(self.interval)',
      message: 'timeout must not be longer than interval; shorten timeout or lengthen interval',
      fieldPath: '.timeout',
      holds: ({ timeout, interval }) => timeout === undefined || interval === undefined || timeout <= interval,
    },
    {
      cel: '!has(self.grpc) || !(has(self.path) || has(self.expectedStatuses))',
      message: 'a check is made by gRPC or by HTTP; remove grpc, or path and expectedStatuses',
      fieldPath: '.grpc',
      holds: ({ grpc: byGrpc, path, expectedStatuses }) =>
        byGrpc === undefined || (path === undefined && expectedStatuses === undefined),
    },
  ],
);
