// The plan: what the sidecars of one workload must enforce. It is compiled by the operator, complete (every default filled in, every
// number in its base unit), and knows none of the words of the custom resources. A sidecar that reads a plan needs nothing else.
//
// Rules of several policies merge per request: each policy contributes its first matching rule, or its base. The plan carries that as
// `levels` (the matchers of each policy, widest target first) and a table `combinations` that maps the tuple of matched rules to a row
// of `policies`, so that a request costs a few comparisons and one array look-up.
import * as z from 'zod';
import { boundedList, indexList } from './bounded.ts';
import { tlsPlan } from './certificates.ts';
import { blockPlans, PLANNED_BLOCKS, type PlannedBlock, shadowPlans } from './policies/blocks.ts';

export const PLAN_FORMAT_VERSION = 1;

/** Bounds of everything a plan may hold; a plan beyond them is refused whole. */
export const PLAN_LIMITS = {
  frameBytes: 8 * 1024 * 1024,
  dependencies: 512,
  levelsPerDependency: 8,
  rulesPerLevel: 256,
  matchesPerRule: 16,
  headersPerMatch: 4,
  combinations: 65_536,
  policies: 65_536,
  portsPerService: 256,
  endpointsPerSet: 10_000,
  endpointSets: 512,
} as const;

const text = (max: number) => z.string().max(max);
const port = z.number().int().min(1).max(65_535);

/** Which resource each block came from, for answers and `explain`: "ResiliencePolicy shop/payments generation 3". */
const source = text(512);
const sources = z
  .object(Object.fromEntries(PLANNED_BLOCKS.map((block) => [block, source])) as Record<PlannedBlock, typeof source>)
  .partial();

export const shadowPlan = z.object(shadowPlans);
export type ShadowPlan = z.infer<typeof shadowPlan>;

/** What is enforced for the requests of one combination of rules. A null block does not act. */
export const policyPlan = z.object({
  /** Name of the narrowest matching rule, or "base"; the `rule` label of metrics. */
  rule: text(253),
  ...blockPlans,
  sources,
  /** Absent where nothing is shadowed. Its circuits and bulkheads have state of their own, under keys of their own. */
  shadow: shadowPlan.optional(),
});
export type PolicyPlan = z.infer<typeof policyPlan>;

/** A rule matches when any of its matches does; a match when everything it names does. An empty list matches every request. */
export const rulePlan = z.object({
  name: text(253),
  matches: z
    .array(
      // Strict: what narrows a match and is not understood would make its rule hold for requests that it is not meant for.
      z.strictObject({
        method: text(64).nullable(),
        path: z.object({ type: z.enum(['Exact', 'PathPrefix']), value: text(1024) }).nullable(),
        /** Names in lower case; the value of Present is empty. Absent: whatever the headers are. */
        headers: z
          .array(z.object({ name: text(64), type: z.enum(['Exact', 'Prefix', 'Present']), value: text(128) }))
          .min(1)
          .max(PLAN_LIMITS.headersPerMatch)
          .optional(),
      }),
    )
    .max(PLAN_LIMITS.matchesPerRule),
});
export type RulePlan = z.infer<typeof rulePlan>;

export const dependencyPlan = z.object({
  /** "<namespace>/<ServiceDependency>/<entry>": identity of all state of this dependency. */
  id: text(768),
  /** Name of the entry; the `dependency` label of metrics. */
  name: text(253),
  namespace: text(253),
  serviceDependency: text(253),
  criticality: z.enum(['Required', 'Optional']),
  /** Disabled by the kill switch: connections are tunnelled without the codec. */
  enforcement: z.enum(['Enabled', 'Disabled']),
  /** A value that the sidecar has not seen for this dependency resets its circuits; empty, or the first one that it sees, does nothing. */
  circuitReset: text(128).default(''),
  /** What is called: a Service of the cluster, or a host outside of it. Exactly one of the two is not null. */
  service: z
    .object({
      namespace: text(253),
      name: text(253),
      port,
      /** Every TCP port of the Service: where its name leads to the sidecar (capture `loopback`), it does for all of them. */
      ports: z.array(port).max(PLAN_LIMITS.portsPerService).default([]),
    })
    .nullable(),
  /** A host outside the cluster: a connection belongs to it by Host or SNI, and the sidecar finds its addresses by DNS. */
  host: z
    .object({
      name: text(253),
      /** As the application calls it. */
      port,
      /** The application speaks plain HTTP, and the sidecar TLS. Absent: whatever it speaks is passed on. */
      tls: tlsPlan.optional(),
    })
    .nullable()
    .default(null),
  /** Host for requests whose own Host is an IP address or localhost (capture `explicit`). */
  authority: text(512),
  /** Http: appProtocol or port name says HTTP. Opaque: it says something else. Detect: it says nothing. */
  protocol: z.enum(['Http', 'Opaque', 'Detect']),
  /** ClusterIP and port, each family: what a captured connection was sent to, and the way back where no endpoint is known. */
  destinations: z.array(z.object({ address: text(64), port })).max(4),
  /**
   * Endpoints: balance over them. ClusterIp: dial the ClusterIP (session affinity, internal traffic policy). OriginalDestination: headless.
   * Dns: balance over the addresses of `host`.
   */
  balancing: z.enum(['Endpoints', 'ClusterIp', 'OriginalDestination', 'Dns']),
  /** Key of this dependency's set on the endpoints stream; that of a host is never on it. */
  endpointsKey: text(640),
  levels: boundedList(boundedList(rulePlan, { max: PLAN_LIMITS.rulesPerLevel }), {
    max: PLAN_LIMITS.levelsPerDependency,
  }),
  /**
   * Row of `policies` for each tuple of matched rules. With n_k rules on level k and r_k = 1 + index of the rule that matched there (0: none),
   * the index is ((r_0 · (n_1 + 1) + r_1) · (n_2 + 1) + r_2) …
   */
  combinations: indexList({ min: 1, max: PLAN_LIMITS.combinations }),
  policies: boundedList(policyPlan, { min: 1, max: PLAN_LIMITS.policies }),
});
export type DependencyPlan = z.infer<typeof dependencyPlan>;

export const workloadPlan = z.object({
  formatVersion: z.literal(PLAN_FORMAT_VERSION),
  namespace: text(253),
  /** Names of the ServiceDependencies that select the workload's pods, sorted; what a workload is. */
  serviceDependencies: boundedList(text(253), { max: PLAN_LIMITS.dependencies }),
  /** Captured connections to destinations that nobody declared: passed on, passed on and counted by destination, or refused. */
  undeclared: z.enum(['Allow', 'Warn', 'Deny']).default('Allow'),
  dependencies: boundedList(dependencyPlan, { max: PLAN_LIMITS.dependencies }),
});
export type WorkloadPlan = z.infer<typeof workloadPlan>;
