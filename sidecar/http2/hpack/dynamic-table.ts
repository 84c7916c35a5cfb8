// The dynamic table of a decoder (RFC 7541, 2.3.2): what the peer said last is first. A ring, so that an insertion moves nothing. Names and values are
// strings of their own and no slices of anything larger: what a table keeps in memory is what it weighs.
import { DEFAULT_TABLE_BYTES, ENTRY_OVERHEAD_BYTES } from './static-table.ts';

const FIRST_SLOTS = 16;

export class DynamicTable {
  /** The number of slots is a power of two; those that hold no entry hold ''. */
  #names: string[] = Array.from({ length: FIRST_SLOTS }, () => '');
  #values: string[] = Array.from({ length: FIRST_SLOTS }, () => '');
  /** Entries ever inserted, modulo 2^32: the slot of the next one. */
  #inserted = 0;
  #bytes = 0;
  #maxBytes = DEFAULT_TABLE_BYTES;
  entries = 0;

  /** Name and value of each entry with 32 bytes for the entry (RFC 7541, 4.1). */
  get bytes(): number {
    return this.#bytes;
  }

  /** The name of an entry, 0 being the newest; `age` is below `entries`. */
  name(age: number): string {
    return this.#names[this.#slot(age)] as string;
  }

  /** The value of an entry, 0 being the newest; `age` is below `entries`. */
  value(age: number): string {
    return this.#values[this.#slot(age)] as string;
  }

  /** Makes the table hold at most `maxBytes` from now on. */
  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evict(0);
  }

  /** Inserts an entry. One that is larger than the whole table only empties it, which is no error (RFC 7541, 4.4). */
  insert(name: string, value: string): void {
    const bytes = name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.#evict(bytes);
    if (bytes > this.#maxBytes) return;
    if (this.entries === this.#names.length) this.#grow();
    const slot = this.#inserted & (this.#names.length - 1);
    this.#names[slot] = name;
    this.#values[slot] = value;
    this.#inserted = (this.#inserted + 1) >>> 0;
    this.#bytes += bytes;
    this.entries += 1;
  }

  #slot(age: number): number {
    return (this.#inserted - 1 - age) & (this.#names.length - 1);
  }

  /** Lets go of the oldest entries until there is room for `bytes`, or nothing left. */
  #evict(bytes: number): void {
    while (this.#bytes + bytes > this.#maxBytes && this.entries > 0) {
      const slot = this.#slot(this.entries - 1);
      this.#bytes -= this.name(this.entries - 1).length + this.value(this.entries - 1).length + ENTRY_OVERHEAD_BYTES;
      this.#names[slot] = '';
      this.#values[slot] = '';
      this.entries -= 1;
    }
  }

  #grow(): void {
    const names: string[] = [];
    const values: string[] = [];
    for (let age = this.entries - 1; age >= 0; age -= 1) {
      names.push(this.name(age));
      values.push(this.value(age));
    }
    this.#inserted = this.entries;
    while (names.length < 2 * this.entries) {
      names.push('');
      values.push('');
    }
    this.#names = names;
    this.#values = values;
  }
}
