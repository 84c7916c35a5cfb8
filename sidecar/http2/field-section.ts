// A field section that may come in several frames (HEADERS and CONTINUATION, RFC 9113, 4.3), and its fields: all of it is decoded, whoever
// wants it, since both sides of HPACK must see the same.
import { ErrorCode } from './error-code.ts';
import { Flag } from './frames.ts';
import { HpackDecoder } from './hpack/decoder.ts';
import { DEFAULT_TABLE_BYTES } from './hpack/static-table.ts';
import { MAX_CONTINUATION_FRAMES, MAX_FIELD_SECTION_BYTES, MAX_FIELDS_OF_SECTION } from './limits.ts';
import { markSensitive } from './sensitive-names.ts';

export class FieldSection {
  /** Of the section that is being put together; 0: none. */
  stream = 0;
  endStream = false;
  /** Its priority says so (RFC 7540, 5.3.1). */
  dependsOnItself = false;
  /** Of the HEADERS that came last: where its fields are. */
  from = 0;
  to = 0;
  /** Names and values in turn. */
  fields: string[] = [];
  readonly #decoder = new HpackDecoder({
    maxTableBytes: DEFAULT_TABLE_BYTES,
    maxListBytes: MAX_FIELD_SECTION_BYTES,
    maxFields: MAX_FIELDS_OF_SECTION,
  });
  #parts: Buffer[] = [];

  /** It has more fields, or larger ones, than anybody looks at. */
  get tooLarge(): boolean {
    return this.#decoder.tooLarge;
  }

  /** HEADERS without END_HEADERS. */
  begin(stream: number, endStream: boolean, buffer: Buffer): void {
    this.stream = stream;
    this.endStream = endStream;
    this.#parts = [Buffer.from(buffer.subarray(this.from, this.to))];
  }

  /** The payload of HEADERS: what of it are fields. Answers an `ErrorCode` of the connection, 0: there is none. */
  locate(flags: number, stream: number, buffer: Buffer, start: number, end: number): number {
    const padded = (flags & Flag.Padded) !== 0;
    const hasPriority = (flags & Flag.Priority) !== 0;
    this.from = start + (padded ? 1 : 0) + (hasPriority ? 5 : 0);
    if (this.from > end) return ErrorCode.FrameSizeError;
    this.to = end - (padded ? (buffer[start] ?? 0) : 0);
    if (this.from > this.to) return ErrorCode.ProtocolError;
    this.dependsOnItself = hasPriority && (buffer.readUInt32BE(this.from - 5) & 0x7fff_ffff) === stream;
    return ErrorCode.NoError;
  }

  /** CONTINUATION. False: there are too many. */
  goOn(part: Buffer): boolean {
    this.#parts.push(Buffer.from(part));
    return this.#parts.length <= MAX_CONTINUATION_FRAMES + 1;
  }

  /** All parts are there. Answers an `ErrorCode` of the connection, 0: there is none. */
  end(): number {
    const block = Buffer.concat(this.#parts);
    this.stream = 0;
    this.#parts = [];
    return this.decode(block, 0, block.length);
  }

  /** One that came whole. Answers as `end`. */
  decode(buffer: Buffer, start: number, end: number): number {
    this.fields = [];
    return this.#decoder.decode(buffer, start, end, this) === 0 ? ErrorCode.NoError : ErrorCode.CompressionError;
  }

  /** Of the decoder. */
  field(name: string, value: string, sensitive: boolean): void {
    if (sensitive) markSensitive(name);
    this.fields.push(name, value);
  }
}
