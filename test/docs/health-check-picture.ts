// The picture of health checks over time, drawn from a run of the state machine itself under a clock of its own.
import { seededRandom } from '../../runtime/random.ts';
import { type CheckedEndpoint, HealthChecks } from '../../sidecar/policies/health-check.ts';
import { bar, COLOURS, Timeline, text } from './endpoint-timeline.ts';

const ENDPOINTS = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
/** When which endpoint does not answer 200. */
const FAULTS: readonly { endpoint: string; fromMs: number; toMs: number }[] = [
  { endpoint: '192.0.2.2', fromMs: 22_000, toMs: 75_000 },
  { endpoint: '192.0.2.3', fromMs: 38_000, toMs: 48_000 },
];
const LENGTH_MS = 120_000;
const STEP_MS = 500;

interface Run {
  results: { endpoint: string; atMs: number; passed: boolean }[];
  unhealthy: { endpoint: string; fromMs: number; toMs: number }[];
}

function run(): Run {
  const checks = new HealthChecks({ intervalMs: 5_000, unhealthyThreshold: 3, healthyThreshold: 2 }, seededRandom(2));
  const result: Run = { results: [], unhealthy: [] };
  checks.setEndpoints(ENDPOINTS, 0);
  checks.listener = ({ name, healthy, sinceMs }) => {
    const last = result.unhealthy.findLast(({ endpoint }) => endpoint === name);
    if (!healthy) result.unhealthy.push({ endpoint: name, fromMs: sinceMs, toMs: LENGTH_MS });
    else if (last) last.toMs = sinceMs;
  };
  for (let nowMs = 0; nowMs < LENGTH_MS; nowMs += STEP_MS) {
    const due: CheckedEndpoint[] = [];
    checks.takeDue(nowMs, due);
    for (const checked of due) {
      const passed = !FAULTS.some(
        ({ endpoint, fromMs, toMs }) => endpoint === checked.name && nowMs >= fromMs && nowMs < toMs,
      );
      checks.begin(checked, nowMs);
      checks.settle(checked, passed ? '' : 'the answer had status 503', nowMs);
      result.results.push({ endpoint: checked.name, atMs: nowMs, passed });
    }
  }
  return result;
}

/** Three endpoints over two minutes: what their checks come to, and when each is unhealthy. */
export function healthCheckPicture(): string {
  const { results, unhealthy } = run();
  const timeline = new Timeline(ENDPOINTS, LENGTH_MS);
  for (const { endpoint, fromMs, toMs } of unhealthy)
    timeline.span(endpoint, fromMs, toMs, COLOURS.out, `unhealthy, ${(toMs - fromMs) / 1000} s`);
  for (const { endpoint, fromMs, toMs } of FAULTS) timeline.broken(endpoint, fromMs, toMs);
  for (const { endpoint, atMs, passed } of results) timeline.tick(endpoint, atMs, passed ? COLOURS.good : COLOURS.bad);
  const y = timeline.bottom + 34;
  timeline.add(bar(30, y, 24, 12, COLOURS.in), text(60, y + 10, 'gets calls'));
  timeline.add(bar(150, y, 24, 12, COLOURS.out), text(180, y + 10, 'unhealthy'));
  timeline.add(bar(260, y + 5, 24, 3, COLOURS.broken), text(290, y + 10, 'the endpoint is broken'));
  timeline.add(bar(462, y + 3, 1.2, 5, COLOURS.good), text(470, y + 10, 'a check that passes'));
  timeline.add(bar(612, y + 3, 1.2, 5, COLOURS.bad), text(620, y + 10, 'one that fails'));
  return timeline.draw({
    title:
      'Three endpoints over time: three failed checks in a row make one unhealthy, two passed ones healthy again; the third endpoint is broken for too short a time',
    block: 'healthCheck',
    numbers: 'interval: 5s, unhealthyThreshold: 3, healthyThreshold: 2',
    everyMs: 15_000,
  });
}
