// Which endpoint of a dependency the requests of a policy go to: what narrows the choice (ejection, and the hints of zones and nodes), and how
// it is made. Rows of the plan that choose by the same states share one.
import type { Placement } from '../../plan/endpoints.ts';
import type { Random } from '../../runtime/random.ts';
import type { Exclusion } from '../balance/candidates.ts';
import { LoadBalancer, type LoadBalancing } from '../balance/load-balancer.ts';
import type { OutlierDetection } from '../policies/outlier-detection.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** What a choice is made of, as one plan for the table of choices. */
export interface ChoicePlan {
  stateKey: string;
  /** Null: nobody is ejected. */
  detection: OutlierDetection | null;
  loadBalancing: LoadBalancing;
}

export class EndpointChoice {
  /** The state keys of what it goes by. */
  readonly key: string;
  readonly detection: OutlierDetection | null;
  readonly balancer: LoadBalancer<UpstreamEndpoint>;
  /** Called when panic begins. */
  onPanic: (() => void) | null = null;
  #panicking = false;

  constructor({ stateKey, detection, loadBalancing }: ChoicePlan, random: Random) {
    this.key = stateKey;
    this.detection = detection;
    this.balancer = new LoadBalancer(loadBalancing, detection && exclusionOf(detection), random);
  }

  /** Too few endpoints are left, so that all are used. */
  get panicking(): boolean {
    return this.#panicking;
  }

  /** What may be picked now. */
  get pickable(): readonly UpstreamEndpoint[] {
    return this.balancer.candidates.pickable;
  }

  /** New numbers, of the detection too. */
  update({ loadBalancing }: ChoicePlan): void {
    this.balancer.update(loadBalancing);
    this.#look();
  }

  setEndpoints(all: readonly UpstreamEndpoint[], placement: Placement): void {
    this.balancer.setPlacement(placement);
    this.balancer.setEndpoints(all);
    this.#look();
  }

  /** What is ejected has changed. */
  refresh(): void {
    this.balancer.candidates.refresh();
    this.#look();
  }

  #look(): void {
    const before = this.#panicking;
    this.#panicking = this.balancer.candidates.panicking;
    if (this.#panicking && !before) this.onPanic?.();
  }
}

function exclusionOf(detection: OutlierDetection): Exclusion<UpstreamEndpoint> {
  return {
    isExcluded: ({ name }) => detection.isEjected(name),
    get panicThresholdPercent() {
      return detection.panicThresholdPercent;
    },
  };
}
