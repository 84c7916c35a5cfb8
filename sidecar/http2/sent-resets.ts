// Streams of a connection that we have reset. What was on its way of them when the peer learns of it is no error (RFC 9113, 5.1), however much later that
// is; but it is not without bounds.

const REMEMBERED_RESETS = 1_024;
/** An answer has a 1xx, a head and trailers, and may end by a reset as well. */
const FRAMES_OF_STREAM = 4;

export class SentResets {
  readonly #streams = new Set<number>();
  /** Up to this one they are not told apart any more from those that have ended. */
  #forgotten = 0;
  /** Field sections and resets that may still come of them. */
  #frames = 0;

  add(stream: number): void {
    this.#frames += FRAMES_OF_STREAM;
    this.#streams.add(stream);
    if (this.#streams.size <= REMEMBERED_RESETS) return;
    for (const oldest of this.#streams) {
      this.#streams.delete(oldest);
      this.#forgotten = Math.max(this.#forgotten, oldest);
      break;
    }
  }

  has(stream: number): boolean {
    return stream <= this.#forgotten || this.#streams.has(stream);
  }

  /** A field section or a reset came of one of them. False: that is more than all of them have to say. */
  takesLateFrame(): boolean {
    if (this.#frames === 0) return false;
    this.#frames--;
    return true;
  }
}
