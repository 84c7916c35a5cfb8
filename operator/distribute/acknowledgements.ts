// What the sidecars say of themselves: which version each applied, and which of its circuits are not closed. Kept per pod, and forgotten a
// while after its last stream ended, so that a sidecar that only reconnects is never missing in between.
//
// Nothing here trusts a sidecar further than its own workload: circuits of dependencies that are not in its plan do not count.
import type { AcknowledgementReport, CircuitReport, CircuitState } from '../../plan/wire.ts';
import type { PodIdentity } from './authenticate.ts';
import type { StreamKind } from './metrics.ts';
import type { PlanSnapshot } from './snapshots.ts';

/** How long a pod without a stream is still counted. */
export const SESSION_GRACE_MS = 30_000;

interface Session {
  pod: PodIdentity;
  workloadId: string;
  streams: number;
  /** When its last stream ended; Infinity while one is open. Monotonic. */
  idleSinceMs: number;
  plan: { version: string; applied: boolean; message: string } | undefined;
  endpoints: { version: string; applied: boolean; message: string } | undefined;
  locallyDisabled: boolean;
  circuits: CircuitReport['circuits'];
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
  /** The earliest of them. */
  sinceUnixMs: number;
  /** Of the earliest of them. */
  reason: string;
}

/** Text of a sidecar goes into status and logs: one line, no control characters. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what is removed
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim();
}

export class Sessions {
  readonly #byUid = new Map<string, Session>();

  /** A stream of this pod opened. A pod whose workload is another one now starts over. */
  opened(pod: PodIdentity, workloadId: string): void {
    const session = this.#session(pod, workloadId);
    session.streams += 1;
    session.idleSinceMs = Number.POSITIVE_INFINITY;
  }

  closed(pod: PodIdentity, nowMs: number): void {
    const session = this.#byUid.get(pod.uid);
    if (!session) return;
    session.streams = Math.max(0, session.streams - 1);
    if (session.streams === 0) session.idleSinceMs = nowMs;
  }

  /** The pod does not exist any more. */
  gone(pod: PodIdentity): void {
    this.#byUid.delete(pod.uid);
  }

  /** Forgets the pods whose grace is over; true when there were any. */
  expire(nowMs: number): boolean {
    let changed = false;
    for (const [uid, session] of this.#byUid) {
      if (nowMs - session.idleSinceMs < SESSION_GRACE_MS) continue;
      this.#byUid.delete(uid);
      changed = true;
    }
    return changed;
  }

  /** Forgets pods without a stream that do not exist any more, so that a rollout does not leave its dead behind for the grace. */
  forgetIdle(exists: (pod: PodIdentity) => boolean): boolean {
    let changed = false;
    for (const [uid, session] of this.#byUid) {
      if (session.streams > 0 || exists(session.pod)) continue;
      this.#byUid.delete(uid);
      changed = true;
    }
    return changed;
  }

  /** The version that a sidecar names when it opens a stream is one that it applied. True when that is news. */
  resumed(pod: PodIdentity, stream: StreamKind, version: string): boolean {
    const session = this.#byUid.get(pod.uid);
    if (!session || session[stream]?.version === version) return false;
    session[stream] = { version, applied: true, message: '' };
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
    return changed;
  }

  /** Replaces what the pod said before. True when something changed. */
  report(pod: PodIdentity, plan: PlanSnapshot, report: CircuitReport, nowMs: number): boolean {
    const session = this.#posted(pod, plan.workloadId, nowMs);
    const circuits = report.circuits
      .filter((circuit) => circuit.state !== 'Closed' && plan.dependencyIds.has(circuit.dependency))
      .map((circuit) => ({ ...circuit, reason: oneLine(circuit.reason) }));
    const changed = JSON.stringify(circuits) !== JSON.stringify(session.circuits);
    session.circuits = circuits;
    return changed;
  }

  /** Per workload; `planOf` gives the current plan of one, `notSent` the workloads whose newest plan cannot be sent. */
  applied(
    planOf: (workloadId: string) => PlanSnapshot | undefined,
    notSent: ReadonlyMap<string, string>,
  ): Map<string, AppliedSummary> {
    const byWorkload = Map.groupBy(this.#byUid.values(), (session) => session.workloadId);
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
    const summaries = new Map<string, CircuitSummary>();
    for (const session of this.#byUid.values()) {
      const known = planOf(session.workloadId)?.dependencyIds;
      for (const circuit of session.circuits) {
        if (!known?.has(circuit.dependency)) continue;
        const key = JSON.stringify([circuit.dependency, circuit.stateKey, circuit.state]);
        const summary = summaries.get(key);
        if (!summary) {
          const { dependency, stateKey, state, since, reason } = circuit;
          summaries.set(key, { dependencyId: dependency, stateKey, state, sidecars: 1, sinceUnixMs: since, reason });
          continue;
        }
        summary.sidecars += 1;
        if (circuit.since < summary.sinceUnixMs) {
          summary.sinceUnixMs = circuit.since;
          summary.reason = circuit.reason;
        }
      }
    }
    return [...summaries].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, summary]) => summary);
  }

  #session(pod: PodIdentity, workloadId: string): Session {
    const known = this.#byUid.get(pod.uid);
    if (known?.workloadId === workloadId) return known;
    const session: Session = {
      pod,
      workloadId,
      streams: known?.streams ?? 0,
      idleSinceMs: known?.idleSinceMs ?? Number.POSITIVE_INFINITY,
      plan: undefined,
      endpoints: undefined,
      locallyDisabled: known?.locallyDisabled ?? false,
      circuits: [],
    };
    this.#byUid.set(pod.uid, session);
    return session;
  }

  /** A report may come before the stream it belongs to, or after; without a stream its grace begins anew. */
  #posted(pod: PodIdentity, workloadId: string, nowMs: number): Session {
    const session = this.#session(pod, workloadId);
    if (session.streams === 0) session.idleSinceMs = nowMs;
    return session;
  }
}
