// Watches the real policies from outside: every call of their methods goes to a model as well, which knows what must come of it. The
// classes are wrapped while a run lasts and put back after it, so that production code knows nothing of any of this.
import type { CircuitBreakerPlan } from '../../plan/policies/circuit-breaker.ts';
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import { Bulkhead, type BulkheadLimits, type BulkheadWaiter } from '../../sidecar/policies/bulkhead.ts';
import { type BreakerState, CircuitBreaker } from '../../sidecar/policies/circuit-breaker.ts';
import { RateLimit, type RateLimitNumbers } from '../../sidecar/policies/rate-limit.ts';
import { RetryBudget } from '../../sidecar/policies/retry-budget.ts';
import { DependencyRuntime } from '../../sidecar/proxy/dependency/dependency.ts';
import { RoutePolicies, type RoutePolicy } from '../../sidecar/proxy/dependency/route-policies.ts';
import { Attempt } from '../../sidecar/proxy/exchange/attempt.ts';
import { Attempts } from '../../sidecar/proxy/exchange/attempts.ts';
import { Exchange } from '../../sidecar/proxy/exchange/exchange.ts';
import { Rescue } from '../../sidecar/proxy/exchange/rescue.ts';
import { ChoiceProbes, type WereEndpoints } from './choice-probes.ts';
import { idOf } from './correlation.ts';
import type { Ledger } from './ledger.ts';
import { BreakerModel, BudgetModel, BulkheadModel } from './models.ts';
import { HeaderLimitModel, RateLimitModel } from './rate-limit-models.ts';
import { demand } from './violation.ts';
import { wrap } from './wrap.ts';

interface Watched<Model, Plan> {
  model: Model;
  /** The numbers that hold now. */
  plan: Plan;
}

/** As many as the schema allows, and two that cost nothing. */
const MOST_TRIES = 10 + 2;

