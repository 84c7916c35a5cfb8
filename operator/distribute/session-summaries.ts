// What the sidecars of all replicas say, added up: per workload how far its plan is, and per dependency what of it is not well. Pure.
import type { CircuitReport, CircuitState } from '../../plan/wire.ts';
import type { Session } from './acknowledgements.ts';
import {
  type ExclusionSummary,
  exclusionKey,
  isKnown,
  mostFrequent,
  type ReportedExclusion,
  summariseExclusions,
} from './exclusions.ts';
import { knownOpaque, type OpaqueSummary, type ReportedOpaque, summariseOpaque } from './opaque.ts';
import type { PlanSnapshot } from './snapshots.ts';
import { summariseTls, type TlsSummary } from './tls-reports.ts';

/** The current plan of a workload. */
export type PlanOf = (workloadId: string) => PlanSnapshot | undefined;

/** How far one workload's sidecars are with its current plan. */
export interface AppliedSummary {
  /** Sidecars that said they applied the current version. */
  applied: number;
  /** Sidecars that are connected, or were a moment ago. */
  of: number;
  /** Sidecars that could not apply it and keep the one before. `pod`: its name; "*": no sidecar was sent it. */
  nacks: readonly { pod: string; message: string }[];
  /** Names of the pods whose local kill switch is thrown. */
  locallyDisabled: readonly string[];
  /** Names of the pods that applied the current version. */
  appliedPods: readonly string[];
}

export interface CircuitSummary {
  dependencyId: string;
  stateKey: string;
  state: CircuitState;
  /** How many sidecars report this state. */
  sidecars: number;
  /** How many sidecars are connected, or were a moment ago, that have this circuit. */
  totalSidecars: number;
  /** When the first of them came into this state. */
  sinceUnixMs: number;
  /** When the first of them opened it after it had been closed. */
  failingSinceUnixMs: number;
  /** When the first of them lets probes through; undefined where none is open, or none says it. */
  nextProbeUnixMs: number | undefined;
  /** The most of them. */
  reopenings: number;
  /** What most of them say. */
  reason: string;
}

export type ReportedCircuit = CircuitReport['circuits'][number];

export function circuitKey({ dependency, stateKey }: Pick<ReportedCircuit, 'dependency' | 'stateKey'>): string {
  return JSON.stringify([dependency, stateKey]);
}

export function isInPlan(plan: PlanSnapshot, { dependency, stateKey }: ReportedCircuit): boolean {
  return plan.circuits.get(dependency)?.has(stateKey) === true;
}

/** Reports of one circuit in one state, by all the sidecars that hold it there. */
function summarise(reports: readonly [ReportedCircuit, ...ReportedCircuit[]], totalSidecars: number): CircuitSummary {
  const [{ dependency, stateKey, state }] = reports;
  const probes = reports.flatMap(({ nextProbe }) => (state === 'Open' && nextProbe !== undefined ? [nextProbe] : []));
  return {
    dependencyId: dependency,
    stateKey,
    state,
    sidecars: reports.length,
    totalSidecars,
    sinceUnixMs: least(reports.map(({ since }) => since)),
    failingSinceUnixMs: least(reports.map(({ failingSince, since }) => failingSince ?? since)),
    nextProbeUnixMs: probes.length === 0 ? undefined : least(probes),
    reopenings: -least(reports.map(({ reopenings }) => -(reopenings ?? 0))),
    reason: mostFrequent(reports.map(({ reason }) => reason)),
  };
}

/** Without spreading into Math.min: as many arguments as sidecars may be more than the stack holds. */
function least(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
}

/** Per workload; `planOf` gives the current plan of one, `notSent` the workloads whose newest plan cannot be sent. */
export function appliedSummaries(
  sessions: readonly Session[],
  planOf: PlanOf,
  notSent: ReadonlyMap<string, string>,
): Map<string, AppliedSummary> {
  const byWorkload = Map.groupBy(sessions, (session) => session.workloadId);
  const summaries = new Map<string, AppliedSummary>();
  for (const workloadId of new Set([...byWorkload.keys(), ...notSent.keys()])) {
    const version = planOf(workloadId)?.version;
    const own = (byWorkload.get(workloadId) ?? []).toSorted((a, b) => (a.pod.name < b.pod.name ? -1 : 1));
    const current = own.filter((session) => session.plan?.version === version);
    const applied = current.filter((session) => session.plan?.applied === true);
    const tooLarge = notSent.get(workloadId);
    const nacks = current
      .filter((session) => session.plan?.applied === false)
      .map((session) => ({ pod: session.pod.name, message: session.plan?.message ?? '' }));
    summaries.set(workloadId, {
      applied: tooLarge === undefined ? applied.length : 0,
      of: own.length,
      nacks: tooLarge === undefined ? nacks : [{ pod: '*', message: tooLarge }, ...nacks],
      locallyDisabled: own.filter((session) => session.locallyDisabled).map((session) => session.pod.name),
      appliedPods: tooLarge === undefined ? applied.map((session) => session.pod.name) : [],
    });
  }
  return summaries;
}

