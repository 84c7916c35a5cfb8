// Messages of gRPC in their frames (PROTOCOL-HTTP2.md, "Length-Prefixed-Message"), never compressed.
import type { Http2Stream } from 'node:http2';

const HEAD_BYTES = 5;

export function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Reads what comes on a stream; messages that come before somebody listens are told to whoever begins to. */
export class MessageReader {
  readonly #waiting: Buffer[] = [];
  #rest = Buffer.alloc(0);
  #ended = false;
  #onMessage: ((message: Buffer) => void) | undefined;
  #onEnd: (() => void) | undefined;

  constructor(stream: Http2Stream) {
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('end', () => {
      this.#ended = true;
      this.#onEnd?.();
    });
  }

  set onMessage(listener: (message: Buffer) => void) {
    this.#onMessage = listener;
    for (const message of this.#waiting.splice(0)) listener(message);
  }

  set onEnd(listener: () => void) {
    this.#onEnd = listener;
    if (this.#ended) listener();
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + this.#rest.readUInt32BE(1);
      if (this.#rest.length < end) return;
      const message = this.#rest.subarray(HEAD_BYTES, end);
      this.#rest = this.#rest.subarray(end);
      if (this.#onMessage) this.#onMessage(message);
      else this.#waiting.push(message);
    }
  }
}
