import { z } from 'zod';
import { integer } from '../fields.ts';
import { formRule, withRules } from '../rules.ts';
import { modeWithShadow } from './mode.ts';

/** `burst` defaults to `requestsPerSecond`. No rate fits every dependency: one that nobody wrote is more than a sidecar can serve. */
export const rateLimitDefaults = { requestsPerSecond: 1_000_000, perHeader: { maxValues: 1000 } } as const;

const defaults = rateLimitDefaults;

/** What the sidecar writes anew at this hop, so that it tells nothing about the request. */
const HOP_HEADERS = [
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
] as const;

/** A header of the request that tells requests apart. */
export const headerName = withRules(
  z.string().max(64, { abort: true }).meta({ description: 'Name of the header, case-insensitive.' }),
  [
    formRule(
      '^[A-Za-z0-9!#$%&*+.^_|~-]+$',
      'write the name of a header, such as x-tenant: letters, digits and "-", without a colon',
    ),
    {
      cel: `!(self.lowerAscii() in [${HOP_HEADERS.map((name) => `'${name}'`).join(', ')}])`,
      message: 'this header is about the connection or the message, not about who calls; name another one',
      holds: (name) => !(HOP_HEADERS as readonly string[]).includes(name.toLowerCase()),
    },
  ],
);

export const rateLimit = withRules(
  z
    .object({
      mode: modeWithShadow,
      requestsPerSecond: integer({
        description: 'Long-term rate of requests that pass, per second. Required unless mode is set.',
        min: 1,
        max: 1_000_000,
      }).optional(),
      burst: integer({
        description: 'Requests that may pass at once after a pause.',
        min: 1,
        max: 1_000_000,
        default: 'as requestsPerSecond',
      }).optional(),
      perHeader: z
        .object({
          name: headerName,
          maxValues: integer({
            description:
              'Number of values tracked at a time. A value is dropped once its whole burst is available again; while none can be dropped, further values share one limit, so that inventing values does not evade it.',
            min: 1,
            max: 10_000,
            default: defaults.perHeader.maxValues,
          }).optional(),
        })
        .meta({
          description:
            'Gives each value of this header its own limit. Requests without the header count as one value. Off unless set.',
        })
        .optional(),
    })
    .meta({
      description: 'Refuses requests beyond a rate, in each sidecar on its own. Counts requests, not attempts.',
    }),
  [
    {
      cel: 'has(self.requestsPerSecond) || has(self.mode)',
      message: 'a rate limit needs a rate; write requestsPerSecond, such as 200',
      holds: (it) => it.requestsPerSecond !== undefined || it.mode !== undefined,
    },
  ],
);
