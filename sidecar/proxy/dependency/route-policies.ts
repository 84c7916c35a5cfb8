// What acts on the requests of one dependency, row by row of its plan, and the state behind it.
//
// A policy without state is a field of RoutePolicy that is made of the numbers of the plan. A policy with state is, besides, one
// StateTable: what a state is made of and how it takes new numbers. A request reads one RoutePolicy and looks nothing up.
import type { Placement } from '../../../plan/endpoints.ts';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { NO_BLOCKS } from '../../../plan/policies/blocks.ts';
import type { BulkheadPlan } from '../../../plan/policies/bulkhead.ts';
import type { CircuitBreakerPlan } from '../../../plan/policies/circuit-breaker.ts';
import type { FallbackPlan, LastGoodPlan } from '../../../plan/policies/fallback.ts';
import type { FaultInjectionPlan } from '../../../plan/policies/fault-injection.ts';
import type { HealthCheckPlan } from '../../../plan/policies/health-check.ts';
import type { HedgingPlan } from '../../../plan/policies/hedging.ts';
import type { OutlierDetectionPlan } from '../../../plan/policies/outlier-detection.ts';
import type { RateLimitPlan } from '../../../plan/policies/rate-limit.ts';
import type { RetriesPlan } from '../../../plan/policies/retries.ts';
import type { Random } from '../../../runtime/random.ts';
import { DEFAULT_LOAD_BALANCING } from '../../balance/load-balancer.ts';
import { LOCAL_ANSWERS, type LocalAnswer } from '../../errors.ts';
import { grpcStatusOf, grpcStatusTable } from '../../grpc/status.ts';
import { Fallback, type RouteMetrics } from '../../metrics/route-metrics.ts';
import type { BreakerState, CircuitBreaker } from '../../policies/circuit-breaker.ts';
import { failureMask } from '../../policies/failures.ts';
import { fallbackMask } from '../../policies/fallback.ts';
import { Hedging } from '../../policies/hedging.ts';
import { type BytePool, LastGood } from '../../policies/last-good.ts';
import { type OutlierCause, OutlierDetection } from '../../policies/outlier-detection.ts';
import { PlannedBulkhead } from '../../policies/planned-bulkhead.ts';
import { RateLimit } from '../../policies/rate-limit.ts';
import { statusTable } from '../../policies/retry.ts';
import { RetryBudget } from '../../policies/retry-budget.ts';
import type { RouteShadow } from '../../policies/shadow/route-shadow.ts';
import { fixedAnswer, type GivenAnswer } from '../exchange/given-answer.ts';
import type { UpstreamEndpoint } from '../exchange/upstream.ts';
import { type CircuitEntry, createCircuit } from './circuit.ts';
import { type ChoicePlan, EndpointChoice, type HealthEntry, healthStates } from './endpoint-choice.ts';
import { type ShadowEnvironment, ShadowPolicies } from './shadow-policies.ts';
import { StateTable } from './state-table.ts';

/** Kept answers are looked through this often: one that is too old is not given anyhow. */
const LAST_GOOD_SWEEP_MS = 10_000;

/** What takes the place of a failure; one of `response`, `lastGood` and `dependency` is there. */
export interface RouteFallback {
  /** Slot of the metric. */
  readonly kind: number;
  /** Of `FallbackBit`s. */
  readonly mask: number;
  readonly allMethods: boolean;
  readonly response: GivenAnswer | null;
  readonly lastGood: LastGood | null;
  /** Name of another entry of the same ServiceDependency; empty: none. */
  readonly dependency: string;
}

/** What is done to a share of the requests on purpose. */
export interface RouteFaults {
  readonly plan: FaultInjectionPlan;
  readonly abort: LocalAnswer;
}

