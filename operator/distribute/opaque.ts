// Where sidecars found something else than HTTP on the connections of a dependency, added up over all of them. A sidecar is trusted no further
// than its own workload: a dependency that is not in its plan does not count, and each counts once.
import type { CircuitReport, OpaqueProtocol } from '../../plan/wire.ts';
import { mostFrequent } from './exclusions.ts';
import type { PlanSnapshot } from './snapshots.ts';

export type ReportedOpaque = NonNullable<CircuitReport['opaque']>[number];

export interface OpaqueSummary {
  dependencyId: string;
  /** What most of them found. */
  protocol: OpaqueProtocol;
  /** Some of them found HTTP there too. */
  alsoHttp: boolean;
  /** How many sidecars found it, and how many have the dependency. */
  sidecars: number;
  totalSidecars: number;
}

/** Those of a report that the plan knows, each dependency once. */
export function knownOpaque(plan: PlanSnapshot, reported: readonly ReportedOpaque[]): ReportedOpaque[] {
  const known = reported.filter(({ dependency }) => plan.circuits.has(dependency));
  return [...new Map(known.map((it) => [it.dependency, it])).values()];
}

/** `reports`: of one dependency, by all the sidecars that found it. */
export function summariseOpaque(
  reports: readonly [ReportedOpaque, ...ReportedOpaque[]],
  totalSidecars: number,
): OpaqueSummary {
  return {
    dependencyId: reports[0].dependency,
    protocol: mostFrequent(reports.map(({ protocol }) => protocol)) as OpaqueProtocol,
    alsoHttp: reports.some(({ alsoHttp }) => alsoHttp),
    sidecars: reports.length,
    totalSidecars: Math.max(totalSidecars, reports.length),
  };
}
