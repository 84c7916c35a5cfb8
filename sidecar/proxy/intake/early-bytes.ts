// What the application sends before its connection leads anywhere. It is read, so that an application that goes away is seen, and kept up to
// a bound, behind which it waits in the kernel.
import type { ByteStream, ByteStreamOwner } from '../sockets/byte-stream.ts';

const MAX_EARLY_BYTES = 65_536;

export interface EarlyBytesOwner {
  /** The first bytes came, or the application ended its side. */
  earlyArrived(): void;
  /** The application is gone. */
  earlyGone(): void;
}

export class EarlyBytes implements ByteStreamOwner {
  readonly #client: ByteStream;
  readonly #owner: EarlyBytesOwner;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  /** `first`: what was read already. The first call of `owner` comes later. */
  constructor(client: ByteStream, first: Buffer | null, owner: EarlyBytesOwner) {
    this.#client = client;
    this.#owner = owner;
    if (first && first.length > 0) this.#keep(first);
    client.owner = this;
    client.resume();
  }

  /** There is something to pass on: bytes, or the end. */
  get hasArrived(): boolean {
    return this.#bytes > 0 || this.#client.hasEnded;
  }

  /** What came first; null: nothing did. */
  get first(): Buffer | null {
    return this.#chunks[0] ?? null;
  }

  /** Whoever takes it is the owner of the stream from the same moment on. */
  take(): readonly Buffer[] {
    return this.#chunks;
  }

  streamConnected(): void {}

  streamArrived(_client: ByteStream, buffer: Buffer, bytes: number): void {
    this.#keep(Buffer.from(buffer.subarray(0, bytes)));
    if (this.#bytes >= MAX_EARLY_BYTES) this.#client.pause();
    this.#owner.earlyArrived();
  }

  streamEnded(): void {
    this.#owner.earlyArrived();
  }

  streamDrained(): void {}

  streamClosed(): void {
    this.#owner.earlyGone();
  }

  #keep(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }
}
