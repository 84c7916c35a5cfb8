// Where a dependency is now: its live endpoints, its ClusterIP for the time in which they cannot be trusted, and the pods that captured
// connections were made to. An address that stays keeps its connections and its load.
import type { Endpoint } from '../../../plan/endpoints.ts';
import type { DependencyPlan } from '../../../plan/plan.ts';
import type { LoadBalancer } from '../../balance/load-balancer.ts';
import type { UpstreamEndpoint } from '../exchange/upstream.ts';

export interface EndpointsEnvironment {
  nowMs(): number;
  createEndpoint: (address: string, port: number) => UpstreamEndpoint;
  /** Standalone never dials a ClusterIP outside loopback: nothing is there. */
  mayDialClusterIp(address: string): boolean;
}

const NO_HINTS: readonly string[] = [];
const ENDPOINTS_UNKNOWN =
  'The endpoints of the Service are not known yet, and there is no ClusterIP that may be dialled in their place.';
const HOST_UNKNOWN = 'DNS has not told an address of the host yet; see `breakwater status` in this sidecar.';
const HOST_WITHOUT_ADDRESS = 'DNS knows no address of the host; see `breakwater status` in this sidecar.';
const LEADS_BACK =
  'All addresses that DNS knows of the host are this sidecar’s own, so that a call would never end; ask who made that record.';

export class DependencyEndpoints {
  readonly #environment: EndpointsEnvironment;
  #plan: DependencyPlan;
  #live: UpstreamEndpoint[] = [];
  #known = false;
  #blocked = false;
  #fromDisk = false;
  #distrusted = false;
  #removed = false;
  #clusterIp: UpstreamEndpoint | null = null;
  readonly #total = { inFlight: 0 };
  /** Endpoints of captured connections that keep the pod they were made to. */
  readonly #originals = new Map<string, UpstreamEndpoint>();
  /** Called after the live set was told, changed or not. */
  onSet: (() => void) | null = null;

  constructor(plan: DependencyPlan, environment: EndpointsEnvironment) {
    this.#environment = environment;
    this.#plan = plan;
    this.update(plan);
  }

  update(plan: DependencyPlan): void {
    this.#plan = plan;
    const destination = plan.destinations.find(({ address }) => this.#environment.mayDialClusterIp(address));
    const same =
      destination && this.#clusterIp?.address === destination.address && this.#clusterIp.port === destination.port;
    if (same) return;
    this.#clusterIp?.remove();
    this.#clusterIp = destination ? this.#environment.createEndpoint(destination.address, destination.port) : null;
  }

  /** -1 while they are unknown. */
  get count(): number {
    return this.#known ? this.#live.length : -1;
  }

  /** New connections go to the ClusterIP because the endpoints cannot be trusted. */
  get fallingBack(): boolean {
    return this.#clusterIp !== null && (this.#distrusted || !this.#known || this.#fromDisk);
  }

  get live(): readonly UpstreamEndpoint[] {
    return this.#live;
  }

  /** Attempts in progress. */
  get load(): number {
    const all = [...this.#live, ...this.#originals.values(), ...(this.#clusterIp ? [this.#clusterIp] : [])];
    return all.reduce((sum, { inFlight }) => sum + inFlight, 0);
  }

  set(endpoints: readonly Endpoint[], fromDisk: boolean): void {
    this.#blocked = false;
    const before = new Map(this.#live.map((endpoint) => [placeOf(endpoint.address, endpoint.port), endpoint]));
    const joinedAtMs = this.#joiningAtMs();
    this.#live = endpoints.map(({ address, port, zones = NO_HINTS, nodes = NO_HINTS }) => {
      const place = placeOf(address, port);
      let endpoint = before.get(place);
      before.delete(place);
      if (!endpoint) {
        endpoint = this.#environment.createEndpoint(address, port);
        endpoint.joinedAtMs = joinedAtMs;
        endpoint.total = this.#total;
      }
      endpoint.zones = zones;
      endpoint.nodes = nodes;
      return endpoint;
    });
    for (const gone of before.values()) gone.remove();
    this.#known = true;
    this.#fromDisk = fromDisk;
    this.onSet?.();
  }

  /**
   * What is new in a set that is known and confirmed is a new pod; all others may have been there for long. Below zero: so it is with an
   * address of a host, for DNS tells some of them now and others then.
   */
  #joiningAtMs(): number {
    const isNews = this.#known && !this.#fromDisk && this.#plan.balancing === 'Endpoints';
    return isNews ? this.#environment.nowMs() : -1;
  }

  /** All that the name leads to is this sidecar itself. False: that is no news. */
  block(): boolean {
    const news = !this.#blocked;
    this.set([], false);
    this.#blocked = true;
    return news;
  }

  /** Nothing is known any more: not the same as no endpoints. */
  forget(): void {
    this.#known = false;
  }

