// `npm run sim -- --seeds 10000`: as many worlds, and what they proved. A world in which something happened that must not is told by its seed;
// `npm run sim -- --seed N --trace` shows it event by event.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { addSeed, emptySummary, merge, type Summary } from './seeds.ts';
import { simulate } from './simulate.ts';

const USAGE = `usage: npm run sim -- [--seeds COUNT] [--from FIRST] [--workers COUNT]
       npm run sim -- --seed N [--trace]
`;
const DEFAULT_SEEDS = 1_000;
const REPORT_EVERY = 20;
/** Failures that are shown. */
const SHOWN = 20;

interface Share {
  first: number;
  step: number;
  last: number;
}

/** To the main thread, which has no origin. */
function send(part: Summary): void {
  const port: { postMessage(value: unknown): void } | null = parentPort;
  port?.postMessage(part);
}

async function work({ first, step, last }: Share): Promise<void> {
  let part = emptySummary();
  for (let seed = first; seed <= last; seed += step) {
    await addSeed(part, seed);
    if (part.seeds < REPORT_EVERY && seed + step <= last) continue;
    send(part);
    part = emptySummary();
  }
}

function runWorkers(from: number, seeds: number, workers: number, onPart: (part: Summary) => void): Promise<void[]> {
  return Promise.all(
    Array.from({ length: Math.min(workers, seeds) }, (_, index) => {
      const share: Share = { first: from + index, step: workers, last: from + seeds - 1 };
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
    `${seeds} seeds, ${requests} simulated requests, ${seconds.toFixed(1)} s, ${failures.length} violations`,
    `  ends:     ${list(outcomes)}`,
    `  reasons:  ${list(reasons)}`,
    `  policies: retries ${retries}, ${list(counts)}`,
  ];
  for (const { seed, message } of failures.slice(0, SHOWN))
    lines.push(`seed ${seed}: ${message}`, `  npm run sim -- --seed ${seed} --trace`);
  if (failures.length > SHOWN) lines.push(`and ${failures.length - SHOWN} more`);
  return `${lines.join('\n')}\n`;
}

async function replay(seed: number, traced: boolean): Promise<void> {
  const trace = (nowMs: number, text: string) =>
    void process.stdout.write(`${nowMs.toFixed(3).padStart(11)} ms  ${text}\n`);
  const { requests } = await simulate(seed, traced ? { trace } : {});
  process.stdout.write(`seed ${seed}: ${requests} simulated requests, no violation\n`);
}

async function runAll(from: number, seeds: number, workers: number): Promise<void> {
  const startMs = performance.now();
  const total = emptySummary();
  await runWorkers(from, seeds, workers, (part) => {
    merge(total, part);
    if (process.stderr.isTTY) process.stderr.write(`\r${total.seeds} seeds, ${total.failures.length} violations`);
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
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) process.stdout.write(USAGE);
  else if (values.seed !== undefined) await replay(wholeNumber(values.seed, 'seed', 1), values.trace);
  else {
    const seeds = wholeNumber(values.seeds, 'seeds', DEFAULT_SEEDS);
    const workers = wholeNumber(values.workers, 'workers', availableParallelism());
    await runAll(wholeNumber(values.from, 'from', 1), seeds, workers);
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
