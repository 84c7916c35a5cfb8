// The picture of a circuit over time, drawn from a run of the state machine itself under a clock of its own.
import {
  BREAKER_STATES,
  type BreakerPlan,
  CircuitBreaker,
  isProbe,
  Outcome,
} from '../../sidecar/policies/circuit-breaker.ts';
import { FailureBit } from '../../sidecar/policies/failures.ts';
import { bar, GREEN, INK, page, RED, text } from './svg.ts';

const SECOND = 1000;
const LENGTH_MS = 300 * SECOND;
const CALL_EVERY_MS = SECOND;
const PLAN: BreakerPlan = {
  failureOn: ['AttemptTimeout', 'ServerError'],
  consecutiveFailures: 5,
  failureRate: null,
  slowCalls: null,
  windowMs: 10 * SECOND,
  openForMs: 20 * SECOND,
  maxOpenForMs: 80 * SECOND,
  halfOpenMaxProbes: 2,
  halfOpenSuccesses: 2,
  halfOpenProbeTimeoutMs: 2 * SECOND,
  force: null,
};

type Health = 'works' | 'answers 500' | 'hangs';
const HEALTH: readonly { health: Health; fromMs: number }[] = [
  { health: 'works', fromMs: 0 },
  { health: 'answers 500', fromMs: 10 * SECOND },
  { health: 'hangs', fromMs: 40 * SECOND },
  { health: 'works', fromMs: 100 * SECOND },
  { health: 'answers 500', fromMs: 210 * SECOND },
  { health: 'works', fromMs: 224 * SECOND },
];
const RESET_MS = 232.5 * SECOND;
const FORCED = { fromMs: 255.5 * SECOND, toMs: 280.5 * SECOND };

interface Call {
  atMs: number;
  endMs: number;
  became: 'answered' | 'failed' | 'refused';
  probe: boolean;
}

interface Run {
  calls: Call[];
  states: { state: (typeof BREAKER_STATES)[number]; reason: string; fromMs: number }[];
}

const healthAt = (ms: number): Health => HEALTH.findLast(({ fromMs }) => fromMs <= ms)?.health ?? 'works';

/** One call each second, which hangs for the time of a probe at most: what the conductor does with an attempt. */
function run(): Run {
  const breaker = new CircuitBreaker(PLAN, () => 0);
  const result: Run = { calls: [], states: [{ state: 'Closed', reason: '', fromMs: 0 }] };
  breaker.onTransition = (state, reason, fromMs) =>
    result.states.push({ state: BREAKER_STATES[state], reason, fromMs });
  const inFlight: { permit: number; endMs: number; outcome: number; failureBits: number }[] = [];
  for (let nowMs = 0; nowMs < LENGTH_MS; nowMs += 100) {
    for (const call of inFlight.filter(({ endMs }) => endMs === nowMs)) {
      breaker.settle(call.permit, call.outcome, 100, nowMs, call.failureBits);
    }
    if (nowMs === RESET_MS) breaker.reset('reset by breakwater.dev/reset-circuit', nowMs);
    if (nowMs === FORCED.fromMs) breaker.update({ ...PLAN, force: 'Open' }, nowMs);
    if (nowMs === FORCED.toMs) breaker.update(PLAN, nowMs);
    breaker.state(nowMs);
    if (nowMs % CALL_EVERY_MS !== 0) continue;
    const permit = breaker.admit(nowMs);
    const health = healthAt(nowMs);
    const endMs = nowMs + (permit > 0 && health === 'hangs' ? PLAN.halfOpenProbeTimeoutMs : 100);
    const became = permit === 0 ? 'refused' : health === 'works' ? 'answered' : 'failed';
    result.calls.push({ atMs: nowMs, endMs, became, probe: isProbe(permit) });
    if (permit === 0) continue;
    const failureBits = health === 'hangs' ? FailureBit.AttemptTimeout : FailureBit.ServerError;
    inFlight.push({ permit, endMs, outcome: health === 'works' ? Outcome.Success : Outcome.Failure, failureBits });
  }
  return result;
}

const LEFT = 150;
const WIDTH = 780;
const CALLS_Y = 80;
const STATE_Y = 140;
const HEALTH_Y = 222;
const AXIS_Y = 262;
const x = (ms: number) => LEFT + (ms / LENGTH_MS) * WIDTH;

const STATE_FILL = {
  Closed: '#dcfce7',
  Open: '#fecaca',
  HalfOpen: '#fef08a',
  ForcedOpen: '#cbd5e1',
  ForcedClosed: '#e0f2fe',
} as const satisfies Record<(typeof BREAKER_STATES)[number], string>;
const CALL_FILL = { answered: GREEN, failed: RED, refused: '#cbd5e1' } as const;

function drawCalls({ calls }: Run): string[] {
  return calls.flatMap(({ atMs, endMs, became, probe }) => {
    const height = probe ? 34 : became === 'refused' ? 10 : 22;
    const width = Math.max(1.6, x(endMs) - x(atMs));
    return [bar(x(atMs), CALLS_Y + 34 - height, width, height, CALL_FILL[became])];
  });
}

