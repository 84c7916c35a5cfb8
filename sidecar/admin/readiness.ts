// When the sidecar says that it is ready. Never by the health of a dependency: that would spread the outage to its callers.
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';

export interface Readiness {
  ready: boolean;
  /** For people. */
  reason: string;
}

export interface ReadinessFacts {
  listening: boolean;
  planVersion: string | null;
  /** The bounded wait for a first plan is over. */
  firstPlanWaitOver: boolean;
  draining: boolean;
}

export function judgeReadiness(facts: ReadinessFacts): Readiness {
  if (!facts.listening) return { ready: false, reason: 'the data path does not listen yet' };
  // Draining keeps it ready: it still carries the outgoing calls of whatever is left in the pod.
  const suffix = facts.draining ? ', draining' : '';
  if (facts.planVersion !== null) return { ready: true, reason: `plan ${facts.planVersion} is in force${suffix}` };
  if (facts.firstPlanWaitOver) {
    return {
      ready: true,
      reason: `no plan came within the bounded wait: everything is forwarded without policies${suffix}`,
    };
  }
  return { ready: false, reason: 'waiting for the first plan' };
}

/** Keeps the facts; `onWaitOver` is called when the bounded wait ends without a plan. */
export class ReadinessGate {
  readonly #planVersion: () => string | null;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #facts = { listening: false, firstPlanWaitOver: false, draining: false };
  #cancelWait: () => void = () => {};

  constructor(clock: Clock, log: Logger, planVersion: () => string | null) {
    this.#clock = clock;
    this.#log = log;
    this.#planVersion = planVersion;
  }

  judge(): Readiness {
    return judgeReadiness({ ...this.#facts, planVersion: this.#planVersion() });
  }

  /** The data path listens; from now on the wait for a first plan runs. */
  listening(firstPlanWaitMs: number, onWaitOver: () => void): void {
    this.#facts.listening = true;
    this.#cancelWait = this.#clock.after(firstPlanWaitMs, () => {
      if (this.#planVersion() !== null) return;
      this.#facts.firstPlanWaitOver = true;
      this.#log.warn(
        { firstPlanWaitMs },
        'no plan came in time: everything is forwarded without policies until one does',
      );
      onWaitOver();
    });
  }

  draining(): void {
    this.#facts.draining = true;
  }

  close(): void {
    this.#cancelWait();
  }
}
