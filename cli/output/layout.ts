// Text in columns, for terminals of any width. Pure.

const NARROWEST = 24;

/** What files and clusters say must not steer the terminal of whoever reads it. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** The words of a text in lines of at most `width` characters; one line where the width is undefined. Longer words stay whole. */
export function wrap(raw: string, width: number | undefined): string[] {
  const text = printable(raw);
  if (width === undefined) return [text];
  const limit = Math.max(width, NARROWEST);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > limit) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** Wrapped, every line behind so many spaces. */
export function indented(text: string, indent: number, columns: number | undefined): string[] {
  const width = columns === undefined ? undefined : columns - indent;
  return wrap(text, width).map((line) => ' '.repeat(indent) + line);
}

interface TableOptions {
  indent?: number;
  gap?: number;
  columns?: number | undefined;
  widths?: readonly number[];
}

/**
 * Rows in aligned columns. A cell may have several lines; the last column is wrapped where the terminal ends. `indent` stands before each;
 * `widths` are the least that columns have, to align several tables.
 */
export function table(
  rows: readonly (readonly (string | readonly string[])[])[],
  { indent = 0, gap = 2, columns, widths: least = [] }: TableOptions = {},
): string[] {
  const cells = rows.map((row) => row.map((cell) => [cell].flat().map(printable)));
  const count = Math.max(0, ...cells.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, column) =>
    Math.max(least[column] ?? 0, ...cells.flatMap((row) => (row[column] ?? []).map((line) => line.length))),
  );
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + gap, indent);
  const lastWidth = columns === undefined ? undefined : columns - before;
  return cells.flatMap((row) => {
    const wrapped = row.map((lines, column) =>
      column === count - 1 ? lines.flatMap((line) => wrap(line, lastWidth)) : lines,
    );
    const height = Math.max(1, ...wrapped.map((lines) => lines.length));
    return Array.from({ length: height }, (_, index) => {
      const line = wrapped.map((lines, column) => (lines[index] ?? '').padEnd((widths[column] ?? 0) + gap)).join('');
      return (' '.repeat(indent) + line).trimEnd();
    });
  });
}

/** "1 error", "2 errors" */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
