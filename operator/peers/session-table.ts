// What one other replica said of its sidecars. It outlives the connection for the grace of a session, and the process that said it: the sidecars
// of a replica that was killed are on their way to another one, or to the process that follows it, and not gone.
import type { MonotonicMs } from '../../runtime/clock.ts';
import { SESSION_GRACE_MS, type Session } from '../distribute/acknowledgements.ts';
import type { PeerFrame, PeerSession } from './frames.ts';

/** Of one replica; beyond it whatever else comes is not kept. */
const MAX_SESSIONS = 200_000;

export class SessionTable {
  #byUid = new Map<string, Session>();
  #staged: Map<string, Session> | undefined;

  /** True when something is known now that was not before. */
  apply(frame: PeerFrame, nowMs: MonotonicMs): boolean {
    switch (frame.kind) {
      case 'snapshot': {
        this.#staged ??= new Map();
        for (const session of frame.sessions) put(this.#staged, session, nowMs);
        if (!frame.last) return false;
        // A process that has just begun knows nothing of the sidecars of the one before it.
        for (const [uid, session] of this.#byUid) {
          if (session.streams === 0 && !this.#staged.has(uid)) this.#staged.set(uid, session);
        }
        this.#byUid = this.#staged;
        this.#staged = undefined;
        return true;
      }
      case 'update':
        for (const session of frame.sessions) put(this.#staged ?? this.#byUid, session, nowMs);
        for (const uid of frame.removed) (this.#staged ?? this.#byUid).delete(uid);
        return frame.sessions.length > 0 || frame.removed.length > 0;
      case 'heartbeat':
      case 'end':
    }
    return false;
  }

  /** The connection is gone. Nobody says any more what became of the streams, so none counts as open. */
  down(nowMs: MonotonicMs): void {
    this.#staged = undefined;
    for (const session of this.#byUid.values()) {
      if (session.streams === 0) continue;
      session.streams = 0;
      session.planStreams = 0;
      session.idleSinceMs = nowMs;
    }
  }

  /** Forgets what nobody vouches for any more; true when there was any. */
  expire(nowMs: MonotonicMs): boolean {
    const before = this.#byUid.size;
    for (const [uid, session] of this.#byUid) {
      if (nowMs - session.idleSinceMs >= SESSION_GRACE_MS) this.#byUid.delete(uid);
    }
    return this.#byUid.size < before;
  }

  get size(): number {
    return this.#byUid.size;
  }

  sessions(): Iterable<Session> {
    return this.#byUid.values();
  }
}

function put(sessions: Map<string, Session>, said: PeerSession, nowMs: MonotonicMs): void {
  if (sessions.size >= MAX_SESSIONS && !sessions.has(said.pod.uid)) return;
  const { pod, workloadId, plan, endpoints, locallyDisabled, circuits, hasPlanStream, planOpenedMsAgo, idleForMs } =
    said;
  sessions.set(pod.uid, {
    pod,
    workloadId,
    plan: plan ?? undefined,
    endpoints: endpoints ?? undefined,
    locallyDisabled,
    circuits,
    exclusions: said.exclusions ?? [],
    opaque: said.opaque ?? [],
    tls: said.tls ?? [],
    streams: idleForMs === null ? 1 : 0,
    planStreams: hasPlanStream ? 1 : 0,
    planOpenedMs: planOpenedMsAgo === null ? Number.NEGATIVE_INFINITY : nowMs - planOpenedMsAgo,
    idleSinceMs: idleForMs === null ? Number.POSITIVE_INFINITY : nowMs - idleForMs,
    change: 0,
  });
}
