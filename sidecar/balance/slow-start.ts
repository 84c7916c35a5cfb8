// A new endpoint gets its share of the requests bit by bit: its caches are empty, its code is not compiled yet. As in Envoy with an aggression
// of 1 the share grows linearly over a window, from a tenth on, so that it is never left cold. Endpoints of the first set that is known have
// their share from the start: a sidecar that is new has no new endpoints.
import type { Random } from '../../runtime/random.ts';
import type { BalancedEndpoint } from './candidates.ts';

const FIRST_SHARE = 0.1;

/** From 0.1 to 1: the share of what it would get without slow start. `windowMs` 0: no slow start. */
export function shareOf({ joinedAtMs }: BalancedEndpoint, windowMs: number, nowMs: number): number {
  const elapsedMs = nowMs - joinedAtMs;
  if (joinedAtMs < 0 || elapsedMs >= windowMs) return 1;
  return Math.max(FIRST_SHARE, elapsedMs / windowMs);
}

/** Whether an endpoint takes part this time: by chance, as often as its share is. Where the share is whole, chance is not asked. */
export function isWarm(endpoint: BalancedEndpoint, windowMs: number, nowMs: number, random: Random): boolean {
  const share = shareOf(endpoint, windowMs, nowMs);
  return share === 1 || random() < share;
}
