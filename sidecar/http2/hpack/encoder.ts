// Writes header blocks (RFC 7541, 3.1 and 6) of one direction of one connection, as latin1 text: so they go into one write with the frames and the
// small bodies beside them. Octets in a buffer, made into text for that write, cost half as much again.
//
// A field that the peer's table holds is one octet, or two. That is less work for both sides than a literal, so what comes again is put into the
// table: not when it first comes, for most paths never do again, but when it comes twice within a few fields. Then values that differ each
// time push nothing out. Of names that are not in the static table and whose values differ the name alone is of use.
import { EncoderTable } from './encoder-table.ts';
import {
  encodeInteger,
  encodeString,
  FIELD_NAMES,
  type FieldName,
  INDEXED_FIELDS,
  INDEXED_NAMES,
  Indexing,
  NEW_NAME,
  NEW_NAME_NEVER_INDEXED,
  prepareFieldNames,
} from './field-names.ts';
import { SIZE_UPDATE } from './representation.ts';
import { DEFAULT_TABLE_BYTES } from './static-table.ts';

/** A cookie that is shorter can be guessed at (as nghttp2 has it). */
const GUESSED_COOKIE_LENGTH = 20;
const SIZE_UPDATE_PREFIX = 0x1f;

export class HpackEncoder {
  readonly #table = new EncoderTable();
  #block = '';
  /** The table has changed since the last block: the smallest size that it had, which the peer is told first; -1: it has not. */
  #smallestBytes = -1;

  constructor() {
    prepareFieldNames();
  }

  /**
   * The peer's SETTINGS_HEADER_TABLE_SIZE, as it is acknowledged: from the next block on the table weighs at most that, and at most 4,096 bytes. The peer is
   * told at the beginning of that block (RFC 7541, 4.2).
   */
  setPeerTableBytes(peerTableBytes: number): void {
    const bytes = Math.min(peerTableBytes, DEFAULT_TABLE_BYTES);
    if (bytes === this.#table.maxBytes) return;
    this.#smallestBytes = this.#smallestBytes === -1 ? bytes : Math.min(bytes, this.#smallestBytes);
    this.#table.resize(bytes);
  }

  /** What the dynamic table weighs (RFC 7541, 4.1). */
  get tableBytes(): number {
    return this.#table.bytes;
  }

  /** Begins a block. One that was begun must be finished and sent, and in this order: the peer's table follows. */
  begin(): void {
    this.#block = '';
    if (this.#smallestBytes === -1) return;
    const bytes = this.#table.maxBytes;
    if (this.#smallestBytes < bytes) this.#block = encodeInteger(SIZE_UPDATE, SIZE_UPDATE_PREFIX, this.#smallestBytes);
    this.#block += encodeInteger(SIZE_UPDATE, SIZE_UPDATE_PREFIX, bytes);
    this.#smallestBytes = -1;
  }

  /** Adds a field, whose name is lower-case; both texts are latin1. A sensitive one came as never indexed, and goes on as that. */
  field(name: string, value: string, sensitive: boolean): void {
    const known = FIELD_NAMES.get(name);
    if (known === undefined) {
      this.#block += (sensitive ? NEW_NAME_NEVER_INDEXED : NEW_NAME) + encodeString(name) + encodeString(value);
    } else if (sensitive || known.indexing === Indexing.Never) {
      this.#block += known.neverIndexed + encodeString(value);
    } else {
      this.#block += this.#known(known, value);
    }
  }

  /** The block, to be written as latin1; its length is its number of bytes. */
  end(): string {
    const block = this.#block;
    this.#block = '';
    return block;
  }

  #known(name: FieldName, value: string): string {
    const { fields } = name;
    for (let at = 0; at < fields.length; at += 2) if (fields[at] === value) return fields[at + 1] as string;
    switch (name.indexing) {
      case Indexing.Field:
        return this.#whole(name, value);
      case Indexing.Name:
        return this.#nameAlone(name, value);
      default:
        return (guessed(name, value) ? name.neverIndexed : name.literal) + encodeString(value);
    }
  }

  #whole(name: FieldName, value: string): string {
    const index = this.#table.find(name.id, value);
    if (index !== 0) return INDEXED_FIELDS[index] as string;
    if (query(name, value) || !this.#table.cameBefore(name, value)) return this.#literal(name) + encodeString(value);
    return this.#insert(name, value);
  }

  #nameAlone(name: FieldName, value: string): string {
    const index = this.#table.findName(name.id);
    if (index !== 0) return (INDEXED_NAMES[index] as string) + encodeString(value);
    return this.#insert(name, value);
  }

  #literal(name: FieldName): string {
    const index = name.static ? 0 : this.#table.findName(name.id);
    return index === 0 ? name.literal : (INDEXED_NAMES[index] as string);
  }

  #insert(name: FieldName, value: string): string {
    const inserted = this.#table.insert(name, value);
    return (inserted ? name.withIndexing : name.literal) + encodeString(value);
  }
}

function guessed(name: FieldName, value: string): boolean {
  return name.name === 'cookie' && value.length < GUESSED_COOKIE_LENGTH;
}

/** Queries differ, and some of them carry credentials. */
function query(name: FieldName, value: string): boolean {
  return name.name === ':path' && value.includes('?');
}
