// Power of two choices: of two endpoints chosen at random, the one with less in flight (Mitzenmacher). Nearly as even as asking all of
// them, without herding every sidecar onto the one that looks idlest, and at the same cost for 3 endpoints as for 3,000.
import type { Random } from '../../runtime/random.ts';

export interface EndpointLoad {
  inFlight: number;
}

/**
 * An endpoint, or null where there is none. `avoid`: those at which this request failed, in that order. They are chosen only where there is
 * no other, and then the last of them only if it is the only one. The two candidates are distinct wherever two may be chosen.
 */
export function pickEndpoint<T extends EndpointLoad>(
  endpoints: readonly T[],
  avoid: readonly T[],
  random: Random,
): T | null {
  if (avoid.length === 0) return idlerOfTwo(endpoints, random);
  const others = endpoints.filter((endpoint) => !avoid.includes(endpoint));
  if (others.length > 0) return idlerOfTwo(others, random);
  const last = avoid[avoid.length - 1];
  return idlerOfTwo(endpoints.length > 1 ? endpoints.filter((endpoint) => endpoint !== last) : endpoints, random);
}

function idlerOfTwo<T extends EndpointLoad>(endpoints: readonly T[], random: Random): T | null {
  const count = endpoints.length;
  if (count === 0) return null;
  const firstIndex = Math.floor(random() * count);
  const first = endpoints[firstIndex] ?? null;
  if (count === 1) return first;
  const secondIndex = Math.floor(random() * (count - 1));
  const second = endpoints[secondIndex < firstIndex ? secondIndex : secondIndex + 1] ?? null;
  if (first === null || second === null) return first;
  return second.inFlight < first.inFlight ? second : first;
}
