// Which endpoints a request may go to at all. Three things narrow the set down: the node or zone that the hints of the EndpointSlices
// assign to this sidecar, endpoints that are ejected or unhealthy, and the rule that serving badly is better than not serving. None of
// them depends on the request, so all of it is worked out when something changes, and a pick finds an array.
//
//   hints      as kube-proxy (topologyModeFromHints): our node, where every endpoint has a hint of nodes and one is for ours; else our
//              zone by the same rule; else all
//   spill      a node or zone less than half of whose endpoints are pickable is left: the last of them must not carry it alone
//   panic      where too few endpoints of all are pickable, those that are left would break as well: all are pickable
//
// The balancing algorithms choose from `pickable`. What does not choose freely (a hash ring, built over `all` so that an ejection moves no
// other key) asks `isPickable` for a place in `all`.

/** Why an endpoint is not picked; bits of `BalancedEndpoint.excluded`. */
export const Exclusion = { Ejected: 1, Unhealthy: 2 } as const;

/** Below this share of pickable endpoints all are picked from, where no policy says otherwise. */
export const DEFAULT_PANIC_THRESHOLD_PERCENT = 50;
/** The share of a node's or zone's endpoints below which its requests go further. */
const SPILL_SHARE = 0.5;
const NO_HINTS: readonly string[] = [];

/** What balancing keeps of one endpoint; plain fields, read at every pick. */
export class BalancedEndpoint {
  /** Address and port; the same endpoint has the same name in every sidecar. */
  readonly name: string;
  /** Attempts in progress. */
  inFlight = 0;
  /** Bits of `Exclusion`; whoever changes them calls `refresh` of the candidates. */
  excluded = 0;
  /** Zones and nodes that the EndpointSlice assigns this endpoint to; empty: no hint. */
  zones: readonly string[] = NO_HINTS;
  nodes: readonly string[] = NO_HINTS;

  constructor(name: string) {
    this.name = name;
  }
}

export interface CandidatesOptions {
  /** Node and zone of this sidecar; empty: not known, or hints are not to count. */
  node: string;
  zone: string;
  /** From 0 to 100. With a smaller share of all endpoints pickable, all are; 0: only where none is. */
  panicThresholdPercent: number;
}

/** What may be picked of one dependency. One object per dependency and way of narrowing. */
export class EndpointCandidates<T extends BalancedEndpoint> {
  #all: readonly T[] = [];
  #pickable: readonly T[] = [];
  #isPickable = new Uint8Array(0);
  #node = '';
  #zone = '';
  #panicShare = DEFAULT_PANIC_THRESHOLD_PERCENT / 100;
  #setVersion = 0;
  #panicking = false;

  /** Every endpoint of the set, in its order. */
  get all(): readonly T[] {
    return this.#all;
  }

  /** What may be picked, in the order of `all`; empty only where `all` is. Never changed: another one takes its place. */
  get pickable(): readonly T[] {
    return this.#pickable;
  }

  /** Grows whenever `all` is another set. */
  get setVersion(): number {
    return this.#setVersion;
  }

  /** Exclusions are disregarded, for too few endpoints were left. */
  get panicking(): boolean {
    return this.#panicking;
  }

  /** Whether the endpoint at this place of `all` may be picked. */
  isPickable(index: number): boolean {
    return this.#isPickable[index] === 1;
  }

  setOptions({ node, zone, panicThresholdPercent }: CandidatesOptions): void {
    this.#node = node;
    this.#zone = zone;
    this.#panicShare = panicThresholdPercent / 100;
    this.refresh();
  }

  setEndpoints(all: readonly T[]): void {
    this.#all = all;
    this.#setVersion++;
    this.refresh();
  }

  /** What the choice depends on has changed: exclusions, or hints. */
  refresh(): void {
    const all = this.#all;
    const nearby = near(all, this.#node, nodesOf) ?? near(all, this.#zone, zonesOf);
    const usable = all.filter(isUsable);
    this.#panicking =
      nearby === null && all.length > 0 && (usable.length === 0 || usable.length < all.length * this.#panicShare);
    this.#pickable = nearby ?? (this.#panicking ? all : usable);
    const pickable = new Set(this.#pickable);
    this.#isPickable = Uint8Array.from(all, (endpoint) => (pickable.has(endpoint) ? 1 : 0));
  }
}

const nodesOf = ({ nodes }: BalancedEndpoint) => nodes;
const zonesOf = ({ zones }: BalancedEndpoint) => zones;
const isUsable = ({ excluded }: BalancedEndpoint) => excluded === 0;

/** The usable endpoints that hints assign to `place`; null where hints do not apply, or too few of them are usable. */
function near<T extends BalancedEndpoint>(
  all: readonly T[],
  place: string,
  hintsOf: (endpoint: T) => readonly string[],
): readonly T[] | null {
  if (place === '' || all.some((endpoint) => hintsOf(endpoint).length === 0)) return null;
  const assigned = all.filter((endpoint) => hintsOf(endpoint).includes(place));
  const usable = assigned.filter(isUsable);
  return usable.length > 0 && usable.length >= assigned.length * SPILL_SHARE ? usable : null;
}
