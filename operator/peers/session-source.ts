// What a stream to another replica has to say next: everything first, then what changed since. It is pulled, so that a reader that is
// behind skips what came in between, and holds one frame of memory.
import type { MonotonicMs } from '../../runtime/clock.ts';
import type { Session } from '../distribute/acknowledgements.ts';
import type { Source } from '../distribute/stream.ts';
import type { PeerSession } from './frames.ts';

/** A frame is ended when it has grown to this; one session may exceed it. */
const FRAME_BYTES = 256 * 1024;

export class SessionSource implements Source {
  readonly #sessions: () => ReadonlyMap<string, Readonly<Session>>;
  readonly #nowMs: () => MonotonicMs;
  /** By uid: the change that was sent last. */
  readonly #sent = new Map<string, number>();
  #isWhole = false;

  constructor(sessions: () => ReadonlyMap<string, Readonly<Session>>, nowMs: () => MonotonicMs) {
    this.#sessions = sessions;
    this.#nowMs = nowMs;
  }

  next(): Buffer | undefined {
    const sessions = this.#sessions();
    const { texts, isAll } = this.#changed(sessions);
    const removed = this.#isWhole ? this.#removed(sessions) : [];
    if (this.#isWhole && texts.length === 0 && removed.length === 0) return undefined;
    const rest = this.#isWhole
      ? `"kind":"update","removed":${JSON.stringify(removed)}`
      : `"kind":"snapshot","last":${isAll}`;
    // A pod that was forgotten between two parts of the first snapshot is told as removed after it.
    this.#isWhole ||= isAll;
    return Buffer.from(`{${rest},"sessions":[${texts.join(',')}]}\n`);
  }

  #changed(sessions: ReadonlyMap<string, Readonly<Session>>): { texts: string[]; isAll: boolean } {
    const texts: string[] = [];
    let bytes = 0;
    for (const [uid, session] of sessions) {
      if (this.#sent.get(uid) === session.change) continue;
      if (bytes >= FRAME_BYTES) return { texts, isAll: false };
      const text = JSON.stringify(toPeerSession(session, this.#nowMs()));
      bytes += text.length;
      texts.push(text);
      this.#sent.set(uid, session.change);
    }
    return { texts, isAll: true };
  }

  #removed(sessions: ReadonlyMap<string, Readonly<Session>>): string[] {
    const removed = [...this.#sent.keys()].filter((uid) => !sessions.has(uid));
    for (const uid of removed) this.#sent.delete(uid);
    return removed;
  }
}

function toPeerSession(session: Readonly<Session>, nowMs: MonotonicMs): PeerSession {
  const { pod, workloadId, plan, endpoints, locallyDisabled, circuits, planStreams, planOpenedMs, idleSinceMs } =
    session;
  const exclusions = session.exclusions.length === 0 ? undefined : [...session.exclusions];
  const opaque = session.opaque.length === 0 ? undefined : [...session.opaque];
  const tls = session.tls.length === 0 ? undefined : [...session.tls];
  return {
    pod,
    workloadId,
    plan: plan ?? null,
    endpoints: endpoints ?? null,
    locallyDisabled,
    circuits,
    exclusions,
    opaque,
    tls,
    hasPlanStream: planStreams > 0,
    planOpenedMsAgo: planOpenedMs === Number.NEGATIVE_INFINITY ? null : Math.max(0, nowMs - planOpenedMs),
    idleForMs: idleSinceMs === Number.POSITIVE_INFINITY ? null : Math.max(0, nowMs - idleSinceMs),
  };
}
