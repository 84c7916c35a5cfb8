// One outage as an SVG: three protections side by side, what became of requests above, what reached the dependency below.
import { PROTECTIONS, type ProtectionName, type Second } from './measure.ts';
import type { Outage } from './outages.ts';

export type Measured = Readonly<Record<ProtectionName, readonly Second[]>>;

const NAMES: Readonly<Record<ProtectionName, string>> = {
  library: 'without protection',
  envoy: 'Envoy, default numbers',
  breakwater: 'Breakwater',
};
const [WIDTH, HEIGHT] = [960, 400];
const PANEL = { width: 280, gap: 22, left: 56, upper: 84, upperHeight: 130, lower: 256, lowerHeight: 100 };

export function picture(outage: Outage, measured: Measured, alternative: string): string {
  const { durationMs, requestsPerSecond } = outage;
  const most = Math.max(...PROTECTIONS.flatMap((name) => measured[name].map(({ reached }) => reached)));
  const lowerMax = niceAbove(Math.max(most, requestsPerSecond));
  const panels = PROTECTIONS.map((name, index) => panel(outage, measured[name], index, NAMES[name], lowerMax));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="11" role="img" aria-labelledby="title">`,
    `  <title id="title">${alternative}</title>`,
    `  <rect width="${WIDTH}" height="${HEIGHT}" rx="10" fill="#ffffff"/>`,
    `  <text x="24" y="30" font-size="15" font-weight="bold" fill="#0f172a">${outage.title}</text>`,
    ...legend(),
    ...panels.flat(),
    `  <text x="24" y="${HEIGHT - 12}" fill="#475569">${requestsPerSecond} requests a second by ${outage.callers} applications, ${outage.pods} pods; grey: the trouble; ${durationMs / 1_000} s of virtual time</text>`,
    '</svg>',
    '',
  ].join('\n');
}

function legend(): string[] {
  const entries = [
    ['#15803d', 'answered'],
    ['#d97706', 'refused at once'],
    ['#b91c1c', 'failed or timed out'],
    ['#1d4ed8', 'requests that reach the pods'],
  ] as const;
  return entries.map(
    ([colour, text], index) =>
      `  <rect x="${24 + index * 170}" y="42" width="11" height="11" fill="${colour}"/><text x="${40 + index * 170}" y="52" fill="#334155">${text}</text>`,
  );
}

function panel(outage: Outage, seconds: readonly Second[], index: number, name: string, lowerMax: number): string[] {
  const { durationMs, requestsPerSecond, troubleMs } = outage;
  const count = Math.floor(durationMs / 1_000);
  const left = PANEL.left + index * (PANEL.width + PANEL.gap);
  const x = (second: number) => round(left + (second / count) * PANEL.width);
  const upperMax = requestsPerSecond * 1.25;
  const upper = (value: number) => round(PANEL.upper + PANEL.upperHeight * (1 - Math.min(1, value / upperMax)));
  const lower = (value: number) => round(PANEL.lower + PANEL.lowerHeight * (1 - Math.min(1, value / lowerMax)));
  const shown = seconds.slice(0, count);
  const stack = (from: (second: Second) => number, to: (second: Second) => number, colour: string) => {
    const above = shown.map((second, at) => `${x(at)},${upper(to(second))} ${x(at + 1)},${upper(to(second))}`);
    const below = shown.map((second, at) => `${x(at)},${upper(from(second))} ${x(at + 1)},${upper(from(second))}`);
    return `  <polygon points="${above.join(' ')} ${below
      .map((pair) => pair.split(' ').reverse().join(' '))
      .reverse()
      .join(' ')}" fill="${colour}"/>`;
  };
  const trouble = (top: number, height: number) =>
    `  <rect x="${x(troubleMs[0] / 1_000)}" y="${top}" width="${round(x(troubleMs[1] / 1_000) - x(troubleMs[0] / 1_000))}" height="${height}" fill="#e2e8f0"/>`;
  const line = shown.map(({ reached }, at) => `${x(at + 0.5)},${lower(reached)}`).join(' ');
  const axis = (top: number, height: number) =>
    `  <path d="M${left} ${top} V${top + height} H${left + PANEL.width}" stroke="#94a3b8" fill="none"/>`;
  const label = (y: number, text: string | number) =>
    `  <text x="${left - 6}" y="${y + 4}" text-anchor="end" fill="#475569">${text}</text>`;
  return [
    `  <text x="${left}" y="${PANEL.upper - 10}" font-size="12.5" font-weight="bold" fill="#0f172a">${name}</text>`,
    trouble(PANEL.upper, PANEL.upperHeight),
    stack(
      () => 0,
      ({ answered }) => answered,
      '#15803d',
    ),
    stack(
      ({ answered }) => answered,
      ({ answered, refused }) => answered + refused,
      '#d97706',
    ),
    stack(
      ({ answered, refused }) => answered + refused,
      (second) => total(second),
      '#b91c1c',
    ),
    axis(PANEL.upper, PANEL.upperHeight),
    trouble(PANEL.lower, PANEL.lowerHeight),
    `  <polyline points="${line}" fill="none" stroke="#1d4ed8" stroke-width="1.6"/>`,
    axis(PANEL.lower, PANEL.lowerHeight),
    ...(index === 0 ? [label(upper(requestsPerSecond), requestsPerSecond), label(upper(0), 0)] : []),
    ...(index === 0 ? [label(lower(lowerMax), lowerMax), label(lower(0), 0)] : []),
    ...[0, 20, 40, 60, 80]
      .filter((second) => second < count)
      .map(
        (second) =>
          `  <text x="${x(second)}" y="${PANEL.lower + PANEL.lowerHeight + 15}" text-anchor="middle" fill="#475569">${second} s</text>`,
      ),
  ];
}

const total = ({ answered, refused, failed }: Second) => answered + refused + failed;
const round = (value: number) => Math.round(value * 10) / 10;

/** The next number that reads well. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10].find((factor) => factor * power >= value) ?? 10);
}
