// The picture of a game day, drawn from the draws of the policy itself.
import { seededRandom } from '../../runtime/random.ts';
import { drawAbort, drawDelayMs } from '../../sidecar/policies/fault-injection.ts';
import { Timeline } from './timeline.ts';

const LENGTH_MS = 60_000;
const STEP_MS = 200;
const GAME_DAY = { fromMs: 15_000, toMs: 45_000 };
const FAULTS = { delay: { fixedMs: 400, percent: 20 }, abort: { statusCode: 503, percent: 10 } };
const NONE = { delay: null, abort: null };

interface Call {
  atMs: number;
  tookMs: number;
  status: number;
}

/** Five requests a second to a dependency that answers in 20 to 60 ms. */
function run(): Call[] {
  const random = seededRandom(20);
  const calls: Call[] = [];
  for (let atMs = 0; atMs < LENGTH_MS; atMs += STEP_MS) {
    const faults = atMs >= GAME_DAY.fromMs && atMs < GAME_DAY.toMs ? FAULTS : NONE;
    const delayMs = drawDelayMs(faults, random);
    const status = drawAbort(faults, random) || 200;
    calls.push({ atMs, status, tookMs: delayMs + (status === 200 ? 20 + random() * 40 : 1) });
  }
  return calls;
}

export function faultsPicture(): string {
  const picture = new Timeline(
    'A game day of half a minute: a fifth of the requests takes 400 milliseconds longer, a tenth is answered 503, and nothing of it is there a moment after the policy is gone',
    'delay: {fixed: 400ms, percent: 20}, abort: {statusCode: 503, percent: 10}; five requests a second',
    'faultInjection',
    LENGTH_MS,
  );
  const policy = picture.row('policy', 20);
  picture.span(
    GAME_DAY.fromMs,
    GAME_DAY.toMs,
    policy,
    20,
    '#fde68a',
    'Accepted=True; note: faults are injected on purpose',
  );
  const top = picture.row('time taken, ms', 120);
  const yOf = (ms: number) => top + 114 - (ms / 500) * 108;
  for (const ms of [0, 100, 200, 300, 400]) {
    picture.line(
      [
        [0, yOf(ms)],
        [LENGTH_MS, yOf(ms)],
      ],
      '#e2e8f0',
    );
    picture.note(LENGTH_MS + 300, yOf(ms) + 4, `${ms}`);
  }
  for (const { atMs, tookMs, status } of run())
    picture.mark(atMs, yOf(tookMs) - 2, 4, status === 503 ? '#b91c1c' : tookMs > 100 ? '#d97706' : '#15803d', 3);
  picture.axis(5_000);
  picture.legend([
    ['#15803d', 'as the dependency answers'],
    ['#d97706', 'delayed first, breakwater-fault: delay'],
    ['#b91c1c', 'not sent, breakwater-reason: fault-injected'],
  ]);
  return picture.toString();
}
