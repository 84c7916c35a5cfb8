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
            description: 'How long these requests wait before anything else happens; counts against timeouts.request.',
            minMs: 1,
            maxMs: MINUTE,
          }),
          percent,
        })
        .meta({ description: 'Delays requests. Off unless set.' })
        .optional(),
      abort: z
        .object({
          statusCode: integer({ description: 'Status of the answer.', min: 400, max: 599 }),
          percent,
        })
        .meta({ description: 'Answers requests with an error without sending them. Off unless set.' })
        .optional(),
    })
    .meta({
      description:
        'Injected faults, for game days: they test how the application reacts, including its fallback. Circuits, ejections and budgets do not count them. The status of the targets shows that they are active.',
    }),
  [
    {
      cel: 'has(self.delay) || has(self.abort) || has(self.mode)',
      message: 'name a fault: write delay, abort or both',
      holds: (it) => it.delay !== undefined || it.abort !== undefined || it.mode !== undefined,
    },
  ],
);
