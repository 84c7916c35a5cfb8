// Power of two choices: of two endpoints chosen at random, the cheaper one (Mitzenmacher). Nearly as even as asking all of them, without
// herding every sidecar onto the one that looks best, and at the same cost for 3 endpoints as for 3,000.
import type { Random } from '../../runtime/random.ts';
import { avoidLess, type Balancer } from './balancer.ts';
import type { BalancedEndpoint, EndpointCandidates } from './candidates.ts';
import { costMs } from './endpoint-cost.ts';
import { isWarm } from './slow-start.ts';

/** What makes one endpoint cheaper than another. */
export type Cost = 'InFlight' | 'PeakEwma';

/** Draws that may fall on an endpoint which is avoided or not warm; then the next one that fits is taken. */
const DRAWS = 4;

export class TwoChoices<T extends BalancedEndpoint> implements Balancer<T> {
  readonly #candidates: EndpointCandidates<T>;
  readonly #byLatency: boolean;
  readonly #slowStartMs: number;
  readonly #random: Random;

  constructor(candidates: EndpointCandidates<T>, cost: Cost, slowStartMs: number, random: Random) {
    this.#candidates = candidates;
    this.#byLatency = cost === 'PeakEwma';
    this.#slowStartMs = slowStartMs;
    this.#random = random;
  }

  pick(avoid: readonly T[], _key: number, nowMs: number): T | null {
    const endpoints = this.#candidates.pickable;
    // The only one is taken even if it is avoided.
    if (endpoints.length < 2) return endpoints[0] ?? null;
    const firstIndex = this.#draw(endpoints, avoid, -1, nowMs);
    const first = endpoints[firstIndex];
    // All are avoided.
    if (first === undefined) return this.pick(avoidLess(avoid), _key, nowMs);
    const second = endpoints[this.#draw(endpoints, avoid, firstIndex, nowMs)];
    return second !== undefined && this.#isCheaper(second, first, nowMs) ? second : first;
  }

  /** Place of an endpoint, of two or more, that is not avoided and never the one at `taken`; -1: there is none. */
  #draw(endpoints: readonly T[], avoid: readonly T[], taken: number, nowMs: number): number {
    const count = taken < 0 ? endpoints.length : endpoints.length - 1;
    let index = 0;
    for (let draw = 0; draw < DRAWS; draw++) {
      index = Math.floor(this.#random() * count);
      if (taken >= 0 && index >= taken) index++;
      const endpoint = endpoints[index];
      if (
        endpoint !== undefined &&
        !avoid.includes(endpoint) &&
        isWarm(endpoint, this.#slowStartMs, nowMs, this.#random)
      )
        return index;
    }
    return firstAllowed(endpoints, avoid, taken, index);
  }

  /** Where nothing was measured yet, only what is in progress counts: a new endpoint neither attracts nor repels. */
  #isCheaper(one: T, other: T, nowMs: number): boolean {
    if (!this.#byLatency || one.measuredAtMs < 0 || other.measuredAtMs < 0) return one.inFlight < other.inFlight;
    return costMs(one, nowMs) < costMs(other, nowMs);
  }
}

/** The first place from `start` on, around the end, that is neither taken nor avoided; -1: there is none. */
function firstAllowed<T>(endpoints: readonly T[], avoid: readonly T[], taken: number, start: number): number {
  for (let step = 0; step < endpoints.length; step++) {
    const index = (start + step) % endpoints.length;
    const endpoint = endpoints[index];
    if (index !== taken && endpoint !== undefined && !avoid.includes(endpoint)) return index;
  }
  return -1;
}
