// Where the dependencies are now. Kept apart from the plan: pods come and go all day, and must not touch the state of any policy.
import * as z from 'zod';
import { boundedList } from './bounded.ts';
import { PLAN_LIMITS } from './plan.ts';

/** A zone is a label's value; a node's name is a DNS name. Kubernetes allows eight of each. */
const places = z.array(z.string().min(1).max(253)).min(1).max(8);

export const endpoint = z.object({
  address: z.string().max(64),
  port: z.number().int().min(1).max(65_535),
  /** Zones, and nodes, whose calls it is to take: the hints of its EndpointSlice; absent: no hint. */
  zones: places.optional(),
  nodes: places.optional(),
});
export type Endpoint = z.infer<typeof endpoint>;

/** Where a pod runs; empty: not known. */
export const placement = z.object({ node: z.string().max(253), zone: z.string().max(253) });
export type Placement = z.infer<typeof placement>;

/**
 * The usable endpoints of one Service port, chosen by the operator as kube-proxy would: the ready ones, or where there are none, the
 * serving ones among those that terminate, which carry no hints. An empty list is knowledge (scaled to zero); a key that is absent is not (unknown).
 */
export const endpointSet = z.object({
  key: z.string().max(640),
  endpoints: boundedList(endpoint, { max: PLAN_LIMITS.endpointsPerSet }),
});
export type EndpointSet = z.infer<typeof endpointSet>;

/** Key of a set: "<namespace>/<service>:<port>". */
export function endpointsKey(namespace: string, service: string, port: number): string {
  return `${namespace}/${service}:${port}`;
}

/** The same place of a host outside the cluster: "host:<name>:<port>". No set of the stream has it. */
export function hostKey(name: string, port: number): string {
  return `host:${name}:${port}`;
}
