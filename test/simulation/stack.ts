// One route's stack of policies in virtual time: the real state machines, driven in the order that the data path drives them, against a
// simulated upstream. Only the conductor is the simulation's own, as the real one is bound to sockets.
import type { BulkheadPlan } from '../../plan/policies/bulkhead.ts';
import type { CircuitBreakerPlan } from '../../plan/policies/circuit-breaker.ts';
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import type { TimeoutsPlan } from '../../plan/policies/timeouts.ts';
import type { Random } from '../../runtime/random.ts';
import { pickEndpoint } from '../../sidecar/balance/pick.ts';
import { Admission, type Bulkhead, type BulkheadWaiter } from '../../sidecar/policies/bulkhead.ts';
import { type CircuitBreaker, isProbe, Outcome } from '../../sidecar/policies/circuit-breaker.ts';
import { FailureBit, failureMask, statusFailures } from '../../sidecar/policies/failures.ts';
import { backoffMs, mayRunTwice } from '../../sidecar/policies/retry.ts';
import type { RetryBudget } from '../../sidecar/policies/retry-budget.ts';
import type { TimerNode, TimerWheel } from '../../sidecar/policies/timer-wheel.ts';
import { type CallOutcome, demand, type Ledger } from './ledger.ts';
import type { AttemptEvents, SimulatedAttempt, SimulatedEndpoint, SimulatedUpstream } from './upstream.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface StackPlan {
  timeouts: Pick<TimeoutsPlan, 'requestMs' | 'attemptMs'>;
  retries: RetriesPlan;
  circuitBreaker: CircuitBreakerPlan;
  bulkhead: BulkheadPlan;
}

/** The machines under test. */
export interface Machines {
  readonly breaker: CircuitBreaker;
  readonly bulkhead: Bulkhead;
  readonly budget: RetryBudget;
  readonly wheel: TimerWheel;
}

/** The wheel's slot; a tick comes as often, with a pause now and then. */
export const SLOT_MS = 10;
/** No call outlives its deadline by more than a slot, a tick and the longest pause. */
export const LONGEST_PAUSE_MS = 60;

export class Stack {
  plan: StackPlan;
  readonly machines: Machines;
  readonly time: VirtualTime;
  readonly random: Random;
  readonly upstream: SimulatedUpstream;
  readonly ledger: Ledger;

  constructor(
    plan: StackPlan,
    machines: Machines,
    time: VirtualTime,
    random: Random,
    upstream: SimulatedUpstream,
    ledger: Ledger,
  ) {
    this.plan = plan;
    this.machines = machines;
    this.time = time;
    this.random = random;
    this.upstream = upstream;
    this.ledger = ledger;
    machines.breaker.onTransition = (state) => ledger.circuitChanged(state);
  }

  /** A new plan arrives: numbers change under the requests that are under way. */
  update(plan: StackPlan): void {
    this.plan = plan;
    const { breaker, bulkhead, budget } = this.machines;
    breaker.update(plan.circuitBreaker, this.time.nowMs);
    bulkhead.update(plan.bulkhead);
    budget.update(plan.retries);
    for (let waiter = bulkhead.takeGrantable(); waiter !== null; waiter = bulkhead.takeGrantable()) this.letIn(waiter);
  }

  letIn(waiter: BulkheadWaiter | null): void {
    if (waiter instanceof Call) waiter.granted();
  }
}

type Phase = 'Idle' | 'Queued' | 'Admitted' | 'Backoff' | 'Waiting' | 'Content' | 'Ended';

export class Call implements BulkheadWaiter, TimerNode, AttemptEvents {
  bulkheadPrevious: BulkheadWaiter | null = null;
  bulkheadNext: BulkheadWaiter | null = null;
  bulkheadQueued = false;
  wheelSlot = -1;
  wheelPrevious: TimerNode | null = null;
  wheelNext: TimerNode | null = null;
  wheelAtMs = 0;

  readonly #stack: Stack;
  readonly #id: number;
  readonly #repeatable: boolean;
  readonly #maxAttempts: number;
  readonly #deadlineMs: number;
  readonly #attemptMs: number;
  #phase: Phase = 'Idle';
  #attempts = 0;
  #attemptStartMs = 0;
  #permit = 0;
  #holdsSlot = false;
  #failures = 0;
  #endpoint: SimulatedEndpoint | null = null;
  readonly #failedEndpoints: SimulatedEndpoint[] = [];
  #attempt: SimulatedAttempt | null = null;

