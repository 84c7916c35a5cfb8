// How each block is compiled: one line each here, the rest in a file of its own.
import { BLOCKS, type BlockName } from '../../../crds/policies/blocks.ts';
import type { BlockCompiler, Blocks, NumbersOrAbsent, Written } from './block.ts';
import { bulkhead } from './bulkhead.ts';
import { circuitBreaker } from './circuit-breaker.ts';
import { fallback } from './fallback.ts';
import { faultInjection } from './fault-injection.ts';
import { healthCheck } from './health-check.ts';
import { hedging } from './hedging.ts';
import { loadBalancing } from './load-balancing.ts';
import { outlierDetection } from './outlier-detection.ts';
import { rateLimit } from './rate-limit.ts';
import { retries } from './retries.ts';
import { timeouts } from './timeouts.ts';

export const COMPILERS: { readonly [B in BlockName]: BlockCompiler<B> } = {
  timeouts,
  retries,
  circuitBreaker,
  outlierDetection,
  bulkhead,
  rateLimit,
  fallback,
  faultInjection,
  loadBalancing,
  healthCheck,
  hedging,
};

export type AllNumbers = { readonly [B in BlockName]: NumbersOrAbsent<B> };

/** One value for each block, by its name. */
export function eachBlock<T extends Record<BlockName, unknown>>(make: <B extends BlockName>(block: B) => T[B]): T {
  return Object.fromEntries(BLOCKS.map((block) => [block, make(block)])) as T;
}

/** The block, where it is there and not switched off. */
export function active<B extends BlockName>(blocks: Blocks, name: B): Written<B> | undefined {
  const block = blocks[name];
  return block === undefined || block.mode === 'Disabled' ? undefined : block;
}
