// Active health checks: which endpoints are healthy, and which of them is to be asked now. Asking is done elsewhere.
//
// Semantics: of the probes of Kubernetes and of Envoy's HTTP health checks: so many failed checks in a row make an endpoint unhealthy, so
// many passed ones healthy again. What nobody has checked yet is taken for healthy: unknown is not bad, and a sidecar that starts must not
// begin with nowhere to go (Envoy begins with unhealthy). The first check of an endpoint comes at a random time within one interval, and
// every next one an interval after the one before began, lengthened by up to 10 %, so that a thousand sidecars do not ask in step.
import type { HealthCheckPlan } from '../../plan/policies/health-check.ts';
import type { Random } from '../../runtime/random.ts';

export type HealthCheckNumbers = Pick<HealthCheckPlan, 'intervalMs' | 'unhealthyThreshold' | 'healthyThreshold'>;

/** Whether a check passes by this status. `expected`: numbers, and ranges with both their ends, such as "200-299". */
export function isExpectedStatus(expected: readonly (number | string)[], status: number): boolean {
  return expected.some((it) => {
    if (typeof it === 'number') return it === status;
    return Number(it.slice(0, 3)) <= status && status <= Number(it.slice(4));
  });
}

/** Called after the endpoint has become healthy or unhealthy. */
export type HealthListener = (endpoint: CheckedEndpoint) => void;

const JITTER = 0.1;

/** What is known of one endpoint. Written by the checks alone. */
export class CheckedEndpoint {
  readonly name: string;
  healthy = true;
  /** Results in a row that speak against its state. */
  contraryInRow = 0;
  dueAtMs: number;
  /** Waits to be asked, or is being asked. */
  underway = false;
  /** When it became what it is; 0: it always was. */
  sinceMs = 0;
  /** Why the last check that failed did; empty while none has. */
  problem = '';

  constructor(name: string, dueAtMs: number) {
    this.name = name;
    this.dueAtMs = dueAtMs;
  }
}

export class HealthChecks {
  #numbers: HealthCheckNumbers;
  readonly #random: Random;
  #endpoints = new Map<string, CheckedEndpoint>();
  listener: HealthListener | null = null;

  constructor(numbers: HealthCheckNumbers, random: Random) {
    this.#numbers = numbers;
    this.#random = random;
  }

  /** New numbers hold from now on. A shorter interval also for the next check; states stay what they are. */
  update(numbers: HealthCheckNumbers, nowMs: number): void {
    this.#numbers = numbers;
    for (const endpoint of this.#endpoints.values())
      endpoint.dueAtMs = Math.min(endpoint.dueAtMs, nowMs + numbers.intervalMs * (1 + JITTER));
  }

  /** The endpoints that there are now. Who stays keeps its state; who comes back is new. */
  setEndpoints(names: Iterable<string>, nowMs: number): void {
    const before = this.#endpoints;
    this.#endpoints = new Map();
    for (const name of names) {
      const kept = before.get(name);
      this.#endpoints.set(name, kept ?? new CheckedEndpoint(name, nowMs + this.#numbers.intervalMs * this.#random()));
    }
  }

  /** Adds those whose time has come to `queue`, the longest due first. Each must be settled or cancelled, and is not due until then. */
  takeDue(nowMs: number, queue: CheckedEndpoint[]): void {
    const due = [...this.#endpoints.values()].filter(({ underway, dueAtMs }) => !underway && dueAtMs <= nowMs);
    due.sort((left, right) => left.dueAtMs - right.dueAtMs);
    for (const endpoint of due) {
      endpoint.underway = true;
      queue.push(endpoint);
    }
  }

  /** It is asked now: from here the interval to the next check counts. */
  begin(endpoint: CheckedEndpoint, nowMs: number): void {
    endpoint.dueAtMs = nowMs + this.#numbers.intervalMs * (1 + JITTER * this.#random());
  }

  /** It was not asked, or nobody wants to know any more. */
  cancel(endpoint: CheckedEndpoint): void {
    endpoint.underway = false;
  }

  /** The result of a check. `problem`: why it failed; empty: it passed. */
  settle(endpoint: CheckedEndpoint, problem: string, nowMs: number): void {
    endpoint.underway = false;
    if (this.#endpoints.get(endpoint.name) !== endpoint) return;
    const passed = problem === '';
    if (!passed) endpoint.problem = problem;
    if (passed === endpoint.healthy) {
      endpoint.contraryInRow = 0;
      return;
    }
    endpoint.contraryInRow += 1;
    const { healthyThreshold, unhealthyThreshold } = this.#numbers;
    if (endpoint.contraryInRow < (passed ? healthyThreshold : unhealthyThreshold)) return;
    endpoint.healthy = passed;
    endpoint.contraryInRow = 0;
    endpoint.sinceMs = nowMs;
    this.listener?.(endpoint);
  }

  isUnhealthy(name: string): boolean {
    return this.#endpoints.get(name)?.healthy === false;
  }

  has(endpoint: CheckedEndpoint): boolean {
    return this.#endpoints.get(endpoint.name) === endpoint;
  }

  get endpoints(): Iterable<CheckedEndpoint> {
    return this.#endpoints.values();
  }

  get unhealthy(): CheckedEndpoint[] {
    return [...this.#endpoints.values()].filter(({ healthy }) => !healthy);
  }
}
