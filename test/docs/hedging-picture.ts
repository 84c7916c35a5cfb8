// The picture of hedging over time, drawn from a run of the machine and the budget themselves under a clock and a chance of their own.
import { seededRandom } from '../../runtime/random.ts';
import { Hedging } from '../../sidecar/policies/hedging.ts';
import { RetryBudget } from '../../sidecar/policies/retry-budget.ts';
import { Timeline } from './timeline.ts';

const PLAN = { afterPercentile: 95, minDelayMs: 10, maxDelayMs: null, maxHedges: 1 };
const BUDGET = { budgetPercent: 20, budgetMinPerSecond: 0 };
const ENDPOINTS = 5;
const REQUESTS_PER_SECOND = 100;
const LENGTH_MS = 180_000;
const WINDOW_MS = 1_000;
/** So many calls of a slow percent are seen one by one no more. */
const LATENCY_WINDOW_MS = 5_000;
const USUAL_MS = 30;
/** How much longer one endpoint, and all of them, take, from when on. */
const PHASES: readonly { fromMs: number; one: number; all: number; words: string }[] = [
  { fromMs: 0, one: 1, all: 1, words: '1 of 100 calls is slow' },
  { fromMs: 60_000, one: 10, all: 1, words: 'one endpoint of five is slow' },
  { fromMs: 100_000, one: 1, all: 6, words: 'all are slow' },
  { fromMs: 140_000, one: 1, all: 1, words: '1 of 100 calls is slow' },
];
const [BLUE, GREY, GREEN, RED] = ['#1d4ed8', '#94a3b8', '#15803d', '#b91c1c'];

interface Call {
  atMs: number;
  tookMs: number;
  /** Without a hedge. */
  alone: number;
  hedge: 'none' | 'sent' | 'refused';
}

interface Run {
  calls: Call[];
  delays: [ms: number, delayMs: number][];
}

const phaseAt = (ms: number) => PHASES.findLast(({ fromMs }) => fromMs <= ms) ?? PHASES[0];

/** Calls go to the endpoints in turn, a hedge to the next one. */
function run(): Run {
  const random = seededRandom(5);
  const hedging = new Hedging(PLAN, 0);
  const budget = new RetryBudget(BUDGET, 0);
  const result: Run = { calls: [], delays: [] };
  let known: { atMs: number; latencyMs: number }[] = [];
  const latencyMs = (endpoint: number, atMs: number) => {
    const { one, all } = phaseAt(atMs) ?? { one: 1, all: 1 };
    const usualMs = USUAL_MS * (0.6 + 0.8 * random()) * all * (endpoint === 0 ? one : 1);
    return random() < 0.01 ? usualMs * 12 : usualMs;
  };
  for (let number = 0; number * 1000 < LENGTH_MS * REQUESTS_PER_SECOND; number += 1) {
    const atMs = (number * 1000) / REQUESTS_PER_SECOND;
    for (const call of known) if (call.atMs <= atMs) hedging.record(call.latencyMs, call.atMs);
    known = known.filter((call) => call.atMs > atMs);
    budget.recordRequest(atMs);
    const delayMs = hedging.delayMs(atMs);
    if (number % REQUESTS_PER_SECOND === 0 && delayMs >= 0) result.delays.push([atMs, delayMs]);
    const alone = latencyMs(number % ENDPOINTS, atMs);
    const other = latencyMs((number + 1) % ENDPOINTS, atMs);
    const isDue = delayMs >= 0 && alone > delayMs;
    const hedge = isDue ? (budget.tryWithdraw(atMs) ? 'sent' : 'refused') : 'none';
    const tookMs = hedge === 'sent' ? Math.min(alone, delayMs + other) : alone;
    known.push({ atMs: atMs + tookMs, latencyMs: tookMs });
    result.calls.push({ atMs, tookMs, alone, hedge });
  }
  return result;
}

/** The latency that one call of a hundred is above. */
function percentile99({ calls }: Run, of: (call: Call) => number): [ms: number, latencyMs: number][] {
  const windows = Map.groupBy(calls, ({ atMs }) => Math.floor(atMs / LATENCY_WINDOW_MS));
  return Array.from(windows, ([window, within]) => {
    const sorted = within.map(of).sort((a, b) => a - b);
    return [(window + 0.5) * LATENCY_WINDOW_MS, sorted[Math.floor(sorted.length * 0.99)] ?? 0];
  });
}

/** Three minutes of a hundred calls a second: one endpoint becomes slow, then all of them. */
export function hedgingPicture(): string {
  const result = run();
  const { calls, delays } = result;
  const timeline = new Timeline(
    'Hedging over time: what takes longer than most is asked of a second endpoint, so that a slow one costs little; when all are slow, the budget bounds the hedges until the delay has followed',
    `afterPercentile: ${PLAN.afterPercentile}, minDelay: 10ms; retries.budget: {percent: ${BUDGET.budgetPercent}, minPerSecond: 0}; ${REQUESTS_PER_SECOND} requests a second`,
    'hedging',
    LENGTH_MS,
  );
  const endpoints = timeline.row('the dependency', 22);
  PHASES.forEach(({ fromMs, one, all, words }, index) => {
    const toMs = PHASES[index + 1]?.fromMs ?? LENGTH_MS;
    timeline.span(fromMs, toMs, endpoints, 22, all > 1 ? '#fee2e2' : one > 1 ? '#fef3c7' : '#dcfce7', words);
  });
  const height = 150;
  const top = timeline.row('latency, ms', height);
  const mostMs = 700;
  const y = (ms: number) => top + height - (Math.min(ms, mostMs) / mostMs) * height;
  for (const ms of [200, 400, 600]) timeline.note(-6_500, y(ms) + 4, `${ms}`);
  const path = (points: [number, number][]) => points.map(([ms, latencyMs]) => [ms, y(latencyMs)] as const);
  timeline.line(path(percentile99(result, ({ alone }) => alone)), GREY);
  timeline.line(path(percentile99(result, ({ tookMs }) => tookMs)), BLUE);
  timeline.line(path(delays), GREEN, '4 3');
  const rateHeight = 70;
  const rateTop = timeline.row('hedges a second', rateHeight);
  const seconds = Map.groupBy(calls, ({ atMs }) => Math.floor(atMs / WINDOW_MS));
  const bar = (second: number, from: number, count: number, fill: string) => {
    const scale = rateHeight / REQUESTS_PER_SECOND;
    if (count > 0)
      timeline.span(
        second * WINDOW_MS,
        (second + 0.8) * WINDOW_MS,
        rateTop + rateHeight - (from + count) * scale,
        count * scale,
        fill,
      );
  };
  for (const [second, within] of seconds) {
    const sent = within.filter(({ hedge }) => hedge === 'sent').length;
    bar(second, 0, sent, BLUE);
    bar(second, sent, within.filter(({ hedge }) => hedge === 'refused').length, RED);
  }
  timeline.axis(20_000);
  const share = Math.round((calls.filter(({ hedge }) => hedge === 'sent').length / calls.length) * 1000) / 10;
  timeline.legend([
    [GREY, '99 % of the calls, without hedging'],
    [BLUE, `with it; hedges: ${share} % of the calls`],
    [GREEN, 'the delay'],
    [RED, 'refused by the budget'],
  ]);
  return timeline.toString();
}
