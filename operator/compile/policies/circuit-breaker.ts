import { formatDuration } from '../../../crds/duration.ts';
import { circuitBreakerDefaults as defaults } from '../../../crds/policies/circuit-breaker.ts';
import type { BlockCompiler } from './block.ts';
import { canFailSo, connectionFailures } from './connection-failures.ts';

export const circuitBreaker: BlockCompiler<'circuitBreaker'> = {
  absent: null,
  hasState: true,
  needsCodec: [],
  // Forced, it acts whatever it counts.
  onConnections: (numbers) =>
    numbers.force !== null || canFailSo(numbers.failureOn)
      ? { ...numbers, failureOn: connectionFailures(numbers.failureOn) }
      : null,
  needsCodecAsWritten: ({ failureOn, force }) =>
    force === undefined && failureOn !== undefined && !canFailSo(failureOn),
  toPlan(block, { tell, follow }) {
    let openFor = block.openFor ?? defaults.openFor;
    let maxOpenFor = block.maxOpenFor ?? defaults.maxOpenFor;
    if (openFor > maxOpenFor) {
      if (block.openFor !== undefined && block.maxOpenFor !== undefined) {
        tell({
          reason: 'OpenForExceedsMax',
          fields: [
            ['circuitBreaker', 'openFor'],
            ['circuitBreaker', 'maxOpenFor'],
          ],
          details: { openFor: formatDuration(openFor), maxOpenFor: formatDuration(maxOpenFor) },
        });
      }
      // A default gives way to what somebody wrote; where both were written, the shorter one holds: a caller is refused no longer than somebody allowed.
      if (block.maxOpenFor !== undefined) {
        openFor = maxOpenFor;
        follow('circuitBreaker.openFor', 'circuitBreaker.maxOpenFor');
      } else {
        maxOpenFor = openFor;
        follow('circuitBreaker.maxOpenFor', 'circuitBreaker.openFor');
      }
    }
    return {
      failureOn: [...(block.failureOn ?? defaults.failureOn)].sort(),
      consecutiveFailures: block.consecutiveFailures ?? defaults.consecutiveFailures,
      failureRate:
        block.failureRate === undefined
          ? null
          : {
              percent: block.failureRate.percent ?? defaults.failureRate.percent,
              minimumCalls: block.failureRate.minimumCalls ?? defaults.failureRate.minimumCalls,
            },
      slowCalls:
        block.slowCalls === undefined
          ? null
          : {
              percent: block.slowCalls.percent ?? defaults.slowCalls.percent,
              minimumCalls: block.slowCalls.minimumCalls ?? defaults.slowCalls.minimumCalls,
              thresholdMs: block.slowCalls.threshold,
            },
      windowMs: block.window ?? defaults.window,
      openForMs: openFor,
      maxOpenForMs: maxOpenFor,
      halfOpenMaxProbes: block.halfOpen?.maxProbes ?? defaults.halfOpen.maxProbes,
      halfOpenSuccesses: block.halfOpen?.successes ?? defaults.halfOpen.successes,
      // The attempt timeout bounds it: relations.ts.
      halfOpenProbeTimeoutMs: block.halfOpen?.probeTimeout ?? defaults.halfOpen.probeTimeout,
      force: block.force ?? null,
    };
  },
  fields: {
    failureOn: 'failureOn',
    consecutiveFailures: 'consecutiveFailures',
    failureRate: 'failureRate',
    slowCalls: 'slowCalls',
    windowMs: 'window',
    openForMs: 'openFor',
    maxOpenForMs: 'maxOpenFor',
    halfOpenMaxProbes: 'halfOpen.maxProbes',
    halfOpenSuccesses: 'halfOpen.successes',
    halfOpenProbeTimeoutMs: 'halfOpen.probeTimeout',
    force: 'force',
  },
};
