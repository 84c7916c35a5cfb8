import { z } from 'zod';
import { formatDuration, MINUTE } from '../duration.ts';
import { duration, integer } from '../fields.ts';
import { mode } from './mode.ts';

/** Durations in milliseconds. `maxQueued` defaults to `maxConcurrent`. */
export const bulkheadDefaults = { maxConcurrent: 20, queueTimeout: 500 } as const;

const defaults = bulkheadDefaults;

export const bulkhead = z
  .object({
    mode,
    maxConcurrent: integer({
      description: 'Requests under way at a time, each to the end of its response body.',
      min: 1,
      max: 100_000,
      default: defaults.maxConcurrent,
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
  })
  .meta({ description: 'Bounds how much of the consumer one dependency can hold, in each sidecar on its own.' });
