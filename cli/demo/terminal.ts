// Where the demo is shown: redrawn in place on a terminal that is large enough, otherwise line by line.
import { coloured, type Paint, plain } from '../output/paint.ts';
import { renderPlain, renderScreen, type View } from './view.ts';

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
const CLEAR_TO_END = '\u001b[0J';
const CLEAR_LINE = '\u001b[K';
/** Lines of the screen at its fullest, and one for the prompt. */
const NEEDED_ROWS = 20;
const NEEDED_COLUMNS = 79;
const PLAIN_EVERY_MS = 2_000;

export class Terminal {
  readonly #stream: NodeJS.WriteStream;
  readonly #redraws: boolean;
  readonly paint: Paint;
  #drawn = 0;
  #nextPlainMs = 0;
  #shownEvents = 0;

  constructor(stream: NodeJS.WriteStream, allowColour: boolean) {
    this.#stream = stream;
    this.#redraws = stream.isTTY && stream.columns >= NEEDED_COLUMNS && stream.rows >= NEEDED_ROWS;
    this.paint = stream.isTTY && stream.hasColors() && allowColour ? coloured : plain;
    if (this.#redraws) this.#stream.write(HIDE_CURSOR);
  }

  show(view: View): void {
    if (this.#redraws) this.#redraw(view);
    else this.#append(view);
  }

  print(lines: readonly string[]): void {
    this.#stream.write(`${lines.join('\n')}\n`);
  }

  close(): void {
    if (this.#redraws) this.#stream.write(SHOW_CURSOR);
  }

  #redraw(view: View): void {
    const lines = renderScreen(view, this.#stream.columns, this.paint);
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : '';
    this.#stream.write(`${up}\r${lines.map((line) => line + CLEAR_LINE).join('\n')}\n${CLEAR_TO_END}`);
    this.#drawn = lines.length;
  }

  #append(view: View): void {
    for (const event of view.events.slice(this.#shownEvents)) this.#stream.write(`${event}\n`);
    this.#shownEvents = view.events.length;
    if (view.elapsedMs < this.#nextPlainMs) return;
    this.#nextPlainMs = view.elapsedMs - (view.elapsedMs % PLAIN_EVERY_MS) + PLAIN_EVERY_MS;
    this.print(renderPlain(view));
  }
}