function drawStates({ states }: Run): string[] {
  return states.flatMap(({ state, fromMs }, index) => {
    const toMs = states[index + 1]?.fromMs ?? LENGTH_MS;
    const width = x(toMs) - x(fromMs);
    const shape = bar(x(fromMs), STATE_Y, Math.max(2, width), 26, STATE_FILL[state]);
    const seconds = `${Math.round((toMs - fromMs) / 1000)} s`;
    const full = { Closed: 'closed', Open: `open, ${seconds}`, HalfOpen: '', ForcedOpen: 'forced', ForcedClosed: '' }[
      state
    ];
    const label = width > 64 || state !== 'Open' ? full : seconds;
    return width > 30
      ? [shape, text(x(fromMs) + width / 2, STATE_Y + 17, label, { fill: INK, anchor: 'middle' })]
      : [shape];
  });
}

/** What made the state change, below the change. */
function drawReasons({ states }: Run): string[] {
  const words = (state: string, reason: string) => {
    if (state === 'HalfOpen') return '';
    if (reason.includes('consecutive')) return 'five failures';
    if (reason.includes('(AttemptTimeout)')) return 'a probe gets no answer in 2 s';
    if (reason.startsWith('a probe failed')) return 'a probe fails';
    if (reason.includes('probes succeeded')) return 'two probes succeed';
    if (reason.startsWith('reset')) return 'reset';
    return state === 'ForcedOpen' ? 'force: Open' : '';
  };
  const told = states
    .map(({ state, reason, fromMs }) => ({ shown: words(state, reason), fromMs }))
    .filter(({ shown }) => shown !== '');
  // Neighbours may be near: every other one stands a line lower.
  return told.flatMap(({ shown, fromMs }, index) => {
    const lower = (index % 2) * 15;
    return [bar(x(fromMs) - 0.5, STATE_Y, 1, 38 + lower, INK), text(x(fromMs) + 4, STATE_Y + 40 + lower, shown)];
  });
}

function drawHealth(): string[] {
  const fills = { works: '#86efac', 'answers 500': '#f87171', hangs: '#fb923c' } as const;
  return HEALTH.flatMap(({ health, fromMs }, index) => {
    const toMs = HEALTH[index + 1]?.fromMs ?? LENGTH_MS;
    const shape = bar(x(fromMs), HEALTH_Y, x(toMs) - x(fromMs), 14, fills[health]);
    if (x(toMs) - x(fromMs) < 60) return [shape];
    return [shape, text((x(fromMs) + x(toMs)) / 2, HEALTH_Y + 11, health, { size: 10.5, fill: INK, anchor: 'middle' })];
  });
}

function drawAxis(): string[] {
  const marks = Array.from({ length: LENGTH_MS / (30 * SECOND) + 1 }, (_, index) => index * 30);
  return marks.flatMap((seconds) => [
    bar(x(seconds * SECOND), AXIS_Y - 12, 1, 6, '#94a3b8'),
    text(x(seconds * SECOND), AXIS_Y + 8, `${seconds} s`, { anchor: 'middle' }),
  ]);
}

/** Five minutes of one circuit: an outage in which the dependency first fails and then hangs, a reset, and a circuit that is forced open. */
export function circuitPicture(): string {
  const ran = run();
  const row = { size: 12.5, fill: INK };
  const key = AXIS_Y + 38;
  return page(
    960,
    326,
    'A circuit over five minutes: five failures open it for 20 seconds, each probe that fails or does not answer in time for twice as long, two that succeed close it; then a reset closes it at once, and a policy forces it open',
    [
      text(30, 34, 'circuitBreaker', { size: 13, fill: INK, bold: true }),
      text(
        140,
        34,
        'consecutiveFailures: 5, openFor: 20s, maxOpenFor: 80s, halfOpen: {maxProbes: 2, successes: 2, probeTimeout: 2s}',
      ),
      text(30, CALLS_Y + 28, 'calls', row),
      text(30, STATE_Y + 17, 'the circuit', row),
      text(30, HEALTH_Y + 11, 'the dependency', row),
      ...drawCalls(ran),
      ...drawStates(ran),
      ...drawReasons(ran),
      ...drawHealth(),
      ...drawAxis(),
      bar(30, key - 10, 1.6, 12, GREEN),
      text(38, key, 'answered'),
      bar(120, key - 10, 1.6, 12, RED),
      text(128, key, 'failed'),
      bar(190, key - 4, 1.6, 6, CALL_FILL.refused),
      text(198, key, 'refused at once'),
      bar(310, key - 20, 1.6, 22, INK),
      text(318, key, 'tall: a probe'),
      bar(420, key - 10, 24, 12, STATE_FILL.HalfOpen),
      text(450, key, 'half-open'),
    ],
  );
}
