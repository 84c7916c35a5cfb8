// Which replica leads, decided from what one of them sees of a Lease. PURE: answers of the API server and the time go in, what to ask next
// comes out.
//
//                    the Lease is free, or was not renewed for its duration        not renewed in time
//   Following ──────────────────────────────────────────────────▶ Leading ─────────────────────────────▶ Suspended
//                                                                    ▲        renewed, nobody led since      │
//                                                                    └───────────────────────────────────────┤
//                                                  Lost ◀── somebody else holds it (seen by Leading, too) ───┘
//
// No clock of another machine is believed: how long a Lease was not renewed is measured from when *we* saw it change last. And what we may
// do is counted from before our own renewal was sent, so that it ends sooner than anybody can have waited long enough to take over:
//
//   ours:    ├─ renewal sent ───── renewWithin ─────┤ no write begins, those under way are given up
//   others:      ├─ renewal seen ──────────── leaseDuration ───────────────┤ may take over
import type { MonotonicMs } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';

export interface ElectionTimes {
  /** After this long without a renewal others take over. */
  leaseDurationMs: number;
  /** After this long without a renewal we stop. */
  renewWithinMs: number;
  /** Between two looks; a quarter of it is left to chance. */
  retryMs: number;
}

export const ELECTION_TIMES: ElectionTimes = { leaseDurationMs: 15_000, renewWithinMs: 10_000, retryMs: 2_000 };

/** What the Lease says. */
export interface LeaseRecord {
  /** Empty: nobody holds it. */
  holder: string;
  durationMs: number;
  /** When the holder became it, and when it renewed last; by its own clock, for people, and to see that something changed. */
  acquiredUnixMs: number;
  renewedUnixMs: number;
  transitions: number;
}

/** The record, and the version of the object that it was read from. */
export interface StoredLease {
  record: LeaseRecord;
  revision: string;
}

export type Command =
  | { kind: 'read' }
  | { kind: 'create'; record: LeaseRecord }
  /** To be refused where the object has another revision by now. */
  | { kind: 'update'; record: LeaseRecord; revision: string };

export type Answer =
  | { kind: 'lease'; lease: StoredLease }
  | { kind: 'absent' }
  /** Exists already, or has another revision. */
  | { kind: 'conflict' }
  /** Nothing is known: a write may have happened or not. */
  | { kind: 'failed' };

export type Role = 'Following' | 'Leading' | 'Suspended' | 'Lost';

/** Whatever stands in a Lease, nobody is kept out for longer than this by a process that is gone. */
const MAX_DURATION_MS = 3_600_000;
/** A Lease that is gone is missing so often in a row before its holder makes it anew: an uninstall takes it away for good. */
const ABSENT_BEFORE_CREATE = 2;
/** Commands of one round; more means that others write all the time. */
const MAX_COMMANDS = 8;

interface Seen {
  /** Undefined: there was no Lease. */
  record: LeaseRecord | undefined;
  /** When it was first seen to be so. */
  atMs: MonotonicMs;
}

export class Election {
  readonly #identity: string;
  readonly #times: ElectionTimes;
  readonly #random: Random;
  #seen: Seen | undefined;
  /** What the API server holds, where that is known well enough to build on it. */
  #stored: StoredLease | 'absent' | undefined;
  /** It is ours, and nobody else led since we won it, as far as is known. */
  #holds = false;
  #lost = false;
  /** Until when we may write; from the last renewal. */
  #untilMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  #own: LeaseRecord | undefined;
  #absences = 0;
  #absentMs: MonotonicMs = 0;
  /** A Lease that we made must outlive this before it counts: where it is deleted at once, others still wait for the one before. */
  #trialEndMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  #commands = 0;
  #roundIsOver = false;

  /** `identity`: of this process, never used by another one before or after. */
  constructor(identity: string, times: ElectionTimes, random: Random) {
    if (times.renewWithinMs >= times.leaseDurationMs) throw new Error('renewWithinMs must be below leaseDurationMs');
    this.#identity = identity;
    this.#times = times;
    this.#random = random;
  }

  /** Milliseconds for which nobody else may write; 0: we may not. */
  leftMs(nowMs: MonotonicMs): number {
    return this.#holds ? Math.max(0, this.#untilMs - nowMs) : 0;
  }

