import { bulkheadDefaults as defaults } from '../../../crds/policies/bulkhead.ts';
import type { BlockCompiler } from './block.ts';

export const bulkhead: BlockCompiler<'bulkhead'> = {
  absent: null,
  hasState: true,
  needsCodec: ['adaptive'],
  // Of a connection no latency can be measured: the bound of the limit is the limit.
  onConnections: (numbers) => ({ ...numbers, adaptive: null }),
  toPlan(block, { tell, follow }) {
    const { adaptive } = block;
    const maxConcurrent =
      block.maxConcurrent ?? (adaptive === undefined ? defaults.maxConcurrent : defaults.adaptive.maxConcurrent);
    let minConcurrent = adaptive?.minConcurrent ?? defaults.adaptive.minConcurrent;
    if (adaptive !== undefined && minConcurrent > maxConcurrent) {
      if (adaptive.minConcurrent !== undefined) {
        tell({
          reason: 'MinConcurrentExceedsMax',
          fields: [
            ['bulkhead', 'adaptive.minConcurrent'],
            ['bulkhead', 'maxConcurrent'],
          ],
          details: { minConcurrent, maxConcurrent },
        });
      }
      // The bound that protects the dependency holds.
      minConcurrent = maxConcurrent;
      follow('bulkhead.adaptive.minConcurrent', 'bulkhead.maxConcurrent');
    }
    if (block.maxQueued === undefined) follow('bulkhead.maxQueued', 'bulkhead.maxConcurrent');
    return {
      maxConcurrent,
      maxQueued: block.maxQueued ?? maxConcurrent,
      queueTimeoutMs: block.queueTimeout ?? defaults.queueTimeout,
      adaptive:
        adaptive === undefined
          ? null
          : {
              minConcurrent,
              latencyTolerancePercent: adaptive.latencyTolerancePercent ?? defaults.adaptive.latencyTolerancePercent,
              probeIntervalMs: adaptive.probeInterval ?? defaults.adaptive.probeInterval,
            },
    };
  },
  fields: {
    maxConcurrent: 'maxConcurrent',
    maxQueued: 'maxQueued',
    queueTimeoutMs: 'queueTimeout',
    adaptive: 'adaptive',
  },
};
