// What pictures of endpoints over time are drawn with: a row for each endpoint, time from left to right.
const LEFT = 110;
const WIDTH = 820;
const TOP = 76;
const ROW = 46;
const BAR = 24;

export const SMALL = 'font-size="11.5" fill="#475569"';
export const COLOURS = { in: '#dcfce7', out: '#fecaca', bad: '#b91c1c', good: '#15803d', broken: '#334155' } as const;

const fixed = (value: number) => String(Math.round(value * 10) / 10);

export function text(atX: number, atY: number, words: string, attributes = SMALL): string {
  return `<text x="${fixed(atX)}" y="${fixed(atY)}" ${attributes}>${words}</text>`;
}

export function bar(atX: number, atY: number, width: number, height: number, fill: string): string {
  return `<rect x="${fixed(atX)}" y="${fixed(atY)}" width="${fixed(width)}" height="${fixed(height)}" fill="${fill}"/>`;
}

export class Timeline {
  readonly #endpoints: readonly string[];
  readonly #lengthMs: number;
  readonly #lines: string[] = [];

  constructor(endpoints: readonly string[], lengthMs: number) {
    this.#endpoints = endpoints;
    this.#lengthMs = lengthMs;
    for (const endpoint of endpoints) {
      this.add(text(30, this.y(endpoint) + 17, endpoint, 'font-size="12.5" fill="#0f172a"'));
      this.span(endpoint, 0, lengthMs, COLOURS.in);
    }
  }

  x(ms: number): number {
    return LEFT + (ms / this.#lengthMs) * WIDTH;
  }

  y(endpoint: string): number {
    return TOP + this.#endpoints.indexOf(endpoint) * ROW;
  }

  /** Below the last row. */
  get bottom(): number {
    return TOP + this.#endpoints.length * ROW;
  }

  add(...lines: string[]): void {
    this.#lines.push(...lines);
  }

  span(endpoint: string, fromMs: number, toMs: number, fill: string, label = ''): void {
    this.add(bar(this.x(fromMs), this.y(endpoint), this.x(toMs) - this.x(fromMs), BAR, fill));
    if (label === '') return;
    const middle = (this.x(fromMs) + this.x(toMs)) / 2;
    this.add(text(middle, this.y(endpoint) + 16, label, `font-size="11.5" fill="${COLOURS.bad}" text-anchor="middle"`));
  }

  note(endpoint: string, atMs: number, words: string): void {
    this.add(text(this.x(atMs) + 4, this.y(endpoint) + 16, words));
  }

  /** A short line above the row. */
  tick(endpoint: string, atMs: number, fill: string): void {
    this.add(bar(this.x(atMs), this.y(endpoint) - 5, 1.2, 5, fill));
  }

  /** A line below the row. */
  broken(endpoint: string, fromMs: number, toMs: number): void {
    this.add(bar(this.x(fromMs), this.y(endpoint) + BAR + 1, this.x(toMs) - this.x(fromMs), 3, COLOURS.broken));
  }

  /** The whole picture. `legend`: lines that are drawn below the axis, `everyMs`: its marks. */
  draw({ title, block, numbers, everyMs }: { title: string; block: string; numbers: string; everyMs: number }): string {
    for (let ms = 0; ms <= this.#lengthMs; ms += everyMs) {
      this.add(bar(this.x(ms), this.bottom - 8, 1, 6, '#94a3b8'));
      this.add(text(this.x(ms), this.bottom + 12, `${ms / 1000} s`, `${SMALL} text-anchor="middle"`));
    }
    const height = this.bottom + 78;
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 ${height}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="13" role="img" aria-labelledby="title">`,
      `<title id="title">${title}</title>`,
      `<rect width="960" height="${height}" rx="10" fill="#ffffff"/>`,
      text(30, 34, block, 'fill="#0f172a" font-weight="bold"'),
      text(160, 34, numbers),
      ...this.#lines,
      '</svg>',
    ].join('\n');
  }
}
