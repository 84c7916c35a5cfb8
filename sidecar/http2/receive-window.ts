// What the peer may send in all streams of a connection together (RFC 9113, 6.9). What came is given back at once, so that a slow reader stops no other
// stream; but not where too much of it waits.
import { CONNECTION_WINDOW_BYTES, MAX_KEPT_BYTES } from './limits.ts';

export class ReceiveWindow {
  /** Content that came and waits for its readers. */
  keptBytes = 0;
  #bytes = CONNECTION_WINDOW_BYTES;
  /** Used up, and not yet given back to the peer. */
  #usedBytes = 0;

  /** So much of that waits that the peer may send nothing, in whatever stream, until some of it is read. */
  get isFull(): boolean {
    return this.keptBytes > MAX_KEPT_BYTES;
  }

  /** False: that is more than may come. */
  use(bytes: number): boolean {
    this.#bytes -= bytes;
    this.#usedBytes += bytes;
    return this.#bytes >= 0;
  }

  /** What the peer is to be told that it may send more; 0: nothing, for now. */
  widen(): number {
    if (this.#usedBytes < CONNECTION_WINDOW_BYTES / 2 || this.isFull) return 0;
    const bytes = this.#usedBytes;
    this.#usedBytes = 0;
    this.#bytes += bytes;
    return bytes;
  }
}
