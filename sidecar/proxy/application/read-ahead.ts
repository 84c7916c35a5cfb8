// What an application has sent over HTTP/1.1 and nobody can take yet: it is kept, in its order, and past a bound its socket is not read. One object
// per client connection, which says what can be taken.
import type { Socket } from 'node:net';

/** Only from here on reading stops: a socket that is not read does not say that the application is gone. */
export const READ_AHEAD_BYTES = 16_384;

export class ReadAhead {
  readonly #socket: Pick<Socket, 'pause' | 'resume'>;
  #kept: Buffer | null = null;
  #paused = false;

  constructor(socket: Pick<Socket, 'pause' | 'resume'>) {
    this.#socket = socket;
  }

  get isEmpty(): boolean {
    return this.#kept === null;
  }

  get bytes(): number {
    return this.#kept === null ? 0 : this.#kept.length;
  }

  /** As much as may be is kept. */
  get isFull(): boolean {
    return this.#kept !== null && this.#kept.length >= READ_AHEAD_BYTES;
  }

  /** Of what was read, nobody takes what is left from `start` on. `lent`: the bytes lie in a buffer that is read into again. */
  keep(data: Buffer, start: number, end: number, lent: boolean): void {
    const rest = data.subarray(start, end);
    this.#kept = lent ? Buffer.from(rest) : rest;
  }

  /** What is kept, for whoever takes it up now; null: nothing is. */
  take(): Buffer | null {
    const kept = this.#kept;
    this.#kept = null;
    return kept;
  }

  /** All there is to take, where `chunk` came behind what is kept. */
  takeBefore(chunk: Buffer): Buffer {
    const kept = this.take();
    return kept === null ? chunk : Buffer.concat([kept, chunk]);
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }
}
