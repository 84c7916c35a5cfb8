// What is shadowed for the requests of one dependency, row by row of its plan, and the state behind it: tables of its own, so that nothing
// here is ever shared with what acts. A block that can be shadowed is one entry of SHADOWS.
import type { Placement } from '../../../plan/endpoints.ts';
import type { ShadowPlan } from '../../../plan/plan.ts';
import type { ShadowBlock } from '../../../plan/policies/blocks.ts';
import type { BulkheadPlan } from '../../../plan/policies/bulkhead.ts';
import type { CircuitBreakerPlan } from '../../../plan/policies/circuit-breaker.ts';
import type { FallbackPlan, LastGoodPlan } from '../../../plan/policies/fallback.ts';
import type { HealthCheckPlan } from '../../../plan/policies/health-check.ts';
import type { HedgingPlan } from '../../../plan/policies/hedging.ts';
import type { OutlierDetectionPlan } from '../../../plan/policies/outlier-detection.ts';
import type { RateLimitPlan } from '../../../plan/policies/rate-limit.ts';
import type { RetriesPlan } from '../../../plan/policies/retries.ts';
import type { Random } from '../../../runtime/random.ts';
import type { BalancedEndpoint } from '../../balance/candidates.ts';
import type { LoadBalancer } from '../../balance/load-balancer.ts';
import type { RouteMetrics } from '../../metrics/route-metrics.ts';
import type { BreakerState, CircuitBreaker } from '../../policies/circuit-breaker.ts';
import { fallbackMask } from '../../policies/fallback.ts';
import { type BytePool, LastGood } from '../../policies/last-good.ts';
import { type OutlierCause, OutlierDetection } from '../../policies/outlier-detection.ts';
import type { PlannedBulkhead } from '../../policies/planned-bulkhead.ts';
import { RateLimit } from '../../policies/rate-limit.ts';
import { RetryBudget } from '../../policies/retry-budget.ts';
import { BalancingShadow, type ShadowChoice } from '../../policies/shadow/balancing-shadow.ts';
import { type BlockShadow, MEAN_CHANCE } from '../../policies/shadow/block-shadow.ts';
import { BulkheadShadow, ShadowPlaces } from '../../policies/shadow/bulkhead-shadow.ts';
import { CircuitShadow, ShadowCircuit } from '../../policies/shadow/circuit-shadow.ts';
import { FallbackShadow, type ShadowFallback } from '../../policies/shadow/fallback-shadow.ts';
import { FaultsShadow } from '../../policies/shadow/faults-shadow.ts';
import { HealthShadow } from '../../policies/shadow/health-shadow.ts';
import { HedgingShadow, ShadowHedges } from '../../policies/shadow/hedging-shadow.ts';
import { OutlierShadow } from '../../policies/shadow/outlier-shadow.ts';
import { RateLimitShadow } from '../../policies/shadow/rate-limit-shadow.ts';
import { RetriesShadow } from '../../policies/shadow/retries-shadow.ts';
import { RouteShadow } from '../../policies/shadow/route-shadow.ts';
import { TimeoutsShadow } from '../../policies/shadow/timeouts-shadow.ts';
import { ATTEMPT_FLOOR_MS } from '../exchange/attempts.ts';
import type { UpstreamEndpoint } from '../exchange/upstream.ts';
import { type CircuitEntry, createCircuit } from './circuit.ts';
import { type ChoicePlan, EndpointChoice, type HealthEntry, healthStates } from './endpoint-choice.ts';
import { type States, StateTable } from './state-table.ts';

export interface ShadowEnvironment {
  /** Chance of the shadows: what is enforced draws from another one. */
  random: Random;
  /** Bound of what all fallbacks in shadow would keep together. */
  lastGoodPool: BytePool;
  nowMs: () => number;
  unixMs: () => number;
  /** Hash of this pod's address. */
  ownKey: () => number;
  /** Another entry of the same ServiceDependency is in the plan. */
  hasSibling: (name: string) => boolean;
  onTransition: (circuit: CircuitEntry, state: BreakerState) => void;
  onEjection: (detection: string, cause: OutlierCause) => void;
  /** The share of ejected endpoints would have been used up. */
  onEjectionWithheld: (detection: string, cause: OutlierCause) => void;
}

interface ShadowEntry {
  entry: CircuitEntry;
  circuit: ShadowCircuit;
}

