import { formatDuration } from '../../../crds/duration.ts';
import { hedgingDefaults as defaults } from '../../../crds/policies/hedging.ts';
import type { BlockCompiler, Findings, Written } from './block.ts';

export const hedging: BlockCompiler<'hedging'> = {
  absent: null,
  hasState: true,
  needsCodec: 'All',
  actsOnChoice: true,
  toPlan(block, findings) {
    return {
      afterPercentile: block.afterPercentile ?? defaults.afterPercentile,
      ...delaysOf(block, findings),
      maxHedges: block.maxHedges ?? defaults.maxHedges,
    };
  },
  fields: {
    afterPercentile: 'afterPercentile',
    minDelayMs: 'minDelay',
    maxDelayMs: 'maxDelay',
    maxHedges: 'maxHedges',
  },
};

/** A default gives way to what somebody wrote; where both were written the later hedge is the safer one. */
function delaysOf({ minDelay, maxDelay }: Written<'hedging'>, { tell, follow }: Findings) {
  const minDelayMs = minDelay ?? defaults.minDelay;
  if (maxDelay === undefined || minDelayMs <= maxDelay) return { minDelayMs, maxDelayMs: maxDelay ?? null };
  if (minDelay === undefined) {
    follow('hedging.minDelay', 'hedging.maxDelay');
    return { minDelayMs: maxDelay, maxDelayMs: maxDelay };
  }
  tell({
    reason: 'MinDelayExceedsMax',
    fields: [
      ['hedging', 'minDelay'],
      ['hedging', 'maxDelay'],
    ],
    details: { minDelay: formatDuration(minDelay), maxDelay: formatDuration(maxDelay) },
  });
  follow('hedging.maxDelay', 'hedging.minDelay');
  return { minDelayMs, maxDelayMs: minDelayMs };
}
