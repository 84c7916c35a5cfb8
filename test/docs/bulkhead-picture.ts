// The picture of a bulkhead over time, drawn from a run of the state machine itself under a clock of its own.
import { Admission, Bulkhead, type BulkheadWaiter } from '../../sidecar/policies/bulkhead.ts';
import { Timeline } from './timeline.ts';

const PLAN = { maxConcurrent: 4, maxQueued: 6 };
const QUEUE_TIMEOUT_MS = 500;
const LENGTH_MS = 10_000;
const STEP_MS = 10;
/** 20 calls a second, of which two are under way at a time while the dependency works. */
const CALL_EVERY_MS = 50;
const SLOW = { fromMs: 3_000, toMs: 6_500 };
const [GREEN, RED, AMBER, BLUE, GREY] = ['#15803d', '#b91c1c', '#b45309', '#1d4ed8', '#94a3b8'];

interface Waiter extends BulkheadWaiter {
  untilMs: number;
}

interface Run {
  levels: { atMs: number; inFlight: number; queued: number }[];
  ends: { atMs: number; became: 'served' | 'queue-timeout' | 'bulkhead-full' }[];
}

const serviceMs = (atMs: number) => (atMs >= SLOW.fromMs && atMs < SLOW.toMs ? 1_000 : 100);

/** What the conductor does with a request, but for the network. */
function run(): Run {
  const bulkhead = new Bulkhead(PLAN);
  const result: Run = { levels: [], ends: [] };
  const busyUntilMs: number[] = [];
  const waiting = new Set<Waiter>();
  const start = (atMs: number) => {
    busyUntilMs.push(atMs + serviceMs(atMs));
    result.ends.push({ atMs, became: 'served' });
  };
  for (let atMs = 0; atMs < LENGTH_MS; atMs += STEP_MS) {
    const done = busyUntilMs.filter((endMs) => endMs <= atMs);
    for (const endMs of done) {
      busyUntilMs.splice(busyUntilMs.indexOf(endMs), 1);
      const next = bulkhead.release();
      if (next && waiting.delete(next as Waiter)) start(atMs);
    }
    for (const waiter of waiting) {
      if (waiter.untilMs > atMs) continue;
      bulkhead.cancel(waiter);
      waiting.delete(waiter);
      result.ends.push({ atMs, became: 'queue-timeout' });
    }
    if (atMs % CALL_EVERY_MS === 0) {
      const links = { bulkheadPrevious: null, bulkheadNext: null, bulkheadQueued: false };
      const waiter: Waiter = { ...links, untilMs: atMs + QUEUE_TIMEOUT_MS };
      const admission = bulkhead.acquire(waiter);
      if (admission === Admission.Granted) start(atMs);
      else if (admission === Admission.Queued) waiting.add(waiter);
      else result.ends.push({ atMs, became: 'bulkhead-full' });
    }
    result.levels.push({ atMs, inFlight: bulkhead.inFlight, queued: bulkhead.queued });
  }
  return result;
}

/** Ten seconds of 20 calls a second, while the dependency takes ten times as long for a third of them. */
export function bulkheadPicture(): string {
  const { levels, ends } = run();
  const timeline = new Timeline(
    'A bulkhead over time: while the dependency is slow four calls are with it and six wait, each for half a second at most; what comes beyond is refused at once, and the line is gone as soon as it answers again',
    `maxConcurrent: ${PLAN.maxConcurrent}, maxQueued: ${PLAN.maxQueued}, queueTimeout: ${QUEUE_TIMEOUT_MS}ms; 20 calls a second`,
    'bulkhead',
    LENGTH_MS,
  );
  const dependency = timeline.row('a call takes', 22);
  timeline.span(0, SLOW.fromMs, dependency, 22, '#dcfce7', '100 ms');
  timeline.span(SLOW.fromMs, SLOW.toMs, dependency, 22, '#fee2e2', '1 s');
  timeline.span(SLOW.toMs, LENGTH_MS, dependency, 22, '#dcfce7', '100 ms');
  steps(timeline, 'with it', PLAN.maxConcurrent, BLUE, levels, ({ inFlight }) => inFlight);
  steps(timeline, 'in line', PLAN.maxQueued, AMBER, levels, ({ queued }) => queued);
  for (const [became, fill] of [
    ['served', GREEN],
    ['queue-timeout', AMBER],
    ['bulkhead-full', RED],
  ] as const) {
    const of = ends.filter((end) => end.became === became);
    const top = timeline.row(`${became}: ${of.length}`, 16);
    for (const { atMs } of of) timeline.mark(atMs, top + 2, 12, fill);
  }
  timeline.axis(1_000);
  return timeline.toString();
}

function steps(
  timeline: Timeline,
  label: string,
  most: number,
  stroke: string,
  levels: Run['levels'],
  value: (level: Run['levels'][number]) => number,
): void {
  const height = 64;
  const top = timeline.row(label, height);
  const y = (level: number) => top + height - 4 - (level / most) * (height - 20);
  timeline.line(
    [
      [0, y(most)],
      [LENGTH_MS, y(most)],
    ],
    GREY,
    '4 4',
  );
  timeline.note(60, y(most) - 4, `${most}`);
  const points = levels.flatMap((level, index) => {
    const before = levels[index - 1];
    const here = [level.atMs, y(value(level))] as const;
    if (!before) return [here];
    return value(before) === value(level) ? [] : [[level.atMs, y(value(before))] as const, here];
  });
  timeline.line([...points, [LENGTH_MS, y(value(levels.at(-1) ?? { atMs: 0, inFlight: 0, queued: 0 }))]], stroke);
}