/** What acts on the requests of one row of the plan, ready to be driven. */
export interface RoutePolicy {
  readonly plan: PolicyPlan;
  readonly metrics: RouteMetrics;
  readonly breaker: CircuitBreaker | null;
  readonly bulkhead: PlannedBulkhead | null;
  readonly rateLimit: RateLimit | null;
  readonly retries: RetriesPlan | null;
  readonly retryMask: number;
  /** One where a status is retried by its number; null: none is. */
  readonly retryStatuses: Uint8Array | null;
  /** One where a status of gRPC is retried by its number; null: none is. */
  readonly retryGrpcStatuses: Uint8Array | null;
  /** A `DeadlineRule`. */
  readonly deadlineRule: number;
  readonly budget: RetryBudget | null;
  /** When an attempt is sent a second time; null: it is not, or there is no budget for it. */
  readonly hedging: Hedging | null;
  readonly detection: OutlierDetection | null;
  /** Which endpoint an attempt goes to. */
  readonly choice: EndpointChoice;
  readonly fallback: RouteFallback | null;
  /** Answers may be kept as they pass by, or measured by what is in shadow. */
  readonly watchesAnswers: boolean;
  readonly faults: RouteFaults | null;
  /** What is judged without acting; null: nothing is. */
  readonly shadow: RouteShadow | null;
  /** The same of connections that are no requests. */
  readonly connectionShadow: RouteShadow | null;
}

/**
 * What happens to deadlines that travel. Untouched: what the application sends passes as it is. Ended: nobody is told, and nothing is
 * taken from a request. Taken: a received one shortens, and nobody is told. Told: it shortens, and every attempt tells.
 */
export const DeadlineRule = { Untouched: 0, Ended: 1, Taken: 2, Told: 3 } as const;

export interface PoliciesEnvironment {
  random: Random;
  /** Bound of all last good answers together. */
  lastGoodPool: BytePool;
  nowMs: () => number;
  unixMs: () => number;
  /** What shadows need beside it. */
  shadows: Omit<ShadowEnvironment, 'nowMs' | 'unixMs'>;
  routeMetrics(rule: string): RouteMetrics;
  /** What is called is a host outside the cluster. */
  isOutside: () => boolean;
  onTransition(circuit: CircuitEntry, state: BreakerState): void;
  onEjection(detection: string, cause: OutlierCause): void;
  /** The share of ejected endpoints was used up. */
  onEjectionWithheld(detection: string, cause: OutlierCause): void;
  onPanic(choice: string): void;
}

export const PASS_THROUGH: PolicyPlan = {
  rule: 'disabled',
  timeouts: { requestMs: 0, attemptMs: 0, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 },
  ...NO_BLOCKS,
  sources: {},
};

/** Name of the choice that no policy makes. */
const DEFAULT_CHOICE = 'default';

