import { BalancedEndpoint, EndpointCandidates, type Exclusion } from '../candidates.ts';

export interface GivenEndpoint {
  name?: string;
  inFlight?: number;
  joinedAtMs?: number;
}

/** Endpoints of one dependency, named e0, e1 … where nothing else is said. */
export function endpointsOf(given: readonly GivenEndpoint[]): BalancedEndpoint[] {
  const total = { inFlight: 0 };
  return given.map(({ name, inFlight = 0, joinedAtMs = -1 }, index) => {
    const endpoint = new BalancedEndpoint(name ?? `e${index}`);
    endpoint.total = total;
    for (let attempt = 0; attempt < inFlight; attempt++) endpoint.begin();
    endpoint.joinedAtMs = joinedAtMs;
    return endpoint;
  });
}

/** Excludes what the set holds, whenever it is asked. */
export function excluding(
  excluded: ReadonlySet<BalancedEndpoint>,
  panicThresholdPercent = 50,
): Exclusion<BalancedEndpoint> {
  return { isExcluded: (endpoint) => excluded.has(endpoint), panicThresholdPercent };
}

export function candidatesOf(
  endpoints: readonly BalancedEndpoint[],
  excluded: ReadonlySet<BalancedEndpoint> = new Set(),
): EndpointCandidates<BalancedEndpoint> {
  const candidates = new EndpointCandidates<BalancedEndpoint>();
  candidates.setOptions({ exclusion: excluding(excluded), node: '', zone: '' });
  candidates.setEndpoints(endpoints);
  return candidates;
}

/** How many of the picks fall on each name. */
export function tally(picks: number, pick: (at: number) => BalancedEndpoint | null): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let at = 0; at < picks; at++) {
    const name = pick(at)?.name ?? 'none';
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
