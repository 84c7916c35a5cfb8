// Which rounds count: pure. What other machines of the host or other processes take from the CPUs while a slice is measured hits the proxies of
// a round unequally, and no ratio takes that out again. So a disturbed round is made up for by one more, as long as there are fewer than twice as
// many as asked, and in the end the calmest count. Which these are is decided without a look at what they cost.
import type { Slice } from './measure.ts';

export type Round = ReadonlyMap<string, Slice>;

/** A round in which others took this share of a slice is disturbed. */
export const DISTURBED_FROM = 0.1;
const MAX_ROUNDS_OF_ASKED = 2;

/** The largest share of the time of a slice, 0 to 1, that went to other machines or, on the CPU of the proxy, to other processes. */
export function disturbanceOf(round: Round): number {
  return Math.max(...Array.from(round.values(), ({ steal, proxyCpuOthers }) => steal + proxyCpuOthers));
}

export interface Counted {
  /** In the order in which they were measured. */
  rounds: readonly Round[];
  /** Of all that were measured. */
  disturbed: number;
  /** Of those that count. */
  stillDisturbed: number;
}

export class CalmRounds {
  readonly #asked: number;
  readonly #measured: { round: Round; disturbance: number }[] = [];

  /** `asked`: how many are to count, at least 1. */
  constructor(asked: number) {
    this.#asked = asked;
  }

  /** Answers whether it was calm. */
  add(round: Round): boolean {
    const disturbance = disturbanceOf(round);
    this.#measured.push({ round, disturbance });
    return disturbance < DISTURBED_FROM;
  }

  get areEnough(): boolean {
    const measured = this.#measured.length;
    return measured - this.#disturbed >= this.#asked || measured >= this.#asked * MAX_ROUNDS_OF_ASKED;
  }

  get #disturbed(): number {
    return this.#measured.filter(({ disturbance }) => disturbance >= DISTURBED_FROM).length;
  }

  /** The calmest of them, as many as were asked for. */
  counted(): Counted {
    const calmest = this.#measured.toSorted((one, other) => one.disturbance - other.disturbance).slice(0, this.#asked);
    return {
      rounds: this.#measured.filter((each) => calmest.includes(each)).map(({ round }) => round),
      disturbed: this.#disturbed,
      stillDisturbed: calmest.filter(({ disturbance }) => disturbance >= DISTURBED_FROM).length,
    };
  }
}
