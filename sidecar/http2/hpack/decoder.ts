// Reads header blocks (RFC 7541, 3.2 and 6) of one direction of one connection, whole: HEADERS with its CONTINUATIONs, in the order in which they
// came, also those of streams that nobody waits for. The table is of the connection, and a block left out makes nonsense of all that follow.
//
// A block can stand for far more than it weighs: each octet may refer to an entry of the whole table. So a reference hands out the strings that the
// table keeps, without a copy, and the list that comes of a block is bounded.
import { DynamicTable } from './dynamic-table.ts';
import { HpackError } from './errors.ts';
import { decodeHuffman, huffmanText } from './huffman.ts';
import { INDEXED, LITERAL_NEVER_INDEXED, LITERAL_WITH_INDEXING, SIZE_UPDATE } from './representation.ts';
import {
  DEFAULT_TABLE_BYTES,
  ENTRY_OVERHEAD_BYTES,
  STATIC_ENTRIES,
  STATIC_NAMES,
  STATIC_VALUES,
} from './static-table.ts';

const HUFFMAN = 0x80;

const MAX_INTEGER = 2 ** 31 - 1;
const MAX_INTEGER_OCTETS = 5;
/** The smallest and the last, where the peer changed it more than once between two blocks (RFC 7541, 4.2). */
const MAX_SIZE_UPDATES = 2;

const NOTHING = Buffer.alloc(0);

/** Takes the fields of a block. */
export interface FieldSink {
  /**
   * One field, in the order of the block; text is latin1, and nothing is checked but what HPACK says. A sensitive one must never be put into a table by
   * whoever sends it on (RFC 7541, 7.1.3).
   */
  field(name: string, value: string, sensitive: boolean): void;
}

const NOBODY: FieldSink = { field() {} };

export interface HpackDecoderBounds {
  /** What SETTINGS_HEADER_TABLE_SIZE says to the peer: 4,096 or more, for that is what a peer uses before it has read them. */
  readonly maxTableBytes: number;
  /** Of one block: name and value of each field with 32 bytes for the field (RFC 9113, 6.5.2). */
  readonly maxListBytes: number;
  /** Fields of one block. */
  readonly maxFields: number;
}

export class HpackDecoder {
  readonly #table = new DynamicTable();
  readonly #bounds: HpackDecoderBounds;
  #buffer: Buffer = NOTHING;
  #position = 0;
  #end = 0;
  #sink: FieldSink = NOBODY;
  #error: number = HpackError.None;
  #fields = 0;
  #listBytes = 0;
  #tooLarge = false;

  /** @throws RangeError where the table is smaller than 4,096 bytes. */
  constructor(bounds: HpackDecoderBounds) {
    if (bounds.maxTableBytes < DEFAULT_TABLE_BYTES)
      throw new RangeError(`maxTableBytes is ${bounds.maxTableBytes}; make it ${DEFAULT_TABLE_BYTES} or more`);
    this.#bounds = bounds;
  }

  /** The last block stood for more than the bounds; the fields beyond them were not handed out. */
  get tooLarge(): boolean {
    return this.#tooLarge;
  }

  /** What the dynamic table weighs (RFC 7541, 4.1). */
  get tableBytes(): number {
    return this.#table.bytes;
  }

