// The load generator: wrk, a closed loop that keeps every connection busy. A script of ours makes it say what it counted as one line of
// JSON; the script defines nothing that runs for each request, so that it costs nothing.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchCase } from './cases.ts';
import { type GenerateLoad, type LoadSummary, loadSummary } from './load.ts';
import type { Setting } from './setting.ts';

const BEGIN = 'breakwater-bench ';

/** Writes the script of the case. */
export async function prepareWrk({ processes, tools, folder, loadCpu, bench }: Setting): Promise<GenerateLoad> {
  const script = join(folder, `${bench.name}.lua`);
  await writeFile(script, wrkScript(bench));
  return async (port, seconds) => {
    const output = await processes.run(loadCpu, tools.wrk, [
      '--threads=1',
      `--connections=${bench.load.connections}`,
      `--duration=${seconds}s`,
      `--script=${script}`,
      `http://127.0.0.1:${port}${bench.path}`,
    ]);
    return parseWrk(output);
  };
}

/** Lua for `wrk --script`. */
export function wrkScript({ method, requestBytes, load }: BenchCase): string {
  return `wrk.method = "${method}"
${requestBytes > 0 ? `wrk.body = string.rep("x", ${requestBytes})\nwrk.headers["Content-Type"] = "text/plain"` : ''}
${load.kind === 'reconnecting' ? 'wrk.headers["Connection"] = "close"' : ''}
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '${BEGIN}{"requests":%d,"durationMicros":%d,"bytes":%d,"p50Micros":%d,"p99Micros":%d,"socketErrors":%d,"timeouts":%d,"badStatuses":%d}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write, errors.timeout, errors.status))
end
`;
}

/** Throws where the summary of the script is not in what wrk wrote. */
export function parseWrk(output: string): LoadSummary {
  const line = output.split('\n').find((each) => each.startsWith(BEGIN));
  if (line === undefined) throw new Error(`wrk gave no summary:\n${output}`);
  return loadSummary.parse(JSON.parse(line.slice(BEGIN.length)));
}
