// Watches, as probes.ts does, where requests go: what sidecars are told of endpoints, who is ejected, what each attempt costs, and every choice.
import type { EndpointSet } from '../../plan/endpoints.ts';
import { NO_KEY } from '../../sidecar/balance/balancer.ts';
import { DEFAULT_LOAD_BALANCING, LoadBalancer } from '../../sidecar/balance/load-balancer.ts';
import { Outcome } from '../../sidecar/policies/circuit-breaker.ts';
import { HealthChecks } from '../../sidecar/policies/health-check.ts';
import { OutlierDetection, type OutlierSpec } from '../../sidecar/policies/outlier-detection.ts';
import { ProxyDataPlane } from '../../sidecar/proxy/data-plane.ts';
import { DependencyEndpoints } from '../../sidecar/proxy/dependency/dependency-endpoints.ts';
import type { HealthEntry } from '../../sidecar/proxy/dependency/endpoint-choice.ts';
import { RoutePolicies, type RoutePolicy } from '../../sidecar/proxy/dependency/route-policies.ts';
import { AttemptBooks } from '../../sidecar/proxy/exchange/attempt-books.ts';
import type { UpstreamEndpoint } from '../../sidecar/proxy/exchange/upstream.ts';
import { ChoiceModel, CostModel, WhereaboutsModel } from './balancing-models.ts';
import { HealthModel, OutlierModel } from './outlier-model.ts';
import { demand } from './violation.ts';
import { wrap } from './wrap.ts';

/** Whether the endpoints of a Service, by its key in the plan, have ever been these, whom kube-proxy would serve. */
export type WereEndpoints = (key: string, addresses: readonly string[]) => boolean;

export class ChoiceProbes {
  readonly #wereEndpoints: WereEndpoints;
  #wrong = '';
  readonly #outliers = new Map<OutlierDetection, OutlierModel>();
  readonly #health = new Map<HealthChecks, HealthModel>();
  readonly #choices = new WeakMap<LoadBalancer<UpstreamEndpoint>, ChoiceModel>();
  /** Those that requests go by, and not only shadows. */
  readonly #acting = new WeakSet<LoadBalancer<UpstreamEndpoint>>();
  readonly #costs = new WeakMap<UpstreamEndpoint, CostModel>();
  readonly #whereabouts = new WeakMap<DependencyEndpoints, WhereaboutsModel>();
  readonly counts = {
    ejected: 0,
    returned: 0,
    checksPassed: 0,
    checksFailed: 0,
    chosen: 0,
    chosenByKey: 0,
    chosenAgain: 0,
    chosenInPanic: 0,
  };

  constructor(wereEndpoints: WereEndpoints) {
    this.#wereEndpoints = wereEndpoints;
  }

  /** What sidecars were told was true at some time. */
  demandTruth(): void {
    demand(this.#wrong === '', () => this.#wrong);
  }

  install(): (() => void)[] {
    return [
      this.#plans(),
      this.#told(),
      this.#outlierDetection(),
      this.#healthChecks(),
      this.#attempts(),
      this.#balancing(),
    ].flat();
  }

  #choice(balancer: LoadBalancer<UpstreamEndpoint>): ChoiceModel {
    const model = this.#choices.get(balancer) ?? new ChoiceModel((endpoint) => this.#cost(endpoint));
    this.#choices.set(balancer, model);
    return model;
  }

