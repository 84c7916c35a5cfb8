// The end of a connection behind its last answer: what still comes is read away, so that a reset does not overtake the answer, and whoever reads
// slowly still gets all of it. One that reads nothing is not waited for.

/** From one look at what the application has read to the next. */
export const LINGER_MS = 1_000;
/** So long nothing of the last answer may be read; its connection ends then, with what is left of it. */
export const STALLED_LIMIT_MS = 60_000;

export class Lingering {
  /** When it was last looked. */
  #unreadBytes = Number.POSITIVE_INFINITY;
  /** For so long there was no less. */
  #stalledMs = 0;

  /** `LINGER_MS` have passed since the last look. True: the application is to have as long again. */
  goesOn(unreadBytes: number): boolean {
    this.#stalledMs = unreadBytes < this.#unreadBytes ? 0 : this.#stalledMs + LINGER_MS;
    this.#unreadBytes = unreadBytes;
    return unreadBytes > 0 && this.#stalledMs < STALLED_LIMIT_MS;
  }
}
