// Which endpoint of a dependency the requests of a policy go to: what narrows the choice (ejection, health checks, and the hints of zones and
// nodes), and how it is made. Rows of the plan that choose by the same states share one.
import type { Placement } from '../../../plan/endpoints.ts';
import type { HealthCheckPlan } from '../../../plan/policies/health-check.ts';
import type { Random } from '../../../runtime/random.ts';
import type { BalancedEndpoint, Exclusion } from '../../balance/candidates.ts';
import { LoadBalancer, type LoadBalancing } from '../../balance/load-balancer.ts';
import { HealthChecks } from '../../policies/health-check.ts';
import type { OutlierDetection } from '../../policies/outlier-detection.ts';
import type { UpstreamEndpoint } from '../exchange/upstream.ts';

/** Of checks without `outlierDetection`, whose field it is: its default. */
const CHECKS_PANIC_THRESHOLD_PERCENT = 50;

/** Active health checks by one block: what is asked, and what came of it. */
export interface HealthEntry {
  readonly key: string;
  plan: HealthCheckPlan;
  readonly checks: HealthChecks;
}

/** What to do with the plans of a table of health checks. `onTurn`: an endpoint has become healthy or unhealthy. */
export function healthStates(random: Random, nowMs: () => number, onTurn: (entry: HealthEntry) => void) {
  return {
    create(plan: HealthCheckPlan): HealthEntry {
      const entry: HealthEntry = { key: plan.stateKey, plan, checks: new HealthChecks(plan, random) };
      entry.checks.listener = () => onTurn(entry);
      return entry;
    },
    update(entry: HealthEntry, plan: HealthCheckPlan): void {
      entry.plan = plan;
      entry.checks.update(plan, nowMs());
    },
  };
}

/** What a choice is made of, as one plan for the table of choices. */
export interface ChoicePlan {
  /** The keys of those that are there. */
  stateKey: string;
  /** Null: nobody is ejected. */
  detection: OutlierDetection | null;
  /** Null: nobody is unhealthy. */
  health: HealthEntry | null;
  loadBalancing: LoadBalancing;
}

export class EndpointChoice {
  /** The state keys of what it goes by: "outlierDetection:base healthCheck:base". */
  readonly key: string;
  readonly detection: OutlierDetection | null;
  readonly health: HealthEntry | null;
  #balancer: LoadBalancer<UpstreamEndpoint>;
  /** How it chooses. */
  loadBalancing: LoadBalancing;
  /** Called when panic begins. */
  onPanic: (() => void) | null = null;
  #panicking = false;

  constructor({ stateKey, detection, health, loadBalancing }: ChoicePlan, random: Random) {
    this.key = stateKey;
    this.detection = detection;
    this.health = health;
    this.loadBalancing = loadBalancing;
    this.#balancer = new LoadBalancer(loadBalancing, exclusionOf(detection, health?.checks ?? null), random);
  }

  get balancer(): LoadBalancer<UpstreamEndpoint> {
    return this.#balancer;
  }

  /** No row names it any more, and nobody tells it of endpoints: requests of before, which still may try again, go by another one. */
  retire(successor: EndpointChoice): void {
    this.#balancer = successor.#balancer;
  }

  /** Too few endpoints are left, so that all are used. */
  get panicking(): boolean {
    return this.#panicking;
  }

  /** What may be picked now. */
  get pickable(): readonly UpstreamEndpoint[] {
    return this.#balancer.candidates.pickable;
  }

  /** How many may be picked now beside this one; none where it is not of those that are chosen from. */
  othersThan(endpoint: BalancedEndpoint): number {
    const { all, pickable } = this.#balancer.candidates;
    const isIn = (endpoints: readonly BalancedEndpoint[]) => endpoints.includes(endpoint);
    return isIn(all) ? pickable.length - (isIn(pickable) ? 1 : 0) : 0;
  }

  /** New numbers, of the detection too. */
  update({ loadBalancing }: ChoicePlan): void {
    this.loadBalancing = loadBalancing;
    this.#balancer.update(loadBalancing);
    this.#look();
  }

  setEndpoints(all: readonly UpstreamEndpoint[], placement: Placement): void {
    this.#balancer.setPlacement(placement);
    this.#balancer.setEndpoints(all);
    this.#look();
  }

  /** What is ejected or unhealthy has changed. */
  refresh(): void {
    this.#balancer.candidates.refresh();
    this.#look();
  }

  #look(): void {
    const before = this.#panicking;
    this.#panicking = this.#balancer.candidates.panicking;
    if (this.#panicking && !before) this.onPanic?.();
  }
}

/** One exclusion of both: who is ejected or unhealthy is out, and one threshold says when too few are left. */
function exclusionOf(
  detection: OutlierDetection | null,
  checks: HealthChecks | null,
): Exclusion<UpstreamEndpoint> | null {
  if (detection === null && checks === null) return null;
  return {
    isExcluded: ({ name }) => detection?.isEjected(name) === true || checks?.isUnhealthy(name) === true,
    get panicThresholdPercent() {
      return detection?.panicThresholdPercent ?? CHECKS_PANIC_THRESHOLD_PERCENT;
    },
  };
}
