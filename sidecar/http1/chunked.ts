// Chunked content (RFC 9112, 7.1), pulled: the caller hands in what it read and asks for events until there are no more. Content is
// passed on as ranges of the caller's buffer; only trailers are copied.
//
// Strict where readers differ: no white space around sizes or extensions, no bare CR or LF anywhere, also not inside a quoted extension
// value, no empty extension. Extensions are checked, bounded and forgotten.
import { hexValue, isTokenCharacter, isValueCharacter } from './characters.ts';
import { HeadDetail } from './errors.ts';
import { MAX_CHUNK_EXTENSION_BYTES, MAX_CHUNK_SIZE_DIGITS, MAX_TRAILER_BYTES } from './limits.ts';
import { TrailerSection } from './trailers.ts';

export const ChunkedEvent = { NeedMore: 0, Data: 1, End: 2, Error: 3 } as const;

const State = {
  SizeFirst: 0,
  Size: 1,
  ExtensionNameFirst: 2,
  ExtensionName: 3,
  ExtensionValueFirst: 4,
  ExtensionToken: 5,
  ExtensionQuoted: 6,
  ExtensionEscape: 7,
  ExtensionQuotedEnd: 8,
  SizeLineFeed: 9,
  Data: 10,
  DataCarriageReturn: 11,
  DataLineFeed: 12,
  TrailerFirst: 13,
  Trailer: 14,
  TrailerLineFeed: 15,
  FinalLineFeed: 16,
  Done: 17,
  Failed: 18,
} as const;

const CR = 0x0d;
const LF = 0x0a;
const QUOTE = 0x22;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const BACKSLASH = 0x5c;

const NOTHING = Buffer.alloc(0);
const trailerSection = new TrailerSection();

export class ChunkedDecoder {
  #buffer: Buffer = NOTHING;
  #end = 0;
  #state: number = State.SizeFirst;
  /** Of the chunk: its size while it is read, then the bytes still to come. */
  #remaining = 0;
  #digits = 0;
  #extensionBytes = 0;
  /** Trailer lines so far, each with CR LF before it. */
  #section = '';
  /** After Data: the range of content inside the buffer. */
  dataStart = 0;
  dataEnd = 0;
  /** How far the buffer was read; after End, the first byte after the message. */
  position = 0;
  /** After End: trailer lines to forward, each with CR LF before it. */
  trailers = '';
  /** After Error: why. */
  detail: number = HeadDetail.None;

  /** Makes ready for another message, and lets go of the buffer. */
  reset(): void {
    this.#buffer = NOTHING;
    this.#end = 0;
    this.#state = State.SizeFirst;
    this.#remaining = 0;
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.#section = '';
    this.dataStart = 0;
    this.dataEnd = 0;
    this.position = 0;
    this.trailers = '';
    this.detail = HeadDetail.None;
  }

  /** Hands in the bytes [start, end); what was handed in before must have been asked for until NeedMore. */
  input(buffer: Buffer, start: number, end: number): void {
    this.#buffer = buffer;
    this.position = start;
    this.#end = end;
  }

  /** The next event; after End and Error always that again. */
  next(): number {
    while (this.position < this.#end) {
      switch (this.#state) {
        case State.Data:
          return this.#data();
        case State.Trailer:
          this.#trailer();
          break;
        case State.Done:
          return ChunkedEvent.End;
        case State.Failed:
          return ChunkedEvent.Error;
        default:
          this.#byte(this.#buffer[this.position] ?? 0);
          break;
      }
    }
    if (this.#state === State.Done) return ChunkedEvent.End;
    return this.#state === State.Failed ? ChunkedEvent.Error : ChunkedEvent.NeedMore;
  }

  #data(): number {
    const available = this.#end - this.position;
    const length = available < this.#remaining ? available : this.#remaining;
    this.dataStart = this.position;
    this.dataEnd = this.position + length;
    this.position = this.dataEnd;
    this.#remaining -= length;
    if (this.#remaining === 0) this.#state = State.DataCarriageReturn;
    return ChunkedEvent.Data;
  }

  /** Reads one byte of anything but content. */
  #byte(code: number): void {
    this.position += 1;
    switch (this.#state) {
      case State.SizeFirst:
      case State.Size:
        this.#size(code);
        return;
      case State.SizeLineFeed:
        if (code !== LF) this.#fail(HeadDetail.ChunkLineEnd);
        else this.#state = this.#remaining === 0 ? State.TrailerFirst : State.Data;
        return;
      case State.DataCarriageReturn:
        if (code !== CR) this.#fail(HeadDetail.ChunkDataEnd);
        else this.#state = State.DataLineFeed;
        return;
      case State.DataLineFeed:
        if (code !== LF) this.#fail(HeadDetail.ChunkDataEnd);
        else this.#startChunk();
        return;
      case State.TrailerFirst:
        this.#trailerFirst(code);
        return;
      case State.TrailerLineFeed:
        if (code !== LF) this.#fail(HeadDetail.TrailerLineEnd);
        else this.#state = State.TrailerFirst;
        return;
      case State.FinalLineFeed:
        if (code !== LF) this.#fail(HeadDetail.TrailerLineEnd);
        else this.#finish();
        return;
      default:
        this.#extension(code);
    }
  }

