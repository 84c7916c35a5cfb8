// One declared dependency as it lives in the sidecar: the compiled plan, the state of its policies, and where its endpoints are.
// A new plan replaces the numbers and keeps the state: breakers, bulkheads and budgets live by their key, endpoints by their address.

import type { Endpoint } from '../../plan/endpoints.ts';
import type { DependencyPlan, PolicyPlan } from '../../plan/plan.ts';
import type { RetriesPlan } from '../../plan/policies/retries.ts';
import type { FailureKind } from '../../plan/policies/values.ts';
import type { Random } from '../../runtime/random.ts';
import { pickEndpoint } from '../balance/pick.ts';
import type { RouteMetrics, SidecarMetrics } from '../metrics.ts';
import { Bulkhead } from '../policies/bulkhead.ts';
import { BreakerState, CircuitBreaker } from '../policies/circuit-breaker.ts';
import { failureMask } from '../policies/failures.ts';
import { RetryBudget } from '../policies/retry-budget.ts';
import { RouteTable } from '../route/match.ts';
import { UpstreamEndpoint } from './upstream.ts';

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

export interface CircuitEntry {
  readonly key: string;
  readonly breaker: CircuitBreaker;
  sinceUnixMs: number;
  /** When it opened after it had been closed; null while it is closed. */
  failingSinceUnixMs: number | null;
}

export interface DependencyEnvironment {
  metrics: SidecarMetrics;
  random: Random;
  nowMs(): number;
  unixMs(): number;
  /** Standalone never dials a ClusterIP outside loopback: nothing is there. */
  mayDialClusterIp(address: string): boolean;
  /** The local kill switch (`breakwater disable`) is thrown. */
  locallyDisabled(): boolean;
  onTransition(dependency: DependencyRuntime, circuit: CircuitEntry): void;
}

const STATE_NAMES = ['Closed', 'Open', 'HalfOpen'] as const;

const PASS_THROUGH: PolicyPlan = {
  rule: 'disabled',
  timeouts: { requestMs: 0, attemptMs: 0, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 },
  retries: null,
  circuitBreaker: null,
  bulkhead: null,
  sources: {},
};

const ENDPOINTS_UNKNOWN =
  'The endpoints of the Service are not known yet, and there is no ClusterIP that may be dialled in their place.';
const HOST_UNKNOWN = 'DNS has not told an address of the host yet; see `breakwater status` in this sidecar.';
const HOST_WITHOUT_ADDRESS = 'DNS knows no address of the host; see `breakwater status` in this sidecar.';
const LEADS_BACK =
  'All addresses that DNS knows of the host are this sidecar’s own, so that a call would never end; ask who made that record.';

export class DependencyRuntime {
  plan: DependencyPlan;
  /** Value of the metric label `dependency`. */
  readonly label: string;
  removed = false;
  readonly circuits = new Map<string, CircuitEntry>();
  readonly bulkheads = new Map<string, Bulkhead>();
  readonly #budgets = new Map<string, RetryBudget>();
  readonly #environment: DependencyEnvironment;
  readonly #passThrough: RoutePolicy;
  #routes: RouteTable;
  #policies: RoutePolicy[] = [];
  #endpoints: UpstreamEndpoint[] = [];
  #known = false;
  #blocked = false;
  #fromDisk = false;
  #fallback = false;
  #clusterIp: UpstreamEndpoint | null = null;
  /** Endpoints of captured connections that keep the pod they were made to. */
  readonly #originals = new Map<string, UpstreamEndpoint>();

  constructor(plan: DependencyPlan, routes: RouteTable, label: string, environment: DependencyEnvironment) {
    this.plan = plan;
    this.label = label;
    this.#environment = environment;
    this.#routes = routes;
    this.#passThrough = this.#policy(PASS_THROUGH);
    this.update(plan, routes);
  }

