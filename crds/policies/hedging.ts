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
          'When a hedge is sent: after the time within which this share of the calls of the last minute was answered, in percent. 95 adds 5 % to the load at most.',
        min: 50,
        max: 99,
        default: defaults.afterPercentile,
      }).optional(),
      minDelay: duration({
        description: 'No hedge is sent sooner, however fast most calls are answered.',
        minMs: 1,
        maxMs: MINUTE,
        default: formatDuration(defaults.minDelay),
      }).optional(),
      maxDelay: duration({
        description:
          'A hedge is sent after this time at the latest, however slow most calls are. While all calls are slower, the budget of retries alone bounds the hedges.',
        minMs: 1,
        maxMs: HOUR,
        default: 'no bound',
      }).optional(),
      maxHedges: integer({
        description: 'Hedges that one request may have, each after another delay.',
        min: 1,
        max: 3,
        default: defaults.maxHedges,
      }).optional(),
    })
    .meta({
      description:
        'Sends a request that takes longer than most to a second endpoint as well, and takes the first good answer. Only safe methods (GET, HEAD, OPTIONS, TRACE), requests with an Idempotency-Key, and all of them where retries.methods is All; and only within the budget of retries: without that block nothing is hedged.',
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
