// What one `loadBalancing` block does to one dependency: the endpoints that it leaves to choose from, and the algorithm that chooses.
import type { Placement } from '../../plan/endpoints.ts';
import type { LoadBalancingPlan } from '../../plan/policies/load-balancing.ts';
import type { Random } from '../../runtime/random.ts';
import { type Balancer, NO_KEY } from './balancer.ts';
import { type BalancedEndpoint, EndpointCandidates, type Exclusion, UNPLACED } from './candidates.ts';
import { ConsistentHash } from './consistent-hash.ts';
import { type HashSource, hashKeyOf, type KeyedRequest } from './hash-key.ts';
import { RoundRobin } from './round-robin.ts';
import { TwoChoices } from './two-choices.ts';

export type LoadBalancing = Omit<LoadBalancingPlan, 'stateKey'>;

/** What acts where no policy says anything. */
export const DEFAULT_LOAD_BALANCING: LoadBalancing = {
  algorithm: 'PeakEwma',
  consistentHash: null,
  slowStart: null,
  zoneAware: 'Hints',
};

export class LoadBalancer<T extends BalancedEndpoint> {
  readonly candidates = new EndpointCandidates<T>();
  readonly #exclusion: Exclusion<T> | null;
  readonly #random: Random;
  #plan: LoadBalancing;
  #hashSource: HashSource | null;
  #placement = UNPLACED;
  #algorithm: Balancer<T>;

  /** `exclusion`: who is not to be picked; null: everybody may. */
  constructor(plan: LoadBalancing, exclusion: Exclusion<T> | null, random: Random) {
    this.#exclusion = exclusion;
    this.#random = random;
    this.#plan = plan;
    this.#hashSource = hashSourceOf(plan);
    this.#algorithm = this.#create(plan);
    this.#narrow();
  }

  /** Takes new numbers. Whose turn it is goes on as long as turns are what it goes by. */
  update(plan: LoadBalancing): void {
    const before = this.#plan;
    this.#plan = plan;
    this.#hashSource = hashSourceOf(plan);
    if (!isSameAlgorithm(plan, before)) this.#algorithm = this.#create(plan);
    this.#narrow();
  }

  setEndpoints(endpoints: readonly T[]): void {
    this.candidates.setEndpoints(endpoints);
  }

  setPlacement(placement: Placement): void {
    this.#placement = placement;
    this.#narrow();
  }

  /** Hash of what keeps this request together with others, or NO_KEY. `ownKey`: that of this pod. */
  keyOf(request: KeyedRequest, ownKey: number): number {
    return this.#hashSource === null ? NO_KEY : hashKeyOf(this.#hashSource, request, ownKey);
  }

  /** The same of a connection whose bytes say nothing: where it comes from is all that is known. */
  keyOfConnection(ownKey: number): number {
    return this.#hashSource?.key === 'SourceAddress' ? ownKey : NO_KEY;
  }

  /** As `Balancer.pick`. */
  pick(avoid: readonly T[], key: number, nowMs: number): T | null {
    return this.#algorithm.pick(avoid, key, nowMs);
  }

  #narrow(): void {
    const { node, zone } = this.#plan.zoneAware === 'Hints' ? this.#placement : UNPLACED;
    this.candidates.setOptions({ exclusion: this.#exclusion, node, zone });
  }

  #create({ algorithm, consistentHash, slowStart }: LoadBalancing): Balancer<T> {
    const { candidates } = this;
    const random = this.#random;
    const slowStartMs = slowStart?.windowMs ?? 0;
    if (algorithm === 'RoundRobin') return new RoundRobin(candidates, slowStartMs, random);
    if (algorithm === 'LeastRequest') return new TwoChoices(candidates, 'InFlight', slowStartMs, random);
    const peakEwma = new TwoChoices(candidates, 'PeakEwma', slowStartMs, random);
    if (algorithm !== 'ConsistentHash' || consistentHash === null) return peakEwma;
    const { maxLoadPercent } = consistentHash;
    return new ConsistentHash({ candidates, maxLoadPercent, slowStartMs, keyless: peakEwma });
  }
}

/** With the name as fields are compared with it. */
function hashSourceOf({ consistentHash }: LoadBalancing): HashSource | null {
  if (consistentHash === null) return null;
  const { key, name } = consistentHash;
  return { key, name: key === 'Header' && name !== null ? name.toLowerCase() : name };
}

/** Zones, and the name of the key, change nothing about how an algorithm works. */
function isSameAlgorithm(one: LoadBalancing, other: LoadBalancing): boolean {
  return (
    one.algorithm === other.algorithm &&
    one.slowStart?.windowMs === other.slowStart?.windowMs &&
    one.consistentHash?.maxLoadPercent === other.consistentHash?.maxLoadPercent
  );
}
