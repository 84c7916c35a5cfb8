// The cache of one resource: trimmed values by key. A value that did not change in what is kept of it keeps its identity, so that whoever
// compares by identity (the snapshot, the compiler) has nothing to do when, say, only a Pod's heartbeat changed.
import { isDeepStrictEqual } from 'node:util';

/** "namespace/name", or the name alone for cluster-wide resources. */
export type Key = string;

export interface RawObject {
  apiVersion?: string;
  kind?: string;
  metadata: { name: string; namespace?: string; uid?: string; resourceVersion?: string; [field: string]: unknown };
  [field: string]: unknown;
}

export function keyOf(object: RawObject): Key {
  const { namespace, name } = object.metadata;
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

/** What `transform` gives for an object that is not to be kept. */
export const DROP = Symbol('drop');

/** Must not throw; `before` is what is kept of the object so far. */
export type Transform<T> = (raw: RawObject, before: T | undefined) => T | typeof DROP;

export interface Change<T> {
  key: Key;
  before: T | undefined;
  after: T | undefined;
}

export class Store<T> {
  readonly #transform: Transform<T>;
  readonly #values = new Map<Key, T>();
  #list: readonly T[] | undefined;

  constructor(transform: Transform<T>) {
    this.#transform = transform;
  }

  get size(): number {
    return this.#values.size;
  }

  get(key: Key): T | undefined {
    return this.#values.get(key);
  }

  /** All values; the same array until something changes. */
  values(): readonly T[] {
    this.#list ??= [...this.#values.values()];
    return this.#list;
  }

  /** Undefined where nothing changed in what is kept. */
  set(raw: RawObject): Change<T> | undefined {
    const key = keyOf(raw);
    const before = this.#values.get(key);
    const after = this.#transform(raw, before);
    if (after === DROP) return this.#remove(key);
    if (before !== undefined && isDeepStrictEqual(before, after)) return undefined;
    this.#values.set(key, after);
    this.#list = undefined;
    return { key, before, after };
  }

  delete(raw: RawObject): Change<T> | undefined {
    return this.#remove(keyOf(raw));
  }

  /** The store afterwards holds exactly `raws`; what was there and is no longer comes out as a deletion. */
  replace(raws: readonly RawObject[]): Change<T>[] {
    const changes: Change<T>[] = [];
    const seen = new Set<Key>();
    for (const raw of raws) {
      seen.add(keyOf(raw));
      const change = this.set(raw);
      if (change !== undefined) changes.push(change);
    }
    for (const key of this.#values.keys()) {
      if (seen.has(key)) continue;
      const change = this.#remove(key);
      if (change !== undefined) changes.push(change);
    }
    return changes;
  }

  #remove(key: Key): Change<T> | undefined {
    const before = this.#values.get(key);
    if (before === undefined) return undefined;
    this.#values.delete(key);
    this.#list = undefined;
    return { key, before, after: undefined };
  }
}
