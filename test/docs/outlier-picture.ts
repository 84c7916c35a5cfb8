// The picture of outlier detection over time, drawn from a run of the state machine itself under a clock of its own.
import { FailureBit } from '../../sidecar/policies/failures.ts';
import { OutlierDetection, type OutlierMember, type OutlierSpec } from '../../sidecar/policies/outlier-detection.ts';
import { bar, COLOURS, Timeline, text } from './endpoint-timeline.ts';

const ENDPOINTS = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5'];
const SPEC: OutlierSpec = {
  failureOn: ['ServerError'],
  consecutiveFailures: 5,
  consecutiveLocalOriginFailures: 5,
  successRate: null,
  intervalMs: 10_000,
  maxEjectionPercent: 50,
  ejectForMs: 30_000,
  maxEjectForMs: 300_000,
  panicThresholdPercent: 50,
};
/** When which endpoint answers 500. */
const FAULTS: readonly { endpoint: string; fromMs: number; toMs: number }[] = [
  { endpoint: '10.0.0.2', fromMs: 10_000, toMs: 120_000 },
  { endpoint: '10.0.0.4', fromMs: 24_000, toMs: 40_000 },
  { endpoint: '10.0.0.5', fromMs: 30_000, toMs: 40_000 },
];
const LENGTH_MS = 240_000;
const STEP_MS = 500;

interface Span {
  endpoint: string;
  fromMs: number;
  toMs: number;
  times: number;
}

interface Run {
  ejections: Span[];
  failures: { endpoint: string; atMs: number }[];
  withheld: { endpoint: string; atMs: number }[];
}

/** Every endpoint that is in is called twice a second. */
function run(): Run {
  const detection = new OutlierDetection(SPEC, () => 0, 0);
  const result: Run = { ejections: [], failures: [], withheld: [] };
  const open = new Map<OutlierMember, Span>();
  let nowMs = 0;
  detection.setEndpoints(ENDPOINTS, nowMs);
  detection.listener = {
    ejected(member) {
      const span = { endpoint: member.name, fromMs: nowMs, toMs: LENGTH_MS, times: member.timesEjected };
      open.set(member, span);
      result.ejections.push(span);
    },
    withheld: ({ name }) => result.withheld.push({ endpoint: name, atMs: nowMs }),
    returned(member) {
      const span = open.get(member);
      if (span) span.toMs = nowMs;
    },
  };
  for (; nowMs < LENGTH_MS; nowMs += STEP_MS) {
    detection.sweep(nowMs);
    for (const name of ENDPOINTS) {
      const member = detection.member(name);
      if (member === null || member.ejected) continue;
      const faulty = FAULTS.some(({ endpoint, fromMs, toMs }) => endpoint === name && nowMs >= fromMs && nowMs < toMs);
      if (faulty) result.failures.push({ endpoint: name, atMs: nowMs });
      detection.record(member, member.generation, faulty ? FailureBit.ServerError : 0, nowMs);
    }
  }
  return result;
}

/** Five endpoints over four minutes: when each fails, and when it is ejected. */
export function outlierPicture(): string {
  const { ejections, failures, withheld } = run();
  const timeline = new Timeline(ENDPOINTS, LENGTH_MS);
  for (const { endpoint, fromMs, toMs, times } of ejections) {
    const label = `ejected, ${(toMs - fromMs) / 1000} s${times > 1 ? ` (${times}.)` : ''}`;
    timeline.span(endpoint, fromMs, toMs, COLOURS.out, label);
  }
  for (const { endpoint, fromMs, toMs } of FAULTS) timeline.broken(endpoint, fromMs, toMs);
  for (const { endpoint, atMs } of failures) timeline.tick(endpoint, atMs, COLOURS.bad);
  for (const { endpoint, atMs } of withheld) timeline.note(endpoint, atMs, 'withheld: two are out');
  const y = timeline.bottom + 34;
  timeline.add(bar(30, y, 24, 12, COLOURS.in), text(60, y + 10, 'gets calls'));
  timeline.add(bar(150, y, 24, 12, COLOURS.out), text(180, y + 10, 'ejected'));
  timeline.add(bar(260, y + 5, 24, 3, COLOURS.broken), text(290, y + 10, 'the endpoint is broken'));
  timeline.add(bar(462, y + 3, 1.2, 5, COLOURS.bad), text(470, y + 10, 'a call that fails'));
  return timeline.draw({
    title:
      'Five endpoints over time: five failures in a row eject one for 30 seconds, for longer each time it fails again, and never more than two of the five at once',
    block: 'outlierDetection',
    numbers: 'consecutiveFailures: 5, ejectFor: 30s, interval: 10s, maxEjectionPercent: 50 (of five: two)',
    everyMs: 30_000,
  });
}
