// The pictures of docs/limits.md, each drawn from a run of the state machine itself under a clock of its own.
import { LOOP_DELAY_MS, LoadShedder, ShedReason } from '../../sidecar/policies/load-shedder.ts';
import { TokenBucket } from '../../sidecar/policies/token-bucket.ts';
import { runQueueingModel } from '../simulation/queueing-model.ts';

const LEFT = 70;
const WIDTH = 850;
const RIGHT = LEFT + WIDTH;
const SMALL = 'font-size="11.5" fill="#475569"';
const [GREEN, RED, BLUE, GREY, AMBER] = ['#15803d', '#b91c1c', '#1d4ed8', '#94a3b8', '#b45309'];

const fixed = (value: number) => String(Math.round(value * 10) / 10);

function text(x: number, y: number, words: string, attributes = SMALL): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" ${attributes}>${words}</text>`;
}

function bar(x: number, y: number, width: number, height: number, fill: string): string {
  return `<rect x="${fixed(x)}" y="${fixed(y)}" width="${fixed(width)}" height="${fixed(height)}" fill="${fill}"/>`;
}

function path(points: readonly (readonly [number, number])[], stroke: string, attributes = ''): string {
  const d = points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${fixed(x)} ${fixed(y)}`).join('');
  return `<path d="${d}" fill="none" stroke="${stroke}" stroke-width="1.6" ${attributes}/>`;
}

/** A panel with a scale of its own: where a time and a value are in the picture. */
interface Panel {
  x: (ms: number) => number;
  y: (value: number) => number;
  frame: string[];
}

interface PanelOptions {
  top: number;
  height: number;
  lengthMs: number;
  max: number;
  marks: readonly number[];
  unit: string;
}

function panel({ top, height, lengthMs, max, marks, unit }: PanelOptions): Panel {
  const x = (ms: number) => LEFT + (ms / lengthMs) * WIDTH;
  const y = (value: number) => top + height - (Math.min(value, max) / max) * height;
  const frame = marks.flatMap((mark) => [
    bar(LEFT, y(mark), WIDTH, 0.6, '#e2e8f0'),
    text(LEFT - 8, y(mark) + 4, `${mark}${unit}`, `${SMALL} text-anchor="end"`),
  ]);
  return { x, y, frame };
}

function timeAxis({ x }: Panel, y: number, lengthMs: number, everyMs: number): string[] {
  const lines: string[] = [];
  for (let ms = 0; ms <= lengthMs; ms += everyMs) {
    lines.push(bar(x(ms), y, 1, 5, GREY));
    lines.push(text(x(ms), y + 18, `${ms / 1000} s`, `${SMALL} text-anchor="middle"`));
  }
  return lines;
}

function picture(height: number, title: string, heading: string, sub: string, lines: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 ${height}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="13" role="img" aria-labelledby="title">`,
    `<title id="title">${title}</title>`,
    `<rect width="960" height="${height}" rx="10" fill="#ffffff"/>`,
    text(30, 34, heading, 'fill="#0f172a" font-weight="bold"'),
    text(200, 34, sub),
    ...lines,
    '</svg>',
  ].join('\n');
}

function legend(y: number, entries: readonly (readonly [string, string])[]): string[] {
  return entries.flatMap(([colour, words], index) => {
    const x = LEFT + index * 225;
    return [bar(x, y - 8, 22, 4, colour), text(x + 30, y, words)];
  });
}

// ---- rate limit -------------------------------------------------------------------------------------------------------------------

const RATE = { requestsPerSecond: 10, burst: 20 };
/** Requests per second, from when on. */
const LOAD: readonly (readonly [number, number])[] = [
  [0, 5],
  [2_000, 40],
  [5_000, 0],
  [7_000, 12],
];

