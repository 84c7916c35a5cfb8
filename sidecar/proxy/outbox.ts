// Gathers what belongs into one write: heads, chunk frames and small bodies as one latin1 string, large bodies as one buffer.
// A request then costs one write system call on each leg, and a backpressured peer is seen at the flush.
import type { Socket } from 'node:net';

/** Up to here a copy into the string is cheaper than a second buffer. */
const TEXT_LIMIT_BYTES = 4096;

export class Outbox {
  readonly #socket: Socket;
  #text = '';

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  text(text: string): void {
    this.#text += text;
  }

  /** Bytes of a buffer that the caller will overwrite: copied. */
  copy(buffer: Buffer, start: number, end: number): void {
    if (end - start <= TEXT_LIMIT_BYTES) {
      this.#text += buffer.toString('latin1', start, end);
      return;
    }
    const head = this.#text.length;
    const out = Buffer.allocUnsafe(head + end - start);
    if (head > 0) out.write(this.#text, 0, 'latin1');
    buffer.copy(out, head, start, end);
    this.#text = '';
    this.#socket.write(out);
  }

  /** Bytes of a buffer that nobody will change: written as they are. */
  own(buffer: Buffer, start: number, end: number): void {
    if (end - start <= TEXT_LIMIT_BYTES) {
      this.#text += buffer.toString('latin1', start, end);
      return;
    }
    if (this.#text.length > 0) {
      this.#socket.cork();
      this.#socket.write(this.#text, 'latin1');
      this.#socket.write(buffer.subarray(start, end));
      this.#socket.uncork();
      this.#text = '';
      return;
    }
    this.#socket.write(buffer.subarray(start, end));
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
      this.#socket.write(text, 'latin1');
    }
    return !this.#socket.writableNeedDrain;
  }
}
