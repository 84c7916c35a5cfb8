// One endpoint after the other, in the order of the set. Every sidecar begins at a random one, or all of them would call the same endpoint
// at the same time. When endpoints change, it goes on with the one whose turn it would have been.
import type { Random } from '../../runtime/random.ts';
import { avoidLess, type Balancer } from './balancer.ts';
import type { BalancedEndpoint, EndpointCandidates } from './candidates.ts';
import { isWarm } from './slow-start.ts';

/** Turns in a row that may be left out for slow start; then whoever is next is taken, so that a pick has a bound. */
const SKIPPED_TURNS = 8;

export class RoundRobin<T extends BalancedEndpoint> implements Balancer<T> {
  readonly #candidates: EndpointCandidates<T>;
  readonly #slowStartMs: number;
  readonly #random: Random;
  #order: readonly T[] = [];
  #next = 0;

  constructor(candidates: EndpointCandidates<T>, slowStartMs: number, random: Random) {
    this.#candidates = candidates;
    this.#slowStartMs = slowStartMs;
    this.#random = random;
  }

  pick(avoid: readonly T[], _key: number, nowMs: number): T | null {
    if (this.#candidates.pickable !== this.#order) this.#reorder(this.#candidates.pickable);
    const order = this.#order;
    const skippedTurns = Math.min(SKIPPED_TURNS, order.length);
    // Whoever is cold is better than whoever is avoided: where all others are cold, they are asked a second time.
    for (let turn = 0; turn < 2 * order.length; turn++) {
      const endpoint = this.#takeTurn(order);
      if (endpoint === null || avoid.includes(endpoint)) continue;
      if (turn >= skippedTurns || isWarm(endpoint, this.#slowStartMs, nowMs, this.#random)) return endpoint;
    }
    return avoid.length > 0 ? this.pick(avoidLess(avoid), _key, nowMs) : null;
  }

  #takeTurn(order: readonly T[]): T | null {
    const endpoint = order[this.#next] ?? null;
    this.#next = this.#next + 1 < order.length ? this.#next + 1 : 0;
    return endpoint;
  }

  /** The turn goes to the first endpoint, from the one that was next on, that is still there. */
  #reorder(order: readonly T[]): void {
    const places = new Map(order.map((endpoint, index) => [endpoint, index]));
    let next = -1;
    for (let step = 0; step < this.#order.length && next < 0; step++) {
      const endpoint = this.#order[(this.#next + step) % this.#order.length];
      next = (endpoint && places.get(endpoint)) ?? -1;
    }
    this.#order = order;
    this.#next = next >= 0 ? next : Math.floor(this.#random() * order.length);
  }
}
