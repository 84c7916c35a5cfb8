// Gathers what belongs into one write: heads, chunk frames and small bodies as one latin1 string, large bodies from where they lie.
// A request then costs one write system call on each leg, and a backpressured peer is seen at the flush.
import type { Socket } from 'node:net';

/** Up to here a copy into the string is cheaper than a second buffer. */
const TEXT_LIMIT_BYTES = 4096;

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

  /**
   * Bytes that stay as they are until the next read into their buffer. False: the write could not finish at once and still needs them, so
   * that nothing may be read into this buffer any more.
   */
  lend(buffer: Buffer, start: number, end: number): boolean {
    if (end - start <= TEXT_LIMIT_BYTES) {
      this.#text += buffer.latin1Slice(start, end);
      return true;
    }
    const socket = this.#socket;
    this.#writes++;
    if (this.#text.length > 0) {
      const text = this.#text;
      this.#text = '';
      socket.cork();
      socket.write(text, 'latin1');
      socket.write(buffer.subarray(start, end));
      socket.uncork();
    } else {
      socket.write(buffer.subarray(start, end));
    }
    return socket.writableLength === 0;
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
