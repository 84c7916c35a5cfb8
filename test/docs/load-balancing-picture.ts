// The picture of load balancing over time, drawn from a run of the real balancers on a service in virtual time.
import { seededRandom } from '../../runtime/random.ts';
import { RoundRobin } from '../../sidecar/balance/round-robin.ts';
import { exponential, quantile } from '../../sidecar/balance/testing/distributions.ts';
import {
  type Behaviour,
  type MakeBalancer,
  type Served,
  simulate,
} from '../../sidecar/balance/testing/simulated-service.ts';
import { TwoChoices } from '../../sidecar/balance/two-choices.ts';

const LENGTH_MS = 150_000;
const STEP_MS = 1_000;
const SLOW = { fromMs: 20_000, toMs: 50_000 };
const FAILING = { fromMs: 80_000, toMs: 95_000 };

const within = ({ fromMs, toMs }: { fromMs: number; toMs: number }, atMs: number) => atMs >= fromMs && atMs < toMs;

const healthy: Behaviour = { workers: 200, serviceMs: (_atMs, random) => exponential(10, random) };
const slow: Behaviour = {
  workers: 200,
  serviceMs: (atMs, random) => exponential(within(SLOW, atMs) ? 400 : 10, random),
};
const failing: Behaviour = { ...healthy, fails: (atMs) => within(FAILING, atMs) };

const ALGORITHMS: readonly { name: string; makeBalancer: MakeBalancer }[] = [
  { name: 'PeakEwma', makeBalancer: (candidates, random) => new TwoChoices(candidates, 'PeakEwma', 0, random) },
  { name: 'LeastRequest', makeBalancer: (candidates, random) => new TwoChoices(candidates, 'InFlight', 0, random) },
  { name: 'RoundRobin', makeBalancer: (candidates, random) => new RoundRobin(candidates, 0, random) },
];

export interface Panel {
  name: string;
  /** Percent of the requests of each second, of the slow endpoint and of the failing one. */
  slow: readonly number[];
  failing: readonly number[];
  /** While one is slow: what 99 of 100 requests take at most. */
  p99Ms: number;
  /** While one fails: percent of the requests. */
  failedPercent: number;
}

function panel({ name, makeBalancer }: (typeof ALGORITHMS)[number]): Panel {
  const served = simulate({
    endpoints: [healthy, healthy, healthy, slow, failing],
    sidecars: 4,
    requestsPerSecond: 400,
    untilMs: LENGTH_MS,
    makeBalancer,
    random: seededRandom(11),
  });
  const duringSlow = served.filter(({ startedAtMs }) => within(SLOW, startedAtMs));
  const duringFailing = served.filter(({ startedAtMs }) => within(FAILING, startedAtMs));
  const took = duringSlow.map(({ tookMs }) => tookMs);
  return {
    name,
    slow: shares(served, 3),
    failing: shares(served, 4),
    p99Ms: quantile(took, 0.99),
    failedPercent: (100 * duringFailing.filter(({ failed }) => failed).length) / duringFailing.length,
  };
}

function shares(served: readonly Served[], endpoint: number): number[] {
  const all = Array.from({ length: LENGTH_MS / STEP_MS }, () => 0);
  const own = [...all];
  for (const one of served) {
    const step = Math.floor(one.startedAtMs / STEP_MS);
    all[step] = (all[step] ?? 0) + 1;
    if (one.endpoint === endpoint) own[step] = (own[step] ?? 0) + 1;
  }
  return own.map((count, step) => (100 * count) / Math.max(1, all[step] ?? 1));
}

export function loadBalancingPanels(): Panel[] {
  return ALGORITHMS.map(panel);
}

const LEFT = 150;
const WIDTH = 560;
const TOP = 64;
const HEIGHT = 84;
const PITCH = 116;
const MOST_PERCENT = 40;
const SMALL = 'font-size="11.5" fill="#475569"';
const SLOW_COLOUR = '#b45309';
const FAILING_COLOUR = '#b91c1c';

