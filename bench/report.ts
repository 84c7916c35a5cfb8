// What a run says in the end: pure.
import type { Random } from '../runtime/random.ts';
import type { BenchCase } from './cases.ts';
import { describeCase } from './cases.ts';
import type { Slice } from './measure.ts';
import type { CaseResult } from './rounds.ts';
import { type Estimate, median, pairedRatio } from './statistics.ts';

const MEGABYTE = 1e6;

/** Ours divided by the peer's, as `npm run bench -- --json` prints it. */
export interface Comparison {
  case: string;
  peer: string;
  cpuRatio: number;
  cpuRatioLow: number;
  cpuRatioHigh: number;
  p99Ratio: number;
  rssRatio: number;
  rounds: number;
}

/** One for each peer. Throws where there is no slice of `ours`. */
export function compare(bench: BenchCase, result: CaseResult, ours: string, random: Random): Comparison[] {
  const own = result.get(ours) ?? [];
  return Array.from(result)
    .filter(([name]) => name !== ours)
    .map(([peer, theirs]) => {
      const ratio = (value: (slice: Slice) => number): Estimate =>
        pairedRatio(own.map(value), theirs.map(value), random);
      const cpu = ratio((slice) => slice.cpuMicrosPerRequest);
      return {
        case: bench.name,
        peer,
        cpuRatio: rounded(cpu.median),
        cpuRatioLow: rounded(cpu.low),
        cpuRatioHigh: rounded(cpu.high),
        p99Ratio: rounded(ratio((slice) => slice.load.p99Micros).median),
        rssRatio: rounded(ratio((slice) => slice.rssBytes).median),
        rounds: own.length,
      };
    });
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

/** What is above its limit; empty where the gate is passed. */
export function gateFailures(
  { name, limits }: BenchCase,
  own: readonly Slice[],
  comparisons: readonly Comparison[],
): string[] {
  const failures: string[] = [];
  const { cpuRatio: cpuRatioLimit = Number.POSITIVE_INFINITY, haproxyCpuRatio = Number.POSITIVE_INFINITY } = limits;
  for (const { peer, cpuRatio, cpuRatioHigh } of comparisons) {
    if (peer === 'envoy' && !(cpuRatioHigh <= cpuRatioLimit))
      failures.push(`${name}: CPU beside Envoy up to ${cpuRatioHigh}, the limit is ${cpuRatioLimit}`);
    if (peer === 'haproxy' && !(cpuRatio <= haproxyCpuRatio))
      failures.push(`${name}: CPU beside HAProxy ${cpuRatio}, the limit is ${haproxyCpuRatio}`);
  }
  const megabytes = (bytes: number) => Math.round(bytes / MEGABYTE);
  const rssBytes = median(own.map((slice) => slice.rssBytes));
  if (limits.rssBytes !== undefined && !(rssBytes <= limits.rssBytes))
    failures.push(`${name}: ${megabytes(rssBytes)} MB of memory, the limit is ${megabytes(limits.rssBytes)}`);
  return failures;
}

const COLUMNS = [
  '',
  'CPU-µs/request',
  'ours ÷ its CPU',
  '95 %',
  'requests/s',
  'p50 ms',
  'p99 ms',
  'ours ÷ its p99',
].concat(['RSS MB', 'anonymous', 'ours ÷ its RSS']);

export function renderCase(bench: BenchCase, result: CaseResult, comparisons: readonly Comparison[]): string[] {
  const rows = Array.from(result, ([name, slices]) => {
    const comparison = comparisons.find(({ peer }) => peer === name);
    return row(name, slices, comparison);
  });
  const widths = COLUMNS.map((title, column) =>
    Math.max(title.length, ...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ');
  const all = [...result.values()].flat();
  return [
    `${bench.name}: ${describeCase(bench)}; medians of ${result.values().next().value?.length ?? 0} rounds`,
    line(COLUMNS),
    ...rows.map(line),
    conditions(all),
  ];
}

function row(name: string, slices: readonly Slice[], comparison: Comparison | undefined): string[] {
  const of = (value: (slice: Slice) => number, digits: number) => median(slices.map(value)).toFixed(digits);
  const ratio = (value: number | undefined) => value?.toFixed(2) ?? '';
  return [
    name,
    of((slice) => slice.cpuMicrosPerRequest, 1),
    ratio(comparison?.cpuRatio),
    comparison ? `${ratio(comparison.cpuRatioLow)}–${ratio(comparison.cpuRatioHigh)}` : '',
    of((slice) => slice.requestsPerSecond, 0),
    of((slice) => slice.load.p50Micros / 1000, 2),
    of((slice) => slice.load.p99Micros / 1000, 2),
    ratio(comparison?.p99Ratio),
    of((slice) => slice.rssBytes / MEGABYTE, 0),
    of((slice) => slice.anonymousBytes / MEGABYTE, 0),
    ratio(comparison?.rssRatio),
  ];
}

/** What else the CPUs did while a case was measured. */
export function conditions(slices: readonly Slice[]): string {
  const percent = (value: (slice: Slice) => number) => `${(median(slices.map(value)) * 100).toFixed(0)} %`;
  return (
    `CPU of generator and upstream ${percent((slice) => slice.loadCpuBusy)} busy; ` +
    `on the proxy's CPU ${percent((slice) => slice.proxyCpuOthers)} for others, ${percent((slice) => slice.steal)} stolen`
  );
}
