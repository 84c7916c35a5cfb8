// For tests: what one side may send and has allowed to be sent, counted from nothing but the frames that it was given and those that it wrote.
import { FrameType, framesOf, PREFACE } from '../../proxy/testing/http2-frames.ts';

const DEFAULT_WINDOW_BYTES = 65_535;
const INITIAL_WINDOW = 4;

export class WindowLedger {
  #connection = DEFAULT_WINDOW_BYTES;
  #initial = DEFAULT_WINDOW_BYTES;
  readonly #streams = new Map<number, number>();
  readonly #granted = new Map<number, number>();
  #given: Buffer = Buffer.alloc(0);
  #written: Buffer = Buffer.alloc(0);

  /** What came to it, in whatever parts. */
  gave(bytes: Buffer): void {
    this.#given = Buffer.concat([this.#given, bytes]);
    const { frames, rest } = whole(this.#given);
    this.#given = rest;
    for (const { type, flags, stream, payload } of frames) {
      if (type === FrameType.windowUpdate) this.#widen(stream, payload.readUInt32BE(0));
      if (type !== FrameType.settings || flags !== 0) continue;
      for (let at = 0; at < payload.length; at += 6)
        if (payload.readUInt16BE(at) === INITIAL_WINDOW) this.#begin(payload.readUInt32BE(at + 2));
    }
  }

  /** What it wrote. Throws where it is more than it may send. */
  wrote(bytes: Buffer): void {
    this.#written = Buffer.concat([this.#written, bytes]);
    const { frames, rest } = whole(this.#written);
    this.#written = rest;
    for (const { type, stream, payload } of frames) {
      if (type === FrameType.windowUpdate) this.#granted.set(stream, this.granted(stream) + payload.readUInt32BE(0));
      if (type !== FrameType.data) continue;
      this.#widen(0, -payload.length);
      this.#widen(stream, -payload.length);
      if (payload.length > 0 && (this.#connection < 0 || (this.#streams.get(stream) ?? 0) < 0))
        throw new Error(`stream ${stream} sent beyond a window: ${this.#connection}, ${this.#streams.get(stream)}`);
    }
  }

  /** How much more it said that it takes than at first. */
  granted(stream: number): number {
    return this.#granted.get(stream) ?? 0;
  }

  #begin(initial: number): void {
    for (const [stream, window] of this.#streams) this.#streams.set(stream, window + initial - this.#initial);
    this.#initial = initial;
  }

  #widen(stream: number, bytes: number): void {
    if (stream === 0) this.#connection += bytes;
    else this.#streams.set(stream, (this.#streams.get(stream) ?? this.#initial) + bytes);
  }
}

function whole(bytes: Buffer): { frames: ReturnType<typeof framesOf>; rest: Buffer } {
  if (bytes.length < PREFACE.length && PREFACE.subarray(0, bytes.length).equals(bytes))
    return { frames: [], rest: bytes };
  const frames = framesOf(bytes);
  const preface = bytes.subarray(0, PREFACE.length).equals(PREFACE) ? PREFACE.length : 0;
  const taken = frames.reduce((sum, { payload }) => sum + 9 + payload.length, preface);
  return { frames, rest: Buffer.from(bytes.subarray(taken)) };
}
