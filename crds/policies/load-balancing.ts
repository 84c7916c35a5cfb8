import { z } from 'zod';
import { formatDuration, MINUTE, SECOND } from '../duration.ts';
import { DOC_DEFAULT, DOC_TYPE, duration, integer } from '../fields.ts';
import { formRule, withRules } from '../rules.ts';
import { modeWithShadow } from './mode.ts';

/** Durations in milliseconds. `consistentHash` and `slowStart` act only where written. */
export const loadBalancingDefaults = {
  algorithm: 'PeakEwma',
  consistentHash: { maxLoadPercent: 150 },
  slowStart: { window: 30 * SECOND },
  zoneAware: 'Hints',
} as const;

const defaults = loadBalancingDefaults;

const name = withRules(
  z
    .string()
    .max(256, { abort: true })
    .meta({ description: 'Name of the header (case-insensitive) or cookie.', [DOC_TYPE]: 'name' }),
  [
    formRule(
      '^[A-Za-z0-9!#$%&*+.^_|~-]+$',
      'write the name of a header or cookie, such as x-user-id; it has no spaces and no ":", "=" or ";"',
    ),
  ],
);

const consistentHash = withRules(
  z
    .object({
      key: z.enum(['Header', 'Cookie', 'SourceAddress']).meta({
        description:
          'What the hash is made of. Header, Cookie: its value; requests without one are balanced by PeakEwma. SourceAddress: the address of the calling pod, so that each pod keeps to one endpoint.',
      }),
      name: name.optional(),
      maxLoadPercent: integer({
        description:
          'How many requests an endpoint may have in progress, in percent of the mean. Above that (and above 4), its keys go to the next endpoint meanwhile.',
        min: 101,
        max: 10_000,
        default: defaults.consistentHash.maxLoadPercent,
      }).optional(),
    })
    .meta({ description: 'For algorithm ConsistentHash: the key, and the load that an endpoint may have.' }),
  [
    {
      cel: "self.key == 'SourceAddress' || has(self.name)",
      message: 'key Header and key Cookie need the name of one; write name',
      fieldPath: '.name',
      holds: (it) => it.key === 'SourceAddress' || it.name !== undefined,
    },
    {
      cel: "self.key != 'SourceAddress' || !has(self.name)",
      message: 'key SourceAddress has no name; remove name',
      fieldPath: '.name',
      holds: (it) => it.key !== 'SourceAddress' || it.name === undefined,
    },
  ],
);

export const loadBalancing = withRules(
  z
    .object({
      mode: modeWithShadow,
      algorithm: z
        .enum(['PeakEwma', 'LeastRequest', 'RoundRobin', 'ConsistentHash'])
        .meta({
          description:
            'How the endpoint is chosen. PeakEwma: the cheaper of two random endpoints, by latency, failures and requests in progress. LeastRequest: the one of two with fewer requests in progress. RoundRobin: in turn. ConsistentHash: by a key of the request.',
          [DOC_DEFAULT]: defaults.algorithm,
        })
        .optional(),
      consistentHash: consistentHash.optional(),
      slowStart: z
        .object({
          window: duration({
            description: 'Time in which the share grows from a tenth to the whole.',
            minMs: SECOND,
            maxMs: 15 * MINUTE,
            default: formatDuration(defaults.slowStart.window),
          }).optional(),
        })
        .meta({
          description:
            'Ramps up the share of a new endpoint of a Service; endpoints that exist when the sidecar starts get theirs at once. Off unless set.',
        })
        .optional(),
      zoneAware: z
        .enum(['Hints', 'Disabled'])
        .meta({
          description:
            "Hints: like kube-proxy, uses only endpoints that EndpointSlice hints assign to the caller's node or zone, if all endpoints have hints and at least half of those are usable. Disabled: uses endpoints of all zones.",
          [DOC_DEFAULT]: defaults.zoneAware,
        })
        .optional(),
    })
    .meta({
      description:
        'Which endpoint an attempt, or an opaque connection, goes to. Each sidecar decides on its own. If no policy sets it, an empty block applies. A retry goes to another endpoint if there is one.',
    }),
  [
    {
      cel: "!has(self.consistentHash) || (has(self.algorithm) && self.algorithm == 'ConsistentHash')",
      message:
        'consistentHash acts with the algorithm ConsistentHash alone; write algorithm: ConsistentHash, or remove consistentHash',
      fieldPath: '.consistentHash',
      holds: (it) => it.consistentHash === undefined || it.algorithm === 'ConsistentHash',
    },
    {
      cel: "!has(self.algorithm) || self.algorithm != 'ConsistentHash' || has(self.consistentHash)",
      message: 'algorithm ConsistentHash needs a key; write consistentHash, such as {key: Header, name: x-user-id}',
      fieldPath: '.algorithm',
      holds: (it) => it.algorithm !== 'ConsistentHash' || it.consistentHash !== undefined,
    },
  ],
);
