import { z } from 'zod';
import { formatDuration, HOUR, MINUTE, SECOND } from '../duration.ts';
import { duration, integer, setList } from '../fields.ts';
import { withRules } from '../rules.ts';
import { FAILURE_KINDS, type FailureKind, failureKind } from './failure-kinds.ts';
import { modeWithShadow } from './mode.ts';

const failureOnDefault: readonly FailureKind[] = ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'];

/** Durations in milliseconds. `successRate` acts only where written. */
export const outlierDetectionDefaults = {
  failureOn: failureOnDefault,
  consecutiveFailures: 5,
  consecutiveLocalOriginFailures: 5,
  successRate: { minimumEndpoints: 5, minimumCalls: 100, deviationFactorPercent: 190 },
  interval: 10 * SECOND,
  maxEjectionPercent: 50,
  ejectFor: 30 * SECOND,
  maxEjectFor: 5 * MINUTE,
  panicThresholdPercent: 50,
} as const;

const defaults = outlierDetectionDefaults;

const successRate = z
  .object({
    minimumEndpoints: integer({
      description: 'No comparison takes place if fewer endpoints had minimumCalls.',
      min: 2,
      max: 10_000,
      default: defaults.successRate.minimumEndpoints,
    }).optional(),
    minimumCalls: integer({
      description: 'An endpoint with fewer calls in the interval is not compared.',
      min: 1,
      max: 100_000,
      default: defaults.successRate.minimumCalls,
    }).optional(),
    deviationFactorPercent: integer({
      description:
        'How far below the mean, in percent of the standard deviation: 190 is 1.9 of them. Of n endpoints a single one can be as far as the square root of n − 1 of them, so a larger value needs more endpoints.',
      min: 100,
      max: 1000,
      default: defaults.successRate.deviationFactorPercent,
    }).optional(),
  })
  .meta({
    description:
      'Ejects an endpoint whose success rate over an interval is below the mean of its peers, by so many standard deviations, by three standard errors of its own number of calls, and by at least five percentage points. Off unless set.',
  });

export const outlierDetection = withRules(
  z
    .object({
      mode: modeWithShadow,
      failureOn: setList(failureKind, {
        description:
          "What counts as a failure of the endpoint. The sidecar's own refusals, callers that disconnected and other 4xx never do.",
        max: FAILURE_KINDS.length,
        default: defaults.failureOn.join(', '),
      }).optional(),
      consecutiveFailures: integer({
        description: 'Ejects an endpoint after this many consecutive answers that are failures.',
        min: 0,
        max: 1000,
        zero: 'off',
        default: defaults.consecutiveFailures,
      }).optional(),
      consecutiveLocalOriginFailures: integer({
        description:
          'Ejects an endpoint after this many consecutive calls without an answer (ConnectFailure, Reset, AttemptTimeout). Counted separately from answers.',
        min: 0,
        max: 1000,
        zero: 'off',
        default: defaults.consecutiveLocalOriginFailures,
      }).optional(),
      successRate: successRate.optional(),
      interval: duration({
        description:
          'The period over which success rates are counted and compared. Each interval that an endpoint stays in shortens its next ejection by one ejectFor.',
        minMs: SECOND,
        maxMs: 10 * MINUTE,
        default: formatDuration(defaults.interval),
      }).optional(),
      maxEjectionPercent: integer({
        description:
          'Share of endpoints that may be ejected at a time, in percent, rounded down. The last endpoint is never ejected.',
        min: 0,
        max: 100,
        default: defaults.maxEjectionPercent,
      }).optional(),
      ejectFor: duration({
        description:
          'How long the first ejection lasts; the second lasts twice as long, the third three times. Jitter adds up to 10 %.',
        minMs: SECOND,
        maxMs: 10 * MINUTE,
        default: formatDuration(defaults.ejectFor),
      }).optional(),
      maxEjectFor: duration({
        description: 'Upper bound of that growth; not shorter than ejectFor.',
        minMs: SECOND,
        maxMs: HOUR,
        default: formatDuration(defaults.maxEjectFor),
      }).optional(),
      panicThresholdPercent: integer({
        description:
          'If less than this share of the endpoints is left, in percent, all are used, including ejected and unhealthy ones, since the rest could not carry the load.',
        min: 0,
        max: 100,
        zero: 'only where none is left',
        default: defaults.panicThresholdPercent,
      }).optional(),
    })
    .meta({
      description:
        'Ejects an endpoint that fails while others do not: it gets no calls for a while. Each sidecar decides on its own.',
    }),
  [
    {
      cel: '!has(self.ejectFor) || !has(self.maxEjectFor) || duration(self.maxEjectFor) >= duration(self.ejectFor)',
      message: 'maxEjectFor must not be shorter than ejectFor; lengthen maxEjectFor or shorten ejectFor',
      fieldPath: '.maxEjectFor',
      holds: ({ ejectFor, maxEjectFor }) =>
        ejectFor === undefined || maxEjectFor === undefined || maxEjectFor >= ejectFor,
    },
  ],
);
