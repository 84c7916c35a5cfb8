// What every balancing algorithm is to the rest: one question per attempt. No algorithm allocates on the way to its answer.
import type { BalancedEndpoint } from './candidates.ts';

/** The request has no key that could be hashed. */
export const NO_KEY = -1;

/** Whom to avoid where all are avoided: the last one, and where there is only one, nobody. */
export function avoidLess<T>(avoid: readonly T[]): readonly T[] {
  return avoid.length > 1 ? avoid.slice(-1) : [];
}

export interface Balancer<T extends BalancedEndpoint> {
  /**
   * Where the next attempt goes; null: there is no endpoint. `avoid`: those at which this request has failed, in that order; they are taken
   * only where there is no other, and then the last of them only if it is the only one. `key`: hash of what keeps requests together, in 0 to 2^32 - 1, or NO_KEY.
   */
  pick(avoid: readonly T[], key: number, nowMs: number): T | null;
}
