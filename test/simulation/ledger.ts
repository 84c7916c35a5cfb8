// The books of a simulated run, kept apart from the policies under test: everything is counted again from what was seen to happen, and
// whatever must never happen throws at the moment it does.
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import { BreakerState } from '../../sidecar/policies/circuit-breaker.ts';

export class Violation extends Error {
  override name = 'Violation';
}

export function demand(holds: boolean, message: string): void {
  if (!holds) throw new Violation(message);
}

export const OUTCOMES = [
  'answered',
  'upstream-failed',
  'circuit-open',
  'bulkhead-full',
  'queue-timeout',
  'deadline',
  'attempt-timeout',
  'connect-failed',
  'reset',
  'cancelled',
] as const;
export type CallOutcome = (typeof OUTCOMES)[number];

export interface Tally {
  outcomes: Record<CallOutcome, number>;
  retries: number;
  queued: number;
  opened: number;
  halfOpened: number;
  closed: number;
  budgetRefusals: number;
}

export function emptyTally(): Tally {
  const outcomes = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<CallOutcome, number>;
  return { outcomes, retries: 0, queued: 0, opened: 0, halfOpened: 0, closed: 0, budgetRefusals: 0 };
}

const BUDGET_WINDOW_MS = 10_000;
/** The budget counts in slots of one second, so that its window may be shorter than the one here by this much. */
const BUDGET_SLOT_MS = 1000;

export class Ledger {
  readonly tally = emptyTally();
  readonly #open = new Set<number>();
  readonly #requestTimes: number[] = [];
  readonly #retryTimes: number[] = [];
  readonly #queue: number[] = [];
  #slotHolders = 0;
  #state: number = BreakerState.Closed;
  #probes = new Set<number>();

  began(requestId: number, nowMs: number): void {
    this.#open.add(requestId);
    this.#requestTimes.push(nowMs);
  }

  ended(requestId: number, outcome: CallOutcome): void {
    demand(this.#open.delete(requestId), `request ${requestId} ended twice, the second time with ${outcome}`);
    this.tally.outcomes[outcome] += 1;
  }

  get unfinished(): number {
    return this.#open.size;
  }

  get slotHolders(): number {
    return this.#slotHolders;
  }

  /** A request got a slot at once. */
  slotTaken(requestId: number, maxConcurrent: number): void {
    demand(this.#queue.length === 0, `request ${requestId} overtook ${this.#queue.length} requests in the queue`);
    this.#slotHolders += 1;
    demand(this.#slotHolders <= maxConcurrent, `${this.#slotHolders} requests in a bulkhead of ${maxConcurrent}`);
  }

  slotQueued(requestId: number): void {
    this.tally.queued += 1;
    this.#queue.push(requestId);
  }

  /** A request got a slot after it had waited. */
  slotGranted(requestId: number, maxConcurrent: number): void {
    demand(this.#queue[0] === requestId, `request ${requestId} was let in before request ${this.#queue[0]}`);
    this.#queue.shift();
    this.#slotHolders += 1;
    demand(this.#slotHolders <= maxConcurrent, `${this.#slotHolders} requests in a bulkhead of ${maxConcurrent}`);
  }

  queueLeft(requestId: number): void {
    const index = this.#queue.indexOf(requestId);
    demand(index !== -1, `request ${requestId} left a queue that it was not in`);
    this.#queue.splice(index, 1);
  }

  slotReleased(): void {
    this.#slotHolders -= 1;
    demand(this.#slotHolders >= 0, 'more slots were given back than taken');
  }

  retried(spec: RetriesPlan, nowMs: number): void {
    this.tally.retries += 1;
    this.#retryTimes.push(nowMs);
    const requests = this.#requestTimes.filter((atMs) => atMs > nowMs - BUDGET_WINDOW_MS).length;
    const retries = this.#retryTimes.filter((atMs) => atMs > nowMs - BUDGET_WINDOW_MS + BUDGET_SLOT_MS).length;
    const allowed = (spec.budgetPercent * requests) / 100 + spec.budgetMinPerSecond * 10;
    demand(retries <= allowed, `${retries} retries where ${requests} requests allow ${allowed}`);
  }

  circuitChanged(state: number): void {
    const allowed = { [BreakerState.Closed]: [BreakerState.Open], [BreakerState.Open]: [BreakerState.HalfOpen] }[
      this.#state
    ] ?? [BreakerState.Open, BreakerState.Closed];
    demand((allowed as number[]).includes(state), `the circuit went from state ${this.#state} to ${state}`);
    this.#state = state;
    this.#probes = new Set();
    if (state === BreakerState.Open) this.tally.opened += 1;
    else if (state === BreakerState.HalfOpen) this.tally.halfOpened += 1;
    else this.tally.closed += 1;
  }

  /** An attempt was admitted by the circuit; nothing else may reach the upstream. */
  admitted(requestId: number, maxProbes: number): void {
    demand(this.#state !== BreakerState.Open, `request ${requestId} went through an open circuit`);
    if (this.#state !== BreakerState.HalfOpen) return;
    this.#probes.add(requestId);
    demand(
      this.#probes.size <= maxProbes,
      `${this.#probes.size} probes at a time through a half-open circuit that allows ${maxProbes}`,
    );
  }

  attemptOver(requestId: number): void {
    this.#probes.delete(requestId);
  }
}
