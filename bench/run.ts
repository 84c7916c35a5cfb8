// `npm run bench`: the sidecar beside Envoy, HAProxy and nginx. docs/benchmarks.md says what is measured and why in this way.
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { UsageError } from '../cli/usage-error.ts';
import { seededRandom } from '../runtime/random.ts';
import { type BenchCase, CASES, DEFAULT_CASES, describeCase } from './cases.ts';
import { INSTRUCTIONS } from './instructions.ts';
import { withinOpenFiles } from './open-files.ts';
import type { OwnCase } from './own-case.ts';
import { Processes, pin } from './processes.ts';
import { allowedCpus } from './procfs.ts';
import { breakwater } from './proxies/breakwater.ts';
import { envoy } from './proxies/envoy.ts';
import { haproxy } from './proxies/haproxy.ts';
import { nginx } from './proxies/nginx.ts';
import { READY } from './ready.ts';
import { compare, conditions, gateFailures, renderCase, renderLeftOut } from './report.ts';
import { runCase } from './rounds.ts';
import { findTools, type Tools } from './tools.ts';
import { startUpstream } from './upstream.ts';

const FOLDER_PREFIX = 'breakwater-bench-';
const PEERS = [envoy, haproxy, nginx];
const OWN_CASES = [READY, INSTRUCTIONS];
const isOwn = (each: BenchCase | OwnCase): each is OwnCase => 'measure' in each;
const isInRounds = (each: BenchCase | OwnCase): each is BenchCase => !isOwn(each);
/** What is asked of the proxies in these cases. */
const [OWN_SETTING] = CASES as [BenchCase, ...BenchCase[]];
/** nginx speaks no HTTP/2 towards an upstream, unless that is gRPC. */
const peersOf = ({ protocol }: BenchCase) => (protocol === 'http2' ? [envoy, haproxy] : PEERS);
/** As shells count them. */
const EXIT_CODES = [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const;

interface Options {
  cases: (BenchCase | OwnCase)[];
  rounds: number;
  seconds: number;
  seed: number;
  json: boolean;
  gate: boolean;
  samples?: string;
}

function readOptions(): Options {
  const wholeNumber = (text: string): number => {
    if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('must be a whole number above 0');
    return Number(text);
  };
  const casesNamed = (text: string): Options['cases'] =>
    text.split(',').map((name) => {
      const found = [...CASES, ...OWN_CASES].find((each) => each.name === name.trim());
      if (!found) throw new InvalidArgumentError(`there is no case ${name}`);
      return found;
    });
  const described = [...CASES.map((each) => ({ name: each.name, description: describeCase(each) })), ...OWN_CASES];
  const list = described.map(({ name, description }) => `  ${name.padEnd(18)}${description}`).join('\n');
  return new Command('npm run bench --')
    .description(
      'CPU, latency and memory of the sidecar beside Envoy, HAProxy and nginx, with every policy that acts on each request',
    )
    .option('--cases <names>', 'comma-separated', casesNamed, casesNamed(DEFAULT_CASES.join(',')))
    .option('--rounds <number>', 'in each of which every proxy is measured once', wholeNumber, 15)
    .option('--seconds <number>', 'for which each is measured in a round', wholeNumber, 3)
    .option('--seed <number>', 'of the order and of the intervals', wholeNumber, 1)
    .option('--json', 'one line for each case and peer instead of tables', false)
    .option('--gate', 'exit code 1 where CPU or memory is above a limit of the case', false)
    .option('--samples <file>', 'write every slice of every round there, as lines of JSON')
    .addHelpText('after', `\nCases (by default ${DEFAULT_CASES.join(', ')}):\n${list}`)
    .parse()
    .opts<Options>();
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** Resolves to the exit code. */
async function bench(options: Options, processes: Processes, folder: string): Promise<number> {
  const [loadCpu, proxyCpu] = allowedCpus();
  if (loadCpu === undefined || proxyCpu === undefined) throw new UsageError('the bench needs two CPUs');
  const tools = findTools(say);
  await pin(process.pid, loadCpu);
  const upstream = await startUpstream(processes, tools, folder, loadCpu);
  const setting = { processes, tools, folder, proxyCpu, loadCpu };
  const random = seededRandom(Math.imul(options.seed, 0x9e37_79b1));
  const { samples } = options;
  if (samples !== undefined) writeFileSync(samples, '');
  const failures: string[] = [];
  if (!options.json) for (const line of machine(tools)) print(line);
  const own = { ...setting, upstreamPort: upstream.port, bench: OWN_SETTING };
  for (const each of options.cases.filter(isOwn)) {
    const measuring = each.measure(own, { rounds: options.rounds, random, say });
    const { lines, records, failures: above } = await Promise.race([measuring, upstream.program.failed]);
    for (const line of options.json ? records.map((record) => JSON.stringify(record)) : ['', ...lines]) print(line);
    failures.push(...above);
  }
  for (const each of options.cases.filter(isInRounds).map(withinOpenFiles)) {
    const onSlice = (slice: object) => {
      if (samples !== undefined) appendFileSync(samples, `${JSON.stringify(slice)}\n`);
    };
    const upstreamPort = each.protocol === 'http2' ? upstream.http2Port : upstream.port;
    const running = runCase({ ...setting, upstreamPort, bench: each }, peersOf(each), {
      ...options,
      random,
      say,
      onSlice,
    });
    const { result, leftOut } = await Promise.race([running, upstream.program.failed]);
    const comparisons = compare(each, result, breakwater.name, random);
    if (options.json) {
      for (const comparison of comparisons) print(JSON.stringify(comparison));
      say(`${each.name}: ${conditions([...result.values()].flat())}`);
    } else for (const line of ['', ...renderCase(each, result, comparisons)]) print(line);
    for (const line of renderLeftOut(result, leftOut)) (options.json ? say : print)(line);
    failures.push(...gateFailures(each, result.get(breakwater.name) ?? [], comparisons));
  }
  if (!options.gate) return 0;
  for (const failure of failures) say(`GATE: ${failure}`);
  return failures.length === 0 ? 0 : 1;
}

function machine({ versions }: Tools): string[] {
  const { envoy: envoyVersion, haproxy: haproxyVersion, nginx: nginxVersion } = versions;
  return [
    `Envoy ${envoyVersion}, HAProxy ${haproxyVersion}, nginx ${nginxVersion}, Node ${process.versions.node}; ` +
      `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} CPUs, Linux ${release()}`,
  ];
}

/** Removes what runs that were killed could not remove. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = new RegExp(`^${FOLDER_PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
}

async function main(): Promise<number> {
  const options = readOptions();
  await removeAbandoned();
  const folder = await mkdtemp(join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-`));
  const processes = new Processes();
  // Not once: a terminal, npm and the launcher each send the same one.
  const stopped = new Promise<number>((resolve) => {
    for (const [signal, code] of EXIT_CODES) process.on(signal, () => resolve(code));
  });
  try {
    return await Promise.race([bench(options, processes, folder), stopped]);
  } finally {
    await processes.endAll();
    await rm(folder, { recursive: true, force: true });
  }
}

try {
  process.exit(await main());
} catch (error) {
  say(error instanceof UsageError ? error.message : `the bench failed: ${describe(error)}`);
  process.exit(1);
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return `${error.stack ?? error.message}${error.cause === undefined ? '' : `\nbecause: ${describe(error.cause)}`}`;
}