  constructor(stack: Stack, id: number, method: string, hasIdempotencyKey: boolean) {
    const { retries, timeouts } = stack.plan;
    this.#stack = stack;
    this.#id = id;
    this.#repeatable = mayRunTwice(method, hasIdempotencyKey, retries.methods);
    this.#maxAttempts = retries.maxAttempts;
    this.#deadlineMs = stack.time.nowMs + timeouts.requestMs;
    this.#attemptMs = timeouts.attemptMs;
  }

  get repeatable(): boolean {
    return this.#repeatable;
  }

  begin(): void {
    const { ledger, machines, time } = this.#stack;
    ledger.began(this.#id, time.nowMs);
    machines.budget.recordRequest(time.nowMs);
    this.#startAttempt();
  }

  /** The application goes away. */
  cancel(): void {
    if (this.#phase === 'Ended') return;
    this.#end('cancelled', Outcome.Ignored);
  }

  #startAttempt(): void {
    const { machines, plan, time, ledger } = this.#stack;
    if (!machines.breaker.look(time.nowMs)) {
      this.#end('circuit-open', Outcome.Ignored);
      return;
    }
    const admission = machines.bulkhead.acquire(this);
    if (admission === Admission.Full) {
      this.#end('bulkhead-full', Outcome.Ignored);
    } else if (admission === Admission.Queued) {
      this.#phase = 'Queued';
      ledger.slotQueued(this.#id);
      machines.wheel.arm(this, Math.min(time.nowMs + plan.bulkhead.queueTimeoutMs, this.#deadlineMs));
    } else {
      this.#holdsSlot = true;
      ledger.slotTaken(this.#id, plan.bulkhead.maxConcurrent);
      this.#send();
    }
  }

  /** The bulkhead gave this request, which waited, a slot. */
  granted(): void {
    demand(this.#phase === 'Queued', `request ${this.#id} was let in while ${this.#phase}`);
    this.#phase = 'Admitted';
    this.#stack.machines.wheel.disarm(this);
    this.#holdsSlot = true;
    this.#stack.ledger.slotGranted(this.#id, this.#stack.plan.bulkhead.maxConcurrent);
    // A slot may come free in the very tick in which the deadline passes, and before this request's own timer.
    if (this.#stack.time.nowMs >= this.#deadlineMs) this.#end('deadline', Outcome.Ignored);
    else this.#send();
  }

  #send(): void {
    const { machines, time, ledger, plan, upstream, random } = this.#stack;
    demand(time.nowMs < this.#deadlineMs, `request ${this.#id} began an attempt after its deadline`);
    this.#permit = machines.breaker.admit(time.nowMs);
    if (this.#permit === 0) {
      this.#end('circuit-open', Outcome.Ignored);
      return;
    }
    ledger.admitted(this.#id, plan.circuitBreaker.halfOpenMaxProbes);
    const failed = this.#failedEndpoints;
    const endpoint = pickEndpoint(upstream.endpoints, failed, random);
    if (endpoint === null) throw new Error('the simulated upstream always has an endpoint');
    if (upstream.endpoints.some((other) => !failed.includes(other)))
      demand(!failed.includes(endpoint), `request ${this.#id} was sent again to an endpoint that failed it`);
    this.#endpoint = endpoint;
    endpoint.inFlight += 1;
    this.#attempts += 1;
    this.#failures = 0;
    this.#phase = 'Waiting';
    this.#attemptStartMs = time.nowMs;
    const { halfOpenProbeTimeoutMs } = plan.circuitBreaker;
    const withinMs = isProbe(this.#permit) ? Math.min(this.#attemptMs, halfOpenProbeTimeoutMs) : this.#attemptMs;
    machines.wheel.arm(this, Math.min(time.nowMs + withinMs, this.#deadlineMs));
    this.#attempt = upstream.send(this.#id, endpoint, this);
  }

  onRefused(): void {
    this.#attemptFailed(FailureBit.ConnectFailure, true, 'connect-failed');
  }

  onReset(afterHead: boolean): void {
    if (afterHead) this.#end('reset', this.#outcomeOf(FailureBit.Reset));
    else this.#attemptFailed(FailureBit.Reset, false, 'reset');
  }

  onHead(status: number): void {
    this.#failures = statusFailures(status);
    if (this.#failures !== 0 && this.#retry(this.#failures, false)) return;
    this.#phase = 'Content';
  }

  onEnd(): void {
    this.#end(this.#failures === 0 ? 'answered' : 'upstream-failed', this.#outcomeOf(this.#failures));
  }

  expire(nowMs: number): void {
    demand(nowMs >= this.wheelAtMs, `a timer of request ${this.#id} expired ${this.wheelAtMs - nowMs} ms early`);
    demand(
      nowMs <= this.#deadlineMs + SLOT_MS + LONGEST_PAUSE_MS,
      `request ${this.#id} outlived its deadline by ${nowMs - this.#deadlineMs} ms`,
    );
    const deadline = nowMs >= this.#deadlineMs;
    if (this.#phase === 'Queued') this.#end(deadline ? 'deadline' : 'queue-timeout', Outcome.Ignored);
    else if (this.#phase === 'Backoff' && !deadline) this.#startAttempt();
    else if (this.#phase === 'Backoff') this.#end('deadline', Outcome.Ignored);
    else if (deadline) this.#end('deadline', this.#outcomeOf(FailureBit.AttemptTimeout));
    else if (this.#phase === 'Content') this.#end('attempt-timeout', this.#outcomeOf(FailureBit.AttemptTimeout));
    else this.#attemptFailed(FailureBit.AttemptTimeout, false, 'attempt-timeout');
  }

  #attemptFailed(failures: number, unsent: boolean, outcome: CallOutcome): void {
    if (!this.#retry(failures, unsent)) this.#end(outcome, this.#outcomeOf(failures));
  }

  /** Ends this attempt and waits for another one, where rule, count and budget allow it. */
  #retry(failures: number, unsent: boolean): boolean {
    const { plan, machines, time, ledger, random } = this.#stack;
    if (this.#attempts >= this.#maxAttempts || (failures & failureMask(plan.retries.retryOn)) === 0) return false;
    if (!unsent && !this.#repeatable) return false;
    const waitMs = backoffMs(plan.retries, this.#attempts, random());
    if (time.nowMs + waitMs >= this.#deadlineMs) return false;
    if (!machines.budget.tryWithdraw(time.nowMs)) {
      ledger.tally.budgetRefusals += 1;
      return false;
    }
    ledger.retried(plan.retries, time.nowMs);
    if (this.#endpoint) this.#failedEndpoints.push(this.#endpoint);
    this.#release(this.#outcomeOf(failures));
    this.#phase = 'Backoff';
    machines.wheel.arm(this, time.nowMs + waitMs);
    return true;
  }

  #outcomeOf(failures: number): number {
    return (failures & this.#stack.machines.breaker.failureMask) === 0 ? Outcome.Success : Outcome.Failure;
  }

  #end(outcome: CallOutcome, attemptOutcome: number): void {
    if (this.#phase === 'Queued') {
      this.#stack.machines.bulkhead.cancel(this);
      this.#stack.ledger.queueLeft(this.#id);
    }
    this.#phase = 'Ended';
    this.#stack.ledger.ended(this.#id, outcome);
    this.#release(attemptOutcome);
  }

  /** Gives back everything the attempt holds. The slot goes last, for whoever gets it runs at once. */
  #release(outcome: number): void {
    const { machines, ledger, time } = this.#stack;
    machines.wheel.disarm(this);
    this.#attempt?.abort();
    this.#attempt = null;
    if (this.#endpoint !== null) this.#endpoint.inFlight -= 1;
    this.#endpoint = null;
    if (this.#permit !== 0) {
      ledger.attemptOver(this.#id);
      machines.breaker.settle(this.#permit, outcome, time.nowMs - this.#attemptStartMs, time.nowMs);
      this.#permit = 0;
    }
    if (!this.#holdsSlot) return;
    this.#holdsSlot = false;
    ledger.slotReleased();
    this.#stack.letIn(machines.bulkhead.release());
  }
}
