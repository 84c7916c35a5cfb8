// `npm run sim -- --seeds 10000`: as many worlds, and what they proved. A world in which something happened that must not is told by its seed;
// `npm run sim -- --seed N --trace` shows it event by event.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { addSeed, emptySummary, merge, type Protocols, type Summary } from './seeds.ts';
import { simulate } from './simulate.ts';

const USAGE = `usage: npm run sim -- [--seeds COUNT] [--from FIRST] [--workers COUNT] [--http1 | --http2]
       npm run sim -- --seed N [--trace] [--http2]

Each seed is a world that speaks HTTP/1.1 alone, and another one in which some speak HTTP/2; --http1 and --http2 run these or those alone.
`;
const DEFAULT_SEEDS = 1_000;
const REPORT_EVERY = 20;
/** Failures that are shown. */
const SHOWN = 20;

interface Share {
  first: number;
  step: number;
  last: number;
  worlds: readonly Protocols[];
}

/** To the main thread, which has no origin. */
function send(part: Summary): void {
  const port: { postMessage(value: unknown): void } | null = parentPort;
  port?.postMessage(part);
}

async function work({ first, step, last, worlds }: Share): Promise<void> {
  let part = emptySummary();
  for (let seed = first; seed <= last; seed += step) {
    for (const protocols of worlds) await addSeed(part, seed, protocols);
    if (part.seeds < REPORT_EVERY && seed + step <= last) continue;
    send(part);
    part = emptySummary();
  }
}

interface Run {
  from: number;
  seeds: number;
  workers: number;
  worlds: readonly Protocols[];
}

function runWorkers({ from, seeds, workers, worlds }: Run, onPart: (part: Summary) => void): Promise<void[]> {
  return Promise.all(
    Array.from({ length: Math.min(workers, seeds) }, (_, index) => {
      const share: Share = { first: from + index, step: workers, last: from + seeds - 1, worlds };
      return new Promise<void>((resolve, reject) => {
        const worker = new Worker(import.meta.filename, { workerData: share });
        worker.on('message', onPart);
        worker.on('error', reject);
        worker.on('exit', () => resolve());
      });
    }),
  );
}

function report(summary: Summary, seconds: number): string {
  const { seeds, requests, retries, outcomes, reasons, counts, failures } = summary;
  const list = (of: Record<string, number>) =>
    Object.entries(of)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  const lines = [
    `${seeds} worlds, ${requests} simulated requests, ${seconds.toFixed(1)} s, ${failures.length} violations`,
    `  ends:     ${list(outcomes)}`,
    `  reasons:  ${list(reasons)}`,
    `  policies: retries ${retries}, ${list(counts)}`,
  ];
  for (const { seed, protocols, message } of failures.slice(0, SHOWN)) {
    const http2 = protocols === 'http2' ? ' --http2' : '';
    lines.push(`seed ${seed}${http2}: ${message}`, `  npm run sim -- --seed ${seed} --trace${http2}`);
  }
  if (failures.length > SHOWN) lines.push(`and ${failures.length - SHOWN} more`);
  return `${lines.join('\n')}\n`;
}

async function replay(seed: number, traced: boolean, http2: boolean): Promise<void> {
  const trace = (nowMs: number, text: string) =>
    void process.stdout.write(`${nowMs.toFixed(3).padStart(11)} ms  ${text}\n`);
  const { requests } = await simulate(seed, { http2, ...(traced ? { trace } : {}) });
  process.stdout.write(`seed ${seed}: ${requests} simulated requests, no violation\n`);
}

async function runAll(run: Run): Promise<void> {
  const startMs = performance.now();
  const total = emptySummary();
  await runWorkers(run, (part) => {
    merge(total, part);
    if (process.stderr.isTTY) process.stderr.write(`\r${total.seeds} worlds, ${total.failures.length} violations`);
  });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  total.failures.sort((one, other) => one.seed - other.seed);
  process.stdout.write(report(total, (performance.now() - startMs) / 1000));
  if (total.failures.length > 0) process.exitCode = 1;
}

function wholeNumber(text: string | undefined, name: string, fallback: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`--${name} must be a whole number from 1 on, not "${text}"`);
  return value;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string' },
      from: { type: 'string' },
      workers: { type: 'string' },
      seed: { type: 'string' },
      trace: { type: 'boolean', default: false },
      http1: { type: 'boolean', default: false },
      http2: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) process.stdout.write(USAGE);
  else if (values.seed !== undefined) await replay(wholeNumber(values.seed, 'seed', 1), values.trace, values.http2);
  else {
    const seeds = wholeNumber(values.seeds, 'seeds', DEFAULT_SEEDS);
    const workers = wholeNumber(values.workers, 'workers', availableParallelism());
    if (values.http1 && values.http2)
      throw new Error('--http1 and --http2 exclude each other: leave both out to run both');
    const worlds: Protocols[] = values.http1 ? ['http1'] : values.http2 ? ['http2'] : ['http1', 'http2'];
    await runAll({ from: wholeNumber(values.from, 'from', 1), seeds, workers, worlds });
  }
}

if (!isMainThread) await work(workerData as Share);
else {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
