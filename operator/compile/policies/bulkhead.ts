import { bulkheadDefaults as defaults } from '../../../crds/policies/bulkhead.ts';
import type { BlockCompiler } from './block.ts';

export const bulkhead: BlockCompiler<'bulkhead'> = {
  absent: null,
  hasState: true,
  needsCodec: 'All',
  toPlan(block, { follow }) {
    const maxConcurrent = block.maxConcurrent ?? defaults.maxConcurrent;
    if (block.maxQueued === undefined) follow('bulkhead.maxQueued', 'bulkhead.maxConcurrent');
    return {
      maxConcurrent,
      maxQueued: block.maxQueued ?? maxConcurrent,
      queueTimeoutMs: block.queueTimeout ?? defaults.queueTimeout,
    };
  },
  fields: {
    maxConcurrent: 'maxConcurrent',
    maxQueued: 'maxQueued',
    queueTimeoutMs: 'queueTimeout',
  },
};
