// The picture of retries over time, drawn from a run of the budget and the backoff themselves under a clock and a chance of their own.
import { seededRandom } from '../../runtime/random.ts';
import { backoffMs } from '../../sidecar/policies/retry.ts';
import { RetryBudget } from '../../sidecar/policies/retry-budget.ts';
import { Timeline } from './timeline.ts';

const MAX_ATTEMPTS = 3;
const BACKOFF = { backoffInitialMs: 25, backoffMaxMs: 250 };
const BUDGET = { budgetPercent: 20, budgetMinPerSecond: 10 };
const LENGTH_MS = 60_000;
const REQUESTS_PER_SECOND = 200;
/** The share of attempts that fail, from when on. */
const FAILING: readonly (readonly [fromMs: number, share: number])[] = [
  [0, 0.02],
  [12_000, 1],
  [36_000, 0.02],
];
const [GREEN, RED, BLUE, GREY] = ['#15803d', '#b91c1c', '#1d4ed8', '#94a3b8'];

const OUTAGE_REQUESTS = 24 * REQUESTS_PER_SECOND;

interface Run {
  /** Attempts that reached the dependency, by second. */
  attempts: number[];
  requests: number;
  /** Though the dependency works. */
  failed: number;
  retries: number;
}

const failing = (atMs: number) => FAILING.findLast(([fromMs]) => fromMs <= atMs)?.[1] ?? 0;

function run(budgeted: boolean): Run {
  const random = seededRandom(11);
  const budget = new RetryBudget(BUDGET, 0);
  const result: Run = {
    attempts: Array.from({ length: LENGTH_MS / 1000 }, () => 0),
    requests: 0,
    failed: 0,
    retries: 0,
  };
  const queue = new Map<number, number[]>();
  const attempt = (atMs: number, number: number) => {
    const second = Math.floor(atMs / 1000);
    if (second < result.attempts.length) result.attempts[second] = (result.attempts[second] ?? 0) + 1;
    if (random() >= failing(atMs)) return;
    if (number === MAX_ATTEMPTS || (budgeted && !budget.tryWithdraw(atMs))) {
      if (failing(atMs) < 1) result.failed += 1;
      return;
    }
    result.retries += 1;
    const againMs = atMs + 1 + Math.floor(backoffMs(BACKOFF, number, random()));
    queue.set(againMs, [...(queue.get(againMs) ?? []), number + 1]);
  };
  for (let atMs = 0; atMs < LENGTH_MS + 1_000; atMs += 1) {
    for (const number of queue.get(atMs) ?? []) attempt(atMs, number);
    queue.delete(atMs);
    if (atMs >= LENGTH_MS || atMs % (1000 / REQUESTS_PER_SECOND) !== 0) continue;
    result.requests += 1;
    budget.recordRequest(atMs);
    attempt(atMs, 1);
  }
  return result;
}

/** One minute of 200 requests a second; in the middle of it nothing succeeds. */
export function retryPicture(): string {
  const withBudget = run(true);
  const without = run(false);
  const calm = withBudget.requests - OUTAGE_REQUESTS;
  const timeline = new Timeline(
    'Retries over time: what fails now and then is repeated and succeeds; when everything fails, the budget keeps the load at 1.2 times the requests, where three attempts each would treble it',
    `maxAttempts: ${MAX_ATTEMPTS}, budget: {percent: ${BUDGET.budgetPercent}, minPerSecond: ${BUDGET.budgetMinPerSecond}}; ${REQUESTS_PER_SECOND} requests a second`,
    'retries',
    LENGTH_MS,
  );
  const dependency = timeline.row('of the attempts', 22);
  FAILING.forEach(([fromMs, share], index) => {
    const toMs = FAILING[index + 1]?.[0] ?? LENGTH_MS;
    const words = share === 1 ? 'all fail' : `${share * 100} % fail`;
    timeline.span(fromMs, toMs, dependency, 22, share === 1 ? '#fee2e2' : '#dcfce7', words);
  });
  const height = 150;
  const top = timeline.row('attempts a second', height);
  const most = REQUESTS_PER_SECOND * MAX_ATTEMPTS * 1.15;
  const y = (perSecond: number) => top + height - (perSecond / most) * height;
  for (const perSecond of [REQUESTS_PER_SECOND, REQUESTS_PER_SECOND * MAX_ATTEMPTS]) {
    timeline.note(300, y(perSecond) - 4, `${perSecond}`);
    timeline.line(
      [
        [0, y(perSecond)],
        [LENGTH_MS, y(perSecond)],
      ],
      GREY,
      '4 4',
    );
  }
  for (const [{ attempts }, stroke] of [
    [without, RED],
    [withBudget, BLUE],
  ] as const) {
    timeline.line(
      attempts.map((perSecond, second) => [second * 1000 + 500, y(perSecond)]),
      stroke,
    );
  }
  timeline.axis(6_000);
  timeline.legend([
    [BLUE, `with the budget: ${withBudget.retries} retries in all`],
    [RED, `without: ${without.retries}`],
    [GREEN, `failed while 2 % of the attempts fail: ${withBudget.failed} of ${calm}`],
  ]);
  return timeline.toString();
}
