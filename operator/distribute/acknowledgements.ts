// What the sidecars say of themselves: which version each applied, which of its circuits are not closed, and which endpoints get no calls.
// Kept per pod, and forgotten a while after its last stream ended, so that a sidecar that only reconnects is never missing in between. What
// other replicas know of theirs is added up with it: of a pod that several know, the one to which it came last is right.
//
// Nothing here trusts a sidecar further than its own workload: state that is not in its plan does not count, and each counts once.
import type { AcknowledgementReport, CircuitReport, CircuitState } from '../../plan/wire.ts';
import type { PodIdentity } from './authenticate.ts';
import {
  type ExclusionSummary,
  exclusionKey,
  isKnown,
  knownExclusions,
  mostFrequent,
  type ReportedExclusion,
  summariseExclusions,
} from './exclusions.ts';
import type { StreamKind } from './metrics.ts';
import { knownOpaque, type OpaqueSummary, type ReportedOpaque, summariseOpaque } from './opaque.ts';
import type { PlanSnapshot } from './snapshots.ts';
import { knownTls, type ReportedTls, summariseTls, type TlsSummary } from './tls-reports.ts';

/** How long a pod without a stream is still counted. */
export const SESSION_GRACE_MS = 30_000;

export interface Session {
  pod: PodIdentity;
  workloadId: string;
  streams: number;
  /** When its last stream ended; Infinity while one is open. Monotonic. */
  idleSinceMs: number;
  planStreams: number;
  /** When its last plan stream opened; -Infinity: none ever did here. Monotonic. */
  planOpenedMs: number;
  /** Grows with each change of it. */
  change: number;
  plan: { version: string; applied: boolean; message: string } | undefined;
  endpoints: { version: string; applied: boolean; message: string } | undefined;
  locallyDisabled: boolean;
  circuits: CircuitReport['circuits'];
  exclusions: readonly ReportedExclusion[];
  opaque: readonly ReportedOpaque[];
  tls: readonly ReportedTls[];
}

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

/** Text of a sidecar goes into status and logs: one line, no control characters. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what is removed
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim();
}

type ReportedCircuit = CircuitReport['circuits'][number];

function circuitKey({ dependency, stateKey }: Pick<ReportedCircuit, 'dependency' | 'stateKey'>): string {
  return JSON.stringify([dependency, stateKey]);
}

function isInPlan(plan: PlanSnapshot, { dependency, stateKey }: ReportedCircuit): boolean {
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

/** Whether the pod of both came to the replica of `a` after it came to that of `b`. */
function isNewer(a: Session, b: Session): boolean {
  const openA = a.planStreams > 0;
  if (openA !== b.planStreams > 0) return openA;
  return a.planOpenedMs > b.planOpenedMs;
}

export interface SessionsOptions {
  /** Sessions of other replicas; their times by our clock. */
  elsewhere?: () => Iterable<Session>;
  /** Called after each change of a session here. */
  onTouch?: () => void;
}

export class Sessions {
  readonly #byUid = new Map<string, Session>();
  readonly #options: SessionsOptions;
  #changes = 0;

  constructor(options: SessionsOptions = {}) {
    this.#options = options;
  }

  /** By uid of the pod, those of this replica alone. */
  here(): ReadonlyMap<string, Readonly<Session>> {
    return this.#byUid;
  }

  /** A stream of this pod opened. A pod whose workload is another one now starts over. */
  opened(pod: PodIdentity, workloadId: string, stream: StreamKind, nowMs: number): void {
    const session = this.#session(pod, workloadId);
    session.streams += 1;
    session.idleSinceMs = Number.POSITIVE_INFINITY;
    if (stream === 'plan') {
      session.planStreams += 1;
      session.planOpenedMs = nowMs;
    }
    this.#touch(session);
  }

  closed(pod: PodIdentity, stream: StreamKind, nowMs: number): void {
    const session = this.#byUid.get(pod.uid);
    if (!session) return;
    session.streams = Math.max(0, session.streams - 1);
    if (stream === 'plan') session.planStreams = Math.max(0, session.planStreams - 1);
    if (session.streams === 0) session.idleSinceMs = nowMs;
    this.#touch(session);
  }

  /** The pod does not exist any more. */
  gone(pod: PodIdentity): void {
    this.#forget(pod.uid);
  }

  /** Forgets the pods whose grace is over; true when there were any. */
  expire(nowMs: number): boolean {
    let changed = false;
    for (const [uid, session] of this.#byUid) {
      if (nowMs - session.idleSinceMs < SESSION_GRACE_MS) continue;
      this.#forget(uid);
      changed = true;
    }
    return changed;
  }

