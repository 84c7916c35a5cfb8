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
          'Requests under way at a time, each to the end of its response body, and open connections that are opaque, each until both directions have ended; with adaptive, what its limit never exceeds.',
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
            description: 'The limit never falls below it. As large as maxConcurrent, the limit is fixed.',
            min: 1,
            max: 100_000,
            default: defaults.adaptive.minConcurrent,
          }).optional(),
          latencyTolerancePercent: integer({
            description:
              'How far the median latency may rise above that without load before the limit falls; more uses a dependency up further.',
            min: 5,
            max: 400,
            default: defaults.adaptive.latencyTolerancePercent,
          }).optional(),
          probeInterval: duration({
            description:
              'Where the load showed the latency without load for so long at no time, the limit is halved for a moment to measure it.',
            minMs: 10 * SECOND,
            maxMs: HOUR,
            default: formatDuration(defaults.adaptive.probeInterval),
          }).optional(),
        })
        .meta({
          description:
            'Finds the limit by itself, between minConcurrent and maxConcurrent: it falls while the dependency answers more slowly than without load, and grows while it does not. Acts only where written, and on requests: of opaque connections no latency can be measured.',
        })
        .optional(),
    })
    .meta({ description: 'Bounds how much of the consumer one dependency can hold, in each sidecar on its own.' }),
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
