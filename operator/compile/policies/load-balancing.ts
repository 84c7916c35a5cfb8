import { loadBalancingDefaults as defaults } from '../../../crds/policies/load-balancing.ts';
import type { BlockCompiler, Numbers, Written } from './block.ts';

export const loadBalancing: BlockCompiler<'loadBalancing'> = {
  absent: null,
  hasState: true,
  needsCodec: [],
  // Of a connection only the caller is known: without a key it is balanced as by PeakEwma.
  onConnections: (numbers) =>
    hashesRequests(numbers) ? { ...numbers, algorithm: 'PeakEwma', consistentHash: null } : numbers,
  needsCodecAsWritten: hashesRequests,
  actsOnChoice: true,
  toPlan(block) {
    const algorithm = block.algorithm ?? defaults.algorithm;
    return {
      algorithm,
      // A narrower policy may have chosen another algorithm over one with a key.
      consistentHash: algorithm === 'ConsistentHash' ? hashOf(block) : null,
      slowStart: block.slowStart ? { windowMs: block.slowStart.window ?? defaults.slowStart.window } : null,
      zoneAware: block.zoneAware ?? defaults.zoneAware,
    };
  },
  fields: {
    algorithm: 'algorithm',
    consistentHash: 'consistentHash',
    slowStart: 'slowStart',
    zoneAware: 'zoneAware',
  },
};

/** The schema has whoever writes the algorithm write a key beside it, so that it is there after every merge. */
function hashOf({ consistentHash }: Written<'loadBalancing'>): Numbers<'loadBalancing'>['consistentHash'] {
  if (consistentHash === undefined) throw new Error('the algorithm ConsistentHash has no key');
  const { key, name, maxLoadPercent } = consistentHash;
  return {
    key,
    // A name from a wider policy may stand beside a key that has none.
    name: key === 'SourceAddress' ? null : (name ?? null),
    maxLoadPercent: maxLoadPercent ?? defaults.consistentHash.maxLoadPercent,
  };
}

function hashesRequests({ consistentHash }: { consistentHash?: { key: string } | null | undefined }): boolean {
  return consistentHash != null && consistentHash.key !== 'SourceAddress';
}
