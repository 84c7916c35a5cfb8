// Gathers what belongs into one write: heads, chunk frames and small bodies as one latin1 string, large bodies behind it in a buffer. A request
// then costs one write system call on each leg, and a backpressured peer is seen at the flush.
//
// Large bodies are copied into a buffer that all connections write from (write-buffer.ts).
import type { Socket } from 'node:net';
import { giveBackWriteBuffer, TEXT_LIMIT_BYTES, takeWriteBuffer, WRITE_BUFFER_BYTES } from './write-buffer.ts';

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
    const bytes = takeWriteBuffer(this.#text.length + end - start);
    const bodyAt = bytes.write(this.#text, 0, 'latin1');
    buffer.copy(bytes, bodyAt, start, end);
    this.#text = '';
    this.#writes++;
    this.#socket.write(bytes);
    if (this.#socket.writableLength === 0) giveBackWriteBuffer(bytes);
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