/** What a run knows of the policies of all its sidecars. */
export class Probes {
  readonly #ledger: Ledger;
  readonly #budgets = new Map<RetryBudget, Watched<BudgetModel, RetriesPlan>>();
  readonly #bulkheads = new Map<Bulkhead, Watched<BulkheadModel, BulkheadLimits>>();
  readonly #breakers = new Map<CircuitBreaker, Watched<BreakerModel, CircuitBreakerPlan>>();
  readonly #rateLimits = new Map<RateLimit, Watched<RateLimitModel | HeaderLimitModel, RateLimitNumbers>>();
  readonly #choices: ChoiceProbes;
  readonly #states = new Map<CircuitBreaker, number>();
  #undo: (() => void)[] = [];
  /** How often anything of each kind happened. */
  readonly #counts = {
    withdrawals: 0,
    refusedWithdrawals: 0,
    queued: 0,
    full: 0,
    opened: 0,
    halfOpened: 0,
    closed: 0,
    forcedOpen: 0,
    forcedClosed: 0,
    passed: 0,
    limited: 0,
    passedByHeader: 0,
    limitedByHeader: 0,
    sharedByHeader: 0,
    hedged: 0,
    overtaken: 0,
  };

  constructor(ledger: Ledger, wereEndpoints: WereEndpoints) {
    this.#ledger = ledger;
    this.#choices = new ChoiceProbes(wereEndpoints);
  }

  get counts(): Readonly<Record<string, number>> {
    return { ...this.#counts, ...this.#choices.counts };
  }

  install(): void {
    this.#undo = [
      this.#requests(),
      this.#tries(),
      this.#budget(),
      this.#bulkhead(),
      this.#breaker(),
      this.#rateLimit(),
      this.#hedges(),
      this.#choices.install(),
    ].flat();
  }

  remove(): void {
    for (const undo of this.#undo.reverse()) undo();
    this.#undo = [];
  }

  /** The head of a request left a sidecar, `again`: not for the first time. */
  sent(policy: RoutePolicy, again: boolean): void {
    if (policy.breaker !== null) this.#breakers.get(policy.breaker)?.model.attempted();
    if (again && policy.budget !== null) this.#budgets.get(policy.budget)?.model.sentAgain();
  }

  /** All is over: nothing is taken any more. */
  close(): void {
    this.#choices.demandTruth();
    for (const { model } of this.#bulkheads.values())
      demand(
        model.inFlight === 0 && model.queued === 0,
        () => `a bulkhead still counts ${model.inFlight} and ${model.queued}`,
      );
    for (const { model } of this.#breakers.values())
      demand(model.unsettled === 0, () => `${model.unsettled} permits of a circuit were never given back`);
  }

  /** A policy is met for the first time: its numbers are those that its state was made or updated with. */
  #meet(policy: RoutePolicy): void {
    const { budget, bulkhead, breaker, rateLimit, plan } = policy;
    if (rateLimit && plan.rateLimit && !this.#rateLimits.has(rateLimit))
      this.#rateLimits.set(rateLimit, { model: rateLimitModel(plan.rateLimit), plan: plan.rateLimit });
    if (budget && plan.retries && !this.#budgets.has(budget))
      this.#budgets.set(budget, { model: new BudgetModel(), plan: plan.retries });
    if (bulkhead && plan.bulkhead && !this.#bulkheads.has(bulkhead))
      this.#bulkheads.set(bulkhead, { model: new BulkheadModel(), plan: plan.bulkhead });
    if (breaker && plan.circuitBreaker && !this.#breakers.has(breaker)) {
      this.#breakers.set(breaker, { model: new BreakerModel(), plan: plan.circuitBreaker });
      this.#states.set(breaker, 0);
    }
  }

  #requests(): (() => void)[] {
    const ledger = this.#ledger;
    const meet = (policy: RoutePolicy) => this.#meet(policy);
    /** The request that is being taken up; 0: none. */
    let beginning = 0;
    return [
      wrap(RoutePolicies.prototype, 'update', (original) => {
        return function (this: RoutePolicies, plans) {
          original.call(this, plans);
          for (const index of plans.keys()) meet(this.row(index));
        };
      }),
      wrap(Exchange.prototype, 'begin', (original) => {
        return function (this: Exchange, host: string, correlationId: string, hasBody: boolean) {
          beginning = idOf(correlationId);
          original.call(this, host, correlationId, hasBody);
          beginning = 0;
        };
      }),
      wrap(DependencyRuntime.prototype, 'policyFor', (original) => {
        return function (this: DependencyRuntime, ...request) {
          const policy = original.apply(this, request);
          if (beginning > 0) ledger.begun(beginning, policy);
          beginning = 0;
          return policy;
        };
      }),
      wrap(Rescue.prototype, 'redirect', (original) => {
        return function (this: Rescue, target: DependencyRuntime) {
          const { policy, correlationId } = this.request;
          original.call(this, target);
          ledger.redirected(idOf(correlationId), policy, this.request.policy);
        };
      }),
    ];
  }

  /** Attempts that reached for an endpoint, those too that cost nothing: once to the ClusterIP, once to what stands behind it. */
  #tries(): (() => void)[] {
    const tries = new WeakMap<Attempts, number>();
    return [
      wrap(Attempts.prototype, 'reset', (original) => {
        return function (this: Attempts) {
          tries.set(this, 0);
          original.call(this);
        };
      }),
      wrap(Attempts.prototype, 'started', (original) => {
        return function (this: Attempts) {
          const tried = (tries.get(this) ?? 0) + 1;
          tries.set(this, tried);
          demand(tried <= MOST_TRIES, () => `a request was tried ${tried} times`);
          original.call(this);
        };
      }),
    ];
  }

  #hedges(): (() => void)[] {
    const counts = this.#counts;
    return [
      wrap(Attempts.prototype, 'hedged', (original) => {
        return function (this: Attempts) {
          original.call(this);
          counts.hedged += 1;
        };
      }),
      wrap(Attempt.prototype, 'overtaken', (original) => {
        return function (this: Attempt, nowMs: number) {
          original.call(this, nowMs);
          counts.overtaken += 1;
        };
      }),
    ];
  }

  #budget(): (() => void)[] {
    const counts = this.#counts;
    const budgets = this.#budgets;
    const { prototype } = RetryBudget;
    return [
      wrap(prototype, 'update', (original) => {
        return function (this: RetryBudget, plan) {
          original.call(this, plan);
          const watched = budgets.get(this);
          if (watched) watched.plan = plan as RetriesPlan;
        };
      }),
      wrap(prototype, 'recordRequest', (original) => {
        return function (this: RetryBudget, nowMs: number) {
          original.call(this, nowMs);
          const watched = budgets.get(this);
          watched?.model.recorded(watched.plan, nowMs);
        };
      }),
      wrap(prototype, 'tryWithdraw', (original) => {
        return function (this: RetryBudget, nowMs: number) {
          const granted = original.call(this, nowMs);
          const watched = budgets.get(this);
          watched?.model.asked(watched.plan, nowMs, granted);
          if (granted) counts.withdrawals += 1;
          else counts.refusedWithdrawals += 1;
          return granted;
        };
      }),
    ];
  }

  #bulkhead(): (() => void)[] {
    const counts = this.#counts;
    const bulkheads = this.#bulkheads;
    const { prototype } = Bulkhead;
    return [
      wrap(prototype, 'update', (original) => {
        return function (this: Bulkhead, plan) {
          original.call(this, plan);
          const watched = bulkheads.get(this);
          // An adaptive one finds its limit by itself, from the first moment on.
          if (watched) watched.plan = plan;
          else bulkheads.set(this, { model: new BulkheadModel(), plan });
        };
      }),
      wrap(prototype, 'acquire', (original) => {
        return function (this: Bulkhead, waiter: BulkheadWaiter) {
          const admission = original.call(this, waiter);
          const watched = bulkheads.get(this);
          watched?.model.acquired(watched.plan, waiter, admission);
          if (admission === 1) counts.queued += 1;
          else if (admission === 2) counts.full += 1;
          return admission;
        };
      }),
      wrap(prototype, 'tryAcquire', (original) => {
        return function (this: Bulkhead) {
          const isGranted = original.call(this);
          const watched = bulkheads.get(this);
          watched?.model.tried(watched.plan, isGranted);
          return isGranted;
        };
      }),
      wrap(prototype, 'takeGrantable', (original) => {
        return function (this: Bulkhead) {
          const waiter = original.call(this);
          const watched = bulkheads.get(this);
          watched?.model.granted(watched.plan, waiter);
          return waiter;
        };
      }),
      // Gives the place on by takeGrantable, which is watched by itself.
      wrap(prototype, 'release', (original) => {
        return function (this: Bulkhead) {
          bulkheads.get(this)?.model.released();
          return original.call(this);
        };
      }),
      wrap(prototype, 'cancel', (original) => {
        return function (this: Bulkhead, waiter: BulkheadWaiter) {
          original.call(this, waiter);
          bulkheads.get(this)?.model.cancelled(waiter);
        };
      }),
    ];
  }

  #rateLimit(): (() => void)[] {
    const counts = this.#counts;
    const rateLimits = this.#rateLimits;
    const { prototype } = RateLimit;
    return [
      wrap(prototype, 'update', (original) => {
        return function (this: RateLimit, plan, nowMs) {
          original.call(this, plan, nowMs);
          const watched = rateLimits.get(this);
          if (!watched) return;
          if (headerOf(plan) !== headerOf(watched.plan)) watched.model = rateLimitModel(plan);
          else watched.model.changed(watched.plan, plan, nowMs);
          watched.plan = plan;
        };
      }),
      wrap(prototype, 'take', (original) => {
        return function (this: RateLimit, value, nowMs) {
          const before = this.sharedUses;
          const mayPass = original.call(this, value, nowMs);
          const watched = rateLimits.get(this);
          if (watched?.model instanceof HeaderLimitModel) {
            const shared = this.sharedUses > before;
            watched.model.asked(watched.plan, value, nowMs, mayPass, shared, this.values);
            counts[mayPass ? 'passedByHeader' : 'limitedByHeader'] += 1;
            if (shared) counts.sharedByHeader += 1;
          } else {
            watched?.model.asked(watched.plan, nowMs, mayPass);
            counts[mayPass ? 'passed' : 'limited'] += 1;
          }
          return mayPass;
        };
      }),
    ];
  }

  #breaker(): (() => void)[] {
    const counts = this.#counts;
    const [breakers, states] = [this.#breakers, this.#states];
    const { prototype } = CircuitBreaker;
    // As it is before it is wrapped.
    const stateOf = Object.getOwnPropertyDescriptor(prototype, 'state')?.value as (nowMs: number) => BreakerState;
    const look = (breaker: CircuitBreaker, nowMs: number) => {
      const watched = breakers.get(breaker);
      if (!watched) return undefined;
      const state = stateOf.call(breaker, nowMs);
      if (state !== states.get(breaker)) {
        states.set(breaker, state);
        counts[(['closed', 'opened', 'halfOpened', 'forcedOpen', 'forcedClosed'] as const)[state]] += 1;
        watched.model.changed(watched.plan, state, nowMs);
      }
      return watched;
    };
    return [
      wrap(prototype, 'update', (original) => {
        return function (this: CircuitBreaker, plan, nowMs: number) {
          look(this, nowMs);
          original.call(this, plan, nowMs);
          const watched = breakers.get(this);
          if (watched) watched.plan = plan as CircuitBreakerPlan;
        };
      }),
      wrap(prototype, 'state', (original) => {
        return function (this: CircuitBreaker, nowMs: number) {
          look(this, nowMs);
          return original.call(this, nowMs);
        };
      }),
      wrap(prototype, 'look', (original) => {
        return function (this: CircuitBreaker, nowMs: number) {
          const watched = look(this, nowMs);
          const mayPass = original.call(this, nowMs);
          watched?.model.looked(watched.plan, mayPass);
          return mayPass;
        };
      }),
      wrap(prototype, 'admit', (original) => {
        return function (this: CircuitBreaker, nowMs: number) {
          const watched = look(this, nowMs);
          const permit = original.call(this, nowMs);
          watched?.model.admission(watched.plan, permit);
          return permit;
        };
      }),
      wrap(prototype, 'settle', (original) => {
        return function (this: CircuitBreaker, permit, outcome, durationMs, nowMs, ...where) {
          look(this, nowMs)?.model.settled(permit);
          original.call(this, permit, outcome, durationMs, nowMs, ...where);
          look(this, nowMs);
        };
      }),
    ];
  }
}

function headerOf({ perHeader }: RateLimitNumbers): string {
  return perHeader?.name.toLowerCase() ?? '';
}

function rateLimitModel(plan: RateLimitNumbers): RateLimitModel | HeaderLimitModel {
  return plan.perHeader === null ? new RateLimitModel() : new HeaderLimitModel();
}
