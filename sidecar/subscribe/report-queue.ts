// Which report goes to the operator next, and when. PURE. Each kind has one place: a newer state replaces one that was not sent yet.
import type { MonotonicMs } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { type BackoffSettings, backoffMs } from './backoff.ts';

export type ReportKind = 'plan' | 'endpoints' | 'circuits';

const KINDS: readonly ReportKind[] = ['plan', 'circuits', 'endpoints'];

export class ReportQueue {
  readonly #settings: BackoffSettings;
  readonly #random: Random;
  /** Kind → when it may be sent. */
  readonly #due = new Map<ReportKind, MonotonicMs>();
  #failures = 0;
  #pausedUntilMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  #sending: ReportKind | null = null;

  constructor(settings: BackoffSettings, random: Random) {
    this.#settings = settings;
    this.#random = random;
  }

  /** Something of this kind is to be told, in `delayMs` at the latest; what changes until then goes with it. */
  add(kind: ReportKind, nowMs: MonotonicMs, delayMs: number): void {
    const due = this.#due.get(kind);
    if (due === undefined || due > nowMs + delayMs) this.#due.set(kind, nowMs + delayMs);
  }

  /** The operator is there again: no reason to wait longer. */
  resume(): void {
    this.#failures = 0;
    this.#pausedUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** The report to send now, which must end in `sent` or `failed`; null while one is on its way or none is due. */
  next(nowMs: MonotonicMs): ReportKind | null {
    if (this.#sending !== null || nowMs < this.#pausedUntilMs) return null;
    for (const kind of KINDS) {
      if ((this.#due.get(kind) ?? Number.POSITIVE_INFINITY) > nowMs) continue;
      this.#due.delete(kind);
      this.#sending = kind;
      return kind;
    }
    return null;
  }

  /** When `next` has something; infinity while nothing waits or one is on its way. */
  get deadlineMs(): MonotonicMs {
    if (this.#sending !== null) return Number.POSITIVE_INFINITY;
    return Math.max(this.#pausedUntilMs, Math.min(Number.POSITIVE_INFINITY, ...this.#due.values()));
  }

  sent(): void {
    this.#sending = null;
    this.#failures = 0;
  }

  /** It was not taken; it goes again after a pause, together with whatever changed meanwhile. */
  failed(nowMs: MonotonicMs): void {
    const kind = this.#sending;
    this.#sending = null;
    this.#failures += 1;
    this.#pausedUntilMs = nowMs + backoffMs(this.#settings, this.#failures, this.#random);
    if (kind !== null) this.add(kind, nowMs, 0);
  }
}
