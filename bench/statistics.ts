// What is made of the samples of all rounds: pure. Ratios are taken inside a round and then summarised, never the other way round: what a
// shared machine does to one round it does to both sides of its ratio.
import type { Random } from '../runtime/random.ts';

export interface Interval {
  low: number;
  high: number;
}

export interface Estimate extends Interval {
  median: number;
}

/** The mean of the two middle values where their number is even. Throws RangeError for none. */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const upper = sorted[sorted.length >> 1];
  if (upper === undefined) throw new RangeError('no values, no median');
  const lower = sorted[(sorted.length - 1) >> 1] ?? upper;
  return (lower + upper) / 2;
}

/**
 * Percentile bootstrap of the median: medians of `resamples` samples drawn from `values` with replacement, and the range that holds the
 * middle `confidence` (0 to 1) of them. Throws RangeError for no values.
 */
export function bootstrapInterval(
  values: readonly number[],
  random: Random,
  confidence = 0.95,
  resamples = 10_000,
): Interval {
  return bootstrap(values, median, random, confidence, resamples);
}

function bootstrap(
  values: readonly number[],
  statistic: (sample: readonly number[]) => number,
  random: Random,
  confidence = 0.95,
  resamples = 10_000,
): Interval {
  const statistics = new Float64Array(resamples);
  const sample = Array.from(values);
  for (let index = 0; index < resamples; index++) {
    for (let slot = 0; slot < sample.length; slot++) sample[slot] = values[Math.floor(random() * values.length)] ?? 0;
    statistics[index] = statistic(sample);
  }
  statistics.sort();
  const tail = (1 - confidence) / 2;
  const at = (fraction: number) => statistics[Math.min(resamples - 1, Math.floor(fraction * resamples))] ?? Number.NaN;
  return { low: at(tail), high: at(1 - tail) };
}

function assertPairs(ours: readonly number[], theirs: readonly number[]): void {
  if (ours.length !== theirs.length)
    throw new RangeError(`${ours.length} and ${theirs.length} values do not make pairs`);
}

/** Median and 95 % interval of `ours[i] / theirs[i]`. Throws RangeError where the two differ in length or are empty. */
export function pairedRatio(ours: readonly number[], theirs: readonly number[], random: Random): Estimate {
  assertPairs(ours, theirs);
  const ratios = ours.map((value, index) => value / (theirs[index] ?? Number.NaN));
  return { median: median(ratios), ...bootstrapInterval(ratios, random) };
}

/**
 * Median of `ours` divided by that of `theirs`, and its 95 % interval: resampled are the pairs, so that both medians are of the same rounds.
 * Infinity where that of theirs is not above 0. Throws RangeError where the two differ in length or are empty.
 */
export function ratioOfMedians(ours: readonly number[], theirs: readonly number[], random: Random): Estimate {
  assertPairs(ours, theirs);
  const ratioOf = (rounds: readonly number[]): number => {
    const divisor = median(rounds.map((round) => theirs[round] ?? Number.NaN));
    return divisor > 0 ? median(rounds.map((round) => ours[round] ?? Number.NaN)) / divisor : Number.POSITIVE_INFINITY;
  };
  const rounds = Array.from(ours.keys());
  return { median: ratioOf(rounds), ...bootstrap(rounds, ratioOf, random) };
}

/** A copy in random order (Fisher–Yates). */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const copy = items.map((item) => ({ item }));
  for (let last = copy.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [copy[last], copy[other]];
    if (a && b) [copy[last], copy[other]] = [b, a];
  }
  return copy.map(({ item }) => item);
}