export class RoutePolicies {
  readonly #environment: PoliciesEnvironment;
  readonly circuits: StateTable<CircuitBreakerPlan, CircuitEntry>;
  readonly bulkheads: StateTable<BulkheadPlan, PlannedBulkhead>;
  readonly rateLimits: StateTable<RateLimitPlan, RateLimit>;
  readonly #budgets: StateTable<RetriesPlan, RetryBudget>;
  readonly hedgings: StateTable<HedgingPlan, Hedging>;
  readonly detections: StateTable<OutlierDetectionPlan, OutlierDetection>;
  readonly healthChecks: StateTable<HealthCheckPlan, HealthEntry>;
  /** Those that a policy makes. */
  readonly choices: StateTable<ChoicePlan, EndpointChoice>;
  readonly lastGood: StateTable<LastGoodPlan & { stateKey: string }, LastGood>;
  readonly shadows: ShadowPolicies;
  readonly #defaultChoice: EndpointChoice;
  /** What acts where no policy does. */
  readonly passThrough: RoutePolicy;
  #rows: RoutePolicy[] = [];
  #lastGoodSweepMs = 0;

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
      create: (plan) => new PlannedBulkhead(plan, random, nowMs()),
      update: (bulkhead, plan) => bulkhead.replan(plan, nowMs()),
    });
    this.rateLimits = new StateTable({
      create: (plan) => new RateLimit(plan, nowMs()),
      update: (limit, plan) => limit.update(plan, nowMs()),
    });
    this.#budgets = new StateTable({
      create: (plan) => new RetryBudget(plan, nowMs()),
      update: (budget, plan) => budget.update(plan),
    });
    this.hedgings = new StateTable({
      create: (plan) => new Hedging(plan, nowMs()),
      update: (hedging, plan) => hedging.update(plan),
    });
    this.detections = new StateTable({
      create: (plan) => this.#detection(plan),
      update: (detection, plan) => detection.update(plan, nowMs()),
    });
    this.healthChecks = new StateTable(
      healthStates(random, nowMs, (entry) => {
        for (const choice of this.choices.values()) if (choice.health === entry) choice.refresh();
        this.shadows.refresh();
      }),
    );
    this.choices = new StateTable({
      create: (plan) => this.#choice(plan),
      update: (choice, plan) => choice.update(plan),
      remove: (choice) => choice.retire(this.#defaultChoice),
    });
    this.lastGood = new StateTable({
      create: (plan) => new LastGood(plan, environment.lastGoodPool),
      update: (lastGood, plan) => lastGood.update(plan),
      remove: (lastGood) => lastGood.close(),
    });
    this.shadows = new ShadowPolicies({ nowMs, unixMs, ...environment.shadows });
    this.#defaultChoice = new EndpointChoice(
      { stateKey: DEFAULT_CHOICE, detection: null, health: null, loadBalancing: DEFAULT_LOAD_BALANCING },
      random,
    );
    this.passThrough = this.#policy(PASS_THROUGH);
  }

  /** Those that act and those that are shadowed. */
  *allCircuits(): Iterable<CircuitEntry> {
    yield* this.circuits.values();
    yield* this.shadows.circuits;
  }

  /** Those that act and those that are shadowed: their keys are different. */
  *allHealthChecks(): Iterable<HealthEntry> {
    yield* this.healthChecks.values();
    yield* this.shadows.healthChecks.values();
  }

  /** Whether these checks are still wanted. */
  hasHealthChecks(entry: HealthEntry): boolean {
    return (this.healthChecks.get(entry.key) ?? this.shadows.healthChecks.get(entry.key)) === entry;
  }

  /** Takes the rows of a new plan; state whose key is unchanged goes on. */
  update(plans: readonly PolicyPlan[]): void {
    const tables = [
      this.circuits,
      this.bulkheads,
      this.rateLimits,
      this.#budgets,
      this.hedgings,
      this.detections,
      this.choices,
      this.lastGood,
      this.shadows,
      this.healthChecks,
    ];
    for (const table of tables) table.begin();
    this.#rows = plans.map((plan) => this.#policy(plan));
    for (const table of tables) table.end();
  }

  /** The endpoints that there are now, and where they are chosen from. */
  setEndpoints(live: readonly UpstreamEndpoint[], placement: Placement): void {
    const names = live.map(({ name }) => name);
    const nowMs = this.#environment.nowMs();
    for (const detection of this.detections.values()) detection.setEndpoints(names, nowMs);
    for (const { checks } of this.healthChecks.values()) checks.setEndpoints(names, nowMs);
    for (const choice of this.allChoices()) choice.setEndpoints(live, placement);
    this.shadows.setEndpoints(live, placement);
  }

  allChoices(): EndpointChoice[] {
    return [this.#defaultChoice, ...this.choices.values()];
  }

  /** What time alone changes. */
  sweep(nowMs: number): void {
    for (const bulkhead of this.bulkheads.values()) bulkhead.sweep(nowMs);
    for (const detection of this.detections.values()) detection.sweep(nowMs);
    this.shadows.sweep(nowMs);
    if (nowMs < this.#lastGoodSweepMs) return;
    this.#lastGoodSweepMs = nowMs + LAST_GOOD_SWEEP_MS;
    for (const lastGood of this.lastGood.values()) lastGood.sweep(nowMs);
    for (const lastGood of this.shadows.lastGood.values()) lastGood.sweep(nowMs);
  }

  /** The policy of a row; what is out of range passes through. */
  row(index: number): RoutePolicy {
    return this.#rows[index] ?? this.passThrough;
  }

  #detection(plan: OutlierDetectionPlan): OutlierDetection {
    const environment = this.#environment;
    const { stateKey } = plan;
    const detection = new OutlierDetection(plan, environment.random, environment.nowMs());
    // A request that began before a plan which no longer has this detection may still tell it something.
    const present = () => this.detections.get(stateKey) === detection;
    const refresh = () => {
      for (const choice of this.choices.values()) if (choice.detection === detection) choice.refresh();
      this.shadows.refresh();
    };
    detection.listener = {
      ejected(_member, cause) {
        refresh();
        if (present()) environment.onEjection(stateKey, cause);
      },
      withheld(_member, cause) {
        if (present()) environment.onEjectionWithheld(stateKey, cause);
      },
      returned: refresh,
    };
    return detection;
  }

  #choice(plan: ChoicePlan): EndpointChoice {
    const choice = new EndpointChoice(plan, this.#environment.random);
    choice.onPanic = () => this.#environment.onPanic(choice.key);
    return choice;
  }

  #choiceOf({ outlierDetection, healthCheck, loadBalancing }: PolicyPlan): EndpointChoice {
    const keys = [outlierDetection, healthCheck, loadBalancing].flatMap((block) => block?.stateKey ?? []);
    if (keys.length === 0) return this.#defaultChoice;
    const plan = {
      stateKey: keys.join(' '),
      detection: this.detections.take(outlierDetection),
      health: this.healthChecks.take(healthCheck),
      loadBalancing: loadBalancing ?? DEFAULT_LOAD_BALANCING,
    };
    return this.choices.take(plan) ?? this.#defaultChoice;
  }

  #policy(plan: PolicyPlan): RoutePolicy {
    const metrics = this.#environment.routeMetrics(plan.rule);
    const choice = this.#choiceOf(plan);
    const fallback = this.#fallback(plan.fallback);
    const breaker = this.circuits.take(plan.circuitBreaker)?.breaker ?? null;
    const bulkhead = this.bulkheads.take(plan.bulkhead);
    const enforced = { choice, breaker, bulkhead, retries: plan.retries };
    const shadow = this.shadows.take(plan.shadow, metrics, enforced);
    const hedging = plan.retries === null ? null : this.hedgings.take(plan.hedging);
    if (hedging !== null) metrics.hedging = true;
    return {
      plan,
      metrics,
      breaker,
      bulkhead,
      rateLimit: this.rateLimits.take(plan.rateLimit),
      retries: plan.retries,
      retryMask: failureMask(plan.retries?.retryOn ?? []),
      retryStatuses: statusTable(plan.retries?.retryOnStatusCodes ?? []),
      retryGrpcStatuses: grpcStatusTable(plan.retries?.retryOnGrpcStatusCodes ?? []),
      deadlineRule: deadlineRule(plan.timeouts.deadline, this.#environment.isOutside()),
      budget: this.#budgets.take(plan.retries),
      hedging,
      detection: choice.detection,
      choice,
      fallback,
      watchesAnswers:
        (fallback !== null && fallback.lastGood !== null) || (shadow !== null && shadow.lastGood !== null),
      faults: faultsOf(plan.faultInjection),
      shadow,
      connectionShadow: this.shadows.ofConnections(plan.shadow, metrics, enforced),
    };
  }

  #fallback(plan: FallbackPlan | null): RouteFallback | null {
    if (plan === null) return null;
    const { stateKey, fallbackOn, methods, response, lastGood, dependency } = plan;
    const way = {
      mask: fallbackMask(fallbackOn),
      allMethods: methods === 'All',
      response: response && fixedAnswer(response),
      lastGood: this.lastGood.take(lastGood && { ...lastGood, stateKey }),
      dependency: dependency ?? '',
    };
    if (way.response) return { kind: Fallback.response, ...way };
    if (way.lastGood) return { kind: Fallback.lastGood, ...way };
    return way.dependency === '' ? null : { kind: Fallback.dependency, ...way };
  }

  /** The dependency is gone: what is kept of it is given back. */
  remove(): void {
    this.circuits.clear();
    this.detections.clear();
    this.healthChecks.clear();
    this.choices.clear();
    this.shadows.clear();
    this.lastGood.clear();
  }
}

function faultsOf(plan: FaultInjectionPlan | null): RouteFaults | null {
  if (plan === null) return null;
  const { faultInjected } = LOCAL_ANSWERS;
  const status = plan.abort?.statusCode ?? faultInjected.status;
  return { plan, abort: { ...faultInjected, status, grpcStatus: grpcStatusOf(status) } };
}

function deadlineRule(propagate: PolicyPlan['timeouts']['deadline'], outside: boolean): number {
  if (propagate === undefined) return DeadlineRule.Untouched;
  if (propagate === 'Never') return DeadlineRule.Ended;
  return propagate === 'InCluster' && outside ? DeadlineRule.Taken : DeadlineRule.Told;
}
