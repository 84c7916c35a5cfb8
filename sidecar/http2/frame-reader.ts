// Bytes of one direction of a connection as frames. Content (DATA) is handed on as it comes, however it is cut; all other frames are handed on
// whole, from where they lie where they lie there whole, else put together: none of them is larger than 16 KiB.
//
// What a frame says is judged by its receiver, what a frame is by this: its size, and its padding (RFC 9113, 4.2 and 6.1).
import { ErrorCode } from './error-code.ts';
import { Flag, FRAME_HEAD_BYTES, FrameType, MAX_FRAME_BYTES } from './frames.ts';

export interface FrameReceiver {
  /** A frame of content begins. `bytes`: all of it that counts for the windows, its padding too. False: nothing more is to be read. */
  dataBegan(stream: number, bytes: number, padding: number, endStream: boolean): boolean;
  /** Content of that frame; the buffer is read into again after the call. False: as above. */
  dataCame(stream: number, buffer: Buffer, start: number, end: number): boolean;
  dataEnded(stream: number, endStream: boolean): boolean;
  /** Any other frame, with its payload. */
  frameCame(type: number, flags: number, stream: number, buffer: Buffer, start: number, end: number): boolean;
  /** What came is no frame. `code`: an `ErrorCode`. Nothing more is read. */
  notAFrame(code: number): void;
}

export class FrameReader {
  readonly #receiver: FrameReceiver;
  /** Of a frame that has not come whole, from its head on. */
  #held: Buffer | null = null;
  #heldBytes = 0;
  #dataStream = 0;
  #dataEndsStream = false;
  #inData = false;
  #dataLeft = 0;
  #paddingLeft = 0;

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver;
  }

  /** The bytes are gone after this call. False: nothing more is to be read, now or ever. */
  read(buffer: Buffer, start: number, end: number): boolean {
    for (let at = start; at < end; ) {
      if (this.#inData) at = this.#readData(buffer, at, end);
      else if (this.#held === null) at = this.#readFrame(buffer, at, end);
      else at = this.#readHeld(this.#held, buffer, at, end);
      if (at < 0) return false;
    }
    return true;
  }

  /** Position after it; below zero: nothing more is to be read. */
  #readFrame(buffer: Buffer, start: number, end: number): number {
    const needed = frameBytes(buffer, start, end);
    if (needed < 0) return this.#refuse();
    if (end - start < needed) return this.#hold(buffer, start, end);
    return this.#take(buffer, start, needed) ? start + needed : -1;
  }

  #hold(buffer: Buffer, start: number, end: number): number {
    this.#held = Buffer.allocUnsafe(Math.max(64, frameBytes(buffer, start, end)));
    this.#heldBytes = buffer.copy(this.#held, 0, start, end);
    return end;
  }

  /** The rest of what is held. */
  #readHeld(held: Buffer, buffer: Buffer, start: number, end: number): number {
    const needed = frameBytes(held, 0, this.#heldBytes);
    const take = Math.min(needed - this.#heldBytes, end - start);
    buffer.copy(held, this.#heldBytes, start, start + take);
    this.#heldBytes += take;
    if (this.#heldBytes < needed) return start + take;
    const whole = frameBytes(held, 0, needed);
    if (whole < 0) return this.#refuse();
    if (whole > needed) {
      // Its head is there now, and says how much follows.
      if (whole > held.length) {
        this.#held = Buffer.allocUnsafe(whole);
        held.copy(this.#held, 0, 0, needed);
      }
      return start + take;
    }
    this.#held = null;
    this.#heldBytes = 0;
    return this.#take(held, 0, whole) ? start + take : -1;
  }

  /** A whole frame, or the beginning of one of content. */
  #take(buffer: Buffer, start: number, bytes: number): boolean {
    const type = buffer[start + 3] ?? 0;
    const flags = buffer[start + 4] ?? 0;
    const stream = buffer.readUInt32BE(start + 5) & 0x7fff_ffff;
    if (type !== FrameType.Data)
      return this.#receiver.frameCame(type, flags, stream, buffer, start + FRAME_HEAD_BYTES, start + bytes);
    const length = buffer.readUIntBE(start, 3);
    const padded = (flags & Flag.Padded) !== 0;
    const padding = padded ? (buffer[start + FRAME_HEAD_BYTES] ?? 0) : 0;
    if (padding + (padded ? 1 : 0) > length) {
      this.#receiver.notAFrame(ErrorCode.ProtocolError);
      return false;
    }
    this.#inData = true;
    this.#dataStream = stream;
    this.#dataEndsStream = (flags & Flag.EndStream) !== 0;
    this.#paddingLeft = padding;
    this.#dataLeft = length - padding - (padded ? 1 : 0);
    if (!this.#receiver.dataBegan(stream, length, length - this.#dataLeft, this.#dataEndsStream)) return false;
    return this.#dataLeft + this.#paddingLeft > 0 || this.#endData();
  }

  #readData(buffer: Buffer, start: number, end: number): number {
    const content = Math.min(this.#dataLeft, end - start);
    this.#dataLeft -= content;
    if (content > 0 && !this.#receiver.dataCame(this.#dataStream, buffer, start, start + content)) return -1;
    const padding = Math.min(this.#paddingLeft, end - start - content);
    this.#paddingLeft -= padding;
    if (this.#dataLeft + this.#paddingLeft === 0 && !this.#endData()) return -1;
    return start + content + padding;
  }

  #endData(): boolean {
    this.#inData = false;
    return this.#receiver.dataEnded(this.#dataStream, this.#dataEndsStream);
  }

  #refuse(): number {
    this.#receiver.notAFrame(ErrorCode.FrameSizeError);
    return -1;
  }
}

/** How much has to be there of the frame that begins here, as far as that is known by now; below zero: it is too large. */
function frameBytes(buffer: Buffer, start: number, end: number): number {
  if (end - start < FRAME_HEAD_BYTES) return FRAME_HEAD_BYTES;
  const length = buffer.readUIntBE(start, 3);
  if (length > MAX_FRAME_BYTES) return -1;
  if (buffer[start + 3] !== FrameType.Data) return FRAME_HEAD_BYTES + length;
  // Of content its head alone, and the length of its padding.
  const padded = ((buffer[start + 4] ?? 0) & Flag.Padded) !== 0;
  return padded && length > 0 ? FRAME_HEAD_BYTES + 1 : FRAME_HEAD_BYTES;
}
