// What a run says in the end: pure.
import type { Random } from '../runtime/random.ts';
import { DISTURBED_FROM } from './calm-rounds.ts';
import type { BenchCase } from './cases.ts';
import { describeCase } from './cases.ts';
import { type AddedRatio, addedBy, compareAdded } from './latency.ts';
import type { Slice } from './measure.ts';
import { direct } from './proxies/direct.ts';
import type { CaseResult, LeftOut } from './rounds.ts';
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
  /** Of an open loop: what is added to the latency, see latency.ts. null in JSON: the peer added nothing that could be measured. */
  p50AddedRatio?: number;
  p50AddedRatioLow?: number;
  p50AddedRatioHigh?: number;
  p99AddedRatio?: number;
  p99AddedRatioLow?: number;
  p99AddedRatioHigh?: number;
}

/** One for each peer. Throws where there is no slice of `ours`. */
export function compare(bench: BenchCase, result: CaseResult, ours: string, random: Random): Comparison[] {
  const own = result.get(ours) ?? [];
  return Array.from(result)
    .filter(([name]) => name !== ours && name !== direct.name)
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
        ...addedRatios(compareAdded(result, ours, peer, random)),
      };
    });
}

function addedRatios(ratio: AddedRatio | undefined): Partial<Comparison> {
  if (ratio === undefined) return {};
  const { p50, p99 } = ratio;
  return {
    p50AddedRatio: rounded(p50.median),
    p50AddedRatioLow: rounded(p50.low),
    p50AddedRatioHigh: rounded(p50.high),
    p99AddedRatio: rounded(p99.median),
    p99AddedRatioLow: rounded(p99.low),
    p99AddedRatioHigh: rounded(p99.high),
  };
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

/** What is above its limit; empty where the gate is passed. What is no number is above every limit. */
export function gateFailures(
  { name, limits }: BenchCase,
  own: readonly Slice[],
  comparisons: readonly Comparison[],
): string[] {
  const beside = (peer: string) => comparisons.find((each) => each.peer === peer);
  const [envoy, haproxy] = [beside('envoy'), beside('haproxy')];
  const ratios: [what: string, ratio: number | undefined, limit: number | undefined][] = [
    ['CPU beside Envoy up to', envoy?.cpuRatioHigh, limits.cpuRatio],
    ['CPU beside HAProxy', haproxy?.cpuRatio, limits.haproxyCpuRatio],
    ['added p50 beside Envoy', envoy?.p50AddedRatio, limits.addedRatio],
    ['added p99 beside Envoy', envoy?.p99AddedRatio, limits.addedRatio],
    ['memory beside Envoy', envoy?.rssRatio, limits.rssRatio],
  ];
  const sizes: [what: string, bytes: number, limit: number | undefined][] = [
    ['memory', median(own.map((slice) => slice.rssBytes)), limits.rssBytes],
    ['anonymous memory', median(own.map((slice) => slice.anonymousBytes)), limits.anonymousBytes],
  ];
  const megabytes = (bytes: number) => Math.round(bytes / MEGABYTE);
  return [
    ...ratios
      .filter(([, ratio, limit]) => ratio !== undefined && isAbove(ratio, limit))
      .map(([what, ratio, limit]) => `${name}: ${what} ${ratio}, the limit is ${limit}`),
    ...sizes
      .filter(([, bytes, limit]) => isAbove(bytes, limit))
      .map(
        ([what, bytes, limit]) => `${name}: ${megabytes(bytes)} MB of ${what}, the limit is ${megabytes(limit ?? 0)}`,
      ),
  ];
}

function isAbove(value: number, limit: number | undefined): boolean {
  return limit !== undefined && !(value <= limit);
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
  return [
    `${bench.name}: ${describeCase(bench)}; medians of ${result.values().next().value?.length ?? 0} rounds`,
    ...table([COLUMNS, ...rows]),
    ...renderAdded(result, comparisons),
    conditions([...result.values()].flat()),
  ];
}

/** Cells of a column below each other; the first row has the titles. */
function table(rows: readonly (readonly string[])[]): string[] {
  const [titles = []] = rows;
  const widths = titles.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  const aligned = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0);
  return rows.map((cells) => cells.map(aligned).join('  '));
}

const ADDED_COLUMNS = ['added', 'p50 ms', 'ours ÷ its p50', '95 %'].concat(['p99 ms', 'ours ÷ its p99', '95 %']);

