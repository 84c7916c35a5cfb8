import { formatDuration } from '../../../crds/duration.ts';
import { outlierDetectionDefaults as defaults } from '../../../crds/policies/outlier-detection.ts';
import type { BlockCompiler, Findings, Written } from './block.ts';
import { canFailSo, connectionFailures } from './connection-failures.ts';

export const outlierDetection: BlockCompiler<'outlierDetection'> = {
  absent: null,
  hasState: true,
  needsCodec: [],
  onConnections: (numbers) =>
    canFailSo(numbers.failureOn) ? { ...numbers, failureOn: connectionFailures(numbers.failureOn) } : null,
  needsCodecAsWritten: ({ failureOn }) => failureOn !== undefined && !canFailSo(failureOn),
  actsOnChoice: true,
  toPlan(block, findings) {
    const maxEjectionPercent = block.maxEjectionPercent ?? defaults.maxEjectionPercent;
    const panicThresholdPercent = block.panicThresholdPercent ?? defaults.panicThresholdPercent;
    if (maxEjectionPercent + panicThresholdPercent > 100) {
      findings.tell({
        reason: 'PanicBeforeMaxEjection',
        fields: [
          ['outlierDetection', 'maxEjectionPercent'],
          ['outlierDetection', 'panicThresholdPercent'],
        ],
        details: {
          ejected: maxEjectionPercent,
          left: panicThresholdPercent,
          ejectedWithoutPanic: 100 - panicThresholdPercent,
          leftByEjection: 100 - maxEjectionPercent,
        },
      });
    }
    return {
      failureOn: [...(block.failureOn ?? defaults.failureOn)].sort(),
      consecutiveFailures: block.consecutiveFailures ?? defaults.consecutiveFailures,
      consecutiveLocalOriginFailures: block.consecutiveLocalOriginFailures ?? defaults.consecutiveLocalOriginFailures,
      successRate: successRateOf(block),
      intervalMs: block.interval ?? defaults.interval,
      maxEjectionPercent,
      ...ejectionTimes(block, findings),
      panicThresholdPercent,
    };
  },
  fields: {
    failureOn: 'failureOn',
    consecutiveFailures: 'consecutiveFailures',
    consecutiveLocalOriginFailures: 'consecutiveLocalOriginFailures',
    successRate: 'successRate',
    intervalMs: 'interval',
    maxEjectionPercent: 'maxEjectionPercent',
    ejectForMs: 'ejectFor',
    maxEjectForMs: 'maxEjectFor',
    panicThresholdPercent: 'panicThresholdPercent',
  },
};

function successRateOf({ successRate }: Written<'outlierDetection'>) {
  if (successRate === undefined) return null;
  return {
    minimumEndpoints: successRate.minimumEndpoints ?? defaults.successRate.minimumEndpoints,
    minimumCalls: successRate.minimumCalls ?? defaults.successRate.minimumCalls,
    deviationFactorPercent: successRate.deviationFactorPercent ?? defaults.successRate.deviationFactorPercent,
  };
}

/** A default gives way to what somebody wrote; where both were written, the shorter one holds: who serves is out no longer than that. */
function ejectionTimes(block: Written<'outlierDetection'>, { tell, follow }: Findings) {
  const ejectForMs = block.ejectFor ?? defaults.ejectFor;
  const maxEjectForMs = block.maxEjectFor ?? defaults.maxEjectFor;
  if (ejectForMs <= maxEjectForMs) return { ejectForMs, maxEjectForMs };
  if (block.maxEjectFor === undefined) {
    follow('outlierDetection.maxEjectFor', 'outlierDetection.ejectFor');
    return { ejectForMs, maxEjectForMs: ejectForMs };
  }
  if (block.ejectFor !== undefined) {
    tell({
      reason: 'EjectForExceedsMax',
      fields: [
        ['outlierDetection', 'ejectFor'],
        ['outlierDetection', 'maxEjectFor'],
      ],
      details: { ejectFor: formatDuration(ejectForMs), maxEjectFor: formatDuration(maxEjectForMs) },
    });
  }
  follow('outlierDetection.ejectFor', 'outlierDetection.maxEjectFor');
  return { ejectForMs: maxEjectForMs, maxEjectForMs };
}