const x = (ms: number) => LEFT + (ms / LENGTH_MS) * WIDTH;
const fixed = (value: number) => String(Math.round(value * 10) / 10);

function text(atX: number, atY: number, words: string, attributes: string): string {
  return `<text x="${fixed(atX)}" y="${fixed(atY)}" ${attributes}>${words}</text>`;
}

function line(values: readonly number[], bottom: number, colour: string): string {
  const points = values.map(
    (value, step) => `${fixed(x((step + 0.5) * STEP_MS))},${fixed(bottom - (value / MOST_PERCENT) * HEIGHT)}`,
  );
  return `<polyline points="${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="1.6"/>`;
}

function band({ fromMs, toMs }: { fromMs: number; toMs: number }, top: number, fill: string): string {
  return `<rect x="${fixed(x(fromMs))}" y="${top}" width="${fixed(x(toMs) - x(fromMs))}" height="${HEIGHT}" fill="${fill}"/>`;
}

function draw({ name, slow, failing, p99Ms, failedPercent }: Panel, index: number): string[] {
  const top = TOP + index * PITCH;
  const bottom = top + HEIGHT;
  const fair = bottom - (20 / MOST_PERCENT) * HEIGHT;
  return [
    text(30, top + 16, name, 'font-size="13" font-weight="bold" fill="#0f172a"'),
    `<rect x="${LEFT}" y="${top}" width="${WIDTH}" height="${HEIGHT}" fill="#f8fafc"/>`,
    band(SLOW, top, '#fef3c7'),
    band(FAILING, top, '#fee2e2'),
    `<path d="M${LEFT} ${fixed(fair)}H${LEFT + WIDTH}" stroke="#94a3b8" stroke-dasharray="3 4"/>`,
    text(LEFT - 8, fair + 4, '20 %', `${SMALL} text-anchor="end"`),
    text(LEFT - 8, bottom + 2, '0', `${SMALL} text-anchor="end"`),
    line(slow, bottom, SLOW_COLOUR),
    line(failing, bottom, FAILING_COLOUR),
    text(LEFT + WIDTH + 16, top + 32, `while one is slow, 99 % take`, SMALL),
    text(LEFT + WIDTH + 16, top + 48, `at most ${Math.round(p99Ms)} ms`, SMALL),
    text(LEFT + WIDTH + 16, top + 68, `while one fails, ${failedPercent.toFixed(1)} % fail`, SMALL),
  ];
}

/** Five endpoints; of two of them the share of all requests, second by second. */
export function loadBalancingPicture(panels: readonly Panel[]): string {
  const axis = TOP + (panels.length - 1) * PITCH + HEIGHT;
  const ticks = Array.from({ length: LENGTH_MS / 30_000 + 1 }, (_, index) => index * 30);
  const title =
    'Share of the requests of a slow and of a failing endpoint out of five: with PeakEwma both get next to none, with LeastRequest the failing one gets more than its share, with RoundRobin each keeps a fifth';
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 424" font-family="DejaVu Sans, Verdana, sans-serif" font-size="13" role="img" aria-labelledby="title">',
    `<title id="title">${title}</title>`,
    '<rect width="960" height="424" rx="10" fill="#ffffff"/>',
    text(30, 34, 'loadBalancing.algorithm', 'fill="#0f172a" font-weight="bold"'),
    text(230, 34, 'share of all requests that two of five endpoints get, second by second', SMALL),
    ...panels.flatMap(draw),
    ...ticks.map((seconds) => text(x(seconds * 1000), axis + 16, `${seconds} s`, `${SMALL} text-anchor="middle"`)),
    `<path d="M30 ${axis + 36}h24" stroke="${SLOW_COLOUR}" stroke-width="2"/>`,
    text(60, axis + 40, 'an endpoint whose answers take 400 ms instead of 10 ms for 30 s', SMALL),
    `<path d="M500 ${axis + 36}h24" stroke="${FAILING_COLOUR}" stroke-width="2"/>`,
    text(530, axis + 40, 'an endpoint that fails everything at once for 15 s', SMALL),
    '</svg>',
  ].join('\n');
}
