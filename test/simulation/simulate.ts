// One run: requests, faults, cancellations, pauses and new plans for some seconds, all drawn from one seed; then peace, and every book
// must balance.
import { type Random, seededRandom } from '../../runtime/random.ts';
import { Bulkhead } from '../../sidecar/policies/bulkhead.ts';
import { BreakerState, CircuitBreaker } from '../../sidecar/policies/circuit-breaker.ts';
import { RetryBudget } from '../../sidecar/policies/retry-budget.ts';
import { TimerWheel } from '../../sidecar/policies/timer-wheel.ts';
import { demand, Ledger, type Tally } from './ledger.ts';
import { Call, LONGEST_PAUSE_MS, type Machines, SLOT_MS, Stack, type StackPlan } from './stack.ts';
import { SimulatedUpstream } from './upstream.ts';
import { VirtualTime } from './virtual-time.ts';

export type MakeMachines = (plan: StackPlan, random: Random, nowMs: number) => Machines;

export const realMachines: MakeMachines = (plan, random, nowMs) => ({
  breaker: new CircuitBreaker(plan.circuitBreaker, random),
  bulkhead: new Bulkhead(plan.bulkhead),
  budget: new RetryBudget(plan.retries, nowMs),
  // Half a second a turn, so that most timeouts are further away than that.
  wheel: new TimerWheel(nowMs, SLOT_MS, 50),
});

const START_MS = 1_000_000.5;
const BUSY_MS = 30_000;
/** Longer than any deadline and open time of a plan drawn here. */
const QUIET_MS = 60_000;

class Dice {
  readonly #random: Random;
  constructor(random: Random) {
    this.#random = random;
  }
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.#random() * (high - low + 1));
  }
  chance(probability: number): boolean {
    return this.#random() < probability;
  }
}

function drawPlan(dice: Dice): StackPlan {
  const requestMs = dice.between(100, 4000);
  return {
    timeouts: { requestMs, attemptMs: dice.between(50, requestMs) },
    retries: {
      stateKey: 'retries',
      maxAttempts: dice.between(1, 4),
      retryOn: dice.chance(0.5)
        ? ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError']
        : ['ConnectFailure', 'ServerError', 'TooManyRequests'],
      methods: dice.chance(0.2) ? 'All' : 'Idempotent',
      backoffInitialMs: dice.between(1, 50),
      backoffMaxMs: dice.between(50, 500),
      retryOnStatusCodes: [],
      maxRetryAfterMs: 0,
      budgetPercent: dice.between(0, 50),
      budgetMinPerSecond: dice.between(0, 3),
    },
    circuitBreaker: {
      stateKey: 'breaker',
      failureOn: dice.chance(0.8)
        ? ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError']
        : ['GatewayError', 'TooManyRequests'],
      consecutiveFailures: dice.between(0, 8),
      failureRate: dice.chance(0.5) ? { percent: dice.between(20, 80), minimumCalls: dice.between(5, 30) } : null,
      slowCalls: dice.chance(0.3)
        ? { percent: dice.between(20, 80), minimumCalls: dice.between(5, 30), thresholdMs: dice.between(20, 500) }
        : null,
      windowMs: dice.chance(0.5) ? 10_000 : 2000,
      openForMs: dice.between(100, 2000),
      maxOpenForMs: dice.between(1000, 5000),
      halfOpenMaxProbes: dice.between(1, 4),
      halfOpenSuccesses: dice.between(1, 4),
      halfOpenProbeTimeoutMs: dice.between(50, 2000),
      force: null,
    },
    bulkhead: {
      stateKey: 'bulkhead',
      maxConcurrent: dice.between(1, 20),
      maxQueued: dice.between(0, 20),
      queueTimeoutMs: dice.between(0, 500),
      adaptive: null,
    },
  };
}

/** Runs one seed; throws a Violation where something happened that must not. Returns what happened. */
export function simulate(seed: number, makeMachines: MakeMachines = realMachines): Tally {
  const random = seededRandom(seed);
  const dice = new Dice(random);
  const time = new VirtualTime(START_MS);
  const upstream = new SimulatedUpstream(time, random, dice.between(1, 5));
  const plan = drawPlan(dice);
  const ledger = new Ledger();
  const stack = new Stack(plan, makeMachines(plan, random, START_MS), time, random, upstream, ledger);
  const calls = new Map<number, Call>();
  const endMs = START_MS + BUSY_MS;

  const every = (low: number, high: number, run: () => void) => {
    const again = () => {
      if (time.nowMs >= endMs) return;
      run();
      time.after(dice.between(low, high), again);
    };
    time.after(dice.between(low, high), again);
  };
  const cancelChance = dice.between(1, 50) / 100;
  every(1, dice.between(5, 60), () => begin(stack, calls, dice, cancelChance));
  every(500, 3000, () => upstream.disturb());
  every(500, 5000, () => stack.update(drawPlan(dice)));
  time.after(BUSY_MS, () => upstream.heal());
  const tick = () => {
    stack.machines.wheel.advance(time.nowMs);
    if (time.nowMs < endMs + QUIET_MS) time.after(dice.chance(0.01) ? LONGEST_PAUSE_MS : SLOT_MS, tick);
  };
  time.after(0, tick);

  time.runUntil(endMs + QUIET_MS);
  closeBooks(stack, calls);
  return ledger.tally;
}

function begin(stack: Stack, calls: Map<number, Call>, dice: Dice, cancelChance: number): void {
  const id = calls.size + 1;
  const method = dice.chance(0.3) ? 'POST' : 'GET';
  const call = new Call(stack, id, method, dice.chance(0.2));
  calls.set(id, call);
  call.begin();
  if (dice.chance(cancelChance)) stack.time.after(dice.between(0, 400), () => call.cancel());
}

function closeBooks(stack: Stack, calls: ReadonlyMap<number, Call>): void {
  const { machines, ledger, upstream, time } = stack;
  demand(ledger.unfinished === 0, `${ledger.unfinished} requests never ended`);
  demand(machines.bulkhead.inFlight === 0, `${machines.bulkhead.inFlight} slots of the bulkhead were never given back`);
  demand(machines.bulkhead.queued === 0, `${machines.bulkhead.queued} places of the queue were never given back`);
  demand(ledger.slotHolders === 0, `${ledger.slotHolders} requests still hold a slot`);
  demand(machines.wheel.size === 0, `${machines.wheel.size} timers are still armed`);
  for (const endpoint of upstream.endpoints)
    demand(endpoint.inFlight === 0, `an endpoint is thought to have ${endpoint.inFlight} requests in flight`);
  for (const [id, executions] of upstream.executions) {
    demand(
      executions === 1 || calls.get(id)?.repeatable === true,
      `request ${id}, which may not run twice, ran ${executions} times`,
    );
  }
  closeCircuitBooks(stack, time.nowMs);
}

/** All permits were given back: a circuit that is not closed admits exactly its probes. */
function closeCircuitBooks({ machines: { breaker }, plan }: Stack, nowMs: number): void {
  demand(breaker.look(nowMs), 'the circuit refuses calls long after the last one');
  if (breaker.state(nowMs) === BreakerState.Closed) return;
  let probes = 0;
  while (breaker.admit(nowMs) > 0) probes += 1;
  const { halfOpenMaxProbes } = plan.circuitBreaker;
  demand(probes === halfOpenMaxProbes, `${probes} probes are left of ${halfOpenMaxProbes}: permits leaked`);
}
