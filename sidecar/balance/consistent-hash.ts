// Requests of one key go to one endpoint, for as long as the endpoints are the same, and with a bound on what that may do to it: consistent
// hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam). From its own point on the ring a key goes on to the first endpoint that may
// take it: one that is pickable, not avoided, warm enough, and below its capacity. The capacity is a share above the mean of what is in
// progress: a key that everybody asks for spreads over as many endpoints as it needs, and no more.
//
// Slow start goes by key and not by chance: a new endpoint takes over its keys one by one as its share grows, each of them once.
import type { Balancer } from './balancer.ts';
import { NO_KEY } from './balancer.ts';
import type { BalancedEndpoint, EndpointCandidates } from './candidates.ts';
import { mix } from './hash.ts';
import { HashRing } from './hash-ring.ts';
import { shareOf } from './slow-start.ts';

/** In progress at one endpoint before its capacity counts: two requests at once are no overload. */
const FREE_IN_FLIGHT = 4;
/** Points that are looked at before the bound is given up: a pick takes microseconds, whatever the ring looks like. */
const MAX_STEPS = 2_048;
const HASHES = 2 ** 32;

export interface ConsistentHashOptions<T extends BalancedEndpoint> {
  candidates: EndpointCandidates<T>;
  /** More than 100: the capacity of an endpoint, in percent of the mean of what is in progress. */
  maxLoadPercent: number;
  slowStartMs: number;
  /** Takes the requests without a key. */
  keyless: Balancer<T>;
}

export class ConsistentHash<T extends BalancedEndpoint> implements Balancer<T> {
  readonly #candidates: EndpointCandidates<T>;
  readonly #maxLoad: number;
  readonly #slowStartMs: number;
  readonly #keyless: Balancer<T>;
  #ring: HashRing;
  /** Version of the pool that the ring is of. */
  #ringVersion: number;

  constructor({ candidates, maxLoadPercent, slowStartMs, keyless }: ConsistentHashOptions<T>) {
    this.#candidates = candidates;
    this.#maxLoad = maxLoadPercent / 100;
    this.#slowStartMs = slowStartMs;
    this.#keyless = keyless;
    this.#ring = ringOf(candidates);
    this.#ringVersion = candidates.poolVersion;
  }

  pick(avoid: readonly T[], key: number, nowMs: number): T | null {
    if (key === NO_KEY) return this.#keyless.pick(avoid, key, nowMs);
    const candidates = this.#candidates;
    if (candidates.poolVersion !== this.#ringVersion) {
      this.#ring = ringOf(candidates);
      this.#ringVersion = candidates.poolVersion;
    }
    const { pool } = candidates;
    const capacity = this.#capacity();
    const start = this.#ring.pointOf(key);
    const steps = Math.min(this.#ring.length, MAX_STEPS);
    /** What is left where nobody fits: the nearest that is not avoided, or the nearest but the last of those. */
    let nearestButLast: T | null = null;
    let nearestAllowed: T | null = null;
    for (let step = 0; step < steps; step++) {
      const owner = this.#ring.ownerOf((start + step) % this.#ring.length);
      const endpoint = pool[owner];
      if (endpoint === undefined || !candidates.isPickable(owner)) continue;
      if (nearestButLast === null && endpoint !== avoid[avoid.length - 1]) nearestButLast = endpoint;
      if (avoid.includes(endpoint)) continue;
      nearestAllowed ??= endpoint;
      if (endpoint.inFlight < capacity && this.#isWarm(endpoint, key, owner, nowMs)) return endpoint;
    }
    return nearestAllowed ?? nearestButLast ?? this.#keyless.pick(avoid, NO_KEY, nowMs);
  }

  /** How many attempts an endpoint may have in progress before it gets one more. */
  #capacity(): number {
    const { pickable } = this.#candidates;
    const [first] = pickable;
    if (first === undefined) return 0;
    return Math.max(FREE_IN_FLIGHT, Math.ceil((this.#maxLoad * (first.total.inFlight + 1)) / pickable.length));
  }

  /** Whether the share of a new endpoint has grown to this key. */
  #isWarm(endpoint: T, key: number, owner: number, nowMs: number): boolean {
    return mix(key ^ this.#ring.nameHash(owner)) < shareOf(endpoint, this.#slowStartMs, nowMs) * HASHES;
  }
}

function ringOf({ pool }: EndpointCandidates<BalancedEndpoint>): HashRing {
  return new HashRing(pool.map(({ name }) => name));
}
