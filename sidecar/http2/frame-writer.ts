// What one connection sends (RFC 9113, 4 and 6.9): frames as they are to be written, and content as far as the windows of the peer allow it.
//
// A stream whose content may not leave waits here only where its own window is open: what the peer does to the window of the connection then costs
// nothing for streams that this does not help, and each that is looked at sends something.
import {
  DEFAULT_WINDOW_BYTES,
  Flag,
  FrameType,
  frameHead,
  headersFrames,
  MAX_FRAME_BYTES,
  MAX_WINDOW_BYTES,
} from './frames.ts';
import { HpackEncoder } from './hpack/encoder.ts';
import { isSensitive } from './sensitive-names.ts';
import type { Http2Stream } from './stream.ts';

/** Content up to here is gathered as text, as in outbox.ts. */
const TEXT_LIMIT_BYTES = 4_096;

export interface Output {
  text(text: string): void;
  /** Bytes that are gone after the call. */
  bytes(buffer: Buffer, start: number, end: number): void;
  /** The peer has not read what was written before. */
  readonly blocked: boolean;
  /** There is something to write; more may follow. */
  wrote(): void;
}

export class FrameWriter {
  readonly #out: Output;
  readonly #encoder = new HpackEncoder();
  /** What the peer takes, of all streams together. */
  #windowBytes = DEFAULT_WINDOW_BYTES;
  /** With content, and a window of their own for it. */
  readonly #waiting = new Set<Http2Stream>();
  /** Content of all streams that waits, whatever for. */
  waitingBytes = 0;
  /** Content of one stream that is not among what is written yet, since its end may follow at once. */
  #heldStream = 0;
  #heldText = '';
  #isOver = false;

  constructor(out: Output) {
    this.#out = out;
  }

  /** The table of the peer that fields are written with, as it says. */
  setPeerTableBytes(bytes: number): void {
    this.#encoder.setPeerTableBytes(bytes);
  }

  /** Whole frames. */
  write(text: string): void {
    if (this.#isOver) return;
    this.finishWriting();
    this.#out.text(text);
    this.#out.wrote();
  }

  /** What is written next is the last for now. */
  finishWriting(): void {
    if (this.#heldStream === 0) return;
    const text = frameHead(this.#heldText.length, FrameType.Data, 0, this.#heldStream) + this.#heldText;
    this.#heldStream = 0;
    this.#out.text(text);
  }

  /** Nothing is sent any more; what was written is still to leave. */
  end(): void {
    this.#isOver = true;
  }

  sendFields(stream: Http2Stream, fields: readonly string[], end: boolean): void {
    const encoder = this.#encoder;
    encoder.begin();
    for (let index = 0; index + 1 < fields.length; index += 2) {
      const name = fields[index] as string;
      encoder.field(name, fields[index + 1] as string, isSensitive(name));
    }
    this.write(headersFrames(stream.id, encoder.end(), end));
  }

  /** Sends as much of it as may leave now, in at most `maxFrames`; answers up to where. */
  sendContent(
    stream: Http2Stream,
    buffer: Buffer,
    start: number,
    end: number,
    maxFrames = Number.POSITIVE_INFINITY,
  ): number {
    let at = start;
    for (let frames = 0; at < end && frames < maxFrames && !this.#out.blocked; frames++) {
      const bytes = Math.min(end - at, MAX_FRAME_BYTES, stream.sendWindow, this.#windowBytes);
      if (bytes <= 0) break;
      stream.sendWindow -= bytes;
      this.#windowBytes -= bytes;
      this.finishWriting();
      if (bytes <= TEXT_LIMIT_BYTES) {
        this.#heldStream = stream.id;
        this.#heldText = buffer.latin1Slice(at, at + bytes);
      } else {
        this.#out.text(frameHead(bytes, FrameType.Data, 0, stream.id));
        this.#out.bytes(buffer, at, at + bytes);
      }
      at += bytes;
    }
    if (at > start) this.#out.wrote();
    return at;
  }

  sendEndOfContent(stream: Http2Stream): void {
    const content = this.#heldStream === stream.id ? this.#heldText : '';
    if (this.#heldStream === stream.id) this.#heldStream = 0;
    this.write(frameHead(content.length, FrameType.Data, Flag.EndStream, stream.id) + content);
  }

  // ---- what waits --------------------------------------------------------------------------------------------------------------------

  /** So many bytes more of this stream wait for its window, that of the connection, or for the peer to read. */
  wait(stream: Http2Stream, bytes: number): void {
    this.waitingBytes += bytes;
    if (stream.sendWindow > 0) this.#waiting.add(stream);
  }

  /** So many bytes wait no more: they were sent, or are not to be. */
  waitsNoMore(bytes: number): void {
    this.waitingBytes -= bytes;
  }

  /** Nothing of it is to be sent. */
  forget(stream: Http2Stream): void {
    this.#waiting.delete(stream);
  }

  /** The peer takes so much more of all streams. False: that is more than there may be. */
  widen(bytes: number): boolean {
    const wasClosed = this.#windowBytes <= 0;
    this.#windowBytes += bytes;
    if (this.#windowBytes > MAX_WINDOW_BYTES) return false;
    if (wasClosed) this.sendWaiting();
    return true;
  }

  /** The window of this stream has become wider by so much, or narrower. False: wider than it may be. What waits is not sent yet. */
  widenStream(stream: Http2Stream, bytes: number): boolean {
    stream.sendWindow += bytes;
    if (stream.isWaiting) {
      if (stream.sendWindow > 0) this.#waiting.add(stream);
      else this.#waiting.delete(stream);
    }
    return stream.sendWindow <= MAX_WINDOW_BYTES;
  }

  /** One frame of each stream that waits, in turn, until a window closes or the peer reads no more. */
  sendWaiting(): void {
    // Whatever is put back during the loop stands behind all others, and comes again.
    for (const stream of this.#waiting) {
      if (this.#windowBytes <= 0 || this.#out.blocked || this.#isOver) return;
      this.#waiting.delete(stream);
      stream.sendWaiting();
      if (!stream.isWaiting) stream.tellDrained();
      else if (stream.sendWindow > 0) this.#waiting.add(stream);
    }
  }
}
