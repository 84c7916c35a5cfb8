// Which endpoints of a dependency the requests of a policy may go to. It is worked out anew when an endpoint comes, goes, is ejected or
// comes back, and a request finds an array. Rows of the plan that narrow the choice by the same state share one.
import type { OutlierDetection } from '../policies/outlier-detection.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** What narrows the choice, as one plan for the table of choices. */
export interface ChoicePlan {
  stateKey: string;
  detection: OutlierDetection;
}

export class EndpointChoice {
  /** The state keys of what narrows it. */
  readonly key: string;
  readonly detection: OutlierDetection;
  /** Too few endpoints are left, so that all are used. */
  panicking = false;
  /** Called when it begins. */
  onPanic: (() => void) | null = null;
  #all: readonly UpstreamEndpoint[] = [];
  #pickable: readonly UpstreamEndpoint[] = [];

  constructor({ stateKey, detection }: ChoicePlan) {
    this.key = stateKey;
    this.detection = detection;
  }

  /** Of all endpoints that there are now, those to choose from; none only where there is none. */
  pickable(all: readonly UpstreamEndpoint[]): readonly UpstreamEndpoint[] {
    if (all !== this.#all) {
      this.#all = all;
      this.refresh();
    }
    return this.#pickable;
  }

  /** What is ejected has changed. */
  refresh(): void {
    const all = this.#all;
    const { detection } = this;
    const usable = detection.ejected.size === 0 ? all : all.filter(({ name }) => !detection.isEjected(name));
    const before = this.panicking;
    this.panicking = usable.length * 100 < all.length * detection.panicThresholdPercent || usable.length === 0;
    if (all.length === 0) this.panicking = false;
    this.#pickable = this.panicking ? all : usable;
    if (this.panicking && !before) this.onPanic?.();
  }
}
