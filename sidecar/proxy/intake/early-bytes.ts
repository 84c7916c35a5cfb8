// What the application sends before its connection leads anywhere. It is read, so that an application that goes away is seen, and kept up to
// a bound, behind which it waits in the kernel.
import type { Socket } from 'node:net';

const MAX_EARLY_BYTES = 65_536;

export interface EarlyBytesOwner {
  /** The first bytes came, or the application ended its side. */
  earlyArrived(): void;
  /** The application is gone. */
  earlyGone(): void;
}

export class EarlyBytes {
  readonly #client: Socket;
  readonly #owner: EarlyBytesOwner;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #ended: boolean;

  readonly #onData = (chunk: Buffer): void => {
    this.#keep(chunk);
    if (this.#bytes >= MAX_EARLY_BYTES) this.#client.pause();
    this.#owner.earlyArrived();
  };
  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#owner.earlyArrived();
  };
  readonly #onGone = (): void => this.#owner.earlyGone();

  /** `first`: what was read already. The first call of `owner` comes later. */
  constructor(client: Socket, first: Buffer | null, owner: EarlyBytesOwner) {
    this.#client = client;
    this.#owner = owner;
    this.#ended = client.readableEnded;
    if (first && first.length > 0) this.#keep(first);
    client.on('data', this.#onData);
    client.on('end', this.#onEnd);
    client.on('error', this.#onGone);
    client.on('close', this.#onGone);
    client.resume();
  }

  /** There is something to pass on: bytes, or the end. */
  get hasArrived(): boolean {
    return this.#bytes > 0 || this.#ended;
  }

  /** What came first; null: nothing did. */
  get first(): Buffer | null {
    return this.#chunks[0] ?? null;
  }

  /** Whoever takes it reads on. */
  take(): readonly Buffer[] {
    this.#client.pause();
    this.stop();
    return this.#chunks;
  }

  stop(): void {
    this.#client.off('data', this.#onData);
    this.#client.off('end', this.#onEnd);
    this.#client.off('close', this.#onGone);
    // An error stays listened to: without a listener it would end the process.
    this.#client.off('error', this.#onGone);
    this.#client.on('error', ignore);
  }

  #keep(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }
}

function ignore(): void {}
