// Bytes of a stream → lines, bounded. PURE.

export class LineTooLongError extends Error {
  override name = 'LineTooLongError';
  /** The first characters of the line, which may tell what it was. */
  readonly head: string;

  constructor(limitBytes: number, head: string) {
    super(`a line is longer than the ${limitBytes} bytes that a frame may have`);
    this.head = head;
  }
}

const HEAD_BYTES = 512;
const NEWLINE = 0x0a;

/** Splits at "\n"; holds at most `limitBytes` of an unfinished line. */
export class LineSplitter {
  readonly #limitBytes: number;
  #pieces: Buffer[] = [];
  #pendingBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes of the line that is not finished yet. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** The lines that this chunk completes, without their ends, empty ones left out. Throws LineTooLongError; nothing may be pushed after that. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      this.#keep(chunk.subarray(start, end));
      if (this.#pendingBytes > 0) lines.push(this.#take());
      start = end + 1;
    }
    this.#keep(chunk.subarray(start));
    return lines;
  }

  #keep(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#pendingBytes += piece.length;
    if (this.#pendingBytes > this.#limitBytes) {
      const head = Buffer.concat(this.#pieces, Math.min(HEAD_BYTES, this.#pendingBytes)).toString('utf8');
      throw new LineTooLongError(this.#limitBytes, head);
    }
  }

  #take(): string {
    const line = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces, this.#pendingBytes);
    this.#pieces = [];
    this.#pendingBytes = 0;
    return line?.toString('utf8') ?? '';
  }
}
