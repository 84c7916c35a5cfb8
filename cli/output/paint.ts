// Colours, where the reader can see them.

export type Style = 'bold' | 'dim' | 'red' | 'yellow' | 'green';
export type Paint = (style: Style, text: string) => string;

const CODES: Record<Style, number> = { bold: 1, dim: 2, red: 31, yellow: 33, green: 32 };
export const plain: Paint = (_, text) => text;
export const coloured: Paint = (style, text) => `\u001b[${CODES[style]}m${text}\u001b[0m`;

/** How a reader sees text: `columns` is undefined where nobody looks, but a file or a program reads. */
export interface Reader {
  paint: Paint;
  columns: number | undefined;
}

/** Node knows the conventions: NO_COLOR, FORCE_COLOR, TERM. */
export function readerOf(stream: NodeJS.WritableStream): Reader {
  const terminal = stream as Partial<NodeJS.WriteStream>;
  if (terminal.isTTY !== true) return { paint: plain, columns: undefined };
  return { paint: terminal.hasColors?.() === true ? coloured : plain, columns: terminal.columns };
}
