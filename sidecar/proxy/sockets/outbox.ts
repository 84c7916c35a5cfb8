// Gathers what belongs into one write: heads, chunk frames and small bodies as one latin1 string, large bodies behind it in a buffer. A request
// then costs one write system call on each leg, and a backpressured peer is seen at the flush.
//
// Large bodies are copied into a buffer that all connections write from, for the one they were read into is read into again (read-buffer.ts). Both
// stay in the cache of the processor, where a copy costs less than a write from two places. Where a write could not finish at once, its
// bytes stay, and the next write takes what is behind them.
import type { Socket } from 'node:net';

/** Up to here a copy into the string is cheaper than a buffer. */
const TEXT_LIMIT_BYTES = 4096;
/** What is read at once, with its head and its frame. */
const WRITE_BUFFER_BYTES = 98_304;

let shared = Buffer.allocUnsafeSlow(WRITE_BUFFER_BYTES);
/** Bytes before it belong to writes that could not finish at once. */
let sharedStart = 0;

export class Outbox {
  readonly #socket: Socket;
  #text = '';
  #writes = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  text(text: string): void {
    this.#text += text;
  }

  /** Bytes that are gone after the call. */
  bytes(buffer: Buffer, start: number, end: number): void {
    if (end - start <= TEXT_LIMIT_BYTES) {
      this.#text += buffer.latin1Slice(start, end);
    } else if (this.#text.length + end - start > WRITE_BUFFER_BYTES) {
      this.lasting(Buffer.from(buffer.subarray(start, end)));
    } else {
      this.#writeCopy(buffer, start, end);
    }
  }

  /** Bytes that stay as they are: they are sent from where they lie. */
  lasting(bytes: Buffer): void {
    this.#socket.cork();
    this.flush();
    this.#writes++;
    this.#socket.write(bytes);
    this.#socket.uncork();
  }

  #writeCopy(buffer: Buffer, start: number, end: number): void {
    const bytes = this.#text.length + end - start;
    if (sharedStart + bytes > WRITE_BUFFER_BYTES) {
      shared = Buffer.allocUnsafeSlow(WRITE_BUFFER_BYTES);
      sharedStart = 0;
    }
    const own = shared;
    const from = sharedStart;
    const to = from + bytes;
    const bodyAt = from + shared.write(this.#text, from, 'latin1');
    buffer.copy(shared, bodyAt, start, end);
    this.#text = '';
    this.#writes++;
    // Taken until it is known to be free: another write may happen inside this one.
    sharedStart = to;
    this.#socket.write(shared.subarray(from, to));
    // It may even have gone on to another buffer, where the same place belongs to somebody else.
    if (this.#socket.writableLength === 0 && shared === own && sharedStart === to) sharedStart = from;
  }

  /** Grows with each write to the socket. */
  get writes(): number {
    return this.#writes;
  }

  /** What was gathered is not written. */
  discard(): void {
    this.#text = '';
  }

  /** The peer has not read what was written to it before. */
  get blocked(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Writes what was gathered. False: the peer reads slower than we write; wait for `drain`. */
  flush(): boolean {
    if (this.#text.length > 0) {
      const text = this.#text;
      this.#text = '';
      this.#writes++;
      this.#socket.write(text, 'latin1');
    }
    return !this.#socket.writableNeedDrain;
  }
}
