// Content that waits, in the order in which it came. It comes in pieces as small as the peer likes, each of which would cost a hundred times its size: what
// follows a first piece is gathered in larger ones.

const PIECE_BYTES = 4_096;

export class ByteQueue {
  /** Of all that waits. */
  bytes = 0;
  readonly #pieces: Buffer[] = [];
  /** Of the first piece: where it begins. */
  #start = 0;
  /** Of the last piece: where it ends. All others are full. */
  #end = 0;

  /** The bytes are gone after the call: they are copied. */
  add(buffer: Buffer, start: number, end: number): void {
    this.bytes += end - start;
    const last = this.#pieces.at(-1);
    const taken = last === undefined ? 0 : buffer.copy(last, this.#end, start, end);
    this.#end += taken;
    const from = start + taken;
    if (from === end) return;
    // Most have one piece alone, which is no larger than it has to be.
    const piece = Buffer.allocUnsafe(last === undefined ? end - from : Math.max(end - from, PIECE_BYTES));
    this.#end = buffer.copy(piece, 0, from, end);
    this.#pieces.push(piece);
  }

  /** As `add`, before all that waits. */
  addFirst(buffer: Buffer, start: number, end: number): void {
    const piece = Buffer.from(buffer.subarray(start, end));
    const first = this.#pieces[0];
    if (first === undefined) {
      this.#end = piece.length;
    } else {
      this.#pieces[0] = first.subarray(this.#start);
      if (this.#pieces.length === 1) this.#end -= this.#start;
    }
    this.#start = 0;
    this.#pieces.unshift(piece);
    this.bytes += piece.length;
  }

  /** What waits longest; null: nothing does. */
  first(): Buffer | null {
    const first = this.#pieces[0];
    if (first === undefined) return null;
    return first.subarray(this.#start, this.#pieces.length === 1 ? this.#end : first.length);
  }

  /** So much of the first waits no more. */
  drop(bytes: number): void {
    const first = this.#pieces[0];
    if (first === undefined) return;
    this.bytes -= bytes;
    this.#start += bytes;
    if (this.#start < (this.#pieces.length === 1 ? this.#end : first.length)) return;
    this.#pieces.shift();
    this.#start = 0;
    if (this.#pieces.length === 0) this.#end = 0;
  }

  clear(): void {
    this.bytes = 0;
    this.#pieces.length = 0;
    this.#start = 0;
    this.#end = 0;
  }
}
