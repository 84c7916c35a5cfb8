// Chance for the simulation: separate streams that all come from one seed, so that drawing more in one place changes nothing in another.
import { type Random, seededRandom } from '../../runtime/random.ts';

/** FNV-1a with a final mix: seeds that follow one another, and names that differ in one letter, give streams that have nothing in common. */
function mix(seed: number, stream: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let index = 0; index < stream.length; index += 1) hash = Math.imul(hash ^ stream.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export class Dice {
  readonly random: Random;

  constructor(seed: number, stream: string) {
    this.random = seededRandom(mix(seed, stream));
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low + 1));
  }

  /** As `between`, but small numbers come as often as large ones: each power of two has the same share. */
  skewed(low: number, high: number): number {
    const offset = low > 0 ? 0 : 1 - low;
    const exponent = Math.log(low + offset) + this.random() * (Math.log(high + offset + 1) - Math.log(low + offset));
    return Math.min(high, Math.floor(Math.exp(exponent)) - offset);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[Math.floor(this.random() * values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  /** Some of them, in their order; perhaps none. */
  some<T>(values: readonly T[], probability = 0.5): T[] {
    return values.filter(() => this.chance(probability));
  }
}
