// Draws that follow from a seed alone, for random pods.
import { type Random, seededRandom } from '../../../runtime/random.ts';

export type Json = Record<string, unknown>;

export class Dice {
  readonly #random: Random;

  constructor(seed: number) {
    // Neighbouring seeds begin alike; what they begin with is thrown away.
    this.#random = seededRandom(Math.imul(seed + 1, 0x9e3779b1));
    for (let i = 0; i < 8; i++) this.#random();
  }

  chance(probability: number): boolean {
    return this.#random() < probability;
  }

  integer(min: number, max: number): number {
    return min + Math.floor(this.#random() * (max - min + 1));
  }

  pick<const T>(values: readonly T[]): T {
    const value = values[this.integer(0, values.length - 1)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  /** Some of these, each with this probability. */
  some<const T>(values: readonly T[], probability: number): T[] {
    return values.filter(() => this.chance(probability));
  }

  /** An object of those of the fields that are thrown. */
  fields(probability: number, fields: Readonly<Record<string, () => unknown>>): Json {
    const thrown = Object.entries(fields).filter(() => this.chance(probability));
    return Object.fromEntries(thrown.map(([name, value]) => [name, value()]));
  }
}

/** Ports of the sidecar are among them, rarely. */
export function port(dice: Dice): number {
  if (dice.chance(0.01)) return dice.pick([15_101, 15_102, 15_103, 15_110]);
  return dice.pick([80, 443, 3000, 5432, 8080, 9090, dice.integer(1024, 65_535)]);
}

export function user(dice: Dice): number {
  return dice.chance(0.02) ? 14_750 : dice.pick([0, 1, 999, 1000, 65_534]);
}
