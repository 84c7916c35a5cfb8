// Captured connections to destinations that nobody declared: what the plan wants of them, and what people are told.
import type { WorkloadPlan } from '../../../plan/plan.ts';
import type { Logger } from '../../../runtime/log.ts';
import type { SidecarMetrics } from '../../metrics/sidecar-metrics.ts';

export type UndeclaredAction = 'allowed' | 'warned' | 'denied';

export interface UndeclaredFacts {
  wanted: WorkloadPlan['undeclared'];
  port: number;
  /** The local kill switch is thrown. */
  disabled: boolean;
  /** A headless Service is declared whose pods are not all known: this may be one of them. */
  podsUnknown: boolean;
}

const DNS_PORT = 53;

/** PURE. Nothing is denied for want of knowledge, nor what every other call of the pod depends on. */
export function judgeUndeclared({ wanted, port, disabled, podsUnknown }: UndeclaredFacts): UndeclaredAction {
  if (wanted === 'Allow' || disabled || podsUnknown || port === DNS_PORT) return 'allowed';
  return wanted === 'Deny' ? 'denied' : 'warned';
}

/** Destinations that are remembered; a pod that calls more of them has another problem, which the counter shows. */
const MAX_DESTINATIONS = 1_000;
/** Lines per minute. */
const MAX_LINES = 20;
const WINDOW_MS = 60_000;

/** Counts them all, and names each destination once. */
export class UndeclaredLog {
  readonly #log: Logger;
  readonly #metrics: SidecarMetrics;
  readonly #named = new Set<string>();
  #windowFromMs = Number.NEGATIVE_INFINITY;
  #lines = 0;

  constructor(log: Logger, metrics: SidecarMetrics) {
    this.#log = log;
    this.#metrics = metrics;
  }

  note(action: UndeclaredAction, destination: string, nowMs: number): void {
    this.#metrics.countUndeclared(action);
    if (action === 'allowed') return;
    const key = `${action} ${destination}`;
    if (this.#named.has(key) || this.#named.size >= MAX_DESTINATIONS || !this.#mayWrite(nowMs)) return;
    this.#named.add(key);
    this.#log.warn(
      { destination, action },
      action === 'denied'
        ? 'a connection to a destination that is not declared was refused (undeclared: Deny)'
        : 'a connection to a destination that is not declared was passed on (undeclared: Warn)',
    );
    if (this.#named.size === MAX_DESTINATIONS)
      this.#log.warn({ destinations: MAX_DESTINATIONS }, 'no further undeclared destination is named here');
  }

  /** What is not written now is written at its next connection. */
  #mayWrite(nowMs: number): boolean {
    if (nowMs - this.#windowFromMs >= WINDOW_MS) {
      this.#windowFromMs = nowMs;
      this.#lines = 0;
    }
    return this.#lines++ < MAX_LINES;
  }
}