/** Ten seconds: little, too much, nothing, a little too much. */
export function rateLimitPicture(): string {
  const lengthMs = 10_000;
  const bucket = new TokenBucket(RATE, 0);
  const tokens = panel({ top: 60, height: 110, lengthMs, max: 20, marks: [0, 10, 20], unit: '' });
  const level: [number, number][] = [];
  const dots: string[] = [];
  let passed = 0;
  let refused = 0;
  for (let ms = 0, owed = 0; ms < lengthMs; ms += 5) {
    owed += ((LOAD.findLast(([fromMs]) => fromMs <= ms)?.[1] ?? 0) * 5) / 1000;
    while (owed >= 1) {
      owed -= 1;
      const passes = bucket.take(ms * 1000);
      if (passes) passed += 1;
      else refused += 1;
      dots.push(bar(tokens.x(ms), passes ? 196 : 218, 2, 14, passes ? GREEN : RED));
    }
    if (ms % 25 === 0) level.push([tokens.x(ms), tokens.y(bucket.available(ms * 1000))]);
  }
  return picture(
    300,
    'A token bucket over time: a burst passes at once, then as many requests as the rate allows; after a pause there is a burst again',
    'rateLimit',
    'requestsPerSecond: 10, burst: 20',
    [
      ...tokens.frame,
      text(LEFT, 54, 'tokens left'),
      path(level, BLUE),
      ...dots,
      text(LEFT - 8, 207, 'pass', `${SMALL} text-anchor="end"`),
      text(LEFT - 8, 229, '429', `${SMALL} text-anchor="end"`),
      ...timeAxis(tokens, 244, lengthMs, 1_000),
      text(
        LEFT,
        286,
        `5 a second until 2 s, 40 a second until 5 s, none until 7 s, then 12 a second: ${passed} pass, ${refused} are refused`,
      ),
    ],
  );
}

// ---- adaptive bulkhead ------------------------------------------------------------------------------------------------------------

/** Four minutes of twice the load that the dependency can do; in the second it has half of its replicas, from the third on it is slower. */
export function adaptivePicture(): string {
  const lengthMs = 240_000;
  const serversAt = (atMs: number) => (atMs > 60_000 && atMs <= 120_000 ? 20 : 40);
  const serviceMsAt = (atMs: number) => (atMs > 180_000 ? 100 : 50);
  const seen = runQueueingModel({
    spec: { minConcurrent: 3, maxConcurrent: 200, latencyTolerancePercent: 25, probeIntervalMs: 60_000 },
    seed: 5,
    durationMs: lengthMs,
    everyMs: 250,
    conditions: (atMs) => ({
      servers: serversAt(atMs),
      serviceMs: serviceMsAt(atMs),
      spread: 0.4,
      arrivalsPerSecond: 1_600,
    }),
  });
  const limits = panel({ top: 66, height: 130, lengthMs, max: 80, marks: [0, 20, 40, 60, 80], unit: '' });
  const latencies = panel({ top: 232, height: 90, lengthMs, max: 200, marks: [0, 50, 100, 150, 200], unit: ' ms' });
  const smooth = (index: number) => {
    const around = seen.slice(Math.max(0, index - 8), index + 8);
    return around.reduce((sum, { latencyMs }) => sum + latencyMs, 0) / around.length;
  };
  const capacity = seen.map(({ atMs }) => [limits.x(atMs), limits.y(serversAt(atMs))] as const);
  return picture(
    396,
    'An adaptive limit over time: it settles a little above what the dependency can work on, halves with it, comes back with it, and learns when all calls have become slower',
    'bulkhead.adaptive',
    'minConcurrent: 3, latencyTolerancePercent: 25; twice the load that the dependency can do',
    [
      text(LEFT, 58, 'calls at a time'),
      ...limits.frame,
      path(capacity, GREY, 'stroke-dasharray="5 4"'),
      path(
        seen.map(({ atMs, limit }) => [limits.x(atMs), limits.y(limit)]),
        BLUE,
      ),
      text(LEFT, 224, 'latency'),
      ...latencies.frame,
      path(
        seen.map(({ atMs }, index) => [latencies.x(atMs), latencies.y(smooth(index))]),
        AMBER,
      ),
      path(
        seen.map(({ atMs, baselineMs }) => [latencies.x(atMs), latencies.y(baselineMs)]),
        GREEN,
      ),
      ...timeAxis(limits, 330, lengthMs, 30_000),
      text(limits.x(90_000), 78, 'half of its replicas', `${SMALL} text-anchor="middle"`),
      text(limits.x(210_000), 78, 'each call takes twice as long', `${SMALL} text-anchor="middle"`),
      ...legend(380, [
        [BLUE, 'limit'],
        [GREY, 'what it can work on'],
        [AMBER, 'latency of calls'],
        [GREEN, 'baseline'],
      ]),
    ],
  );
}

