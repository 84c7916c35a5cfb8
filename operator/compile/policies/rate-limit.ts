import { rateLimitDefaults as defaults } from '../../../crds/policies/rate-limit.ts';
import type { BlockCompiler } from './block.ts';

export const rateLimit: BlockCompiler<'rateLimit'> = {
  absent: null,
  hasState: true,
  needsCodec: 'All',
  toPlan(block, { tell, follow }) {
    if (block.requestsPerSecond === undefined) tell({ reason: 'NoRate', fields: [['rateLimit', 'mode']], details: {} });
    if (block.burst === undefined) follow('rateLimit.burst', 'rateLimit.requestsPerSecond');
    const requestsPerSecond = block.requestsPerSecond ?? defaults.requestsPerSecond;
    return {
      requestsPerSecond,
      burst: block.burst ?? requestsPerSecond,
      perHeader:
        block.perHeader === undefined
          ? null
          : {
              name: block.perHeader.name,
              maxValues: block.perHeader.maxValues ?? defaults.perHeader.maxValues,
            },
    };
  },
  fields: {
    requestsPerSecond: 'requestsPerSecond',
    burst: 'burst',
    perHeader: 'perHeader',
  },
};
