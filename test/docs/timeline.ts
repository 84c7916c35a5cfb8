// The few shapes that pictures of behaviour over time are made of.

export const WIDTH = 960;
const LEFT = 150;
const RIGHT = 930;

const fixed = (value: number) => String(Math.round(value * 10) / 10);

/** A picture of `lengthMs`, row by row from above. */
export class Timeline {
  readonly #lengthMs: number;
  readonly #lines: string[] = [];
  #height = 0;

  constructor(title: string, subtitle: string, name: string, lengthMs: number) {
    this.#lengthMs = lengthMs;
    this.#lines.push(
      `<title id="title">${title}</title>`,
      '',
      this.#text(30, 34, name, 'fill="#0f172a" font-weight="bold"'),
      this.#text(LEFT, 34, subtitle, 'font-size="11.5" fill="#475569"'),
    );
    this.#height = 52;
  }

  x(ms: number): number {
    return LEFT + (ms / this.#lengthMs) * (RIGHT - LEFT);
  }

  /** Begins a row; returns its upper edge. */
  row(label: string, height: number, background = '#f8fafc'): number {
    const top = this.#height;
    this.#height += height + 10;
    this.#lines.push(this.#text(30, top + height / 2 + 4, label, 'font-size="12.5" fill="#0f172a"'));
    this.#rect(LEFT, top, RIGHT - LEFT, height, background);
    return top;
  }

  span(fromMs: number, toMs: number, top: number, height: number, fill: string, words = '', ink = '#0f172a'): void {
    this.#rect(this.x(fromMs), top, this.x(toMs) - this.x(fromMs), height, fill);
    if (words === '') return;
    const middle = (this.x(fromMs) + this.x(toMs)) / 2;
    this.#lines.push(
      this.#text(middle, top + height / 2 + 4, words, `font-size="11.5" fill="${ink}" text-anchor="middle"`),
    );
  }

  mark(atMs: number, top: number, height: number, fill: string, width = 2): void {
    this.#rect(this.x(atMs) - width / 2, top, width, height, fill);
  }

  line(points: readonly (readonly [ms: number, y: number])[], stroke: string, dashes = ''): void {
    const path = points.map(([ms, y]) => `${fixed(this.x(ms))},${fixed(y)}`).join(' ');
    const style = dashes === '' ? '' : ` stroke-dasharray="${dashes}"`;
    this.#lines.push(`<polyline points="${path}" fill="none" stroke="${stroke}" stroke-width="1.5"${style}/>`);
  }

  note(atMs: number, y: number, words: string, ink = '#475569'): void {
    this.#lines.push(this.#text(this.x(atMs), y, words, `font-size="11.5" fill="${ink}"`));
  }

  axis(stepMs: number): void {
    const y = this.#height;
    for (let ms = 0; ms <= this.#lengthMs; ms += stepMs) {
      this.mark(ms, y - 6, 6, '#94a3b8', 1);
      const attributes = 'font-size="11.5" fill="#475569" text-anchor="middle"';
      this.#lines.push(this.#text(this.x(ms), y + 14, `${ms / 1000} s`, attributes));
    }
    this.#height += 26;
  }

  legend(entries: readonly (readonly [fill: string, words: string])[]): void {
    let x = LEFT;
    const y = this.#height + 8;
    for (const [fill, words] of entries) {
      this.#rect(x, y - 9, 10, 10, fill);
      this.#lines.push(this.#text(x + 16, y, words, 'font-size="11.5" fill="#475569"'));
      x += 34 + words.length * 6.3;
    }
    this.#height += 24;
  }

  toString(): string {
    const height = this.#height + 6;
    const [title = '', , ...rest] = this.#lines;
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${fixed(height)}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="13" role="img" aria-labelledby="title">`,
      title,
      `<rect width="${WIDTH}" height="${fixed(height)}" rx="10" fill="#ffffff"/>`,
      ...rest,
      '</svg>',
    ].join('\n');
  }

  #rect(x: number, y: number, width: number, height: number, fill: string): void {
    this.#lines.push(
      `<rect x="${fixed(x)}" y="${fixed(y)}" width="${fixed(width)}" height="${fixed(height)}" fill="${fill}"/>`,
    );
  }

  #text(x: number, y: number, words: string, attributes: string): string {
    return `<text x="${fixed(x)}" y="${fixed(y)}" ${attributes}>${words}</text>`;
  }
}
