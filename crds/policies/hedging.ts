import { z } from 'zod';
import { formatDuration, HOUR, MINUTE } from '../duration.ts';
import { duration, integer } from '../fields.ts';
import { withRules } from '../rules.ts';
import { modeWithShadow } from './mode.ts';

/** Durations in milliseconds. `maxDelay` bounds only where written. */
export const hedgingDefaults = { afterPercentile: 95, minDelay: 10, maxHedges: 1 } as const;

const defaults = hedgingDefaults;

export const hedging = withRules(
  z
    .object({
      mode: modeWithShadow,
      afterPercentile: integer({
        description:
          'A hedge is sent after this percentile of the latencies of the last minute. 95 adds at most 5 % to the load.',
        min: 50,
        max: 99,
        default: defaults.afterPercentile,
      }).optional(),
      minDelay: duration({
        description: 'No hedge is sent earlier, however fast most calls are.',
        minMs: 1,
        maxMs: MINUTE,
        default: formatDuration(defaults.minDelay),
      }).optional(),
      maxDelay: duration({
        description:
          'A hedge is sent at the latest after this time. While all calls are slower, only the retry budget bounds the hedges.',
        minMs: 1,
        maxMs: HOUR,
        default: 'no bound',
      }).optional(),
      maxHedges: integer({
        description: 'Hedges per request, each after a further delay.',
        min: 1,
        max: 3,
        default: defaults.maxHedges,
      }).optional(),
    })
    .meta({
      description:
        'Sends a request that takes longer than most to a second endpoint as well, and uses the first good answer. Only for safe methods (GET, HEAD, OPTIONS, TRACE), requests with an Idempotency-Key, or all requests if retries.methods is All; and only within the retry budget: without retries nothing is hedged.',
    }),
  [
    {
      cel: '!has(self.minDelay) || !has(self.maxDelay) || duration(self.maxDelay) >= duration(self.minDelay)',
      message: 'maxDelay must not be shorter than minDelay; lengthen maxDelay or shorten minDelay',
      fieldPath: '.maxDelay',
      holds: ({ minDelay, maxDelay }) => minDelay === undefined || maxDelay === undefined || maxDelay >= minDelay,
    },
  ],
);
