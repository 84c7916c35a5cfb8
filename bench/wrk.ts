// The load generator: wrk, a closed loop that keeps every connection busy. A script of ours makes it say what it counted as one line of
// JSON; the script defines nothing that runs for each request, so that it costs nothing.
import { z } from 'zod';
import type { BenchCase } from './cases.ts';

const BEGIN = 'breakwater-bench ';

const summary = z.object({
  requests: z.number().int().nonnegative(),
  durationMicros: z.number().positive(),
  bytes: z.number().nonnegative(),
  p50Micros: z.number().nonnegative(),
  p99Micros: z.number().nonnegative(),
  socketErrors: z.number().int().nonnegative(),
  timeouts: z.number().int().nonnegative(),
  /** Answers with a status of 400 or more. */
  badStatuses: z.number().int().nonnegative(),
});
export type LoadSummary = z.infer<typeof summary>;

/** Lua for `wrk --script`. */
export function wrkScript({ method, requestBytes }: BenchCase): string {
  return `wrk.method = "${method}"
${requestBytes > 0 ? `wrk.body = string.rep("x", ${requestBytes})\nwrk.headers["Content-Type"] = "text/plain"` : ''}
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
  return summary.parse(JSON.parse(line.slice(BEGIN.length)));
}

/** Why these figures cannot be used; undefined where they can. */
export function whyVoid(load: LoadSummary, { answerBytes }: BenchCase): string | undefined {
  const { requests, bytes, badStatuses, socketErrors, timeouts } = load;
  if (badStatuses > 0) return `${badStatuses} of ${requests} answers had a status of 400 or more`;
  if (socketErrors > 0) return `${socketErrors} connections failed`;
  if (timeouts > 0) return `${timeouts} requests took longer than 2 s`;
  if (requests === 0) return 'no request was answered';
  // Heads come on top. What the last requests had read when time was over counts too, but only in bytes.
  if (bytes / requests < answerBytes)
    return `answers had ${Math.round(bytes / requests)} bytes instead of ${answerBytes}`;
  return undefined;
}
