// A ring of hashes (Karger et al.): every endpoint has points on it, and a key belongs to the endpoint of the first point at or after its own
// hash. An endpoint that joins takes keys from the others and moves no other key; one that leaves gives away its own alone.
import { hashText, mix } from './hash.ts';

/** Points of an endpoint: with 128 the shares differ by about 9 % (one standard deviation). Fewer for large sets, to keep building short. */
const POINTS = 128;
/** Sets up to this size have all the points; each doubling halves them. */
const FULL_SET = 1_024;
const FEWEST_POINTS = 16;
const GOLDEN_RATIO = 0x9e3779b9;
/** Hash and place in one number, which sorts as a double does. Beyond every size of a set. */
const PLACES = 65_536;

export class HashRing {
  readonly #hashes: Uint32Array;
  readonly #owners: Uint16Array;
  readonly #nameHashes: Uint32Array;

  /** `names`: at most 65,536. The order of names decides nothing but between points at one place. */
  constructor(names: readonly string[]) {
    const points = pointsFor(names.length);
    const sorted = new Float64Array(names.length * points);
    this.#nameHashes = Uint32Array.from(names, (name) => hashText(name));
    for (const [place, hash] of this.#nameHashes.entries()) {
      for (let point = 0; point < points; point++)
        sorted[place * points + point] = mix(hash + Math.imul(point, GOLDEN_RATIO)) * PLACES + place;
    }
    sorted.sort();
    this.#hashes = Uint32Array.from(sorted, (both) => Math.floor(both / PLACES));
    this.#owners = Uint16Array.from(sorted, (both) => both % PLACES);
  }

  get length(): number {
    return this.#hashes.length;
  }

  /** The point that a key belongs to; 0 on an empty ring. */
  pointOf(key: number): number {
    const hashes = this.#hashes;
    let low = 0;
    let high = hashes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((hashes[middle] ?? 0) < key) low = middle + 1;
      else high = middle;
    }
    return low < hashes.length ? low : 0;
  }

  /** Place, among the names, of the endpoint that a point belongs to. */
  ownerOf(point: number): number {
    return this.#owners[point] ?? 0;
  }

  /** Hash of the name at a place. */
  nameHash(place: number): number {
    return this.#nameHashes[place] ?? 0;
  }
}

export function pointsFor(endpoints: number): number {
  let points = POINTS;
  for (let size = FULL_SET; size < endpoints && points > FEWEST_POINTS; size *= 2) points /= 2;
  return points;
}