  /** Connections are to be made in another way than before: nothing of what was made is used again. */
  renew(): void {
    for (const endpoint of [...this.#live, ...this.#originals.values()]) endpoint.remove();
    this.#live = [];
    this.#originals.clear();
    this.#known = false;
  }

  /** Why nobody can serve, where there is more to say than that. */
  get whyNone(): string {
    const { host } = this.#plan;
    if (this.#known) return host ? (this.#blocked ? LEADS_BACK : HOST_WITHOUT_ADDRESS) : '';
    return host ? HOST_UNKNOWN : ENDPOINTS_UNKNOWN;
  }

  /** The endpoints stream is back: what it says is the truth again. */
  trust(): void {
    this.#distrusted = false;
  }

  /**
   * The endpoint may be gone without anybody having been able to say so: that is our ignorance, not a failure of the dependency. It ends where
   * the ClusterIP has failed too, or a call would try for as long as nothing answers and nobody tells where else. `failed`: where the call failed
   * before. `isStale`: nobody would tell us.
   */
  reroutes(endpoint: UpstreamEndpoint, failed: readonly UpstreamEndpoint[], isStale: boolean): boolean {
    if (!isStale) return false;
    const isElsewhere = this.distrust(endpoint);
    if (failed.some((each) => this.isClusterIp(each))) return false;
    return isElsewhere || (this.isClusterIp(endpoint) && failed.length === 0 && this.#live.length > 0);
  }

  /** True: from now on the ClusterIP is dialled. */
  distrust(failed: UpstreamEndpoint): boolean {
    if (this.#clusterIp === null || failed === this.#clusterIp) return false;
    this.#distrusted = true;
    return true;
  }

  isClusterIp(endpoint: UpstreamEndpoint): boolean {
    return endpoint === this.#clusterIp;
  }

  /**
   * Where the next attempt goes; null: nobody can serve. `avoid`: where this request failed before. `key`: see Balancer. `original`: where the
   * application's connection was made to.
   */
  pick(
    balancer: LoadBalancer<UpstreamEndpoint>,
    avoid: readonly UpstreamEndpoint[],
    key: number,
    original: { address: string; port: number } | null,
    nowMs: number,
  ): UpstreamEndpoint | null {
    if (original && this.#keeps(original)) return this.#original(original.address, this.#portFor(original));
    if (this.#plan.balancing === 'ClusterIp' && this.#clusterIp) return this.#clusterIp;
    // A snapshot from disk stands behind the ClusterIP, for the case that this fails too.
    if (this.#clusterIp && this.fallingBack && !(this.#live.length > 0 && avoid.includes(this.#clusterIp)))
      return this.#clusterIp;
    return balancer.pick(avoid, key, nowMs);
  }

  /**
   * Whether a captured connection goes where it was made to and nowhere else: to a pod that the application chose, or to an address of a
   * host that our own query did not give. Its resolver may know better, by a hosts file say.
   */
  #keeps({ address, port }: { address: string; port: number }): boolean {
    const { balancing } = this.#plan;
    if (balancing === 'OriginalDestination') return true;
    if (balancing !== 'Dns') return false;
    const dialled = this.#portFor({ address, port });
    return !this.#live.some((endpoint) => endpoint.address === address && endpoint.port === dialled);
  }

  /** TLS may be spoken at another port than the application calls. */
  #portFor({ port }: { address: string; port: number }): number {
    return this.#plan.host?.tls?.port ?? port;
  }

  /** Where the application would go, while nothing better is known. */
  at({ address, port }: { address: string; port: number }): UpstreamEndpoint {
    return this.#original(address, port);
  }

  #original(address: string, port: number): UpstreamEndpoint {
    const place = placeOf(address, port);
    let endpoint = this.#originals.get(place);
    if (!endpoint) {
      endpoint = this.#environment.createEndpoint(address, port);
      if (this.#removed) endpoint.remove();
      this.#originals.set(place, endpoint);
    }
    return endpoint;
  }

  /** Closes what was idle for too long, and forgets pods that nobody calls any more. */
  sweep(nowMs: number): void {
    for (const endpoint of this.#live) endpoint.sweep(nowMs);
    this.#clusterIp?.sweep(nowMs);
    for (const [place, endpoint] of this.#originals) {
      endpoint.sweep(nowMs);
      if (endpoint.inFlight === 0 && endpoint.idleCount === 0) this.#originals.delete(place);
    }
  }

  /** The dependency is no longer declared: nothing is kept, what is in progress finishes. */
  remove(): void {
    this.#removed = true;
    for (const endpoint of [...this.#live, ...this.#originals.values()]) endpoint.remove();
    this.#clusterIp?.remove();
  }
}

function placeOf(address: string, port: number): string {
  return `${address} ${port}`;
}
