import { z } from 'zod';
import { formatDuration, HOUR, MINUTE, SECOND } from '../duration.ts';
import { duration, integer, setList } from '../fields.ts';
import { withRules } from '../rules.ts';
import { FAILURE_KINDS, type FailureKind, failureKind } from './failure-kinds.ts';
import { modeWithShadow } from './mode.ts';

const failureOnDefault: readonly FailureKind[] = ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'];

/**
 * Durations in milliseconds. `failureRate` and `slowCalls` act only where written; `halfOpen.probeTimeout` is the attempt timeout where there
 * is one.
 */
export const circuitBreakerDefaults = {
  failureOn: failureOnDefault,
  consecutiveFailures: 5,
  failureRate: { percent: 50, minimumCalls: 20 },
  slowCalls: { percent: 80, minimumCalls: 20 },
  window: 10 * SECOND,
  openFor: 30 * SECOND,
  maxOpenFor: 5 * MINUTE,
  halfOpen: { maxProbes: 2, successes: 2, probeTimeout: 5 * SECOND },
} as const;

const defaults = circuitBreakerDefaults;

const minimumCalls = integer({
  description: 'With fewer calls in the window the circuit does not open.',
  min: 1,
  max: 100_000,
  default: defaults.failureRate.minimumCalls,
});

export const circuitBreaker = withRules(
  z
    .object({
      mode: modeWithShadow,
      failureOn: setList(failureKind, {
        description:
          "What counts as a failure of the dependency. The sidecar's own refusals, callers that disconnected and other 4xx never do.",
        max: FAILURE_KINDS.length,
        default: defaults.failureOn.join(', '),
      }).optional(),
      consecutiveFailures: integer({
        description:
          'Opens after this many consecutive failures. Connections that one endpoint loses at once, as when a pod dies, count as one failure.',
        min: 0,
        max: 1000,
        zero: 'off',
        default: defaults.consecutiveFailures,
      }).optional(),
      failureRate: z
        .object({
          percent: integer({
            description: 'Share of failed calls in the window that opens the circuit, in percent.',
            min: 1,
            max: 100,
            default: defaults.failureRate.percent,
          }).optional(),
          minimumCalls: minimumCalls.optional(),
        })
        .meta({ description: 'Opens at a share of failed calls. Off unless set.' })
        .optional(),
      slowCalls: z
        .object({
          percent: integer({
            description: 'Share of slow calls in the window that opens the circuit, in percent.',
            min: 1,
            max: 100,
            default: defaults.slowCalls.percent,
          }).optional(),
          threshold: duration({
            description: 'A call that takes longer is slow; for an opaque connection, the time to connect counts.',
            minMs: 1,
            maxMs: HOUR,
          }),
          minimumCalls: minimumCalls.optional(),
        })
        .meta({ description: 'Opens at a share of slow calls. Off unless set.' })
        .optional(),
      window: duration({
        description: 'The period over which failureRate and slowCalls count.',
        minMs: SECOND,
        maxMs: 10 * MINUTE,
        default: formatDuration(defaults.window),
      }).optional(),
      openFor: duration({
        description:
          'How long the circuit refuses calls before it probes; doubled each time it reopens without having closed. Jitter adds up to 10 %.',
        minMs: 100,
        maxMs: 10 * MINUTE,
        default: formatDuration(defaults.openFor),
      }).optional(),
      maxOpenFor: duration({
        description: 'Upper bound of the doubling; not shorter than openFor.',
        minMs: 100,
        maxMs: HOUR,
        default: formatDuration(defaults.maxOpenFor),
      }).optional(),
      halfOpen: z
        .object({
          maxProbes: integer({
            description: 'Probes in progress at a time.',
            min: 1,
            max: 100,
            default: defaults.halfOpen.maxProbes,
          }).optional(),
          successes: integer({
            description: 'Number of successful probes that close the circuit.',
            min: 1,
            max: 100,
            default: defaults.halfOpen.successes,
          }).optional(),
          probeTimeout: duration({
            description:
              'How long a probe may take to its response head; not longer than an attempt. A probe without one by then has failed, and its attempt ends. Otherwise it is judged by the head, and the response continues.',
            minMs: 1,
            maxMs: HOUR,
            default: `the attempt timeout, ${formatDuration(defaults.halfOpen.probeTimeout)} where there is none`,
          }).optional(),
        })
        .meta({ description: 'How the circuit finds out that the dependency has recovered.' })
        .optional(),
      force: z
        .enum(['Open', 'Closed'])
        .meta({
          description:
            'Forces the state of the circuit. Open: every call is refused. Closed: every call passes; calls are counted, but it does not open. Absent: the calls decide.',
        })
        .optional(),
    })
    .meta({
      description:
        'Refuses calls at once while the dependency fails, in each sidecar on its own. An opaque connection counts as a call that succeeds with the first byte from the dependency.',
    }),
  [
    {
      cel: '!has(self.openFor) || !has(self.maxOpenFor) || duration(self.maxOpenFor) >= duration(self.openFor)',
      message: 'maxOpenFor must not be shorter than openFor; lengthen maxOpenFor or shorten openFor',
      fieldPath: '.maxOpenFor',
      holds: ({ openFor, maxOpenFor }) => openFor === undefined || maxOpenFor === undefined || maxOpenFor >= openFor,
    },
  ],
);
