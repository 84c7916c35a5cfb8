// Where the requests of a dependency may go, said once more: which endpoints there are, what each of them costs, and what each way of choosing
// promises. Chance decides within a promise; so what is demanded of a choice is what no chance may bring.
import type { Endpoint } from '../../plan/endpoints.ts';
import type { DependencyPlan } from '../../plan/plan.ts';
import { DEFAULT_LOAD_BALANCING, type LoadBalancing } from '../../sidecar/balance/load-balancer.ts';
import type { UpstreamEndpoint } from '../../sidecar/proxy/exchange/upstream.ts';
import type { HealthModel, OutlierModel } from './outlier-model.ts';
import { demand } from './violation.ts';

const DECAY_MS = 10_000;
const FAILURE_COST_MS = 5_000;
const MAX_FAILURE_COST_MS = 60_000;
const LATENCY_FLOOR_MS = 5;
/** So much dearer than all others, that rounding cannot be what made it so. */
const DEARER = 1.000_001;
/** Where no outlier detection says when too few are left. */
const CHECKS_PANIC_PERCENT = 50;
/** Up to here an endpoint is never too busy for its keys. */
const FREE_IN_FLIGHT = 4;

/** What is known of one endpoint from the attempts that it got. */
export class CostModel {
  inFlight = 0;
  #measuredMs = -1;
  #latencyMs = 0;
  #failureMs = 0;

  get measured(): boolean {
    return this.#measuredMs >= 0;
  }

