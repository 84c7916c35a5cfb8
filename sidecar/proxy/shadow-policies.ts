// What is shadowed for the requests of one dependency, row by row of its plan, and the state behind it: tables of its own, so that nothing
// here is ever shared with what acts. A block that can be shadowed is one entry of SHADOWS.
import type { ShadowPlan } from '../../plan/plan.ts';
import { SHADOW_BLOCKS, type ShadowBlock } from '../../plan/policies/blocks.ts';
import type { BulkheadPlan } from '../../plan/policies/bulkhead.ts';
import type { CircuitBreakerPlan } from '../../plan/policies/circuit-breaker.ts';
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import type { RouteMetrics } from '../metrics/route-metrics.ts';
import type { BreakerState } from '../policies/circuit-breaker.ts';
import { RetryBudget } from '../policies/retry-budget.ts';
import { type BlockShadow, MEAN_CHANCE } from '../policies/shadow/block-shadow.ts';
import { BulkheadShadow, ShadowPlaces } from '../policies/shadow/bulkhead-shadow.ts';
import { CircuitShadow, ShadowCircuit } from '../policies/shadow/circuit-shadow.ts';
import { RetriesShadow } from '../policies/shadow/retries-shadow.ts';
import { RouteShadow } from '../policies/shadow/route-shadow.ts';
import { TimeoutsShadow } from '../policies/shadow/timeouts-shadow.ts';
import { type CircuitEntry, createCircuit } from './circuit.ts';
import { StateTable } from './state-table.ts';

export interface ShadowEnvironment {
  nowMs: () => number;
  unixMs: () => number;
  onTransition: (circuit: CircuitEntry, state: BreakerState) => void;
}

interface ShadowEntry {
  entry: CircuitEntry;
  circuit: ShadowCircuit;
}

interface ShadowState {
  circuits: StateTable<CircuitBreakerPlan, ShadowEntry>;
  places: StateTable<BulkheadPlan, ShadowPlaces>;
  budgets: StateTable<RetriesPlan, RetryBudget>;
}

/** Null where the row does not shadow the block. */
type Make = (plan: ShadowPlan, state: ShadowState) => BlockShadow | null;

const SHADOWS: Readonly<Record<ShadowBlock, Make>> = {
  timeouts: ({ timeouts }) => timeouts && new TimeoutsShadow(timeouts),
  retries: ({ retries }, { budgets }) => retries && new RetriesShadow(retries, budgets.take(retries)),
  circuitBreaker: ({ circuitBreaker }, { circuits }) =>
    circuitBreaker && new CircuitShadow(circuits.take(circuitBreaker).circuit),
  bulkhead: ({ bulkhead }, { places }) => bulkhead && new BulkheadShadow(places.take(bulkhead)),
};

export class ShadowPolicies {
  readonly #state: ShadowState;

  constructor({ nowMs, unixMs, onTransition }: ShadowEnvironment) {
    const circuits: ShadowState['circuits'] = new StateTable({
      create: (plan) => {
        const isPresent = (entry: CircuitEntry) => circuits.get(entry.key)?.entry === entry;
        const entry = createCircuit(plan, MEAN_CHANCE, unixMs, isPresent, onTransition);
        return { entry, circuit: new ShadowCircuit(entry.breaker, plan) };
      },
      update: ({ circuit }, plan) => circuit.update(plan, nowMs()),
    });
    this.#state = {
      circuits,
      places: new StateTable({
        create: (plan) => new ShadowPlaces(plan, nowMs()),
        update: (places, plan) => places.update(plan, nowMs()),
      }),
      budgets: new StateTable({
        create: (plan) => new RetryBudget(plan, nowMs()),
        update: (budget, plan) => budget.update(plan),
      }),
    };
  }

  get circuits(): Iterable<CircuitEntry> {
    return Array.from(this.#state.circuits.values(), ({ entry }) => entry);
  }

  get places(): Iterable<[string, ShadowPlaces]> {
    return this.#state.places.entries();
  }

  /** From here to `end` every row of the new plan takes its state. */
  begin(): void {
    for (const table of Object.values(this.#state)) table.begin();
  }

  end(): void {
    for (const table of Object.values(this.#state)) table.end();
  }

  /** Of one row of the plan; null: nothing is shadowed there. */
  take(plan: ShadowPlan | undefined, metrics: RouteMetrics): RouteShadow | null {
    if (plan === undefined) return null;
    const blocks = SHADOW_BLOCKS.flatMap((block) => {
      const shadow = SHADOWS[block](plan, this.#state);
      if (shadow !== null) metrics.shadowed.add(block);
      return shadow === null ? [] : [shadow];
    });
    return blocks.length === 0 ? null : new RouteShadow(blocks, metrics.shadow);
  }

  /** What time alone changes, a few times per second. */
  sweep(nowMs: number): void {
    for (const { circuit } of this.#state.circuits.values()) circuit.sweep(nowMs);
    for (const places of this.#state.places.values()) places.sweep(nowMs);
  }

  clear(): void {
    this.#state.circuits.clear();
  }
}
