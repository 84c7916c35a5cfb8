// Tells of failures that last as a person wants to read them at night: each kind once and not once per attempt, again every ten minutes
// while it lasts, and how long it was when it is over.
import type { Clock, MonotonicMs } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';

const REMINDER_MS = 600_000;
/** Beyond so many kinds in one outage the next ones are told by the reminder alone. */
const KINDS_LIMIT = 16;

export interface OutageOptions {
  clock: Clock;
  log: Logger;
  level: 'warn' | 'error';
  /** In every line. */
  fields: Record<string, unknown>;
  /** Messages of the lines. */
  failed: string;
  lasts: string;
  over: string;
}

export class Outage {
  readonly #options: OutageOptions;
  readonly #told = new Set<string>();
  #sinceMs: MonotonicMs | undefined;
  #lastToldMs: MonotonicMs = 0;
  #failures = 0;

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  get isOn(): boolean {
    return this.#sinceMs !== undefined;
  }

  /** `kind` must not hold what differs between two attempts: it is what makes one failure the same as another. */
  failed(kind: string, fields: Record<string, unknown>): void {
    const { clock, log, level, failed, lasts } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#sinceMs ??= nowMs;
    this.#failures += 1;
    const forMs = Math.round(nowMs - this.#sinceMs);
    const all = { ...this.#options.fields, ...fields, failures: this.#failures, forMs };
    const isNews = !this.#told.has(kind) && this.#told.size < KINDS_LIMIT;
    if (isNews) {
      this.#told.add(kind);
      log[level](all, failed);
    } else if (nowMs - this.#lastToldMs >= REMINDER_MS) log[level](all, lasts);
    else {
      log.debug(all, lasts);
      return;
    }
    this.#lastToldMs = nowMs;
  }

  /** All is well; says so once. */
  over(): void {
    if (this.#sinceMs === undefined) return;
    const { clock, log, fields, over } = this.#options;
    const forMs = Math.round(clock.monotonicMs() - this.#sinceMs);
    log.info({ ...fields, failures: this.#failures, forMs }, over);
    this.#sinceMs = undefined;
    this.#failures = 0;
    this.#told.clear();
  }
}
