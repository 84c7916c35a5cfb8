// Health checks in shadow: the endpoints are asked as they would be, and what is unhealthy by that is called all the same. Such an attempt is
// counted.
import type { HealthChecks } from '../health-check.ts';
import { BlockShadow, type ShadowCall } from './block-shadow.ts';
import { shadowSlot } from './decisions.ts';

const UNHEALTHY = shadowSlot('healthCheck', 'unhealthy-endpoint');

export class HealthShadow extends BlockShadow {
  readonly #checks: HealthChecks;
  readonly #isPanicking: () => boolean;

  /** `isPanicking`: too few endpoints would be left, so that all would be used. */
  constructor(checks: HealthChecks, isPanicking: () => boolean) {
    super();
    this.#checks = checks;
    this.#isPanicking = isPanicking;
  }

  override attempt(call: ShadowCall): boolean {
    const { endpoint } = call;
    if (endpoint !== null && this.#checks.isUnhealthy(endpoint.name) && !this.#isPanicking()) call.count(UNHEALTHY);
    return true;
  }
}
