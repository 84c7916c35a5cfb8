// What the policies with state must do, said once more, as simply as it can be said. Each model sees the calls that the real one gets, and
// its answers; where the two differ, a promise is broken.
import type { CircuitBreakerPlan } from '../../plan/policies/circuit-breaker.ts';
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import { Admission, type BulkheadLimits } from '../../sidecar/policies/bulkhead.ts';
import { BreakerState } from '../../sidecar/policies/circuit-breaker.ts';
import { demand } from './violation.ts';

type BudgetNumbers = Pick<RetriesPlan, 'budgetPercent' | 'budgetMinPerSecond'>;

const KEPT_SECONDS = 2;
const ROUNDING = 1e-6;

/** A share of each request and some retries a second come in, of which two seconds' worth is kept (or one retry); a retry takes one out. */
export class BudgetModel {
  #requests: number[] = [];
  /** Full at first. */
  #balance = Number.POSITIVE_INFINITY;
  #askedMs = 0;
  /** Granted ever; no retry may be seen on the wire that is not among them. */
  granted = 0;
  retried = 0;

  recorded(plan: BudgetNumbers, nowMs: number): void {
    this.#requests.push(nowMs);
    this.#balance += plan.budgetPercent / 100;
  }

  asked(plan: BudgetNumbers, nowMs: number, isGranted: boolean): void {
    const came = this.#balance + (plan.budgetMinPerSecond * (nowMs - this.#askedMs)) / 1000;
    this.#askedMs = nowMs;
    const oldest = Math.floor(nowMs / 1000) - KEPT_SECONDS + 1;
    this.#requests = this.#requests.filter((atMs) => Math.floor(atMs / 1000) >= oldest);
    const kept = (plan.budgetPercent * this.#requests.length) / 100 + plan.budgetMinPerSecond * KEPT_SECONDS;
    const none = plan.budgetPercent === 0 && plan.budgetMinPerSecond === 0;
    const balance = Math.min(came, none ? 0 : Math.max(1, kept));
    // At one retry, but for the rounding of two ways to add, either answer is right.
    demand(
      Math.abs(balance - 1) < ROUNDING || isGranted === balance > 1,
      () => `a budget of ${balance} ${isGranted ? 'granted' : 'refused'} a retry`,
    );
    this.#balance = isGranted ? balance - 1 : balance;
    if (isGranted) this.granted += 1;
  }

  /** A request was sent again. */
  sentAgain(): void {
    this.retried += 1;
    demand(
      this.retried <= this.granted,
      () => `retry ${this.retried} was sent, and the budget granted ${this.granted}`,
    );
  }
}

/** So many at a time, the rest in the order in which they came. */
export class BulkheadModel {
  inFlight = 0;
  readonly #queue: object[] = [];

  get queued(): number {
    return this.#queue.length;
  }

  acquired(plan: BulkheadLimits, waiter: object, admission: number): void {
    const expected =
      this.inFlight < plan.maxConcurrent && this.#queue.length === 0
        ? Admission.Granted
        : this.#queue.length < plan.maxQueued
          ? Admission.Queued
          : Admission.Full;
    demand(
      admission === expected,
      () =>
        `a bulkhead of ${plan.maxConcurrent} and ${plan.maxQueued}, ${this.inFlight} in flight and ${this.#queue.length} waiting, said ${admission} where ${expected} is right`,
    );
    if (admission === Admission.Granted) this.inFlight += 1;
    else if (admission === Admission.Queued) this.#queue.push(waiter);
  }

