// Which endpoints a request may go to at all. Three things narrow the set down: the node or zone that the hints of the EndpointSlices
// assign to this sidecar, endpoints that are ejected or unhealthy, and the rule that serving badly is better than not serving. None of
// them depends on the request, so all of it is worked out when something changes, and a pick finds an array.
//
//   hints      as kube-proxy (topologyModeFromHints): our node, where every endpoint has a hint of nodes and one is for ours; else our
//              zone by the same rule; else all
//   spill      a node or zone less than half of whose endpoints are pickable is left: the last of them must not carry it alone
//   panic      where too few endpoints of all are pickable, those that are left would break as well: all are pickable
//
// The balancing algorithms choose from `pickable`. What does not choose freely, such as a hash ring, is built over `pool`, which no exclusion
// changes, so that an ejected endpoint moves no key but its own; it asks `isPickable` for a place in the pool.
import type { Placement } from '../../plan/endpoints.ts';

/** Nobody knows where this sidecar runs, or it is not to count. */
export const UNPLACED: Placement = { node: '', zone: '' };

/** The share of a node's or zone's endpoints below which its requests go further. */
const SPILL_SHARE = 0.5;
const NO_HINTS: readonly string[] = [];

/** Attempts in progress at all endpoints of one dependency. */
export interface TotalLoad {
  inFlight: number;
}

/** What balancing keeps of one endpoint; plain fields, read at every pick. */
export class BalancedEndpoint {
  /** Address and port; the same endpoint has the same name in every sidecar. */
  readonly name: string;
  /** Shared by the endpoints of one dependency. */
  total: TotalLoad = { inFlight: 0 };
  /** Attempts in progress. */
  inFlight = 0;
  /** Average latency in milliseconds as it was at `measuredAtMs`; see endpoint-cost.ts. */
  latencyMs = 0;
  /** Average of what the failures cost, in milliseconds of latency, as it was then. */
  failureMs = 0;
  /** When an attempt was last measured; below zero: never. */
  measuredAtMs = -1;
  /** When it joined a set that was known before; below zero: it was there from the start. See slow-start.ts. */
  joinedAtMs = -1;
  /** Zones and nodes that the EndpointSlice assigns this endpoint to; empty: no hint. */
  zones: readonly string[] = NO_HINTS;
  nodes: readonly string[] = NO_HINTS;

  constructor(name: string) {
    this.name = name;
  }

  begin(): void {
    this.inFlight++;
    this.total.inFlight++;
  }

  end(): void {
    this.inFlight--;
    this.total.inFlight--;
  }
}

/** Whom ejection or health checks take out of the choice; when that changes, `refresh` of the candidates has to be called. */
export interface Exclusion<T> {
  isExcluded(endpoint: T): boolean;
  /** From 0 to 100. With a smaller share of all endpoints pickable, all are; 0: only where none is. */
  readonly panicThresholdPercent: number;
}

/** Beside the node and zone of this sidecar; empty: not known, or hints are not to count. */
export interface CandidatesOptions<T> extends Placement {
  /** Null: nobody is excluded. */
  exclusion: Exclusion<T> | null;
}

/** What may be picked of one dependency. One object per dependency and way of narrowing. */
export class EndpointCandidates<T extends BalancedEndpoint> {
  #all: readonly T[] = [];
  #pool: readonly T[] = [];
  #pickable: readonly T[] = [];
  #isPickable = new Uint8Array(0);
  #options: CandidatesOptions<T> = { exclusion: null, ...UNPLACED };
  #poolVersion = 0;
  #panicking = false;

  /** Every endpoint of the set, in its order. */
  get all(): readonly T[] {
    return this.#all;
  }

  /** Those of our node or zone, or all: what would be picked from if nothing were excluded. Never changed, only replaced. */
  get pool(): readonly T[] {
    return this.#pool;
  }

  /** What may be picked, in the order of the pool; empty only where the pool is. Never changed, only replaced. */
  get pickable(): readonly T[] {
    return this.#pickable;
  }

  /** Grows whenever the pool is another one. */
  get poolVersion(): number {
    return this.#poolVersion;
  }

  /** Exclusions are disregarded, for too few endpoints were left. */
  get panicking(): boolean {
    return this.#panicking;
  }

  /** Whether the endpoint at this place of the pool may be picked. */
  isPickable(index: number): boolean {
    return this.#isPickable[index] === 1;
  }

  setOptions(options: CandidatesOptions<T>): void {
    this.#options = options;
    this.refresh();
  }

  setEndpoints(all: readonly T[]): void {
    this.#all = all;
    this.refresh();
  }

  /** What the choice depends on has changed: exclusions, or hints. */
  refresh(): void {
    const all = this.#all;
    const { exclusion, node, zone } = this.#options;
    const isUsable = (endpoint: T) => exclusion === null || !exclusion.isExcluded(endpoint);
    const pool = near(all, node, nodesOf, isUsable) ?? near(all, zone, zonesOf, isUsable) ?? all;
    const usable = pool.filter(isUsable);
    const isTooFew = usable.length === 0 || usable.length * 100 < all.length * (exclusion?.panicThresholdPercent ?? 0);
    this.#panicking = pool === all && all.length > 0 && isTooFew;
    if (!same(pool, this.#pool)) {
      this.#pool = pool;
      this.#poolVersion++;
    }
    const pickable = this.#panicking ? pool : usable;
    if (!same(pickable, this.#pickable)) this.#pickable = pickable;
    const panicking = this.#panicking;
    this.#isPickable = Uint8Array.from(pool, (endpoint) => (panicking || isUsable(endpoint) ? 1 : 0));
  }
}

const nodesOf = ({ nodes }: BalancedEndpoint) => nodes;
const zonesOf = ({ zones }: BalancedEndpoint) => zones;

/** The endpoints that hints assign to `place`; null where hints do not apply, or too few of them are usable. */
function near<T extends BalancedEndpoint>(
  all: readonly T[],
  place: string,
  hintsOf: (endpoint: T) => readonly string[],
  isUsable: (endpoint: T) => boolean,
): readonly T[] | null {
  if (place === '' || all.some((endpoint) => hintsOf(endpoint).length === 0)) return null;
  const assigned = all.filter((endpoint) => hintsOf(endpoint).includes(place));
  const usable = assigned.filter(isUsable).length;
  return usable > 0 && usable >= assigned.length * SPILL_SHARE ? assigned : null;
}

function same<T>(one: readonly T[], other: readonly T[]): boolean {
  return one.length === other.length && one.every((item, index) => item === other[index]);
}
