// What a proxy adds to the latency of the upstream: its quantile minus that of the direct run in the same round. Pure.
import type { Random } from '../runtime/random.ts';
import type { LoadSummary } from './load.ts';
import { direct } from './proxies/direct.ts';
import type { CaseResult } from './rounds.ts';
import { type Estimate, median, ratioOfMedians } from './statistics.ts';

const QUANTILES = {
  p50: (load: LoadSummary) => load.p50Micros,
  p99: (load: LoadSummary) => load.p99Micros,
};

export interface Added {
  /** Medians over the rounds. */
  p50Micros: number;
  p99Micros: number;
}

/** Ours divided by what a peer adds. */
export interface AddedRatio {
  p50: Estimate;
  p99: Estimate;
}

/** Undefined where nothing was measured without a proxy. */
export function addedBy(result: CaseResult, name: string): Added | undefined {
  if (!result.has(direct.name)) return undefined;
  return { p50Micros: median(inRounds(result, name, 'p50')), p99Micros: median(inRounds(result, name, 'p99')) };
}

/**
 * Undefined where nothing was measured without a proxy. A ratio of medians and not a median of ratios: what is added may be next to nothing,
 * or less, in a round that a shared machine disturbed, and a ratio to that says nothing.
 */
export function compareAdded(result: CaseResult, ours: string, peer: string, random: Random): AddedRatio | undefined {
  if (!result.has(direct.name)) return undefined;
  const ratio = (quantile: keyof typeof QUANTILES) =>
    ratioOfMedians(inRounds(result, ours, quantile), inRounds(result, peer, quantile), random);
  return { p50: ratio('p50'), p99: ratio('p99') };
}

function inRounds(result: CaseResult, name: string, quantile: keyof typeof QUANTILES): number[] {
  const of = QUANTILES[quantile];
  const without = result.get(direct.name) ?? [];
  return (result.get(name) ?? []).map((slice, round) => of(slice.load) - of((without[round] ?? slice).load));
}