  /** Without waiting. */
  tried(plan: BulkheadLimits, isGranted: boolean): void {
    demand(
      isGranted === (this.inFlight < plan.maxConcurrent && this.#queue.length === 0),
      () =>
        `a bulkhead of ${plan.maxConcurrent}, ${this.inFlight} in flight, ${isGranted ? 'gave' : 'refused'} a place`,
    );
    if (isGranted) this.inFlight += 1;
  }

  released(): void {
    this.inFlight -= 1;
    demand(this.inFlight >= 0, () => 'more places of a bulkhead were given back than taken');
  }

  granted(plan: BulkheadLimits, waiter: object | null): void {
    const expected = this.inFlight < plan.maxConcurrent ? (this.#queue[0] ?? null) : null;
    demand(waiter === expected, () => `a bulkhead let in ${waiter === null ? 'nobody' : 'somebody'} out of turn`);
    if (waiter === null) return;
    this.#queue.shift();
    this.inFlight += 1;
  }

  cancelled(waiter: object): void {
    const index = this.#queue.indexOf(waiter);
    if (index >= 0) this.#queue.splice(index, 1);
  }
}

/** What an observer knows of a circuit without knowing how it counts. */
export class BreakerModel {
  #state: number = BreakerState.Closed;
  #openedMs = 0;
  #probes = 0;
  admitted = 0;
  sent = 0;
  /** Permits that were not settled yet, of every generation. */
  unsettled = 0;
  /** By what the permit says: probes of the present generation. */
  readonly #probePermits = new Map<number, number>();

  changed(plan: CircuitBreakerPlan, state: number, nowMs: number): void {
    const { Closed, Open, HalfOpen, ForcedOpen, ForcedClosed } = BreakerState;
    const forced = this.#state >= ForcedOpen;
    const byItself = this.#state === Closed ? [Open] : this.#state === Open ? [HalfOpen] : [Open, Closed];
    const allowed: readonly number[] = [...(forced ? [Closed] : byItself), ForcedOpen, ForcedClosed];
    demand(allowed.includes(state), () => `a circuit went from state ${this.#state} to ${state}`);
    const openMs = nowMs - this.#openedMs;
    demand(
      state !== HalfOpen || openMs >= plan.openForMs,
      () => `a circuit that opens for ${plan.openForMs} ms was half-open after ${openMs}`,
    );
    this.#state = state;
    this.#probes = 0;
    this.#probePermits.clear();
    if (state === Open) this.#openedMs = nowMs;
  }

  /** Whether it would let a request through. */
  looked(plan: CircuitBreakerPlan, mayPass: boolean): void {
    const { Closed, Open, HalfOpen, ForcedOpen, ForcedClosed } = BreakerState;
    const due =
      this.#state === Closed ||
      this.#state === ForcedClosed ||
      (this.#state === HalfOpen && this.#probes < plan.halfOpenMaxProbes);
    demand(mayPass || !due, () => `a circuit in state ${this.#state} with ${this.#probes} probes refused a request`);
    const open = this.#state === Open || this.#state === ForcedOpen;
    demand(!mayPass || !open, () => 'an open circuit let a request through');
  }

  admission(plan: CircuitBreakerPlan, permit: number): void {
    this.looked(plan, permit !== 0);
    if (permit === 0) return;
    this.admitted += 1;
    this.unsettled += 1;
    if (this.#state !== BreakerState.HalfOpen) return;
    this.#probes += 1;
    this.#probePermits.set(permit, (this.#probePermits.get(permit) ?? 0) + 1);
    demand(
      this.#probes <= plan.halfOpenMaxProbes,
      () => `${this.#probes} probes at a time in a circuit that allows ${plan.halfOpenMaxProbes}`,
    );
  }

  /** Before the real one hears of it. */
  settled(permit: number): void {
    this.unsettled -= 1;
    demand(this.unsettled >= 0, () => 'a permit of a circuit was settled twice');
    const probes = this.#probePermits.get(permit) ?? 0;
    if (probes === 0) return;
    this.#probePermits.set(permit, probes - 1);
    this.#probes -= 1;
  }

  attempted(): void {
    this.sent += 1;
    demand(
      this.sent <= this.admitted,
      () => `attempt ${this.sent} was sent, and the circuit let through ${this.admitted}`,
    );
  }
}