  #startChunk(): void {
    this.#state = State.SizeFirst;
    this.#remaining = 0;
    this.#digits = 0;
  }

  #size(code: number): void {
    const value = hexValue(code);
    if (value !== -1) {
      this.#digits += 1;
      this.#remaining = this.#remaining * 16 + value;
      this.#state = State.Size;
      if (this.#digits > MAX_CHUNK_SIZE_DIGITS || this.#remaining > Number.MAX_SAFE_INTEGER)
        this.#fail(HeadDetail.ChunkSizeTooLarge);
    } else if (this.#state === State.SizeFirst) {
      this.#fail(HeadDetail.ChunkSize);
    } else if (code === CR) {
      this.#state = State.SizeLineFeed;
    } else if (code === SEMICOLON) {
      this.#state = State.ExtensionNameFirst;
    } else {
      this.#fail(code === LF ? HeadDetail.ChunkLineEnd : HeadDetail.ChunkSize);
    }
  }

  /** chunk-ext = *( ";" token [ "=" ( token / quoted-string ) ] ), without the white space that RFC 9112 lets a reader tolerate. */
  #extension(code: number): void {
    this.#extensionBytes += 1;
    if (this.#extensionBytes > MAX_CHUNK_EXTENSION_BYTES) {
      this.#fail(HeadDetail.ChunkExtensionsTooLong);
      return;
    }
    switch (this.#state) {
      case State.ExtensionNameFirst:
        this.#expect(isTokenCharacter(code), State.ExtensionName);
        return;
      case State.ExtensionName:
        if (code === EQUALS) this.#state = State.ExtensionValueFirst;
        else if (!isTokenCharacter(code)) this.#extensionEnd(code);
        return;
      case State.ExtensionValueFirst:
        if (code === QUOTE) this.#state = State.ExtensionQuoted;
        else this.#expect(isTokenCharacter(code), State.ExtensionToken);
        return;
      case State.ExtensionToken:
        if (!isTokenCharacter(code)) this.#extensionEnd(code);
        return;
      case State.ExtensionQuoted:
        if (code === QUOTE) this.#state = State.ExtensionQuotedEnd;
        else if (code === BACKSLASH) this.#state = State.ExtensionEscape;
        else this.#expect(isValueCharacter(code), State.ExtensionQuoted);
        return;
      case State.ExtensionEscape:
        this.#expect(isValueCharacter(code), State.ExtensionQuoted);
        return;
      default:
        this.#extensionEnd(code);
    }
  }

  #expect(fits: boolean, state: number): void {
    if (fits) this.#state = state;
    else this.#fail(HeadDetail.ChunkExtension);
  }

  #extensionEnd(code: number): void {
    if (code === SEMICOLON) this.#state = State.ExtensionNameFirst;
    else if (code === CR) this.#state = State.SizeLineFeed;
    else this.#fail(HeadDetail.ChunkExtension);
  }

  #trailerFirst(code: number): void {
    if (code === CR) {
      this.#state = State.FinalLineFeed;
    } else if (code === LF) {
      this.#fail(HeadDetail.TrailerLineEnd);
    } else {
      this.position -= 1;
      this.#section += '\r\n';
      this.#state = State.Trailer;
    }
  }

  /** Takes what there is of a trailer line; its end is only where CR is. */
  #trailer(): void {
    const start = this.position;
    let index = start;
    while (index < this.#end) {
      const code = this.#buffer[index];
      if (code === CR || code === LF) break;
      index += 1;
    }
    if (this.#section.length + (index - start) + 2 > MAX_TRAILER_BYTES) {
      this.#fail(HeadDetail.TrailerTooLong);
      return;
    }
    this.#section += this.#buffer.toString('latin1', start, index);
    this.position = index;
    if (index === this.#end) return;
    this.position = index + 1;
    if (this.#buffer[index] === CR) this.#state = State.TrailerLineFeed;
    else this.#fail(HeadDetail.TrailerLineEnd);
  }

  #finish(): void {
    const detail = trailerSection.read(this.#section);
    if (detail !== HeadDetail.None) {
      this.#fail(detail);
      return;
    }
    this.trailers = trailerSection.fields;
    this.#section = '';
    this.#state = State.Done;
  }

  #fail(detail: number): void {
    this.#state = State.Failed;
    this.detail = detail;
  }
}

/** The line before a chunk of `length` bytes; 0 begins the end of the message. */
export function encodeChunkHead(length: number): string {
  return `${length.toString(16)}\r\n`;
}
