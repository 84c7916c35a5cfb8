// One token bucket for each value of a header, and a bound on how many are kept.
//
// A bucket that is full again is the same as one that was never used: it may be forgotten, and nobody gains by that. A bucket that is
// not full is never forgotten, for its value would come back to a full one: so inventing values never gets anybody past the limit. Where the
// table holds no full bucket, values that are not in it share one bucket for all of them.
//
// A heap by the time at which each bucket is full finds the one to forget: its root is full before all others. To take a token only ever
// moves that time further away, so the entry only sinks.
import { hash } from 'node:crypto';
import { TokenBucket, type TokenRate } from './token-bucket.ts';

/** A longer value is known by its SHA-256, so that the table's size has a bound in bytes too. */
const MAX_KEY_LENGTH = 64;

interface Entry {
  key: string;
  position: number;
  readonly bucket: TokenBucket;
}

export class BucketTable {
  #rate: TokenRate;
  #maxValues: number;
  readonly #entries = new Map<string, Entry>();
  readonly #heap: Entry[] = [];
  readonly #shared: TokenBucket;
  #sharedUses = 0;

  constructor(rate: TokenRate, maxValues: number, nowUs: number) {
    this.#rate = rate;
    this.#maxValues = maxValues;
    this.#shared = new TokenBucket(rate, nowUs);
  }

  /** Values that have a bucket of their own. */
  get size(): number {
    return this.#heap.length;
  }

  /** How often a request met the shared bucket because the table was full. */
  get sharedUses(): number {
    return this.#sharedUses;
  }

  /** Takes a token of the value's bucket; false: there is none. Requests without the header are those with the empty value. */
  take(value: string, nowUs: number): boolean {
    const key = bucketKey(value);
    const entry = this.#entries.get(key) ?? this.#add(key, nowUs);
    if (entry === null) {
      this.#sharedUses += 1;
      return this.#shared.take(nowUs);
    }
    if (!entry.bucket.take(nowUs)) return false;
    this.#sink(entry);
    return true;
  }

  /** Microseconds until a request of this value could pass. */
  untilNextUs(value: string, nowUs: number): number {
    return (this.#entries.get(bucketKey(value))?.bucket ?? this.#shared).untilNextUs(nowUs);
  }

  /** Keeps what it knows. A smaller `maxValues` is reached as buckets fill up: none that is in use is forgotten for it. */
  update(rate: TokenRate, maxValues: number, nowUs: number): void {
    this.#rate = rate;
    this.#maxValues = maxValues;
    this.#shared.update(rate, nowUs);
    for (const { bucket } of this.#heap) bucket.update(rate, nowUs);
    // All fill up in the same order as before, but for those that would have been full in the same microsecond.
    for (let position = this.#heap.length >> 1; position >= 0; position -= 1) {
      const entry = this.#heap[position];
      if (entry !== undefined) this.#sink(entry);
    }
  }

  /** A full bucket for a new value, whose first token is taken at once; null: there is no room, and none can be made. */
  #add(key: string, nowUs: number): Entry | null {
    while (this.#heap.length > this.#maxValues) {
      const root = this.#fullRoot(nowUs);
      if (root === null) return null;
      this.#forget(root);
    }
    let entry: Entry | null;
    if (this.#heap.length < this.#maxValues) {
      entry = { key, position: 0, bucket: new TokenBucket(this.#rate, nowUs) };
      this.#rise(entry, this.#heap.length);
    } else {
      entry = this.#fullRoot(nowUs);
      if (entry === null) return null;
      this.#entries.delete(entry.key);
    }
    // The header's value is a slice of the head it came in, which it would keep in memory as long as the table keeps the value.
    entry.key = Buffer.from(key, 'latin1').toString('latin1');
    this.#entries.set(entry.key, entry);
    return entry;
  }

  /** The entry whose bucket was full before all others; null: none is full. */
  #fullRoot(nowUs: number): Entry | null {
    const root = this.#heap[0];
    return root === undefined || root.bucket.fullAtUs > nowUs ? null : root;
  }

  #forget(root: Entry): void {
    this.#entries.delete(root.key);
    const last = this.#heap.pop() ?? root;
    if (last === root) return;
    last.position = 0;
    this.#sink(last);
  }

  #place(entry: Entry, position: number): void {
    this.#heap[position] = entry;
    entry.position = position;
  }

  #rise(entry: Entry, from: number): void {
    let position = from;
    while (position > 0) {
      const above = this.#heap[(position - 1) >> 1];
      if (above === undefined || above.bucket.fullAtUs <= entry.bucket.fullAtUs) break;
      this.#place(above, position);
      position = (position - 1) >> 1;
    }
    this.#place(entry, position);
  }

  #sink(entry: Entry): void {
    let { position } = entry;
    for (;;) {
      const left = this.#heap[position * 2 + 1];
      const right = this.#heap[position * 2 + 2];
      if (left === undefined) break;
      const below = right !== undefined && right.bucket.fullAtUs < left.bucket.fullAtUs ? right : left;
      if (below.bucket.fullAtUs >= entry.bucket.fullAtUs) break;
      const next = below.position;
      this.#place(below, position);
      position = next;
    }
    this.#place(entry, position);
  }
}

/**
 * What a value is known by in a table: itself, or the SHA-256 of one that is longer than 64 characters. That has one character more than any
 * value that is known by itself, so that nobody can write one.
 */
export function bucketKey(value: string): string {
  return value.length <= MAX_KEY_LENGTH ? value : `${hash('sha256', Buffer.from(value, 'latin1'), 'hex')}#`;
}
