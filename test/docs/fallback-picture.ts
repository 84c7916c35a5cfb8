// The picture of a fallback over time, drawn from a run of the state machines themselves under a clock of its own.
import type { FallbackPlan } from '../../plan/policies/fallback.ts';
import { BreakerState, CircuitBreaker, Outcome } from '../../sidecar/policies/circuit-breaker.ts';
import { FallbackBit, fallbackMask, statusBits } from '../../sidecar/policies/fallback.ts';
import { LastGood } from '../../sidecar/policies/last-good.ts';
import { Timeline } from './timeline.ts';

const ON: FallbackPlan['fallbackOn'] = ['CircuitOpen', 'ServerError'];
const LENGTH_MS = 120_000;
const STEP_MS = 1_000;
const MAX_AGE_MS = 40_000;
const OUTAGE = { fromMs: 20_000, toMs: 80_000 };

interface Call {
  atMs: number;
  sent: boolean;
  given: 'dependency' | 'last-good' | 'failure';
  ageMs: number;
}

/** One request a second for the same thing. */
function run(): { calls: Call[]; open: { fromMs: number; toMs: number }[] } {
  const breaker = new CircuitBreaker(
    {
      failureOn: ['ServerError'],
      consecutiveFailures: 5,
      failureRate: null,
      slowCalls: null,
      windowMs: 10_000,
      openForMs: 10_000,
      maxOpenForMs: 20_000,
      halfOpenMaxProbes: 1,
      halfOpenSuccesses: 1,
      halfOpenProbeTimeoutMs: 1_000,
      force: null,
    },
    () => 0,
  );
  const pool = { take: () => true, give: () => {} };
  const lastGood = new LastGood(
    { maxAgeMs: MAX_AGE_MS, maxBytes: 10_000, maxAnswerBytes: 1_000, audience: 'Anonymous', keyHeaders: [] },
    pool,
  );
  const mask = fallbackMask(ON);
  const calls: Call[] = [];
  const open: { fromMs: number; toMs: number }[] = [];
  for (let nowMs = 0; nowMs < LENGTH_MS; nowMs += STEP_MS) {
    const permit = breaker.admit(nowMs);
    const healthy = nowMs < OUTAGE.fromMs || nowMs >= OUTAGE.toMs;
    if (permit > 0) breaker.settle(permit, healthy ? Outcome.Success : Outcome.Failure, 10, nowMs);
    if (permit > 0 && healthy) {
      lastGood.keep('shop /items', '', [], { fields: '', body: Buffer.from('[]'), bornMs: nowMs });
      calls.push({ atMs: nowMs, sent: true, given: 'dependency', ageMs: 0 });
    } else {
      const bits = permit > 0 ? statusBits(503) : FallbackBit.CircuitOpen;
      const kept = (mask & bits) === 0 ? null : lastGood.find('shop /items', '', nowMs);
      calls.push({
        atMs: nowMs,
        sent: permit > 0,
        given: kept ? 'last-good' : 'failure',
        ageMs: kept ? nowMs - kept.bornMs : 0,
      });
    }
    if (breaker.state(nowMs) !== BreakerState.Open) continue;
    const last = open.at(-1);
    if (last?.toMs === nowMs) last.toMs = nowMs + STEP_MS;
    else open.push({ fromMs: nowMs, toMs: nowMs + STEP_MS });
  }
  return { calls, open };
}

const COLOURS = { dependency: '#15803d', 'last-good': '#2563eb', failure: '#b91c1c' } as const;

/** Two minutes with an outage of one: what the application is answered, and how old it is. */
export function fallbackPicture(): string {
  const { calls, open } = run();
  const picture = new Timeline(
    'An outage of one minute: while the dependency fails and while its circuit is open the application gets the last good answer, until that is too old; then the failures are seen, until the dependency is back',
    'lastGood.maxAge: 40s; a request a second, an outage of a minute, circuitBreaker.openFor: 10s',
    'fallback',
    LENGTH_MS,
  );
  const dependency = picture.row('dependency', 22, '#dcfce7');
  picture.span(OUTAGE.fromMs, OUTAGE.toMs, dependency, 22, '#fecaca', 'answers 503');
  const sent = picture.row('calls of it', 16);
  for (const { atMs, sent: was } of calls) if (was) picture.mark(atMs, sent, 16, '#334155');
  const circuit = picture.row('circuit open', 16);
  for (const { fromMs, toMs } of open) picture.span(fromMs, toMs, circuit, 16, '#fca5a5');
  const answers = picture.row('answered', 26);
  for (const { atMs, given } of calls) picture.mark(atMs, answers, 26, COLOURS[given], 3);
  const age = picture.row('age of it', 70);
  const yOf = (ageMs: number) => age + 70 - (ageMs / MAX_AGE_MS) * 56;
  picture.line(
    calls.filter(({ given }) => given === 'last-good').map(({ atMs, ageMs }) => [atMs, yOf(ageMs)]),
    '#2563eb',
  );
  picture.line(
    [
      [0, yOf(MAX_AGE_MS)],
      [LENGTH_MS, yOf(MAX_AGE_MS)],
    ],
    '#94a3b8',
    '4 4',
  );
  picture.note(1_000, yOf(MAX_AGE_MS) - 3, 'maxAge');
  picture.axis(10_000);
  picture.legend([
    [COLOURS.dependency, 'by the dependency'],
    [COLOURS['last-good'], 'the last good answer, breakwater-fallback: last-good'],
    [COLOURS.failure, 'the failure: there is no answer young enough'],
  ]);
  return picture.toString();
}

/** How many of the calls were answered by what: what the page says of the picture. */
export function fallbackCounts(): Record<Call['given'] | 'sent', number> {
  const { calls } = run();
  const count = (given: Call['given']) => calls.filter((call) => call.given === given).length;
  return {
    dependency: count('dependency'),
    'last-good': count('last-good'),
    failure: count('failure'),
    sent: calls.filter(({ sent }) => sent).length,
  };
}