  /** Takes the numbers of a new plan; state whose key is unchanged goes on. */
  update(plan: DependencyPlan, routes: RouteTable): void {
    this.plan = plan;
    this.#routes = routes;
    const previous = {
      circuits: new Map(this.circuits),
      bulkheads: new Map(this.bulkheads),
      budgets: new Map(this.#budgets),
    };
    this.circuits.clear();
    this.bulkheads.clear();
    this.#budgets.clear();
    this.#policies = plan.policies.map((policy) => this.#policy(policy, previous));
    this.#updateClusterIp();
  }

  policyFor(method: string, path: string): RoutePolicy {
    if (!this.enforced) return this.#passThrough;
    return this.#policies[this.#routes.match(method, path)] ?? this.#passThrough;
  }

  /** What holds for a connection as a whole: the policy of no rule. */
  get base(): PolicyPlan {
    return this.plan.policies[this.plan.combinations[0] ?? 0] ?? PASS_THROUGH;
  }

  get enforced(): boolean {
    return !this.removed && this.plan.enforcement === 'Enabled' && !this.#environment.locallyDisabled();
  }

  get endpointCount(): number {
    return this.#known ? this.#endpoints.length : -1;
  }

  /** New connections go to the ClusterIP because the endpoints cannot be trusted. */
  get fallingBack(): boolean {
    return this.#clusterIp !== null && (this.#fallback || !this.#known || this.#fromDisk);
  }

  get endpoints(): readonly UpstreamEndpoint[] {
    return this.#endpoints;
  }

  /** Attempts in progress. */
  get load(): number {
    const all = [...this.#endpoints, ...this.#originals.values(), ...(this.#clusterIp ? [this.#clusterIp] : [])];
    return all.reduce((sum, { inFlight }) => sum + inFlight, 0);
  }

  /** The live set; an address that stays keeps its connections and its load. */
  setEndpoints(endpoints: readonly Endpoint[], fromDisk: boolean): void {
    this.#blocked = false;
    const before = new Map(this.#endpoints.map((endpoint) => [endpoint.name, endpoint]));
    this.#endpoints = endpoints.map(({ address, port }) => {
      const fresh = new UpstreamEndpoint(address, port);
      const kept = before.get(fresh.name);
      before.delete(fresh.name);
      return kept ?? fresh;
    });
    for (const gone of before.values()) gone.remove();
    this.#known = true;
    this.#fromDisk = fromDisk;
  }

  /** All that the name leads to is this sidecar itself. False: that is no news. */
  blockEndpoints(): boolean {
    const news = !this.#blocked;
    this.setEndpoints([], false);
    this.#blocked = true;
    return news;
  }

  /** Nothing is known any more: not the same as no endpoints. */
  forgetEndpoints(): void {
    this.#known = false;
  }

  /** Why nobody can serve, where there is more to say than that. */
  get whyNoEndpoint(): string {
    const { host } = this.plan;
    if (this.#known) return host ? (this.#blocked ? LEADS_BACK : HOST_WITHOUT_ADDRESS) : '';
    return host ? HOST_UNKNOWN : ENDPOINTS_UNKNOWN;
  }

  /** The endpoints stream is back: what it says is the truth again. */
  trustEndpoints(): void {
    this.#fallback = false;
  }

  /** A connect failed while nobody would tell us that the endpoint is gone. True: from now on the ClusterIP is dialled. */
  distrustEndpoints(failed: UpstreamEndpoint): boolean {
    if (this.#clusterIp === null || failed === this.#clusterIp) return false;
    this.#fallback = true;
    return true;
  }

  isClusterIp(endpoint: UpstreamEndpoint): boolean {
    return endpoint === this.#clusterIp;
  }

  /** Where the next attempt goes; null: nobody can serve. `original`: where the application's connection was made to. */
  pick(avoid: UpstreamEndpoint | null, original: { address: string; port: number } | null): UpstreamEndpoint | null {
    if (original && this.#keeps(original)) return this.#originalEndpoint(original.address, original.port);
    if (this.plan.balancing === 'ClusterIp' && this.#clusterIp) return this.#clusterIp;
    // A snapshot from disk stands behind the ClusterIP, for the case that this fails too.
    if (this.#clusterIp && this.fallingBack && !(avoid === this.#clusterIp && this.#endpoints.length > 0))
      return this.#clusterIp;
    return pickEndpoint(this.#endpoints, avoid, this.#environment.random);
  }

  /**
   * Whether a captured connection goes where it was made to and nowhere else: to a pod that the application chose, or to an address of a
   * host that our own query did not give. Its resolver may know better, by a hosts file say.
   */
  #keeps({ address, port }: { address: string; port: number }): boolean {
    const { balancing } = this.plan;
    if (balancing === 'OriginalDestination') return true;
    if (balancing !== 'Dns') return false;
    return !this.#endpoints.some((endpoint) => endpoint.address === address && endpoint.port === port);
  }

  sweep(nowMs: number): void {
    for (const endpoint of this.#endpoints) endpoint.sweep(nowMs);
    this.#clusterIp?.sweep(nowMs);
    for (const [name, endpoint] of this.#originals) {
      endpoint.sweep(nowMs);
      if (endpoint.inFlight === 0 && endpoint.idle.length === 0) this.#originals.delete(name);
    }
  }

  /** The dependency is no longer declared: nothing is kept, what is in progress finishes. */
  remove(): void {
    this.removed = true;
    for (const endpoint of [...this.#endpoints, ...this.#originals.values()]) endpoint.remove();
    this.#clusterIp?.remove();
    this.circuits.clear();
  }

  #originalEndpoint(address: string, port: number): UpstreamEndpoint {
    const name = `${address} ${port}`;
    let endpoint = this.#originals.get(name);
    if (!endpoint) {
      endpoint = new UpstreamEndpoint(address, port);
      endpoint.removed = this.removed;
      this.#originals.set(name, endpoint);
    }
    return endpoint;
  }

  #updateClusterIp(): void {
    const destination = this.plan.destinations.find(({ address }) => this.#environment.mayDialClusterIp(address));
    const same =
      destination && this.#clusterIp?.address === destination.address && this.#clusterIp.port === destination.port;
    if (same) return;
    this.#clusterIp?.remove();
    this.#clusterIp = destination ? new UpstreamEndpoint(destination.address, destination.port) : null;
  }

  #policy(
    plan: PolicyPlan,
    previous?: {
      circuits: Map<string, CircuitEntry>;
      bulkheads: Map<string, Bulkhead>;
      budgets: Map<string, RetryBudget>;
    },
  ): RoutePolicy {
    const retryOn: readonly FailureKind[] = plan.retries?.retryOn ?? [];
    return {
      plan,
      metrics: this.#environment.metrics.route(this.label, plan.rule),
      breaker: this.#breaker(plan, previous?.circuits),
      bulkhead: this.#bulkhead(plan, previous?.bulkheads),
      retries: plan.retries,
      retryMask: failureMask(retryOn),
      budget: this.#budget(plan, previous?.budgets),
    };
  }

  #breaker(policy: PolicyPlan, previous: Map<string, CircuitEntry> | undefined): CircuitBreaker | null {
    const spec = policy.circuitBreaker;
    if (!spec) return null;
    const present = this.circuits.get(spec.stateKey);
    if (present) return present.breaker;
    const environment = this.#environment;
    let entry = previous?.get(spec.stateKey);
    if (entry) {
      entry.breaker.update(spec, environment.nowMs());
    } else {
      const created: CircuitEntry = {
        key: spec.stateKey,
        breaker: new CircuitBreaker(spec, environment.random),
        sinceUnixMs: environment.unixMs(),
        failingSinceUnixMs: null,
      };
      created.breaker.onTransition = (state) => {
        // A request that began before a plan which no longer has this circuit may still move it.
        if (this.circuits.get(created.key) !== created) return;
        created.sinceUnixMs = environment.unixMs();
        if (state === BreakerState.Closed) created.failingSinceUnixMs = null;
        else created.failingSinceUnixMs ??= created.sinceUnixMs;
        environment.metrics.countTransition(this.label, created.key, STATE_NAMES[state] ?? '');
        environment.onTransition(this, created);
      };
      entry = created;
    }
    this.circuits.set(spec.stateKey, entry);
    return entry.breaker;
  }

  #bulkhead(policy: PolicyPlan, previous: Map<string, Bulkhead> | undefined): Bulkhead | null {
    const spec = policy.bulkhead;
    if (!spec) return null;
    let bulkhead = this.bulkheads.get(spec.stateKey) ?? previous?.get(spec.stateKey);
    if (bulkhead) bulkhead.update(spec);
    else bulkhead = new Bulkhead(spec);
    this.bulkheads.set(spec.stateKey, bulkhead);
    return bulkhead;
  }

  #budget(policy: PolicyPlan, previous: Map<string, RetryBudget> | undefined): RetryBudget | null {
    const spec = policy.retries;
    if (!spec) return null;
    let budget = this.#budgets.get(spec.stateKey) ?? previous?.get(spec.stateKey);
    if (budget) budget.update(spec);
    else budget = new RetryBudget(spec, this.#environment.nowMs());
    this.#budgets.set(spec.stateKey, budget);
    return budget;
  }
}
