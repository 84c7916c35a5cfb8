// The picture of outlier detection over time, drawn from a run of the state machine itself under a clock of its own.
import { FailureBit } from '../../sidecar/policies/failures.ts';
import { OutlierDetection, type OutlierMember, type OutlierSpec } from '../../sidecar/policies/outlier-detection.ts';

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

const LEFT = 110;
const WIDTH = 820;
const TOP = 76;
const ROW = 46;

const x = (ms: number) => LEFT + (ms / LENGTH_MS) * WIDTH;
const y = (endpoint: string) => TOP + ENDPOINTS.indexOf(endpoint) * ROW;
const fixed = (value: number) => String(Math.round(value * 10) / 10);

function text(atX: number, atY: number, words: string, attributes = ''): string {
  return `<text x="${fixed(atX)}" y="${fixed(atY)}" ${attributes}>${words}</text>`;
}

function bar(atX: number, atY: number, width: number, height: number, fill: string): string {
  return `<rect x="${fixed(atX)}" y="${fixed(atY)}" width="${fixed(width)}" height="${fixed(height)}" fill="${fill}"/>`;
}

/** Five endpoints over four minutes: when each fails, and when it is ejected. */
export function outlierPicture(): string {
  const { ejections, failures, withheld } = run();
  const small = 'font-size="11.5" fill="#475569"';
  const middle = `${small} text-anchor="middle"`;
  const title =
    'Five endpoints over time: five failures in a row eject one for 30 seconds, for longer each time it fails again, and never more than two of the five at once';
  const lines = [
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 384" font-family="DejaVu Sans, Verdana, sans-serif" font-size="13" role="img" aria-labelledby="title">',
    `<title id="title">${title}</title>`,
    '<rect width="960" height="384" rx="10" fill="#ffffff"/>',
    text(30, 34, 'outlierDetection', 'fill="#0f172a" font-weight="bold"'),
    text(160, 34, 'consecutiveFailures: 5, ejectFor: 30s, interval: 10s, maxEjectionPercent: 50 (of five: two)', small),
  ];
  for (const endpoint of ENDPOINTS) {
    lines.push(text(30, y(endpoint) + 17, endpoint, 'font-size="12.5" fill="#0f172a"'));
    lines.push(bar(LEFT, y(endpoint), WIDTH, 24, '#dcfce7'));
  }
  for (const { endpoint, fromMs, toMs, times } of ejections) {
    lines.push(bar(x(fromMs), y(endpoint), x(toMs) - x(fromMs), 24, '#fecaca'));
    const label = `ejected, ${(toMs - fromMs) / 1000} s${times > 1 ? ` (${times}.)` : ''}`;
    lines.push(text((x(fromMs) + x(toMs)) / 2, y(endpoint) + 16, label, middle.replace('#475569', '#b91c1c')));
  }
  for (const { endpoint, fromMs, toMs } of FAULTS)
    lines.push(bar(x(fromMs), y(endpoint) + 25, x(toMs) - x(fromMs), 3, '#334155'));
  for (const { endpoint, atMs } of failures) lines.push(bar(x(atMs), y(endpoint) - 5, 1.2, 5, '#b91c1c'));
  for (const { endpoint, atMs } of withheld)
    lines.push(text(x(atMs) + 4, y(endpoint) + 16, 'withheld: two are out', small));
  const axis = TOP + ENDPOINTS.length * ROW;
  for (let seconds = 0; seconds <= LENGTH_MS / 1000; seconds += 30) {
    lines.push(bar(x(seconds * 1000), axis - 8, 1, 6, '#94a3b8'));
    lines.push(text(x(seconds * 1000), axis + 12, `${seconds} s`, middle));
  }
  lines.push(bar(30, axis + 34, 24, 12, '#dcfce7'), text(60, axis + 44, 'gets calls', small));
  lines.push(bar(150, axis + 34, 24, 12, '#fecaca'), text(180, axis + 44, 'ejected', small));
  lines.push(bar(260, axis + 39, 24, 3, '#334155'), text(290, axis + 44, 'the endpoint is broken', small));
  lines.push(bar(462, axis + 37, 1.2, 5, '#b91c1c'), text(470, axis + 44, 'a call that fails', small));
  lines.push('</svg>');
  return lines.join('\n');
}