/** An endpoint choice, and what it may choose from. */
class ShadowedChoice implements ShadowChoice {
  readonly choice: EndpointChoice;
  #live: ReadonlySet<BalancedEndpoint> = new Set();

  constructor(plan: ChoicePlan, random: Random) {
    this.choice = new EndpointChoice(plan, random);
  }

  get balancer(): LoadBalancer<UpstreamEndpoint> {
    return this.choice.balancer;
  }

  has(endpoint: BalancedEndpoint): endpoint is UpstreamEndpoint {
    return this.#live.has(endpoint);
  }

  setEndpoints(live: readonly UpstreamEndpoint[], placement: Placement): void {
    this.#live = new Set(live);
    this.choice.setEndpoints(live, placement);
  }
}

interface ShadowState {
  circuits: StateTable<CircuitBreakerPlan, ShadowEntry>;
  places: StateTable<BulkheadPlan, ShadowPlaces>;
  budgets: StateTable<RetriesPlan, RetryBudget>;
  hedges: StateTable<HedgingPlan, ShadowHedges>;
  limits: StateTable<RateLimitPlan, RateLimit>;
  detections: StateTable<OutlierDetectionPlan, OutlierDetection>;
  healthChecks: StateTable<HealthCheckPlan, HealthEntry>;
  choices: StateTable<ChoicePlan, ShadowedChoice>;
  lastGood: StateTable<LastGoodPlan & { stateKey: string }, LastGood>;
}

/** What is enforced in a row, as far as shadows look at it. */
export interface EnforcedLayers {
  readonly choice: EndpointChoice;
  readonly breaker: CircuitBreaker | null;
  readonly bulkhead: PlannedBulkhead | null;
  readonly retries: RetriesPlan | null;
}

/** What a row is made of. */
interface Making extends ShadowState {
  plan: ShadowPlan;
  environment: ShadowEnvironment;
  enforced: EnforcedLayers;
}

/** In the order of the layers. Null where the row does not shadow the block. */
const SHADOWS: Readonly<Record<ShadowBlock, (making: Making) => BlockShadow | null>> = {
  faultInjection: ({ plan: { faultInjection }, environment: { random } }) =>
    faultInjection && new FaultsShadow(faultInjection, random),
  rateLimit: ({ plan: { rateLimit }, limits }) => rateLimit && new RateLimitShadow(limits.take(rateLimit)),
  timeouts: ({ plan: { timeouts } }) => timeouts && new TimeoutsShadow(timeouts),
  // Before the retries, which take what hedges that were due before have left of the budget.
  hedging: hedgingOf,
  retries: ({ plan: { retries }, budgets }) => retries && new RetriesShadow(retries, budgets.take(retries)),
  circuitBreaker: ({ plan: { circuitBreaker }, circuits }) =>
    circuitBreaker && new CircuitShadow(circuits.take(circuitBreaker).circuit),
  bulkhead: ({ plan: { bulkhead }, places }) => bulkhead && new BulkheadShadow(places.take(bulkhead)),
  outlierDetection: (making) => {
    const { outlierDetection } = making.plan;
    if (outlierDetection === null) return null;
    const { choice } = choiceOf(making);
    return new OutlierShadow(making.detections.take(outlierDetection), () => choice.panicking);
  },
  healthCheck: (making) => {
    const { healthCheck } = making.plan;
    if (healthCheck === null) return null;
    const { choice } = choiceOf(making);
    return new HealthShadow(making.healthChecks.take(healthCheck).checks, () => choice.panicking);
  },
  loadBalancing: (making) =>
    making.plan.loadBalancing && new BalancingShadow(choiceOf(making), making.environment.ownKey),
  fallback: ({ plan: { fallback }, environment, lastGood }) =>
    fallback && new FallbackShadow(fallbackOf(fallback, environment, lastGood)),
};

/** Null also where nothing says what may run twice. */
function hedgingOf(making: Making): BlockShadow | null {
  const { budgets, enforced, plan } = making;
  const { bulkhead, circuitBreaker } = plan;
  const retries = plan.retries ?? enforced.retries;
  const { hedging } = plan;
  if (hedging === null || retries === null) return null;
  const choice = choosesInShadow(plan) ? choiceOf(making).choice : enforced.choice;
  const breaker = circuitBreaker === null ? enforced.breaker : making.circuits.take(circuitBreaker).entry.breaker;
  const places = bulkhead === null ? enforced.bulkhead : making.places.take(bulkhead);
  const layers = {
    maxHedges: hedging.maxHedges,
    retries,
    budget: budgets.take(retries),
    keepsBudget: plan.retries === null,
    circuitClosed: () => breaker === null || breaker.isClosed,
    hasPlace: () => places === null || places.hasRoom,
    otherEndpoints: (endpoint: BalancedEndpoint) => choice.othersThan(endpoint),
  };
  return new HedgingShadow(making.hedges.take(hedging), layers, ATTEMPT_FLOOR_MS);
}

