// EndpointSlices → the usable endpoints of one Service port, chosen as kube-proxy would: the ready ones; where none is ready, those that
// still serve while they terminate. Empty and unknown are different answers: a Service whose slices hold nothing usable is scaled to
// zero (an empty set); one without any slice has not been looked at yet by whoever makes them (no set, and the ClusterIP stands in).
import type { Endpoint, EndpointSet } from '../../plan/endpoints.ts';
import { PLAN_LIMITS } from '../../plan/plan.ts';
import type { CompiledDependency } from './dependencies.ts';
import { problem } from './problem.ts';
import type { Problem } from './result.ts';
import type { WorldEndpointSlice, WorldService, WorldServicePort } from './world.ts';
import { keyOf, type WorldIndex } from './world-index.ts';

type Family = 'IPv4' | 'IPv6';

/** Of each kind; Kubernetes allows no more. */
const MAX_HINTS = 8;

export interface ChosenEndpoints {
  set: EndpointSet;
  /** How many usable endpoints did not fit into the set. */
  omitted: number;
}

/** Undefined: unknown. Slices that are not of this Service must not be among `slices`; their order does not matter. */
export function chooseEndpoints(
  key: string,
  service: Pick<WorldService, 'clusterIPs'>,
  port: WorldServicePort,
  slices: readonly WorldEndpointSlice[],
): ChosenEndpoints | undefined {
  const family = familyOf(service, slices);
  if (family === undefined) return undefined;
  const ready = new Map<string, Endpoint>();
  const draining = new Map<string, Endpoint>();
  for (const slice of slices) {
    if (slice.addressType !== family) continue;
    const number = portNumber(slice, port);
    if (number === undefined) continue;
    for (const endpoint of slice.endpoints) {
      // Addresses beyond the first are the same endpoint; Kubernetes asks consumers to use the first alone.
      const address = endpoint.addresses[0];
      if (address === undefined) continue;
      // While slices are rebalanced an endpoint may be in two of them; an address and port is one endpoint.
      const identity = `${address} ${number}`;
      if (endpoint.ready) ready.set(identity, { address, port: number, ...hintsOf(endpoint) });
      else if (endpoint.serving && endpoint.terminating) draining.set(identity, { address, port: number });
    }
  }
  const usable = [...(ready.size > 0 ? ready : draining).values()].sort(byAddress);
  const endpoints = usable.slice(0, PLAN_LIMITS.endpointsPerSet);
  return { set: { key, endpoints }, omitted: usable.length - endpoints.length };
}

/** As kube-proxy: hints are for the ready ones; where only draining ones are left, every one of them is for everybody. */
function hintsOf({ hints }: WorldEndpointSlice['endpoints'][number]): Pick<Endpoint, 'zones' | 'nodes'> {
  if (hints === undefined) return {};
  const { zones, nodes } = hints;
  return {
    ...(zones.length > 0 ? { zones: zones.slice(0, MAX_HINTS) } : {}),
    ...(nodes.length > 0 ? { nodes: nodes.slice(0, MAX_HINTS) } : {}),
  };
}

/** The family of the Service's first ClusterIP, else IPv4; the other one where only that has slices. Names (FQDN) are no addresses. */
function familyOf(
  service: Pick<WorldService, 'clusterIPs'>,
  slices: readonly WorldEndpointSlice[],
): Family | undefined {
  const preferred: Family = service.clusterIPs[0]?.includes(':') ? 'IPv6' : 'IPv4';
  const other: Family = preferred === 'IPv4' ? 'IPv6' : 'IPv4';
  return [preferred, other].find((family) => slices.some((slice) => slice.addressType === family));
}

/** Slices carry resolved numbers under the Service port's name; an entry without a number stands for all ports, under their own number. */
function portNumber(slice: WorldEndpointSlice, port: WorldServicePort): number | undefined {
  const named = slice.ports.find((candidate) => candidate.name === port.name);
  if (named !== undefined) return named.port ?? port.port;
  return slice.ports.some((candidate) => candidate.port === undefined) ? port.port : undefined;
}

function byAddress(a: Endpoint, b: Endpoint): number {
  if (a.address !== b.address) return a.address < b.address ? -1 : 1;
  return a.port - b.port;
}

/** The set of every dependency whose endpoints are known, by key in key order. */
export function compileEndpointSets(
  index: WorldIndex,
  dependencies: readonly CompiledDependency[],
): { sets: ReadonlyMap<string, EndpointSet>; problems: readonly Problem[] } {
  const chosen = new Map<string, ChosenEndpoints | undefined>();
  const problems: Problem[] = [];
  for (const { owner, field, target, plan } of dependencies) {
    // Where a host is, the sidecar asks DNS.
    if (target === undefined) continue;
    const { service, port } = target;
    const key = plan.endpointsKey;
    if (!chosen.has(key)) chosen.set(key, chooseEndpoints(key, service, port, index.slices.get(keyOf(service)) ?? []));
    const omitted = chosen.get(key)?.omitted ?? 0;
    if (omitted > 0) {
      const place = { kind: owner.kind, object: owner.metadata, field: `${field}.service` };
      const details = { service: keyOf(service), limit: PLAN_LIMITS.endpointsPerSet, omitted };
      problems.push(problem('TooManyEndpoints', place, details));
    }
  }
  const sets = new Map<string, EndpointSet>();
  for (const key of [...chosen.keys()].sort()) {
    const found = chosen.get(key);
    if (found) sets.set(key, found.set);
  }
  return { sets, problems };
}