  role(nowMs: MonotonicMs): Role {
    if (this.#lost) return 'Lost';
    if (!this.#holds) return 'Following';
    return this.leftMs(nowMs) > 0 ? 'Leading' : 'Suspended';
  }

  /** Who holds the Lease as far as is known; empty: nobody. */
  get holder(): string {
    return this.#seen?.record?.holder ?? '';
  }

  /** What to ask now; undefined: nothing, until the next round. Each command is answered before the next. */
  next(nowMs: MonotonicMs, nowUnixMs: number): Command | undefined {
    const command =
      this.#lost || this.#roundIsOver || this.#commands === MAX_COMMANDS ? undefined : this.#next(nowMs, nowUnixMs);
    this.#commands = command === undefined ? 0 : this.#commands + 1;
    if (command === undefined) this.#roundIsOver = false;
    return command;
  }

  /** Takes the answer to a command that was sent at `sentMs`. */
  answered(command: Command, answer: Answer, sentMs: MonotonicMs, nowMs: MonotonicMs): void {
    if (answer.kind === 'lease') {
      this.#sawLease(answer.lease, nowMs);
      if (command.kind !== 'read') this.#wrote(answer.lease.record, sentMs, nowMs);
      return;
    }
    this.#stored = undefined;
    if (answer.kind === 'absent' && command.kind === 'read') this.#sawNothing(nowMs);
    // A conflict is looked into at once, anything else in the next round.
    else this.#roundIsOver = answer.kind !== 'conflict';
  }

  /** Gives the Lease back, for a process that has stopped writing and will ask no more; undefined where there is nothing to give. */
  release(nowUnixMs: number): Command | undefined {
    const stored = this.#stored;
    if (!this.#holds || stored === undefined || stored === 'absent') return undefined;
    this.#holds = false;
    const record = { ...stored.record, holder: '', durationMs: 1_000, renewedUnixMs: nowUnixMs };
    return { kind: 'update', record, revision: stored.revision };
  }

  /** How long to wait before the next round; a little chance keeps replicas from asking in step. */
  delayMs(): number {
    return this.#times.retryMs * (0.75 + 0.25 * this.#random());
  }

  #next(nowMs: MonotonicMs, nowUnixMs: number): Command | undefined {
    const stored = this.#stored;
    if (stored === undefined) return { kind: 'read' };
    if (stored !== 'absent' && stored.record.holder === this.#identity) {
      return { kind: 'update', record: { ...stored.record, ...this.#term(nowUnixMs) }, revision: stored.revision };
    }
    if (stored === 'absent' && this.#holds && this.leftMs(nowMs) === 0) {
      // Somebody may have led and been forgotten since.
      this.#lose();
      return undefined;
    }
    const mayTake = stored === 'absent' && this.#holds ? this.#absences >= ABSENT_BEFORE_CREATE : this.#isFree(nowMs);
    if (!mayTake) {
      // It is looked at again in the next round.
      this.#stored = undefined;
      return undefined;
    }
    if (stored !== 'absent') {
      return { kind: 'update', record: this.#taken(stored.record, nowUnixMs), revision: stored.revision };
    }
    const own = this.#holds ? this.#own : undefined;
    const record = own === undefined ? this.#taken(undefined, nowUnixMs) : { ...own, ...this.#term(nowUnixMs) };
    return { kind: 'create', record };
  }

  #sawLease(lease: StoredLease, nowMs: MonotonicMs): void {
    this.#stored = lease;
    const isMadeByUs = this.#absences > 0 && !this.#holds && lease.record.holder === this.#identity;
    if (isMadeByUs) this.#trialEndMs = nowMs + this.#longLookMs;
    this.#absences = 0;
    const known = this.#seen?.record;
    if (known === undefined || !isSame(known, lease.record)) this.#seen = { record: lease.record, atMs: nowMs };
    if (this.#holds && lease.record.holder !== this.#identity) this.#lose();
  }

  #lose(): void {
    this.#holds = false;
    this.#lost = true;
  }

  #wrote(record: LeaseRecord, sentMs: MonotonicMs, nowMs: MonotonicMs): void {
    this.#roundIsOver = true;
    if (record.holder !== this.#identity) return;
    this.#own = record;
    const untilMs = sentMs + this.#times.renewWithinMs;
    // An answer that took so long gives no right any more; the next renewal may.
    if (untilMs > nowMs && nowMs >= this.#trialEndMs) this.#holds = true;
    this.#untilMs = Math.max(this.#untilMs, untilMs);
  }

  /** Somebody deleted it. Whoever held it may still write, so another one makes it anew only when that time is over. */
  #sawNothing(nowMs: MonotonicMs): void {
    this.#stored = 'absent';
    // One that we did not look at for long may have been there, and vanished again.
    const isNews = this.#absences === 0 || nowMs - this.#absentMs > this.#longLookMs;
    this.#absentMs = nowMs;
    this.#absences = isNews ? 1 : this.#absences + 1;
    // When it was renewed last before it vanished, nobody can tell any more.
    if (isNews) this.#seen = { record: this.#seen?.record, atMs: nowMs };
  }

  /** Whoever did not look for longer than this begins anew to count how long there was no Lease. */
  get #longLookMs(): number {
    return this.#times.leaseDurationMs / 2;
  }

  #isFree(nowMs: MonotonicMs): boolean {
    if (!this.#seen) return false;
    const { record, atMs } = this.#seen;
    if (this.#absences === 0 && record?.holder === '') return true;
    // Of one that vanished we may have missed who held it last.
    const ownMs = this.#absences > 0 ? this.#times.leaseDurationMs : 0;
    return nowMs >= atMs + Math.min(Math.max(record?.durationMs ?? 0, ownMs), MAX_DURATION_MS);
  }

  #taken(before: LeaseRecord | undefined, nowUnixMs: number): LeaseRecord {
    const transitions = (before ?? this.#seen?.record)?.transitions ?? -1;
    return { ...this.#term(nowUnixMs), acquiredUnixMs: nowUnixMs, transitions: transitions + 1 };
  }

  #term(nowUnixMs: number): Pick<LeaseRecord, 'holder' | 'durationMs' | 'renewedUnixMs'> {
    return { holder: this.#identity, durationMs: this.#times.leaseDurationMs, renewedUnixMs: nowUnixMs };
  }
}

function isSame(a: LeaseRecord, b: LeaseRecord): boolean {
  return (
    a.holder === b.holder &&
    a.durationMs === b.durationMs &&
    a.acquiredUnixMs === b.acquiredUnixMs &&
    a.renewedUnixMs === b.renewedUnixMs &&
    a.transitions === b.transitions
  );
}
