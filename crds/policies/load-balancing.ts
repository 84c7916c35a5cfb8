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
    .meta({ description: 'Of the header, in any case, or of the cookie.', [DOC_TYPE]: 'name' }),
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
          'What keeps requests together. Header, Cookie: its value, as long as the request has one; others are balanced as by PeakEwma. SourceAddress: the address of the calling pod, so that each pod has an endpoint of its own.',
      }),
      name: name.optional(),
      maxLoadPercent: integer({
        description:
          'What an endpoint may have in progress, in percent of the mean; above that (and above 4), its keys go to the next one meanwhile.',
        min: 101,
        max: 10_000,
        default: defaults.consistentHash.maxLoadPercent,
      }).optional(),
    })
    .meta({ description: 'With algorithm ConsistentHash: what goes to one endpoint, and how much.' }),
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
            'Which endpoint the next attempt goes to. PeakEwma: the cheaper of two chosen at random, by latency, failures and what is in progress. LeastRequest: the one of two with less in progress. RoundRobin: one after the other. ConsistentHash: by a key of the request.',
          [DOC_DEFAULT]: defaults.algorithm,
        })
        .optional(),
      consistentHash: consistentHash.optional(),
      slowStart: z
        .object({
          window: duration({
            description: 'The time in which its share grows, from a tenth to the whole.',
            minMs: SECOND,
            maxMs: 15 * MINUTE,
            default: formatDuration(defaults.slowStart.window),
          }).optional(),
        })
        .meta({
          description:
            'A new endpoint of a Service gets its share of the requests bit by bit; those that are there when a sidecar starts have it at once. Acts only where written.',
        })
        .optional(),
      zoneAware: z
        .enum(['Hints', 'Disabled'])
        .meta({
          description:
            'Hints: as kube-proxy, only endpoints that the hints of the EndpointSlices give to the node or zone of the caller, where all endpoints have hints and one is for it; and while at least half of those are usable. Disabled: endpoints of all zones.',
          [DOC_DEFAULT]: defaults.zoneAware,
        })
        .optional(),
    })
    .meta({
      description:
        'Which endpoint of the dependency an attempt goes to, or an opaque connection, in each sidecar on its own. Where no policy sets it, requests are balanced as by an empty block. A retry goes to another endpoint where there is one.',
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
