// Reads the frames of one direction of an HTTP/2 connection by the side (RFC 9113, 4.1): their heads and their payloads, apart from node:http2.

export interface SeenFrame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

const HEAD_BYTES = 9;
const PREFACE_BYTES = 24;

export class FrameReader {
  readonly #onFrame: (frame: SeenFrame) => void;
  #pending: Buffer = Buffer.alloc(0);
  /** Of the client's preface, which is no frame. */
  #skip: number;

  constructor(from: 'Client' | 'Server', onFrame: (frame: SeenFrame) => void) {
    this.#onFrame = onFrame;
    this.#skip = from === 'Client' ? PREFACE_BYTES : 0;
  }

  push(bytes: Buffer): void {
    const skipped = Math.min(this.#skip, bytes.length);
    this.#skip -= skipped;
    this.#pending = Buffer.concat([this.#pending, bytes.subarray(skipped)]);
    while (this.#pending.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + this.#pending.readUIntBE(0, 3);
      if (this.#pending.length < end) return;
      const frame = this.#pending.subarray(0, end);
      this.#pending = this.#pending.subarray(end);
      this.#onFrame({
        type: frame[3] ?? 0,
        flags: frame[4] ?? 0,
        stream: frame.readUInt32BE(5) & 0x7fffffff,
        payload: frame.subarray(HEAD_BYTES),
      });
    }
  }
}
