// What the sidecars say of themselves: which version each applied, which of its circuits are not closed, and which endpoints get no calls.
// Kept per pod, and forgotten a while after its last stream ended, so that a sidecar that only reconnects is never missing in between. What
// other replicas know of theirs is taken with it: of a pod that several know, the one to which it came last is right. What they come to,
// all together, is in session-summaries.ts.
//
// Nothing here trusts a sidecar further than its own workload: state that is not in its plan does not count, and each counts once.
import type { AcknowledgementReport, CircuitReport } from '../../plan/wire.ts';
import type { PodIdentity } from './authenticate.ts';
import { type ExclusionSummary, knownExclusions, type ReportedExclusion } from './exclusions.ts';
import type { StreamKind } from './metrics.ts';
import { knownOpaque, type OpaqueSummary, type ReportedOpaque } from './opaque.ts';
import {
  type AppliedSummary,
  appliedSummaries,
  type CircuitSummary,
  circuitKey,
  circuitSummaries,
  exclusionSummaries,
  isInPlan,
  opaqueSummaries,
  type PlanOf,
  type ReportedCircuit,
  tlsSummaries,
} from './session-summaries.ts';
import type { PlanSnapshot } from './snapshots.ts';
import { knownTls, type ReportedTls, type TlsSummary } from './tls-reports.ts';

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

/** Text of a sidecar goes into status and logs: one line, no control characters. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what is removed
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim();
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

  /** See `appliedSummaries`. */
  applied(planOf: PlanOf, notSent: ReadonlyMap<string, string>): Map<string, AppliedSummary> {
    return appliedSummaries(this.#everywhere(), planOf, notSent);
  }

  /** Circuits that are not closed, over all pods, sorted. */
  circuits(planOf: PlanOf): CircuitSummary[] {
    return circuitSummaries(this.#everywhere(), planOf);
  }

  /** Endpoints that get no calls, over all pods, sorted. */
  exclusions(planOf: PlanOf): ExclusionSummary[] {
    return exclusionSummaries(this.#everywhere(), planOf);
  }

  /** Where something else than HTTP was found, over all pods, sorted. */
  opaque(planOf: PlanOf): OpaqueSummary[] {
    return opaqueSummaries(this.#everywhere(), planOf);
  }

  /** What is wrong with TLS to hosts, over all pods, sorted. */
  tls(planOf: PlanOf): TlsSummary[] {
    return tlsSummaries(this.#everywhere(), planOf);
  }

  /** One session of each pod. */
  #everywhere(): Session[] {
    const merged = new Map(this.#byUid);
    for (const session of this.#options.elsewhere?.() ?? []) {
      const known = merged.get(session.pod.uid);
      if (known === undefined || isNewer(session, known)) merged.set(session.pod.uid, session);
    }
    return [...merged.values()];
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
