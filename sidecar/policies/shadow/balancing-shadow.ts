// Load balancing in shadow: for each attempt, where it would have gone, among the endpoints and loads that are there by what is really
// done. Of algorithms that choose by chance two that are the same differ often too; so what both endpoints are expected to cost at that
// moment is added up beside, in the currency of PeakEwma.
import type { BalancedEndpoint } from '../../balance/candidates.ts';
import { costMs } from '../../balance/endpoint-cost.ts';
import type { LoadBalancer } from '../../balance/load-balancer.ts';
import { BlockShadow, type ShadowCall } from './block-shadow.ts';
import { ExpectedCost, shadowSlot } from './decisions.ts';

const SAME = shadowSlot('loadBalancing', 'same-endpoint');
const OTHER = shadowSlot('loadBalancing', 'other-endpoint');

/** What chooses. */
export interface ShadowChoice {
  readonly balancer: LoadBalancer<BalancedEndpoint>;
  /** Whether it is one of those that could be chosen: not where the application or Kubernetes chose. */
  has(endpoint: BalancedEndpoint): boolean;
}

export class BalancingShadow extends BlockShadow {
  readonly #choice: ShadowChoice;
  readonly #ownKey: () => number;

  /** `ownKey`: hash of this pod's address. */
  constructor(choice: ShadowChoice, ownKey: () => number) {
    super();
    this.#choice = choice;
    this.#ownKey = ownKey;
  }

  /** Before the attempt counts as load of its endpoint. */
  override attempt(call: ShadowCall, nowMs: number): boolean {
    const { endpoint: made, failedEndpoints, head } = call;
    if (made === null || !this.#choice.has(made)) return true;
    const { balancer } = this.#choice;
    const wanted = balancer.pick(failedEndpoints, balancer.keyOf(head, this.#ownKey()), nowMs);
    if (wanted === null) return true;
    call.count(wanted === made ? SAME : OTHER);
    if (made.measuredAtMs < 0 || wanted.measuredAtMs < 0) return true;
    const { expectedCostMs } = call.counts;
    expectedCostMs[ExpectedCost.Made] = (expectedCostMs[ExpectedCost.Made] ?? 0) + costMs(made, nowMs);
    expectedCostMs[ExpectedCost.Shadow] = (expectedCostMs[ExpectedCost.Shadow] ?? 0) + costMs(wanted, nowMs);
    return true;
  }
}