  /**
   * Reads the block [start, end) of `buffer`, and calls `sink.field` for each field. 0, or an `HpackError`: then the connection is over, and so says each
   * further call. Not to be called from the sink.
   */
  decode(buffer: Buffer, start: number, end: number, sink: FieldSink): number {
    if (this.#error !== HpackError.None) return this.#error;
    this.#buffer = buffer;
    this.#position = start;
    this.#end = end;
    this.#sink = sink;
    this.#fields = 0;
    this.#listBytes = 0;
    this.#tooLarge = false;
    this.#sizeUpdates();
    while (this.#position < this.#end && this.#error === HpackError.None) this.#representation();
    this.#buffer = NOTHING;
    this.#sink = NOBODY;
    return this.#error;
  }

  #representation(): void {
    const first = this.#buffer[this.#position] as number;
    if (first >= INDEXED) this.#indexed();
    else if (first >= LITERAL_WITH_INDEXING) this.#literal(0x3f, true, false);
    else if (first >= SIZE_UPDATE) this.#fail(HpackError.SizeUpdateLate);
    else this.#literal(0x0f, false, first >= LITERAL_NEVER_INDEXED);
  }

  /** RFC 7541, 6.3: only before the first field. */
  #sizeUpdates(): void {
    let updates = 0;
    while (this.#position < this.#end && ((this.#buffer[this.#position] as number) & 0xe0) === SIZE_UPDATE) {
      const maxBytes = this.#integer(0x1f);
      updates += 1;
      if (this.#error !== HpackError.None) return;
      if (updates > MAX_SIZE_UPDATES) this.#fail(HpackError.SizeUpdateRepeated);
      else if (maxBytes > this.#bounds.maxTableBytes) this.#fail(HpackError.SizeUpdateTooLarge);
      else this.#table.resize(maxBytes);
    }
  }

  #indexed(): void {
    const index = this.#integer(0x7f);
    if (!this.#known(index)) return;
    if (index === 0) this.#fail(HpackError.IndexZero);
    else if (index <= STATIC_ENTRIES) this.#emit(STATIC_NAMES[index] as string, STATIC_VALUES[index] as string, false);
    else {
      const age = index - STATIC_ENTRIES - 1;
      this.#emit(this.#table.name(age), this.#table.value(age), false);
    }
  }

  #literal(prefix: number, indexing: boolean, sensitive: boolean): void {
    const index = this.#integer(prefix);
    if (!this.#known(index)) return;
    // Of what is neither kept nor handed out there is no text to be made.
    const wanted = indexing || !this.#tooLarge;
    const name = index === 0 ? this.#string(wanted) : this.#name(index);
    if (this.#error !== HpackError.None) return;
    const value = this.#string(wanted);
    if (this.#error !== HpackError.None) return;
    if (indexing) this.#table.insert(name, value);
    this.#emit(name, value, sensitive);
  }

  /** Whether an index is of a table, or 0, and was read at all. */
  #known(index: number): boolean {
    if (index > STATIC_ENTRIES + this.#table.entries) this.#fail(HpackError.IndexBeyondTable);
    return this.#error === HpackError.None;
  }

  #name(index: number): string {
    return index <= STATIC_ENTRIES ? (STATIC_NAMES[index] as string) : this.#table.name(index - STATIC_ENTRIES - 1);
  }

  #emit(name: string, value: string, sensitive: boolean): void {
    if (this.#tooLarge) return;
    this.#fields += 1;
    this.#listBytes += name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.#tooLarge = this.#fields > this.#bounds.maxFields || this.#listBytes > this.#bounds.maxListBytes;
    if (!this.#tooLarge) this.#sink.field(name, value, sensitive);
  }

  /** RFC 7541, 5.1. `prefix` is the mask of the bits of the first octet that belong to the integer. */
  #integer(prefix: number): number {
    const value = (this.#buffer[this.#position] as number) & prefix;
    this.#position += 1;
    return value < prefix ? value : this.#longInteger(prefix);
  }

  #longInteger(prefix: number): number {
    let value = prefix;
    for (let octets = 0; octets < MAX_INTEGER_OCTETS; octets += 1) {
      if (this.#position >= this.#end) return this.#fail(HpackError.Truncated);
      const octet = this.#buffer[this.#position] as number;
      this.#position += 1;
      // Not by shifts, which would wrap round where the fifth octet is too large.
      value += (octet & 0x7f) * 2 ** (7 * octets);
      if (octet < 0x80) return value <= MAX_INTEGER ? value : this.#fail(HpackError.IntegerTooLarge);
    }
    return this.#fail(HpackError.IntegerTooLarge);
  }

  /** RFC 7541, 5.2; '' too where the text is not wanted, and after an error. */
  #string(wanted: boolean): string {
    if (this.#position >= this.#end) {
      this.#fail(HpackError.Truncated);
      return '';
    }
    const huffman = (this.#buffer[this.#position] as number) >= HUFFMAN;
    const length = this.#integer(0x7f);
    const start = this.#position;
    if (this.#error === HpackError.None && length > this.#end - start) this.#fail(HpackError.Truncated);
    if (this.#error !== HpackError.None) return '';
    this.#position = start + length;
    if (!huffman) return wanted ? this.#buffer.latin1Slice(start, this.#position) : '';
    const octets = decodeHuffman(this.#buffer, start, this.#position);
    if (octets < 0) this.#fail(-octets);
    return octets > 0 && wanted ? huffmanText(octets) : '';
  }

  #fail(error: number): number {
    this.#error = error;
    return 0;
  }
}
