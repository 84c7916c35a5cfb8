// Faults in shadow: which requests a game day would have hit, by chance of its own. Nobody waits, so what a delay would have changed for
// what comes after it is not told; a request that would have been answered with an error is over for the other shadows.
import type { FaultInjectionPlan } from '../../../plan/policies/fault-injection.ts';
import type { Random } from '../../../runtime/random.ts';
import { statusBits } from '../fallback.ts';
import { drawAbort, drawDelayMs } from '../fault-injection.ts';
import { BlockShadow, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';

const DELAY = shadowSlot('faultInjection', 'delay');
const ABORT = shadowSlot('faultInjection', 'abort');

export class FaultsShadow extends BlockShadow {
  readonly #plan: FaultInjectionPlan;
  readonly #random: Random;

  /** `random`: not the one that enforced policies draw from. */
  constructor(plan: FaultInjectionPlan, random: Random) {
    super();
    this.#plan = plan;
    this.#random = random;
  }

  override begin(call: ShadowCall): void {
    if (drawDelayMs(this.#plan, this.#random) > 0) call.count(DELAY);
    const statusCode = drawAbort(this.#plan, this.#random);
    if (statusCode > 0) call.end(ABORT, statusBits(statusCode));
  }
}