/** What each proxy adds to the latency of the direct run; nothing where there was none. */
function renderAdded(result: CaseResult, comparisons: readonly Comparison[]): string[] {
  const rows = Array.from(result.keys())
    .filter((name) => name !== direct.name)
    .map((name) => [name, addedBy(result, name), comparisons.find(({ peer }) => peer === name)] as const)
    .map(([name, added, comparison]) => [
      name,
      milliseconds(added?.p50Micros),
      ratio(comparison?.p50AddedRatio),
      interval(comparison?.p50AddedRatioLow, comparison?.p50AddedRatioHigh),
      milliseconds(added?.p99Micros),
      ratio(comparison?.p99AddedRatio),
      interval(comparison?.p99AddedRatioLow, comparison?.p99AddedRatioHigh),
    ]);
  return result.has(direct.name) ? table([ADDED_COLUMNS, ...rows]) : [];
}

const milliseconds = (micros: number | undefined): string => (micros === undefined ? '' : (micros / 1000).toFixed(2));
const ratio = (value: number | undefined): string =>
  value === Number.POSITIVE_INFINITY ? '∞' : (value?.toFixed(2) ?? '');
const interval = (low: number | undefined, high: number | undefined): string =>
  low === undefined || high === undefined ? '' : `${ratio(low)}–${ratio(high)}`;

function row(name: string, slices: readonly Slice[], comparison: Comparison | undefined): string[] {
  const of = (value: (slice: Slice) => number, digits: number) => median(slices.map(value)).toFixed(digits);
  const hasCost = name !== direct.name;
  return [
    name,
    hasCost ? of((slice) => slice.cpuMicrosPerRequest, 1) : '',
    ratio(comparison?.cpuRatio),
    interval(comparison?.cpuRatioLow, comparison?.cpuRatioHigh),
    of((slice) => slice.requestsPerSecond, 0),
    of((slice) => slice.load.p50Micros / 1000, 2),
    of((slice) => slice.load.p99Micros / 1000, 2),
    ratio(comparison?.p99Ratio),
    hasCost ? of((slice) => slice.rssBytes / MEGABYTE, 0) : '',
    hasCost ? of((slice) => slice.anonymousBytes / MEGABYTE, 0) : '',
    ratio(comparison?.rssRatio),
  ];
}

/** What else the CPUs did while a case was measured. */
export function conditions(slices: readonly Slice[]): string {
  const percent = (value: (slice: Slice) => number) => `${(median(slices.map(value)) * 100).toFixed(0)} %`;
  const late = slices.map(({ load }) => load.lateP99Micros).filter((micros) => micros !== undefined);
  return (
    `CPU of generator and upstream ${percent((slice) => slice.loadCpuBusy)} busy; ` +
    `on the proxy's CPU ${percent((slice) => slice.proxyCpuOthers)} for others, ${percent((slice) => slice.steal)} stolen` +
    (late.length > 0 ? `; the generator was late by ${milliseconds(median(late))} ms (p99)` : '')
  );
}

/** What is in no figure: CPU that a proxy took when it was not measured, and rounds that were run again. */
export function renderLeftOut(result: CaseResult, { voids, disturbed, stillDisturbed }: LeftOut): string[] {
  const shares = Array.from(result)
    .filter(([name]) => name !== direct.name)
    .map(([name, slices]) => `${name} ${(idleShare(slices) * 100).toFixed(1)} %`);
  const lines = [`CPU between the slices of each, of that in them: ${shares.join(', ')}`];
  if (voids.length > 0) lines.push(`${voids.length} void and run again: ${voids.join('; ')}`);
  if (disturbed > 0) {
    const share = `${(DISTURBED_FROM * 100).toFixed(0)} %`;
    const counted = `${stillDisturbed === 0 ? 'none' : stillDisturbed} of those that count`;
    lines.push(`${disturbed} disturbed, others took ${share} or more of a CPU; ${counted}`);
  }
  return lines;
}

function idleShare(slices: readonly Slice[]): number {
  const sum = (value: (slice: Slice) => number) => slices.reduce((total, slice) => total + value(slice), 0);
  return sum(({ idleCpuMicros }) => idleCpuMicros) / sum((slice) => slice.cpuMicrosPerRequest * slice.load.requests);
}
