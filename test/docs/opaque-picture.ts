// The picture of opaque connections over time, drawn from a run of the state machines themselves under a clock of their own.
import { Admission, Bulkhead, type BulkheadWaiter } from '../../sidecar/policies/bulkhead.ts';
import { BREAKER_STATES, CircuitBreaker, Outcome } from '../../sidecar/policies/circuit-breaker.ts';
import { ConnectionResult, Verdict } from '../../sidecar/policies/connection-result.ts';
import { FailureBit } from '../../sidecar/policies/failures.ts';
import { Timeline } from './timeline.ts';

const LENGTH_MS = 12_000;
const STEP_MS = 10;
const CONNECT_EVERY_MS = 150;
const OPEN_MS = 900;
const DOWN = { fromMs: 3_000, toMs: 7_500 };
const MAX_CONCURRENT = 8;
const BREAKER = {
  failureOn: ['ConnectFailure', 'Reset'] as ('ConnectFailure' | 'Reset')[],
  consecutiveFailures: 5,
  failureRate: null,
  slowCalls: null,
  windowMs: 10_000,
  openForMs: 1_500,
  maxOpenForMs: 60_000,
  halfOpenMaxProbes: 2,
  halfOpenSuccesses: 2,
  halfOpenProbeTimeoutMs: 5_000,
  force: null,
};
const BECAME = ['answered', 'connect-failed', 'circuit-open', 'bulkhead-full'] as const;
const FILLS = {
  answered: '#15803d',
  'connect-failed': '#b91c1c',
  'circuit-open': '#b45309',
  'bulkhead-full': '#1d4ed8',
};
const STATE_FILLS: Record<string, string> = { Closed: '#dcfce7', Open: '#fee2e2', HalfOpen: '#fef3c7' };

interface Run {
  levels: { atMs: number; open: number; state: string }[];
  ends: { atMs: number; became: (typeof BECAME)[number] }[];
}

const isDown = (atMs: number) => atMs >= DOWN.fromMs && atMs < DOWN.toMs;

/** What the conductor does with each connection, but for the network. */
function run(): Run {
  const breaker = new CircuitBreaker(BREAKER, () => 0);
  const bulkhead = new Bulkhead({ maxConcurrent: MAX_CONCURRENT, maxQueued: 0 });
  const links = (): BulkheadWaiter => ({ bulkheadPrevious: null, bulkheadNext: null, bulkheadQueued: false });
  const openUntilMs: number[] = [];
  const result: Run = { levels: [], ends: [] };
  const connect = (atMs: number): (typeof BECAME)[number] => {
    if (!breaker.look(atMs)) return 'circuit-open';
    if (bulkhead.acquire(links()) !== Admission.Granted) return 'bulkhead-full';
    const permit = breaker.admit(atMs);
    if (isDown(atMs)) {
      breaker.settle(permit, Outcome.Failure, 0, atMs, FailureBit.ConnectFailure);
      bulkhead.release();
      return 'connect-failed';
    }
    const verdict = new ConnectionResult().answered();
    breaker.settle(permit, verdict === Verdict.Success ? Outcome.Success : Outcome.Ignored, 1, atMs);
    openUntilMs.push(atMs + OPEN_MS);
    return 'answered';
  };
  for (let atMs = 0; atMs < LENGTH_MS; atMs += STEP_MS) {
    // Killed, a server takes its connections with it; they had been answered, and say nothing any more.
    const ended = openUntilMs.filter((endMs) => endMs <= atMs || isDown(atMs));
    for (const endMs of ended) {
      openUntilMs.splice(openUntilMs.indexOf(endMs), 1);
      bulkhead.release();
    }
    if (atMs % CONNECT_EVERY_MS === 0) result.ends.push({ atMs, became: connect(atMs) });
    result.levels.push({ atMs, open: bulkhead.inFlight, state: BREAKER_STATES[breaker.state(atMs)] });
  }
  return result;
}

/** Twelve seconds of an application that opens seven connections a second, while its database is killed and comes back. */
export function opaquePicture(): string {
  const { levels, ends } = run();
  const timeline = new Timeline(
    'Opaque connections over time: the database is killed, five connects fail and the circuit opens; what the application opens is reset at once, a probe finds out that it is still away, and when the database is back the circuit closes with the first bytes of two others',
    `consecutiveFailures: ${BREAKER.consecutiveFailures}, openFor: ${BREAKER.openForMs / 1000}s, maxProbes: ${BREAKER.halfOpenMaxProbes}, maxConcurrent: ${MAX_CONCURRENT}; a connection every ${CONNECT_EVERY_MS} ms`,
    'opaque TCP',
    LENGTH_MS,
  );
  const database = timeline.row('database', 22);
  timeline.span(0, DOWN.fromMs, database, 22, '#dcfce7', 'there');
  timeline.span(DOWN.fromMs, DOWN.toMs, database, 22, '#fee2e2', 'killed');
  timeline.span(DOWN.toMs, LENGTH_MS, database, 22, '#dcfce7', 'there');
  const circuit = timeline.row('circuit', 22);
  let fromMs = 0;
  levels.forEach(({ atMs, state }, index) => {
    const next = levels[index + 1];
    if (next?.state === state) return;
    const toMs = next?.atMs ?? LENGTH_MS;
    timeline.span(fromMs, toMs, circuit, 22, STATE_FILLS[state] ?? '#f8fafc', toMs - fromMs > 600 ? state : '');
    fromMs = atMs + STEP_MS;
  });
  const height = 64;
  const top = timeline.row('open connections', height);
  const y = (open: number) => top + height - 4 - (open / MAX_CONCURRENT) * (height - 20);
  timeline.line(
    [
      [0, y(MAX_CONCURRENT)],
      [LENGTH_MS, y(MAX_CONCURRENT)],
    ],
    '#94a3b8',
    '4 4',
  );
  timeline.note(60, y(MAX_CONCURRENT) - 4, `${MAX_CONCURRENT}`);
  timeline.line(
    levels.flatMap(({ atMs, open }, index) => {
      const before = levels[index - 1]?.open;
      const isLast = index === levels.length - 1;
      if (before === undefined || isLast) return [[isLast ? LENGTH_MS : atMs, y(open)] as const];
      return before === open ? [] : [[atMs, y(before)] as const, [atMs, y(open)] as const];
    }),
    '#1d4ed8',
  );
  for (const became of BECAME) {
    const of = ends.filter((end) => end.became === became);
    if (of.length === 0) continue;
    const row = timeline.row(`${became}: ${of.length}`, 16);
    for (const { atMs } of of) timeline.mark(atMs, row + 2, 12, FILLS[became]);
  }
  timeline.axis(1_000);
  return timeline.toString();
}