const choosesInShadow = ({ outlierDetection, healthCheck, loadBalancing }: ShadowPlan) =>
  outlierDetection !== null || healthCheck !== null || loadBalancing !== null;

const ORDER = Object.keys(SHADOWS) as readonly ShadowBlock[];
const OF_CONNECTIONS: ReadonlySet<ShadowBlock> = new Set<ShadowBlock>([
  'timeouts',
  'retries',
  'circuitBreaker',
  'bulkhead',
  'outlierDetection',
  'healthCheck',
  'loadBalancing',
]);
const CONNECTION_ORDER = ORDER.filter((block) => OF_CONNECTIONS.has(block));

/** By what is enforced, where it is not shadowed. */
function choiceOf({ plan, detections, healthChecks, choices, enforced }: Making): ShadowedChoice {
  const { outlierDetection, healthCheck, loadBalancing } = plan;
  const shadowed = [outlierDetection, healthCheck, loadBalancing].flatMap((block) => block?.stateKey ?? []);
  return choices.take({
    stateKey: [...shadowed, enforced.choice.key].join(' '),
    detection: detections.take(outlierDetection) ?? enforced.choice.detection,
    health: healthChecks.take(healthCheck) ?? enforced.choice.health,
    loadBalancing: loadBalancing ?? enforced.choice.loadBalancing,
  });
}

function fallbackOf(
  { stateKey, fallbackOn, methods, response, lastGood, dependency }: FallbackPlan,
  { hasSibling }: ShadowEnvironment,
  kept: ShadowState['lastGood'],
): ShadowFallback {
  return {
    mask: fallbackMask(fallbackOn),
    allMethods: methods === 'All',
    hasResponse: response !== null,
    lastGood: kept.take(lastGood && { ...lastGood, stateKey }),
    asksAnother: dependency === null ? null : () => hasSibling(dependency),
    floorMs: ATTEMPT_FLOOR_MS,
  };
}

export class ShadowPolicies {
  readonly #environment: ShadowEnvironment;
  readonly #state: ShadowState;

