// The dynamic table of an encoder (RFC 7541, 2.3.2), made to be searched: each entry knows the one before it with the same name. No index over values:
// a hash of text that has just come costs more than to look at the few values of a name.
import { type FieldName, INDEXED_NAME_COUNT } from './field-names.ts';
import { DEFAULT_TABLE_BYTES, ENTRY_OVERHEAD_BYTES, STATIC_ENTRIES } from './static-table.ts';

const SLOTS = DEFAULT_TABLE_BYTES / ENTRY_OVERHEAD_BYTES;
const TOO_FAR = SLOTS;
/** Values of one name that are looked at, the newest first. */
const MAX_TRIES = 16;
/** Fields that were written as they are, the last ones. */
const RECENT_FIELDS = 16;
/** An entry of more would push out too much. */
const MAX_ENTRY_SHARE = 1 / 4;

export class EncoderTable {
  // Entries are numbered from 1 as they are inserted; entry n is in slot n modulo SLOTS,
  // a power of two.
  readonly #values: string[] = Array.from({ length: SLOTS }, () => '');
  readonly #nameLengths = new Uint8Array(SLOTS);
  /** By slot: how far before this entry the one of the same name is. TOO_FAR is before the oldest entry, always. */
  readonly #distances = new Uint8Array(SLOTS);
  /** By name: the last entry. Numbers of entries are doubles, for a connection may live long. */
  readonly #newest = new Float64Array(INDEXED_NAME_COUNT);
  #oldestEntry = 1;
  #nextEntry = 1;
  #recentAt = 0;
  readonly #recentNames = new Int8Array(RECENT_FIELDS).fill(-1);
  readonly #recentValues: string[] = Array.from({ length: RECENT_FIELDS }, () => '');
  bytes = 0;
  maxBytes = DEFAULT_TABLE_BYTES;

  /** Index of the field (RFC 7541, 2.3.3); 0: it is not in the table, or too far behind others of its name. */
  find(nameId: number, value: string): number {
    let entry = this.#newest[nameId] as number;
    for (let tries = 0; tries < MAX_TRIES && entry >= this.#oldestEntry; tries += 1) {
      const slot = entry & (SLOTS - 1);
      if (this.#values[slot] === value) return this.#index(entry);
      entry -= this.#distances[slot] as number;
    }
    return 0;
  }

  /** Index of the newest field of that name; 0: there is none. */
  findName(nameId: number): number {
    const entry = this.#newest[nameId] as number;
    return entry >= this.#oldestEntry ? this.#index(entry) : 0;
  }

  /** Whether the field is among the last that were asked about here; if it may be an entry it is from now on. */
  cameBefore(name: FieldName, value: string): boolean {
    if (!this.#fits(name, value)) return false;
    const nameId = name.id;
    for (let at = 0; at < RECENT_FIELDS; at += 1)
      if (this.#recentNames[at] === nameId && this.#recentValues[at] === value) return true;
    this.#recentNames[this.#recentAt] = nameId;
    this.#recentValues[this.#recentAt] = value;
    this.#recentAt = (this.#recentAt + 1) % RECENT_FIELDS;
    return false;
  }

  /** False: the field is too large for an entry, and nothing was changed. */
  insert(name: FieldName, value: string): boolean {
    if (!this.#fits(name, value)) return false;
    const bytes = entryBytes(name, value);
    this.#evict(bytes);
    const entry = this.#nextEntry;
    const slot = entry & (SLOTS - 1);
    this.#values[slot] = value;
    this.#nameLengths[slot] = name.name.length;
    this.#distances[slot] = Math.min(entry - (this.#newest[name.id] as number), TOO_FAR);
    this.#newest[name.id] = entry;
    this.#nextEntry = entry + 1;
    this.bytes += bytes;
    return true;
  }

  resize(maxBytes: number): void {
    this.maxBytes = maxBytes;
    this.#evict(0);
  }

  #fits(name: FieldName, value: string): boolean {
    return entryBytes(name, value) <= this.maxBytes * MAX_ENTRY_SHARE;
  }

  #index(entry: number): number {
    return STATIC_ENTRIES + this.#nextEntry - entry;
  }

  #evict(bytes: number): void {
    while (this.bytes + bytes > this.maxBytes) {
      const slot = this.#oldestEntry & (SLOTS - 1);
      this.bytes -= (this.#nameLengths[slot] as number) + (this.#values[slot] as string).length + ENTRY_OVERHEAD_BYTES;
      this.#values[slot] = '';
      this.#oldestEntry += 1;
    }
  }
}

function entryBytes(name: FieldName, value: string): number {
  return name.name.length + value.length + ENTRY_OVERHEAD_BYTES;
}
