// The load generator of HTTP/2: h2load, a closed loop that keeps every stream busy. Its log tells of each request, from which the percentiles
// are taken that it does not print.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { streamsOf } from './cases.ts';
import type { GenerateLoad, LoadSummary } from './load.ts';
import type { Setting } from './setting.ts';

const TIMEOUT_MICROS = 2e6;

/** Writes the body of the requests. */
export async function prepareH2load({ processes, tools, folder, loadCpu, bench }: Setting): Promise<GenerateLoad> {
  const body = join(folder, `${bench.name}.body`);
  await writeFile(body, 'x'.repeat(bench.requestBytes));
  const log = join(folder, `${bench.name}.log`);
  return async (port, seconds) => {
    // It appends.
    await writeFile(log, '');
    const output = await processes.run(loadCpu, tools.h2load, [
      `--duration=${seconds}`,
      `--clients=${bench.load.connections}`,
      `--max-concurrent-streams=${streamsOf(bench.load)}`,
      `--log-file=${log}`,
      ...(bench.method === 'POST' ? [`--data=${body}`] : []),
      `http://127.0.0.1:${port}${bench.path}`,
    ]);
    return { ...parseH2load(output), ...parseH2loadLog(await readFile(log, 'utf8')), durationMicros: seconds * 1e6 };
  };
}

/** Throws where one of the figures is not in what h2load wrote. */
export function parseH2load(output: string): Pick<LoadSummary, 'requests' | 'bytes' | 'socketErrors' | 'badStatuses'> {
  const figure = (pattern: RegExp): number => {
    const match = pattern.exec(output);
    if (!match) throw new Error(`h2load gave no summary:\n${output}`);
    return Number(match[1]);
  };
  const statuses = /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/.exec(output) ?? [];
  const [clientErrors = Number.NaN, serverErrors = Number.NaN] = statuses.slice(3).map(Number);
  return {
    requests: figure(/^requests: .* (\d+) done,/m),
    bytes: figure(/^traffic: \S+ \((\d+)\) total/m),
    socketErrors: figure(/^requests: .* (\d+) errored,/m),
    badStatuses: clientErrors + serverErrors,
  };
}

/** Lines of start, status and microseconds to the end of the answer, separated by tabs. */
export function parseH2loadLog(text: string): Pick<LoadSummary, 'p50Micros' | 'p99Micros' | 'timeouts'> {
  const lines = text.split('\n').filter((line) => line !== '');
  const micros = Float64Array.from(lines, (line) => Number(line.split('\t')[2])).sort();
  const at = (fraction: number) => micros[Math.min(micros.length - 1, Math.floor(fraction * micros.length))] ?? 0;
  return {
    p50Micros: at(0.5),
    p99Micros: at(0.99),
    timeouts: micros.filter((each) => each > TIMEOUT_MICROS).length,
  };
}
