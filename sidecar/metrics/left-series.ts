// Which series go once no plan names them any more. To Prometheus a series that ends is the end of a target, and one that begins again at zero a
// counter that was reset, which rate() knows: only a counter that goes back while its label set is named would be wrong. What is left behind is
// shown for a while, so that what was counted last, and what still counts for requests that are under way, is scraped; but a rule whose
// name holds a version, or a revision, would leave some 50 series and 25 KB in every sidecar whenever it is rolled out. PURE.

/** Owners that no plan names and whose series are still shown. Beyond that, those that were left first go with the next plan. */
export const MAX_LEFT_OWNERS = 100;

/** Whose series a label set is: those of one rule, or of one key of state, of one dependency. */
export function seriesOwner(dependency: string, name = ''): string {
  return `${dependency}\n${name}`;
}

export class LeftSeries {
  /** Those that were left first are first. */
  readonly #left = new Set<string>();
  readonly #limit: number;

  constructor(limit = MAX_LEFT_OWNERS) {
    this.#limit = limit;
  }

  /** A plan names `named`, and there are series of `known`. Those whose series are to go; none that the last plan named. */
  follow(known: Iterable<string>, named: ReadonlySet<string>): ReadonlySet<string> {
    for (const owner of this.#left) if (named.has(owner)) this.#left.delete(owner);
    const gone = new Set(Array.from(this.#left).slice(0, Math.max(0, this.#left.size - this.#limit)));
    for (const owner of gone) this.#left.delete(owner);
    for (const owner of known) if (!named.has(owner) && !gone.has(owner)) this.#left.add(owner);
    return gone;
  }
}
