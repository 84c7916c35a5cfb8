// What acts on the requests of one dependency, row by row of its plan, and the state behind it.
//
// A policy without state is a field of RoutePolicy that is made of the numbers of the plan. A policy with state is, besides, one
// StateTable: what a state is made of and how it takes new numbers. A request reads one RoutePolicy and looks nothing up.
import type { PolicyPlan } from '../../plan/plan.ts';
import { NO_BLOCKS } from '../../plan/policies/blocks.ts';
import type { BulkheadPlan } from '../../plan/policies/bulkhead.ts';
import type { CircuitBreakerPlan } from '../../plan/policies/circuit-breaker.ts';
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import type { Random } from '../../runtime/random.ts';
import type { RouteMetrics } from '../metrics/route-metrics.ts';
import { Bulkhead } from '../policies/bulkhead.ts';
import type { CircuitBreaker } from '../policies/circuit-breaker.ts';
import { failureMask } from '../policies/failures.ts';
import { RetryBudget } from '../policies/retry-budget.ts';
import { type CircuitEntry, createCircuit } from './circuit.ts';
import { StateTable } from './state-table.ts';

/** What acts on the requests of one row of the plan, ready to be driven. */
export interface RoutePolicy {
  readonly plan: PolicyPlan;
  readonly metrics: RouteMetrics;
  readonly breaker: CircuitBreaker | null;
  readonly bulkhead: Bulkhead | null;
  readonly retries: RetriesPlan | null;
  readonly retryMask: number;
  readonly budget: RetryBudget | null;
}

export interface PoliciesEnvironment {
  random: Random;
  nowMs: () => number;
  unixMs: () => number;
  routeMetrics(rule: string): RouteMetrics;
  onTransition(circuit: CircuitEntry, state: number): void;
}

export const PASS_THROUGH: PolicyPlan = {
  rule: 'disabled',
  timeouts: { requestMs: 0, attemptMs: 0, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 },
  ...NO_BLOCKS,
  sources: {},
};

export class RoutePolicies {
  readonly #environment: PoliciesEnvironment;
  readonly circuits: StateTable<CircuitBreakerPlan, CircuitEntry>;
  readonly bulkheads: StateTable<BulkheadPlan, Bulkhead>;
  readonly #budgets: StateTable<RetriesPlan, RetryBudget>;
  /** What acts where no policy does. */
  readonly passThrough: RoutePolicy;
  #rows: RoutePolicy[] = [];

  constructor(environment: PoliciesEnvironment) {
    this.#environment = environment;
    const { random, nowMs, unixMs } = environment;
    this.circuits = new StateTable({
      create: (plan) =>
        createCircuit(
          plan,
          random,
          unixMs,
          (circuit) => this.circuits.get(circuit.key) === circuit,
          (circuit, state) => environment.onTransition(circuit, state),
        ),
      update: ({ breaker }, plan) => breaker.update(plan, nowMs()),
    });
    this.bulkheads = new StateTable({
      create: (plan) => new Bulkhead(plan),
      update: (bulkhead, plan) => bulkhead.update(plan),
    });
    this.#budgets = new StateTable({
      create: (plan) => new RetryBudget(plan, nowMs()),
      update: (budget, plan) => budget.update(plan),
    });
    this.passThrough = this.#policy(PASS_THROUGH);
  }

  /** Takes the rows of a new plan; state whose key is unchanged goes on. */
  update(plans: readonly PolicyPlan[]): void {
    const tables = [this.circuits, this.bulkheads, this.#budgets];
    for (const table of tables) table.begin();
    this.#rows = plans.map((plan) => this.#policy(plan));
    for (const table of tables) table.end();
  }

  /** The policy of a row; what is out of range passes through. */
  row(index: number): RoutePolicy {
    return this.#rows[index] ?? this.passThrough;
  }

  #policy(plan: PolicyPlan): RoutePolicy {
    return {
      plan,
      metrics: this.#environment.routeMetrics(plan.rule),
      breaker: this.circuits.take(plan.circuitBreaker)?.breaker ?? null,
      bulkhead: this.bulkheads.take(plan.bulkhead),
      retries: plan.retries,
      retryMask: failureMask(plan.retries?.retryOn ?? []),
      budget: this.#budgets.take(plan.retries),
    };
  }
}