  constructor(environment: ShadowEnvironment) {
    this.#environment = environment;
    const { lastGoodPool, nowMs, onTransition, random, unixMs } = environment;
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
      hedges: new StateTable({
        create: (plan) => new ShadowHedges(plan, nowMs()),
        update: (hedges, plan) => hedges.update(plan),
      }),
      limits: new StateTable({
        create: (plan) => new RateLimit(plan, nowMs()),
        update: (limit, plan) => limit.update(plan, nowMs()),
      }),
      detections: new StateTable({
        create: (plan) => this.#detection(plan),
        update: (detection, plan) => detection.update(plan, nowMs()),
      }),
      healthChecks: new StateTable(healthStates(random, nowMs, () => this.refresh())),
      choices: new StateTable({
        create: (plan) => new ShadowedChoice(plan, random),
        update: ({ choice }, plan) => choice.update(plan),
      }),
      lastGood: new StateTable({
        create: (plan) => new LastGood(plan, lastGoodPool),
        update: (lastGood, plan) => lastGood.update(plan),
        remove: (lastGood) => lastGood.close(),
      }),
    };
  }

  #detection(plan: OutlierDetectionPlan): OutlierDetection {
    const { nowMs, onEjection, onEjectionWithheld } = this.#environment;
    const { stateKey } = plan;
    const detection = new OutlierDetection(plan, MEAN_CHANCE, nowMs());
    const present = () => this.detections.get(stateKey) === detection;
    detection.listener = {
      ejected: (_member, cause) => {
        this.refresh();
        if (present()) onEjection(stateKey, cause);
      },
      withheld: (_member, cause) => {
        if (present()) onEjectionWithheld(stateKey, cause);
      },
      returned: () => this.refresh(),
    };
    return detection;
  }

  get circuits(): Iterable<CircuitEntry> {
    return Array.from(this.#state.circuits.values(), ({ entry }) => entry);
  }

  get places(): Iterable<[string, ShadowPlaces]> {
    return this.#state.places.entries();
  }

  get hedges(): Iterable<[string, ShadowHedges]> {
    return this.#state.hedges.entries();
  }

  get detections(): States<OutlierDetection> {
    return this.#state.detections;
  }

  get healthChecks(): States<HealthEntry> {
    return this.#state.healthChecks;
  }

  /** Of what fallbacks in shadow would keep, by their keys. */
  get lastGood(): States<LastGood> {
    return this.#state.lastGood;
  }

  /** Those that something in shadow would narrow, with what would: not with what is enforced beside it. */
  get narrowedChoices(): { choice: EndpointChoice; detection: OutlierDetection | null; health: HealthEntry | null }[] {
    const { choices, detections, healthChecks } = this.#state;
    const own = new Set<OutlierDetection | HealthEntry>([...detections.values(), ...healthChecks.values()]);
    return Array.from(choices.values(), ({ choice }) => ({
      choice,
      detection: choice.detection !== null && own.has(choice.detection) ? choice.detection : null,
      health: choice.health !== null && own.has(choice.health) ? choice.health : null,
    })).filter(({ detection, health }) => detection !== null || health !== null);
  }

  /** What narrows a choice, enforced or in shadow, has changed. */
  refresh(): void {
    for (const { choice } of this.#state.choices.values()) choice.refresh();
  }

  setEndpoints(live: readonly UpstreamEndpoint[], placement: Placement): void {
    const names = live.map(({ name }) => name);
    const nowMs = this.#environment.nowMs();
    for (const detection of this.#state.detections.values()) detection.setEndpoints(names, nowMs);
    for (const { checks } of this.#state.healthChecks.values()) checks.setEndpoints(names, nowMs);
    for (const choice of this.#state.choices.values()) choice.setEndpoints(live, placement);
  }

  /** From here to `end` every row of the new plan takes its state. */
  begin(): void {
    for (const table of Object.values(this.#state)) table.begin();
  }

  end(): void {
    for (const table of Object.values(this.#state)) table.end();
  }

  /** Of one row of the plan; null: nothing is shadowed there. */
  take(plan: ShadowPlan | undefined, metrics: RouteMetrics, enforced: EnforcedLayers): RouteShadow | null {
    if (plan === undefined) return null;
    const keeps = plan.fallback !== null && plan.fallback.lastGood !== null;
    const shadow = this.#route(plan, metrics, enforced, ORDER);
    const lastGood = keeps ? (this.#state.lastGood.get(plan.fallback?.stateKey ?? '') ?? null) : null;
    return shadow.length === 0 ? null : new RouteShadow(shadow, metrics.shadow, lastGood);
  }

  /** As `take`, of connections whose bytes cannot be read: the blocks that act there, over the same state. */
  ofConnections(plan: ShadowPlan | undefined, metrics: RouteMetrics, enforced: EnforcedLayers): RouteShadow | null {
    if (plan === undefined) return null;
    const { timeouts } = plan;
    // Of the timeouts those of a connection hold, and the longer silence.
    const connectionTimeouts = timeouts && { ...timeouts, requestMs: 0, attemptMs: 0, idleMs: timeouts.opaqueIdleMs };
    const shadow = this.#route({ ...plan, timeouts: connectionTimeouts }, metrics, enforced, CONNECTION_ORDER);
    return shadow.length === 0 ? null : new RouteShadow(shadow, metrics.shadow);
  }

  #route(plan: ShadowPlan, metrics: RouteMetrics, enforced: EnforcedLayers, order: readonly ShadowBlock[]) {
    const making = { ...this.#state, plan, environment: this.#environment, enforced };
    return order.flatMap((block) => {
      const shadow = SHADOWS[block](making);
      if (shadow !== null) metrics.shadowed.add(block);
      return shadow ?? [];
    });
  }

  /** What time alone changes, a few times per second. */
  sweep(nowMs: number): void {
    for (const { circuit } of this.#state.circuits.values()) circuit.sweep(nowMs);
    for (const places of this.#state.places.values()) places.sweep(nowMs);
    for (const hedges of this.#state.hedges.values()) hedges.sweep(nowMs);
    for (const detection of this.#state.detections.values()) detection.sweep(nowMs);
  }

  clear(): void {
    for (const table of Object.values(this.#state)) table.clear();
  }
}
