// How many connections of the application there may be at a time. Each of them may need another one to a dependency, and a process without
// descriptors can neither read its own files nor answer a probe: so the last ones are never given away. As HAProxy's maxconn does, it follows
// from the limit of open files.
//
// The order is that of all overload here: first connections are not kept, each answer closes its own; only at the limit a new one is reset.

/** From this share on connections are not kept. */
const CROWDED_SHARE = 0.92;

export class ConnectionLimit {
  /** Infinity: none. */
  readonly max: number;
  readonly #crowdedFrom: number;
  readonly #count: () => number;

  /** `count`: connections there are now. */
  constructor(max: number, count: () => number) {
    this.max = max;
    this.#crowdedFrom = max * CROWDED_SHARE;
    this.#count = count;
  }

  /** No further connection can be taken. */
  get full(): boolean {
    return this.#count() >= this.max;
  }

  /** Connections are not to be kept for another request. */
  get crowded(): boolean {
    return this.#count() > this.#crowdedFrom;
  }
}
