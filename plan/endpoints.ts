// Where the dependencies are now. Kept apart from the plan: pods come and go all day, and must not touch the state of any policy.
import { z } from 'zod';
import { boundedList } from './bounded.ts';
import { PLAN_LIMITS } from './plan.ts';

export const endpoint = z.object({
  address: z.string().max(64),
  port: z.number().int().min(1).max(65_535),
});
export type Endpoint = z.infer<typeof endpoint>;

/**
 * The usable endpoints of one Service port, chosen by the operator as kube-proxy would: the ready ones, or where there are none, the
 * serving ones among those that terminate. An empty list is knowledge (scaled to zero); a key that is absent is not (unknown).
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