  /** Forgets pods without a stream that do not exist any more, so that a rollout does not leave its dead behind for the grace. */
  forgetIdle(exists: (pod: PodIdentity) => boolean): boolean {
    let changed = false;
    for (const [uid, session] of this.#byUid) {
      if (session.streams > 0 || exists(session.pod)) continue;
      this.#forget(uid);
      changed = true;
    }
    return changed;
  }

  /** The version that a sidecar names when it opens a stream is one that it applied. True when that is news. */
  resumed(pod: PodIdentity, stream: StreamKind, version: string): boolean {
    const session = this.#byUid.get(pod.uid);
    if (!session || session[stream]?.version === version) return false;
    session[stream] = { version, applied: true, message: '' };
    this.#touch(session);
    return true;
  }

  /** True when something changed. */
  acknowledge(pod: PodIdentity, workloadId: string, report: AcknowledgementReport, nowMs: number): boolean {
    const session = this.#posted(pod, workloadId, nowMs);
    const before = session[report.stream];
    const message = oneLine(report.message);
    const changed =
      before?.version !== report.version ||
      before.applied !== report.applied ||
      before.message !== message ||
      session.locallyDisabled !== report.locallyDisabled;
    session[report.stream] = { version: report.version, applied: report.applied, message };
    session.locallyDisabled = report.locallyDisabled;
    if (changed) this.#touch(session);
    return changed;
  }

  /** Replaces what the pod said before. True when something changed. */
  report(pod: PodIdentity, plan: PlanSnapshot, report: CircuitReport, nowMs: number): boolean {
    const session = this.#posted(pod, plan.workloadId, nowMs);
    const byKey = new Map<string, ReportedCircuit>();
    for (const circuit of report.circuits) {
      if (circuit.state === 'Closed' || !isInPlan(plan, circuit)) continue;
      byKey.set(circuitKey(circuit), { ...circuit, reason: oneLine(circuit.reason) });
    }
    const circuits = [...byKey.values()];
    const exclusions = knownExclusions(plan, report.exclusions ?? [], oneLine);
    const opaque = knownOpaque(plan, report.opaque ?? []);
    const tls = knownTls(plan, report.tls ?? [], oneLine);
    const changed =
      JSON.stringify(opaque) !== JSON.stringify(session.opaque) ||
      JSON.stringify(circuits) !== JSON.stringify(session.circuits) ||
      JSON.stringify(exclusions) !== JSON.stringify(session.exclusions) ||
      JSON.stringify(tls) !== JSON.stringify(session.tls);
    session.circuits = circuits;
    session.exclusions = exclusions;
    session.opaque = opaque;
    session.tls = tls;
    if (changed) this.#touch(session);
    return changed;
  }

  /** Per workload; `planOf` gives the current plan of one, `notSent` the workloads whose newest plan cannot be sent. */
  applied(
    planOf: (workloadId: string) => PlanSnapshot | undefined,
    notSent: ReadonlyMap<string, string>,
  ): Map<string, AppliedSummary> {
    const byWorkload = Map.groupBy(this.#everywhere(), (session) => session.workloadId);
    const summaries = new Map<string, AppliedSummary>();
    for (const workloadId of new Set([...byWorkload.keys(), ...notSent.keys()])) {
      const version = planOf(workloadId)?.version;
      const sessions = (byWorkload.get(workloadId) ?? []).toSorted((a, b) => (a.pod.name < b.pod.name ? -1 : 1));
      const current = sessions.filter((session) => session.plan?.version === version);
      const applied = current.filter((session) => session.plan?.applied === true);
      const tooLarge = notSent.get(workloadId);
      const nacks = current
        .filter((session) => session.plan?.applied === false)
        .map((session) => ({ pod: session.pod.name, message: session.plan?.message ?? '' }));
      summaries.set(workloadId, {
        applied: tooLarge === undefined ? applied.length : 0,
        of: sessions.length,
        nacks: tooLarge === undefined ? nacks : [{ pod: '*', message: tooLarge }, ...nacks],
        locallyDisabled: sessions.filter((session) => session.locallyDisabled).map((session) => session.pod.name),
        appliedPods: tooLarge === undefined ? applied.map((session) => session.pod.name) : [],
      });
    }
    return summaries;
  }

  /** Circuits that are not closed, over all pods, sorted. */
  circuits(planOf: (workloadId: string) => PlanSnapshot | undefined): CircuitSummary[] {
    const reports = new Map<string, ReportedCircuit[]>();
    for (const session of this.#everywhere()) {
      const plan = planOf(session.workloadId);
      for (const circuit of session.circuits) {
        if (plan === undefined || !isInPlan(plan, circuit)) continue;
        const key = JSON.stringify([circuit.dependency, circuit.stateKey, circuit.state]);
        const same = reports.get(key);
        if (same === undefined) reports.set(key, [circuit]);
        else same.push(circuit);
      }
    }
    const totals = this.#totals((workloadId) => planOf(workloadId)?.circuits);
    return [...reports]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([, [first, ...others]]) =>
        first === undefined ? [] : [summarise([first, ...others], totals.get(circuitKey(first)) ?? 0)],
      );
  }

