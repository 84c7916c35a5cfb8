// One declared dependency as it lives in the sidecar: the compiled plan, the policies that act on its requests, and where it is now.
// A new plan replaces the numbers and keeps the state: breakers, bulkheads and budgets live by their key, endpoints by their address.

import type { TlsPlan } from '../../../plan/certificates.ts';
import type { Placement } from '../../../plan/endpoints.ts';
import type { DependencyPlan } from '../../../plan/plan.ts';
import type { Random } from '../../../runtime/random.ts';
import type { SidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import { BREAKER_STATES } from '../../policies/circuit-breaker.ts';
import type { BytePool } from '../../policies/last-good.ts';
import type { RouteTable } from '../../route/match.ts';
import type { TlsOrigination } from '../../tls/origination.ts';
import type { UpstreamEndpoint } from '../exchange/upstream.ts';
import { Spoken } from '../opaque/spoken.ts';
import type { CircuitEntry } from './circuit.ts';
import { DependencyEndpoints, type EndpointsEnvironment } from './dependency-endpoints.ts';
import { type PoliciesEnvironment, RoutePolicies, type RoutePolicy } from './route-policies.ts';

export interface DependencyEnvironment extends Omit<EndpointsEnvironment, 'createEndpoint'> {
  /** `tls`: what its connections speak; null: plain TCP. */
  createEndpoint: (address: string, port: number, tls: TlsOrigination | null) => UpstreamEndpoint;
  createOrigination(dependency: string, label: string, plan: TlsPlan): TlsOrigination;
  metrics: SidecarMetrics;
  random: Random;
  unixMs(): number;
  /** Bound of all last good answers together. */
  lastGoodPool: BytePool;
  /** Chance and bounds of what is in shadow, so that nothing of it is taken from what is enforced. */
  shadowRandom: Random;
  shadowLastGoodPool: BytePool;
  /** Hash of this pod's address. */
  ownKey(): number;
  /** A dependency of the same plan, by its id. */
  find(id: string): DependencyRuntime | undefined;
  /** Where this pod runs. */
  placement(): Placement;
  /** The local kill switch (`breakwater disable`) is thrown. */
  locallyDisabled(): boolean;
  onTransition(dependency: DependencyRuntime, circuit: CircuitEntry): void;
}

const RESETS_REMEMBERED = 16;

export class DependencyRuntime {
  plan: DependencyPlan;
  /** Value of the metric label `dependency`. */
  readonly label: string;
  readonly policies: RoutePolicies;
  readonly endpoints: DependencyEndpoints;
  /** What its connections turned out to speak. */
  readonly spoken = new Spoken();
  /** The application speaks plain HTTP, and the sidecar TLS; null: nothing is changed in what is spoken. */
  tls: TlsOrigination | null;
  removed = false;
  readonly #environment: DependencyEnvironment;
  /** Values of `circuitReset` that were seen, the last ones. */
  readonly #resets: string[];
  #routes: RouteTable;

  constructor(plan: DependencyPlan, routes: RouteTable, label: string, environment: DependencyEnvironment) {
    this.plan = plan;
    this.label = label;
    this.#environment = environment;
    this.#routes = routes;
    const { metrics, random } = environment;
    this.policies = new RoutePolicies({
      random,
      lastGoodPool: environment.lastGoodPool,
      nowMs: () => environment.nowMs(),
      unixMs: () => environment.unixMs(),
      routeMetrics: (rule) => metrics.route(label, rule),
      isOutside: () => this.plan.host !== null,
      onTransition: (circuit, state) => {
        metrics.countTransition(label, circuit.key, BREAKER_STATES[state]);
        environment.onTransition(this, circuit);
      },
      onEjection: (detection, cause) => metrics.countEjection(label, detection, cause),
      onEjectionWithheld: (detection, cause) => metrics.countEjectionWithheld(label, detection, cause),
      onPanic: (choice) => metrics.countPanic(label, choice),
      shadows: this.#shadows(),
    });
    this.#resets = [plan.circuitReset];
    metrics.countCircuitReset(label, 0);
    this.tls = this.#originate(plan);
    this.endpoints = new DependencyEndpoints(plan, {
      nowMs: () => environment.nowMs(),
      mayDialClusterIp: (address) => environment.mayDialClusterIp(address),
      createEndpoint: (address, port) => environment.createEndpoint(address, port, this.tls),
    });
    this.endpoints.onSet = () => this.placeEndpoints();
    this.#updatePolicies();
  }

  #shadows(): PoliciesEnvironment['shadows'] {
    const { label } = this;
    const environment = this.#environment;
    const { metrics } = environment;
    return {
      random: environment.shadowRandom,
      lastGoodPool: environment.shadowLastGoodPool,
      ownKey: () => environment.ownKey(),
      hasSibling: (name) => this.sibling(name) !== null,
      onTransition: (circuit, state) => {
        metrics.countShadowTransition(label, circuit.key, BREAKER_STATES[state]);
        environment.onTransition(this, circuit);
      },
      onEjection: (detection, cause) => metrics.countShadowEjection(label, detection, cause),
      onEjectionWithheld: (detection, cause) => metrics.countShadowEjectionWithheld(label, detection, cause),
    };
  }

  /** Takes the numbers of a new plan; state whose key is unchanged goes on. */
  update(plan: DependencyPlan, routes: RouteTable): void {
    if (plan.endpointsKey !== this.plan.endpointsKey || plan.protocol !== this.plan.protocol) this.spoken.forget();
    this.plan = plan;
    this.#routes = routes;
    this.#updateTls(plan);
    this.endpoints.update(plan);
    this.#updatePolicies();
    this.#followReset(plan.circuitReset);
  }

  #originate({ host }: DependencyPlan): TlsOrigination | null {
    return host?.tls ? this.#environment.createOrigination(this.plan.id, this.label, host.tls) : null;
  }

  #updateTls(plan: DependencyPlan): void {
    const wanted = plan.host?.tls;
    if (this.tls !== null && wanted !== undefined) {
      this.tls.update(wanted);
      return;
    }
    if (this.tls === null && wanted === undefined) return;
    this.tls = this.#originate(plan);
    this.endpoints.renew();
  }

  /** What Host says to the dependency: over TLS, that of its own URL, where the application wrote the one that it calls. */
  hostFor(host: string): string {
    if (this.tls === null || this.plan.host === null) return host;
    const { name, port } = this.plan.host;
    const colon = host.lastIndexOf(':');
    const isOther = colon >= 0 && host.slice(colon + 1) !== String(port);
    return !isOther && sameName(colon < 0 ? host : host.slice(0, colon), name) ? this.plan.authority : host;
  }

  /** Once for each value: another replica may be a step behind and bring an old one again. */
  #followReset(value: string): void {
    if (value === '' || this.#resets.includes(value)) return;
    this.#resets.push(value);
    if (this.#resets.length > RESETS_REMEMBERED) this.#resets.shift();
    const nowMs = this.#environment.nowMs();
    for (const { breaker } of this.policies.allCircuits()) breaker.reset('reset by hand', nowMs);
    this.#environment.metrics.countCircuitReset(this.label, 1);
  }

  #updatePolicies(): void {
    this.policies.update(this.plan.policies);
    this.placeEndpoints();
    const { metrics } = this.#environment;
    for (const [detection] of this.policies.detections.entries()) metrics.addDetection(this.label, detection);
    for (const { key } of this.policies.allHealthChecks()) metrics.addHealthCheck(this.label, key);
    for (const [detection] of this.policies.shadows.detections.entries())
      metrics.addShadowDetection(this.label, detection);
    for (const { key } of this.policies.choices.values()) metrics.addChoice(this.label, key);
  }

  /** By which its series are named beside its label: its rules, and the keys of its state. */
  *seriesNames(): Iterable<string> {
    const { choices, detections, shadows } = this.policies;
    yield this.policies.passThrough.plan.rule;
    for (const { rule } of this.plan.policies) yield rule;
    for (const { key } of this.policies.allCircuits()) yield key;
    for (const { key } of this.policies.allHealthChecks()) yield key;
    for (const { key } of choices.values()) yield key;
    for (const [key] of detections.entries()) yield key;
    for (const [key] of shadows.detections.entries()) yield key;
  }

  /** Endpoints, the policies that choose from them, or the place of this pod have changed. */
  placeEndpoints(): void {
    this.policies.setEndpoints(this.endpoints.live, this.#environment.placement());
  }

  nowMs(): number {
    return this.#environment.nowMs();
  }

  /** What time alone changes, a few times per second. */
  sweep(nowMs: number): void {
    this.endpoints.sweep(nowMs);
    this.policies.sweep(nowMs);
    this.tls?.sweep();
  }

  /** `fields` has CR LF before each line. */
  policyFor(method: string, path: string, fields: string): RoutePolicy {
    if (!this.enforced) return this.policies.passThrough;
    return this.policies.row(this.#routes.match(method, path, fields));
  }

  /** Another entry of the same ServiceDependency; null: it is not in the plan. */
  sibling(name: string): DependencyRuntime | null {
    const { namespace, serviceDependency } = this.plan;
    return this.#environment.find(`${namespace}/${serviceDependency}/${name}`) ?? null;
  }

  /** What holds for a connection as a whole: the policy of no rule. */
  get connectionPolicy(): RoutePolicy {
    return this.policies.row(this.plan.combinations[0] ?? 0);
  }

  get enforced(): boolean {
    return !this.removed && this.plan.enforcement === 'Enabled' && !this.#environment.locallyDisabled();
  }

  /** The dependency is no longer declared: nothing is kept, what is in progress finishes. */
  remove(): void {
    this.removed = true;
    this.endpoints.remove();
    this.policies.remove();
  }
}

/** Names are the same in any case, and with a final dot. */
function sameName(written: string, name: string): boolean {
  const bare = written.endsWith('.') ? written.slice(0, -1) : written;
  return bare.length === name.length && (bare === name || bare.toLowerCase() === name);
}
