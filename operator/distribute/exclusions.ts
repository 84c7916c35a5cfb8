// Endpoints that get no calls, as sidecars tell them, added up over all of them. A sidecar is trusted no further than its own workload: what
// is not in its plan does not count, and each state counts once.
import { type CircuitReport, MAX_EXCLUDED_NAMES } from '../../plan/wire.ts';
import type { PlanSnapshot } from './snapshots.ts';

export type ReportedExclusion = NonNullable<CircuitReport['exclusions']>[number];

/** What all sidecars say of one state that takes endpoints out of the choice. */
export interface ExclusionSummary {
  dependencyId: string;
  /** Of the outlier detection or the health checks. */
  stateKey: string;
  /** How many sidecars leave any endpoint out by it. */
  sidecars: number;
  /** How many sidecars are connected, or were a moment ago, that have this state. */
  totalSidecars: number;
  /** How many of `sidecars` use all endpoints nevertheless, for too few are left. */
  panickingSidecars: number;
  /** How many one of them leaves out, the most, and how many endpoints it has. */
  endpoints: number;
  totalEndpoints: number;
  /** When the first of them left one out. */
  sinceUnixMs: number;
  /** Some of the endpoints, those of most sidecars first: in how many it is out, and why, as most of these say. */
  names: readonly { endpoint: string; sidecars: number; reason: string }[];
}

/** Those of a report that the plan knows, each state once. `clean`: of text that a sidecar wrote. */
export function knownExclusions(
  plan: PlanSnapshot,
  reported: readonly ReportedExclusion[],
  clean: (text: string) => string,
): ReportedExclusion[] {
  const byKey = new Map<string, ReportedExclusion>();
  for (const exclusion of reported) {
    if (!isKnown(plan, exclusion)) continue;
    const names = exclusion.names.map(({ endpoint, reason }) => ({ endpoint: clean(endpoint), reason: clean(reason) }));
    byKey.set(exclusionKey(exclusion), { ...exclusion, names });
  }
  return [...byKey.values()];
}

export function isKnown(plan: PlanSnapshot, { dependency, stateKey }: ReportedExclusion): boolean {
  return plan.exclusions.get(dependency)?.has(stateKey) === true;
}

export function exclusionKey({ dependency, stateKey }: Pick<ReportedExclusion, 'dependency' | 'stateKey'>): string {
  return JSON.stringify([dependency, stateKey]);
}

/** `reports`: of one state, by all the sidecars that leave an endpoint out by it. */
export function summariseExclusions(
  reports: readonly [ReportedExclusion, ...ReportedExclusion[]],
  totalSidecars: number,
): ExclusionSummary {
  const [{ dependency, stateKey }] = reports;
  // The worst off; of several the one that knows more endpoints, so that the order of reports changes nothing.
  const worst = reports.reduce((one, other) => (isWorse(other, one) ? other : one));
  return {
    dependencyId: dependency,
    stateKey,
    sidecars: reports.length,
    totalSidecars,
    panickingSidecars: reports.filter(({ panicking }) => panicking).length,
    endpoints: worst.endpoints,
    totalEndpoints: Math.max(worst.totalEndpoints, worst.endpoints),
    sinceUnixMs: reports.reduce((first, { since }) => Math.min(first, since), Number.POSITIVE_INFINITY),
    names: namesOf(reports),
  };
}

function isWorse(one: ReportedExclusion, other: ReportedExclusion): boolean {
  return one.endpoints === other.endpoints
    ? one.totalEndpoints > other.totalEndpoints
    : one.endpoints > other.endpoints;
}

function namesOf(reports: readonly ReportedExclusion[]): ExclusionSummary['names'] {
  const reasons = new Map<string, string[]>();
  for (const { names } of reports) {
    for (const [endpoint, reason] of new Map(names.map((it) => [it.endpoint, it.reason]))) {
      const known = reasons.get(endpoint);
      if (known === undefined) reasons.set(endpoint, [reason]);
      else known.push(reason);
    }
  }
  return [...reasons]
    .map(([endpoint, all]) => ({ endpoint, sidecars: all.length, reason: mostFrequent(all) }))
    .toSorted((a, b) => b.sidecars - a.sidecars || (a.endpoint < b.endpoint ? -1 : 1))
    .slice(0, MAX_EXCLUDED_NAMES);
}

/** Of equally frequent texts the first by their order, so that it does not change from look to look. */
export function mostFrequent(texts: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  const [most] = [...counts].toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  return most?.[0] ?? '';
}
