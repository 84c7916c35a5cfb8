import { z } from 'zod';
import { MINUTE } from '../duration.ts';
import { duration, integer } from '../fields.ts';
import { withRules } from '../rules.ts';
import { modeWithShadow } from './mode.ts';

/** Faults act only where they are written, so nothing of them has a default. */
export const faultInjectionDefaults = {} as const;

const percent = integer({ description: 'Share of the requests, in percent.', min: 0, max: 100 });

export const faultInjection = withRules(
  z
    .object({
      mode: modeWithShadow,
      delay: z
        .object({
          fixed: duration({
            description: 'How long they wait before anything else happens; it counts against timeouts.request.',
            minMs: 1,
            maxMs: MINUTE,
          }),
          percent,
        })
        .meta({ description: 'Requests that wait. Acts only where written.' })
        .optional(),
      abort: z
        .object({
          statusCode: integer({ description: 'What they are answered.', min: 400, max: 599 }),
          percent,
        })
        .meta({ description: 'Requests that are answered with an error and not sent. Acts only where written.' })
        .optional(),
    })
    .meta({
      description:
        'Faults on purpose, for game days: they try what the application does, its fallback included. The dependency is not to blame for them, so no circuit, ejection or budget counts them. The status of what they act on says that they are there.',
    }),
  [
    {
      cel: 'has(self.delay) || has(self.abort) || has(self.mode)',
      message: 'name a fault: write delay, abort or both',
      holds: (it) => it.delay !== undefined || it.abort !== undefined || it.mode !== undefined,
    },
  ],
);