  #cost(endpoint: UpstreamEndpoint): CostModel {
    const model = this.#costs.get(endpoint) ?? new CostModel();
    this.#costs.set(endpoint, model);
    return model;
  }

  #where(endpoints: DependencyEndpoints): WhereaboutsModel {
    const model = this.#whereabouts.get(endpoints) ?? new WhereaboutsModel();
    this.#whereabouts.set(endpoints, model);
    return model;
  }

  #meet({ choice, detection, plan }: RoutePolicy): void {
    const model = this.#choice(choice.balancer);
    this.#acting.add(choice.balancer);
    model.planIs(plan.loadBalancing ?? DEFAULT_LOAD_BALANCING);
    model.outliers = detection && plan.outlierDetection && this.#outliersOf(detection, plan.outlierDetection);
    model.health = choice.health && this.#healthOf(choice.health);
  }

  #outliersOf(detection: OutlierDetection, plan: OutlierSpec): OutlierModel {
    const model = this.#outliers.get(detection) ?? new OutlierModel(plan);
    this.#outliers.set(detection, model);
    return model;
  }

  #healthOf({ checks, plan }: HealthEntry): HealthModel {
    const model = this.#health.get(checks) ?? new HealthModel(plan);
    this.#health.set(checks, model);
    return model;
  }

  #plans(): (() => void)[] {
    const meet = (policy: RoutePolicy) => this.#meet(policy);
    return [
      wrap(RoutePolicies.prototype, 'update', (original) => {
        return function (this: RoutePolicies, plans) {
          original.call(this, plans);
          meet(this.passThrough);
          for (const index of plans.keys()) meet(this.row(index));
        };
      }),
    ];
  }

  #told(): (() => void)[] {
    const look = (sets: readonly EndpointSet[]) => {
      for (const { key, endpoints } of sets) {
        const addresses = endpoints.map(({ address }) => address);
        // Who reads the stream would take what is thrown here for a stream that cannot be read: it is thrown later.
        if (!this.#wereEndpoints(key, addresses))
          this.#wrong ||= `a sidecar was told that ${key} is at ${addresses.join()}`;
      }
    };
    const where = (endpoints: DependencyEndpoints) => this.#where(endpoints);
    const { prototype } = DependencyEndpoints;
    return [
      wrap(ProxyDataPlane.prototype, 'applyEndpointsSnapshot', (original) => {
        return function (this: ProxyDataPlane, sets, fromDisk) {
          look(sets);
          original.call(this, sets, fromDisk);
        };
      }),
      wrap(ProxyDataPlane.prototype, 'applyEndpointsUpdate', (original) => {
        return function (this: ProxyDataPlane, sets, removed) {
          look(sets);
          original.call(this, sets, removed);
        };
      }),
      wrap(prototype, 'update', (original) => {
        return function (this: DependencyEndpoints, plan) {
          original.call(this, plan);
          where(this).balancing = plan.balancing;
        };
      }),
      wrap(prototype, 'set', (original) => {
        return function (this: DependencyEndpoints, endpoints, fromDisk) {
          where(this).are(endpoints, !fromDisk);
          original.call(this, endpoints, fromDisk);
        };
      }),
      wrap(prototype, 'forget', (original) => {
        return function (this: DependencyEndpoints) {
          where(this).forgotten();
          original.call(this);
        };
      }),
      wrap(prototype, 'trust', (original) => {
        return function (this: DependencyEndpoints) {
          where(this).distrusted = false;
          original.call(this);
        };
      }),
      wrap(prototype, 'distrust', (original) => {
        return function (this: DependencyEndpoints, failed) {
          const distrusted = original.call(this, failed);
          if (distrusted) where(this).distrusted = true;
          return distrusted;
        };
      }),
    ];
  }

  #outlierDetection(): (() => void)[] {
    const { counts } = this;
    const outliers = this.#outliers;
    const { prototype } = OutlierDetection;
    const namesOf = (detection: OutlierDetection) => new Set(Array.from(detection.ejected, ({ name }) => name));
    return [
      wrap(prototype, 'setEndpoints', (original) => {
        return function (this: OutlierDetection, names, nowMs) {
          const all = [...names];
          original.call(this, all, nowMs);
          outliers.get(this)?.endpointsAre(all, namesOf(this), nowMs);
        };
      }),
      wrap(prototype, 'update', (original) => {
        return function (this: OutlierDetection, spec, nowMs) {
          original.call(this, spec, nowMs);
          outliers.get(this)?.planIs(spec, namesOf(this), nowMs);
        };
      }),
      wrap(prototype, 'member', (original) => {
        return function (this: OutlierDetection, name) {
          const member = original.call(this, name);
          if (member !== null) outliers.get(this)?.began(member);
          return member;
        };
      }),
      wrap(prototype, 'record', (original) => {
        return function (this: OutlierDetection, member, generation, bits, nowMs) {
          const before = this.ejected.size;
          original.call(this, member, generation, bits, nowMs);
          counts.ejected += this.ejected.size - before;
          outliers.get(this)?.recorded(member, generation, bits, namesOf(this), nowMs);
        };
      }),
      wrap(prototype, 'sweep', (original) => {
        return function (this: OutlierDetection, nowMs) {
          const before = this.ejected.size;
          original.call(this, nowMs);
          counts.returned += Math.max(0, before - this.ejected.size);
          outliers.get(this)?.swept(namesOf(this), nowMs);
        };
      }),
    ];
  }

  #healthChecks(): (() => void)[] {
    const { counts } = this;
    const health = this.#health;
    const { prototype } = HealthChecks;
    return [
      wrap(prototype, 'setEndpoints', (original) => {
        return function (this: HealthChecks, names, nowMs) {
          const all = [...names];
          original.call(this, all, nowMs);
          health.get(this)?.endpointsAre(all);
        };
      }),
      wrap(prototype, 'update', (original) => {
        return function (this: HealthChecks, numbers, nowMs) {
          original.call(this, numbers, nowMs);
          const model = health.get(this);
          if (model !== undefined) model.numbers = numbers;
        };
      }),
      wrap(prototype, 'takeDue', (original) => {
        return function (this: HealthChecks, nowMs, queue) {
          const before = queue.length;
          original.call(this, nowMs, queue);
          for (const endpoint of queue.slice(before)) health.get(this)?.taken(endpoint);
        };
      }),
      wrap(prototype, 'settle', (original) => {
        return function (this: HealthChecks, endpoint, problem, nowMs) {
          original.call(this, endpoint, problem, nowMs);
          health.get(this)?.settled(endpoint, problem === '', !this.isUnhealthy(endpoint.name));
          counts[problem === '' ? 'checksPassed' : 'checksFailed'] += 1;
        };
      }),
    ];
  }

  #attempts(): (() => void)[] {
    const cost = (endpoint: UpstreamEndpoint) => this.#cost(endpoint);
    /** Attempts whose end is known already. */
    const known = new WeakSet<AttemptBooks>();
    const know = (books: AttemptBooks, failed: boolean, nowMs: number) => {
      if (books.endpoint === null || known.has(books)) return;
      known.add(books);
      cost(books.endpoint).ended(books.responseMs, failed, books.retryAfterMs, nowMs);
    };
    const { prototype } = AttemptBooks;
    return [
      wrap(prototype, 'begin', (original) => {
        return function (this: AttemptBooks, endpoint, policy, nowMs) {
          known.delete(this);
          cost(endpoint).inFlight += 1;
          original.call(this, endpoint, policy, nowMs);
        };
      }),
      wrap(prototype, 'settleEarly', (original) => {
        return function (this: AttemptBooks, policy, nowMs) {
          know(this, this.failureBits !== 0, nowMs);
          original.call(this, policy, nowMs);
        };
      }),
      wrap(prototype, 'overtaken', (original) => {
        return function (this: AttemptBooks, policy, context, nowMs) {
          if (this.endpoint !== null) cost(this.endpoint).overtaken(nowMs - this.sentMs, nowMs);
          original.call(this, policy, context, nowMs);
        };
      }),
      wrap(prototype, 'end', (original) => {
        return function (this: AttemptBooks, policy, context, outcome, failureBits, result, nowMs) {
          if (outcome !== Outcome.Ignored) know(this, failureBits !== 0, nowMs);
          if (this.endpoint !== null) cost(this.endpoint).inFlight -= 1;
          original.call(this, policy, context, outcome, failureBits, result, nowMs);
        };
      }),
    ];
  }

  #balancing(): (() => void)[] {
    const { counts } = this;
    const demandTruth = () => this.demandTruth();
    const choice = (balancer: LoadBalancer<UpstreamEndpoint>) => this.#choice(balancer);
    const acting = this.#acting;
    const where = (endpoints: DependencyEndpoints) => this.#where(endpoints);
    const prototype: LoadBalancer<UpstreamEndpoint> = LoadBalancer.prototype;
    return [
      wrap(prototype, 'setEndpoints', (original) => {
        return function (this: LoadBalancer<UpstreamEndpoint>, endpoints) {
          original.call(this, endpoints);
          choice(this).endpoints = endpoints;
        };
      }),
      wrap(prototype, 'pick', (original) => {
        return function (this: LoadBalancer<UpstreamEndpoint>, avoid, key, nowMs) {
          const picked = original.call(this, avoid, key, nowMs);
          if (!acting.has(this)) return picked;
          demandTruth();
          const model = choice(this);
          model.picked(picked, avoid, key === NO_KEY ? null : key, nowMs);
          counts.chosen += 1;
          if (key !== NO_KEY) counts.chosenByKey += 1;
          if (avoid.length > 0) counts.chosenAgain += 1;
          if (model.panicking && model.endpoints.length > 0) counts.chosenInPanic += 1;
          return picked;
        };
      }),
      wrap(DependencyEndpoints.prototype, 'pick', (original) => {
        return function (this: DependencyEndpoints, balancer, avoid, key, to, nowMs) {
          const picked = original.call(this, balancer, avoid, key, to, nowMs);
          where(this).picked(picked, picked !== null && this.isClusterIp(picked), to);
          return picked;
        };
      }),
    ];
  }
}