/** Circuits that are not closed, over all pods, sorted. */
export function circuitSummaries(sessions: readonly Session[], planOf: PlanOf): CircuitSummary[] {
  const reports = new Map<string, ReportedCircuit[]>();
  for (const session of sessions) {
    const plan = planOf(session.workloadId);
    for (const circuit of session.circuits) {
      if (plan === undefined || !isInPlan(plan, circuit)) continue;
      const key = JSON.stringify([circuit.dependency, circuit.stateKey, circuit.state]);
      const same = reports.get(key);
      if (same === undefined) reports.set(key, [circuit]);
      else same.push(circuit);
    }
  }
  const totals = totalsOf(sessions, (workloadId) => planOf(workloadId)?.circuits);
  return [...reports]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, [first, ...others]]) =>
      first === undefined ? [] : [summarise([first, ...others], totals.get(circuitKey(first)) ?? 0)],
    );
}

/** Endpoints that get no calls, over all pods, sorted. */
export function exclusionSummaries(sessions: readonly Session[], planOf: PlanOf): ExclusionSummary[] {
  const reports = new Map<string, [ReportedExclusion, ...ReportedExclusion[]]>();
  for (const session of sessions) {
    const plan = planOf(session.workloadId);
    for (const exclusion of session.exclusions) {
      if (plan === undefined || !isKnown(plan, exclusion)) continue;
      const key = exclusionKey(exclusion);
      const same = reports.get(key);
      if (same === undefined) reports.set(key, [exclusion]);
      else same.push(exclusion);
    }
  }
  const totals = totalsOf(sessions, (workloadId) => planOf(workloadId)?.exclusions);
  return [...reports]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, same]) => summariseExclusions(same, totals.get(key) ?? 0));
}

/** Where something else than HTTP was found, over all pods, sorted. */
export function opaqueSummaries(sessions: readonly Session[], planOf: PlanOf): OpaqueSummary[] {
  const reports = new Map<string, [ReportedOpaque, ...ReportedOpaque[]]>();
  const totals = new Map<string, number>();
  for (const session of sessions) {
    const plan = planOf(session.workloadId);
    if (plan === undefined) continue;
    for (const dependency of plan.circuits.keys()) totals.set(dependency, (totals.get(dependency) ?? 0) + 1);
    for (const found of knownOpaque(plan, session.opaque)) {
      const same = reports.get(found.dependency);
      if (same === undefined) reports.set(found.dependency, [found]);
      else same.push(found);
    }
  }
  return [...reports]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([dependency, same]) => summariseOpaque(same, totals.get(dependency) ?? 0));
}

/** What is wrong with TLS to hosts, over all pods, sorted. */
export function tlsSummaries(sessions: readonly Session[], planOf: PlanOf): TlsSummary[] {
  const totals = new Map<string, number>();
  for (const { workloadId } of sessions)
    for (const host of planOf(workloadId)?.tlsHosts ?? []) totals.set(host, (totals.get(host) ?? 0) + 1);
  const reports = sessions.map(({ tls, workloadId }) =>
    tls.filter(({ dependency }) => planOf(workloadId)?.tlsHosts.has(dependency)),
  );
  return summariseTls(reports, (dependency) => totals.get(dependency) ?? 0);
}

/** By dependency and state key: how many sidecars have that state. */
function totalsOf(
  sessions: readonly Session[],
  statesOf: (workloadId: string) => ReadonlyMap<string, ReadonlySet<string>> | undefined,
): ReadonlyMap<string, number> {
  const sidecars = new Map<string, number>();
  for (const { workloadId } of sessions) sidecars.set(workloadId, (sidecars.get(workloadId) ?? 0) + 1);
  const totals = new Map<string, number>();
  for (const [workloadId, count] of sidecars) {
    for (const [dependency, stateKeys] of statesOf(workloadId) ?? []) {
      for (const stateKey of stateKeys) {
        const key = circuitKey({ dependency, stateKey });
        totals.set(key, (totals.get(key) ?? 0) + count);
      }
    }
  }
  return totals;
}
