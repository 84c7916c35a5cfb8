import { z } from 'zod';
import { formatDuration, HOUR, MINUTE, SECOND } from '../duration.ts';
import { duration, integer } from '../fields.ts';
import { withRules } from '../rules.ts';
import { modeWithShadow } from './mode.ts';

/** Durations in milliseconds. `maxQueued` defaults to `maxConcurrent`, which has another default where the limit is adaptive. */
export const bulkheadDefaults = {
  maxConcurrent: 20,
  queueTimeout: 500,
  adaptive: { maxConcurrent: 200, minConcurrent: 3, latencyTolerancePercent: 25, probeInterval: MINUTE },
} as const;

const defaults = bulkheadDefaults;

export const bulkhead = withRules(
  z
    .object({
      mode: modeWithShadow,
      maxConcurrent: integer({
        description:
          'Requests in progress at a time, each until the end of its response body, and open opaque connections, each until both directions have ended. With adaptive, the upper bound of its limit.',
        min: 1,
        max: 100_000,
        default: `${defaults.maxConcurrent}; with adaptive ${defaults.adaptive.maxConcurrent}`,
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
        default: formatDuration(defaults.queueTimeout),
      }).optional(),
      adaptive: z
        .object({
          minConcurrent: integer({
            description: 'Lower bound of the limit. If it equals maxConcurrent, the limit is fixed.',
            min: 1,
            max: 100_000,
            default: defaults.adaptive.minConcurrent,
          }).optional(),
          latencyTolerancePercent: integer({
            description:
              'How far the median latency may rise above the latency without load before the limit falls, in percent; a larger value loads the dependency more.',
            min: 5,
            max: 400,
            default: defaults.adaptive.latencyTolerancePercent,
          }).optional(),
          probeInterval: duration({
            description:
              'If the latency without load could not be observed for this long, the limit is briefly halved to measure it.',
            minMs: 10 * SECOND,
            maxMs: HOUR,
            default: formatDuration(defaults.adaptive.probeInterval),
          }).optional(),
        })
        .meta({
          description:
            'Adapts the limit between minConcurrent and maxConcurrent: it falls while the dependency is slower than without load, and grows while it is not. Off unless set; acts on requests only, since opaque connections have no latency to measure.',
        })
        .optional(),
    })
    .meta({ description: 'Limits concurrent calls to the dependency, in each sidecar on its own.' }),
  [
    {
      cel: '!has(self.maxConcurrent) || !has(self.adaptive) || !has(self.adaptive.minConcurrent) || self.adaptive.minConcurrent <= self.maxConcurrent',
      message: 'adaptive.minConcurrent must not be above maxConcurrent; lower minConcurrent or raise maxConcurrent',
      fieldPath: '.adaptive',
      holds: ({ maxConcurrent, adaptive }) =>
        maxConcurrent === undefined || (adaptive?.minConcurrent ?? 0) <= maxConcurrent,
    },
  ],
);
