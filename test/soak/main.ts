// `npm run soak`: an hour of mixed load on a whole sidecar (`-- --minutes 5` for less, `--seed 7` for other faults). Prints what grew, and ends with
// exit code 1 where anything did that must not, or a request had not exactly one right end.
import { setPriority } from 'node:os';
import { parseArgs } from 'node:util';
import { type Finding, runSoak, WATCHED } from './soak.ts';

const MAX_MINUTES = 24 * 60;
/** Others on the machine go first. */
const NICENESS = 10;

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
});
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
if (!(minutes >= 1 && minutes <= MAX_MINUTES) || !Number.isInteger(seed)) {
  process.stderr.write(`usage: npm run soak -- [--minutes 1…${MAX_MINUTES}] [--seed WHOLE_NUMBER]\n`);
  process.exit(2);
}
if (process.platform !== 'linux') {
  process.stderr.write('the soak reads /proc: it needs Linux\n');
  process.exit(2);
}
setPriority(NICENESS);

const say = (line: string) => void process.stdout.write(`${line}\n`);
const { requests, outcomes, violations, swaps, findings } = await runSoak(minutes, seed, say);

const digits = (value: number) => (Number.isFinite(value) ? value.toFixed(2) : '?');
function verdict({ slope, leaks }: Finding): string {
  if (leaks) return 'GROWS';
  if (slope.low > 0) return 'within its bound';
  return slope.high < 0 ? 'falls' : 'level';
}
function row(finding: Finding): string {
  const { what, median, slope } = finding;
  const { unit } = WATCHED[what];
  const middle = `${digits(median)} ${unit}`.trimEnd().padEnd(14);
  const interval = `${digits(slope.perHour)} an hour (${digits(slope.low)} to ${digits(slope.high)})`;
  return `${what.padEnd(22)} ${middle} ${interval.padEnd(44)} ${verdict(finding)}`;
}

say(`\n${requests} requests over ${minutes} minutes, ${swaps} plans`);
for (const [outcome, count] of [...outcomes].sort(([a], [b]) => (a < b ? -1 : 1)))
  say(`  ${String(count).padStart(8)}  ${outcome}`);
say('\nmedian, and slope with its interval (Theil and Sen)');
for (const finding of findings) say(`  ${row(finding)}`);
for (const violation of violations) say(`failed: ${violation}`);
const failed = violations.length + findings.filter(({ leaks }) => leaks).length;
say(`\n${failed === 0 ? 'nothing grows, and each request had its one end' : `${failed} things are wrong`}`);
process.exitCode = failed === 0 ? 0 : 1;