// ---- load shedding ----------------------------------------------------------------------------------------------------------------

const PAUSE_AT_MS = 3_000;
/** How many times what the event loop can do. */
const overloadAt = (ms: number) => (ms >= 6_000 && ms < 14_000 ? 2 : 0.6);

/** Twenty seconds: a pause of the garbage collector, then eight seconds of twice the load that the event loop can do. */
export function loadSheddingPicture(): string {
  const lengthMs = 20_000;
  const delays = panel({ top: 66, height: 110, lengthMs, max: 600, marks: [0, 200, 400, 600], unit: ' ms' });
  const shares = panel({ top: 212, height: 90, lengthMs, max: 100, marks: [0, 50, 100], unit: ' %' });
  const shedder = new LoadShedder();
  const delay: [number, number][] = [];
  const share: [number, number][] = [];
  const served: [number, number][] = [];
  let backlogMs = 0;
  for (let ms = 0; ms < lengthMs; ms += 100) {
    let passed = 0;
    let costMs = ms === PAUSE_AT_MS ? 350 : 0;
    // A request costs the event loop 1 ms, and to refuse one a tenth of it.
    for (let request = 0; request < 100 * overloadAt(ms); request += 1) {
      const passes = shedder.judge(5) === ShedReason.None;
      costMs += passes ? 1 : 0.1;
      if (passes) passed += 1;
    }
    const workMs = backlogMs + costMs;
    // A pause ends in one late look; what is left of it afterwards is work like any other.
    backlogMs = ms === PAUSE_AT_MS ? 0 : Math.max(0, workMs - 100);
    const loopDelayMs = ms === PAUSE_AT_MS ? workMs - 100 : backlogMs;
    shedder.observe({ memoryShare: 0.4, loopDelayMs, loopUtilization: Math.min(1, workMs / 100) });
    delay.push([delays.x(ms), delays.y(loopDelayMs)]);
    share.push([shares.x(ms), shares.y(shedder.share * 100)]);
    served.push([shares.x(ms), shares.y(passed)]);
  }
  return picture(
    376,
    'Load shedding over time: one long pause changes nothing; under twice the load a share of the requests is refused until the delay is gone, and the rest is served',
    'load shedding',
    'by the delay of the event loop; memory has levels of its own',
    [
      text(LEFT, 58, 'delay of the event loop'),
      ...delays.frame,
      bar(LEFT, delays.y(LOOP_DELAY_MS), WIDTH, 1, RED),
      text(RIGHT, delays.y(LOOP_DELAY_MS) - 4, `${LOOP_DELAY_MS} ms`, `${SMALL} text-anchor="end"`),
      path(delay, AMBER),
      text(delays.x(PAUSE_AT_MS), 84, 'one pause: nothing is refused', `${SMALL} text-anchor="middle"`),
      text(LEFT, 204, 'share of requests refused, and requests served (of what can be)'),
      ...shares.frame,
      path(served, GREEN),
      path(share, RED),
      ...timeAxis(delays, 308, lengthMs, 2_000),
      text(delays.x(11_000), 84, 'twice the load', `${SMALL} text-anchor="middle"`),
      ...legend(358, [
        [AMBER, 'delay'],
        [RED, 'refused'],
        [GREEN, 'served'],
      ]),
    ],
  );
}
