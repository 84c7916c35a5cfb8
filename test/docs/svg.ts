// The few shapes that the pictures of docs/ are drawn with, and the colours that they share.

export const INK = '#0f172a';
export const FAINT = '#475569';
export const GREEN = '#15803d';
export const RED = '#b91c1c';

const fixed = (value: number) => String(Math.round(value * 10) / 10);

export interface TextStyle {
  size?: number;
  fill?: string;
  anchor?: 'start' | 'middle' | 'end';
  bold?: boolean;
}

export function text(x: number, y: number, words: string, style: TextStyle = {}): string {
  const { size = 11.5, fill = FAINT, anchor = 'start', bold = false } = style;
  const weight = bold ? ' font-weight="bold"' : '';
  const escaped = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${fixed(x)}" y="${fixed(y)}" font-size="${size}" fill="${fill}" text-anchor="${anchor}"${weight}>${escaped}</text>`;
}

export function bar(x: number, y: number, width: number, height: number, fill: string): string {
  return `<rect x="${fixed(x)}" y="${fixed(y)}" width="${fixed(width)}" height="${fixed(height)}" fill="${fill}"/>`;
}

/** A white page with its title for who cannot see it. */
export function page(width: number, height: number, title: string, shapes: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="DejaVu Sans, Verdana, sans-serif" role="img" aria-labelledby="title">`,
    `  <title id="title">${title}</title>`,
    `  <rect width="${width}" height="${height}" rx="10" fill="#ffffff"/>`,
    ...shapes.map((shape) => `  ${shape}`),
    '</svg>',
  ].join('\n');
}