  /** `retryAfterMs`: 0 where it did not say. */
  ended(tookMs: number, failed: boolean, retryAfterMs: number, nowMs: number): void {
    const costMs = failed ? Math.min(Math.max(retryAfterMs, FAILURE_COST_MS), MAX_FAILURE_COST_MS) : 0;
    const weight = this.measured ? Math.exp((this.#measuredMs - nowMs) / DECAY_MS) : 0;
    const average = (before: number, now: number) => before * weight + now * (1 - weight);
    // A peak is taken at once; how fast it fails says nothing about how fast it answers.
    const peakMs = failed ? Math.max(tookMs, this.#latencyMs) : tookMs;
    this.#latencyMs = peakMs > this.#latencyMs ? peakMs : average(this.#latencyMs, peakMs);
    this.#failureMs = average(this.#failureMs, costMs);
    this.#measuredMs = nowMs;
  }

  /** Another copy of the request was answered first: it would have taken longer, and nothing else is known. */
  overtaken(tookMs: number, nowMs: number): void {
    if (tookMs > this.#latencyMs) this.ended(tookMs, false, 0, nowMs);
  }

  costMs(nowMs: number): number {
    const costMs = (this.#latencyMs + this.#failureMs) * Math.exp((this.#measuredMs - nowMs) / DECAY_MS);
    return Math.max(costMs, LATENCY_FLOOR_MS) * (this.inFlight + 1);
  }
}

export type Costs = (endpoint: UpstreamEndpoint) => CostModel;

/** One way of choosing among the endpoints of one dependency. */
export class ChoiceModel {
  #plan: LoadBalancing = DEFAULT_LOAD_BALANCING;
  /** Null: nobody is ejected. */
  outliers: OutlierModel | null = null;
  /** Null: nobody is checked. */
  health: HealthModel | null = null;
  endpoints: readonly UpstreamEndpoint[] = [];
  readonly #costs: Costs;
  /** Whose turn it was, since anything else than turns decided. */
  #turns: UpstreamEndpoint[] = [];
  #turnsAmong = '';
  /** Where each key went while nobody was busy, and among whom. */
  readonly #keys = new Map<number, { owner: UpstreamEndpoint; among: readonly UpstreamEndpoint[] }>();

  constructor(costs: Costs) {
    this.#costs = costs;
  }

  /** Where nothing changes, turns go on. */
  planIs(plan: LoadBalancing): void {
    if (JSON.stringify(plan) !== JSON.stringify(this.#plan)) this.#turns = [];
    this.#plan = plan;
  }

  get panicking(): boolean {
    const percent = this.outliers?.plan.panicThresholdPercent ?? (this.health === null ? 0 : CHECKS_PANIC_PERCENT);
    const left = this.#usable.length;
    return left === 0 || left * 100 < this.endpoints.length * percent;
  }

  picked(picked: UpstreamEndpoint | null, avoid: readonly UpstreamEndpoint[], key: number | null, nowMs: number): void {
    const among = this.panicking ? this.endpoints : this.#usable;
    demand((picked === null) === (among.length === 0), () => `of ${among.length} endpoints ${picked?.name} was chosen`);
    if (picked === null) return;
    demand(among.includes(picked), () => `${picked.name} was chosen, which is not there, ejected or unhealthy`);
    const untried = among.filter((endpoint) => !avoid.includes(endpoint));
    const butLast = among.filter((endpoint) => endpoint !== avoid.at(-1));
    const allowed = untried.length > 0 ? untried : butLast.length > 0 ? butLast : among;
    demand(allowed.includes(picked), () => `${picked.name} was chosen again, at which the request has failed`);
    if (!this.#isWarm(nowMs)) {
      this.#turns = [];
      return;
    }
    const { algorithm } = this.#plan;
    if (algorithm === 'RoundRobin') this.#inTurn(picked, among, avoid.length === 0);
    else if (algorithm === 'LeastRequest') this.#notTheDearest(picked, allowed, (one) => this.#costs(one).inFlight);
    else if (algorithm === 'ConsistentHash' && key !== null) this.#byKey(picked, among, untried, avoid, key);
    else if (allowed.every((one) => this.#costs(one).measured))
      this.#notTheDearest(picked, allowed, (one) => this.#costs(one).costMs(nowMs));
  }

  get #usable(): readonly UpstreamEndpoint[] {
    const isOut = (name: string) => this.outliers?.isEjected(name) === true || this.health?.isUnhealthy(name) === true;
    return this.endpoints.filter(({ name }) => !isOut(name));
  }

  /** No endpoint is new, so that none gets less than its share. */
  #isWarm(nowMs: number): boolean {
    const windowMs = this.#plan.slowStart?.windowMs ?? 0;
    return this.endpoints.every(({ joinedAtMs }) => joinedAtMs < 0 || nowMs - joinedAtMs >= windowMs);
  }

  /** Of two that are drawn the cheaper one is taken: so the dearest of all never is. */
  #notTheDearest(
    picked: UpstreamEndpoint,
    allowed: readonly UpstreamEndpoint[],
    costOf: (endpoint: UpstreamEndpoint) => number,
  ): void {
    const others = allowed.filter((endpoint) => endpoint !== picked);
    const cost = costOf(picked);
    demand(
      others.length === 0 || others.some((endpoint) => costOf(endpoint) * DEARER >= cost),
      () => `${picked.name} was chosen, which costs ${cost}: all ${others.length} others cost less`,
    );
  }

  /** Nobody has a second turn before everybody has had one. */
  #inTurn(picked: UpstreamEndpoint, among: readonly UpstreamEndpoint[], isUsual: boolean): void {
    const names = among.map(({ name }) => name).join();
    if (!isUsual || names !== this.#turnsAmong) this.#turns = [];
    this.#turnsAmong = isUsual ? names : '';
    if (!isUsual) return;
    const before = among.length > 1 ? this.#turns.slice(1 - among.length) : [];
    demand(!before.includes(picked), () => `${picked.name} had another turn before all others had one`);
    this.#turns.push(picked);
  }

  #byKey(
    picked: UpstreamEndpoint,
    among: readonly UpstreamEndpoint[],
    untried: readonly UpstreamEndpoint[],
    avoid: readonly UpstreamEndpoint[],
    key: number,
  ): void {
    const share = (this.#plan.consistentHash?.maxLoadPercent ?? 0) / 100;
    const capacity = Math.max(FREE_IN_FLIGHT, Math.ceil((share * (picked.total.inFlight + 1)) / among.length));
    const load = (endpoint: UpstreamEndpoint) => this.#costs(endpoint).inFlight;
    demand(
      load(picked) < capacity || untried.every((endpoint) => load(endpoint) >= capacity),
      () => `${picked.name} with ${load(picked)} in progress was chosen, where ${capacity} is too much`,
    );
    if (avoid.length > 0 || among.some((endpoint) => load(endpoint) >= FREE_IN_FLIGHT)) return;
    const before = this.#keys.get(key);
    this.#keys.set(key, { owner: picked, among });
    if (before === undefined || picked === before.owner) return;
    demand(
      !among.includes(before.owner) || !before.among.includes(picked),
      () => `key ${key} went from ${before.owner.name} to ${picked.name}, and both were there all the time`,
    );
  }
}

type Place = Pick<Endpoint, 'address' | 'port'>;

/** Which endpoints of a dependency there are, as far as its sidecar was told. */
export class WhereaboutsModel {
  balancing: DependencyPlan['balancing'] = 'Endpoints';
  /** Address and port of each; null: nothing is known. */
  #live: ReadonlySet<string> | null = null;
  #confirmed = false;
  /** A connection has failed while nobody would tell of changes. */
  distrusted = false;

  /** `confirmed`: not from disk. */
  are(live: readonly Place[], confirmed: boolean): void {
    this.#live = new Set(live.map(placeOf));
    this.#confirmed = confirmed;
  }

  forgotten(): void {
    this.#live = null;
  }

  /** `original`: where the connection of the application was made to. */
  picked(picked: Place | null, isClusterIp: boolean, original: Place | null): void {
    if (picked === null) {
      demand((this.#live?.size ?? 0) === 0, () => `nobody was chosen where there are ${this.#live?.size} endpoints`);
      return;
    }
    const place = placeOf(picked);
    if (original !== null && this.balancing === 'OriginalDestination') {
      demand(place === placeOf(original), () => `${place} was chosen for a connection to ${placeOf(original)}`);
    } else if (isClusterIp) {
      const isTrusted = this.#live !== null && this.#confirmed && !this.distrusted;
      demand(
        this.balancing === 'ClusterIp' || !isTrusted,
        () => 'the ClusterIP was chosen where the endpoints are known',
      );
    } else if (this.#live !== null) {
      demand(this.#live.has(place), () => `${place} was chosen, which is none of ${[...(this.#live ?? [])].join()}`);
    }
  }
}

function placeOf({ address, port }: Place): string {
  return `${address}:${port}`;
}
