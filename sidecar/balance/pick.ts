// Power of two choices: of two endpoints chosen at random, the one with less in flight (Mitzenmacher). Nearly as even as asking all of
// them, without herding every sidecar onto the one that looks idlest, and at the same cost for 3 endpoints as for 3,000.
import type { Random } from '../../runtime/random.ts';

export interface EndpointLoad {
  inFlight: number;
}

/**
 * An endpoint, or null where there is none. `avoid` (the one that just failed) is chosen only if it is the only one. The two candidates
 * are distinct wherever two may be chosen.
 */
export function pickEndpoint<T extends EndpointLoad>(
  endpoints: readonly T[],
  avoid: T | null,
  random: Random,
): T | null {
  const avoided = avoid === null || endpoints.length < 2 ? -1 : endpoints.indexOf(avoid);
  const count = avoided === -1 ? endpoints.length : endpoints.length - 1;
  if (count === 0) return null;
  const firstIndex = Math.floor(random() * count);
  const first = candidate(endpoints, avoided, firstIndex);
  if (count === 1) return first;
  const secondIndex = Math.floor(random() * (count - 1));
  const second = candidate(endpoints, avoided, secondIndex < firstIndex ? secondIndex : secondIndex + 1);
  if (first === null || second === null) return first;
  return second.inFlight < first.inFlight ? second : first;
}

/** The endpoint at `index` among those that are not avoided. */
function candidate<T>(endpoints: readonly T[], avoided: number, index: number): T | null {
  return endpoints[avoided === -1 || index < avoided ? index : index + 1] ?? null;
}