  /** Endpoints that get no calls, over all pods, sorted. */
  exclusions(planOf: (workloadId: string) => PlanSnapshot | undefined): ExclusionSummary[] {
    const reports = new Map<string, [ReportedExclusion, ...ReportedExclusion[]]>();
    for (const session of this.#everywhere()) {
      const plan = planOf(session.workloadId);
      for (const exclusion of session.exclusions) {
        if (plan === undefined || !isKnown(plan, exclusion)) continue;
        const key = exclusionKey(exclusion);
        const same = reports.get(key);
        if (same === undefined) reports.set(key, [exclusion]);
        else same.push(exclusion);
      }
    }
    const totals = this.#totals((workloadId) => planOf(workloadId)?.exclusions);
    return [...reports]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, same]) => summariseExclusions(same, totals.get(key) ?? 0));
  }

  /** Where something else than HTTP was found, over all pods, sorted. */
  opaque(planOf: (workloadId: string) => PlanSnapshot | undefined): OpaqueSummary[] {
    const reports = new Map<string, [ReportedOpaque, ...ReportedOpaque[]]>();
    const totals = new Map<string, number>();
    for (const session of this.#everywhere()) {
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
  tls(planOf: (workloadId: string) => PlanSnapshot | undefined): TlsSummary[] {
    const sessions = [...this.#everywhere()];
    const totals = new Map<string, number>();
    for (const { workloadId } of sessions)
      for (const host of planOf(workloadId)?.tlsHosts ?? []) totals.set(host, (totals.get(host) ?? 0) + 1);
    const reports = sessions.map(({ tls, workloadId }) =>
      tls.filter(({ dependency }) => planOf(workloadId)?.tlsHosts.has(dependency)),
    );
    return summariseTls(reports, (dependency) => totals.get(dependency) ?? 0);
  }

  /** By dependency and state key: how many sidecars have that state. */
  #totals(
    statesOf: (workloadId: string) => ReadonlyMap<string, ReadonlySet<string>> | undefined,
  ): ReadonlyMap<string, number> {
    const sidecars = new Map<string, number>();
    for (const { workloadId } of this.#everywhere()) sidecars.set(workloadId, (sidecars.get(workloadId) ?? 0) + 1);
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

  /** One session of each pod. */
  #everywhere(): Iterable<Session> {
    const merged = new Map(this.#byUid);
    for (const session of this.#options.elsewhere?.() ?? []) {
      const known = merged.get(session.pod.uid);
      if (known === undefined || isNewer(session, known)) merged.set(session.pod.uid, session);
    }
    return merged.values();
  }

  #touch(session: Session): void {
    session.change = ++this.#changes;
    this.#options.onTouch?.();
  }

  #forget(uid: string): void {
    if (this.#byUid.delete(uid)) this.#options.onTouch?.();
  }

  #session(pod: PodIdentity, workloadId: string): Session {
    const known = this.#byUid.get(pod.uid);
    if (known?.workloadId === workloadId) return known;
    const session: Session = {
      pod,
      workloadId,
      streams: known?.streams ?? 0,
      idleSinceMs: known?.idleSinceMs ?? Number.POSITIVE_INFINITY,
      planStreams: known?.planStreams ?? 0,
      planOpenedMs: known?.planOpenedMs ?? Number.NEGATIVE_INFINITY,
      change: ++this.#changes,
      plan: undefined,
      endpoints: undefined,
      locallyDisabled: known?.locallyDisabled ?? false,
      circuits: [],
      exclusions: [],
      opaque: [],
      tls: [],
    };
    this.#byUid.set(pod.uid, session);
    return session;
  }

  /** A report may come before the stream it belongs to, or after; without a stream its grace begins anew. */
  #posted(pod: PodIdentity, workloadId: string, nowMs: number): Session {
    const session = this.#session(pod, workloadId);
    if (session.streams === 0) {
      session.idleSinceMs = nowMs;
      this.#touch(session);
    }
    return session;
  }
}
