// What outlier detection must do, said once more: who fails too often in a row is ejected if the share allows it, for so long as was said, and
// nobody else is. It sees the results that the real one is told, and who is ejected after each of them. The same for health checks.
import { failureMask, LOCAL_ORIGIN } from '../../sidecar/policies/failures.ts';
import type { HealthCheckNumbers } from '../../sidecar/policies/health-check.ts';
import type { OutlierSpec } from '../../sidecar/policies/outlier-detection.ts';
import { demand } from './violation.ts';

/** By which chance may lengthen an ejection, so that not all come back at once. */
const LONGEST = 1.1;

interface Known {
  /** Another one after each return: what belongs to an earlier stay counts no more. */
  stay: object;
  failuresInRow: number;
  localOriginFailuresInRow: number;
  ejectedAtMs: number | null;
  timesEjected: number;
  returnedAtMs: number;
}

/** As one that nobody ever called. */
const fresh = (): Known => ({
  stay: {},
  failuresInRow: 0,
  localOriginFailuresInRow: 0,
  ejectedAtMs: null,
  timesEjected: 0,
  returnedAtMs: 0,
});

export class OutlierModel {
  plan: OutlierSpec;
  #known = new Map<string, Known>();
  /** In which stay of its endpoint a call began, by what the call keeps of it. */
  readonly #stays = new WeakMap<object, Map<number, object>>();

  constructor(plan: OutlierSpec) {
    this.plan = plan;
  }

  isEjected(name: string): boolean {
    return (this.#known.get(name)?.ejectedAtMs ?? null) !== null;
  }

  endpointsAre(names: Iterable<string>, ejected: ReadonlySet<string>, nowMs: number): void {
    const before = this.#known;
    this.#known = new Map(Array.from(names, (name) => [name, before.get(name) ?? fresh()]));
    this.#shareHolds(ejected, nowMs);
  }

  planIs(plan: OutlierSpec, ejected: ReadonlySet<string>, nowMs: number): void {
    this.plan = plan;
    this.#shareHolds(ejected, nowMs);
  }

  /** A call begins, and keeps this of its endpoint. */
  began(member: { name: string; generation: number }): void {
    const stays = this.#stays.get(member) ?? new Map<number, object>();
    this.#stays.set(member, stays);
    const { stay } = this.#known.get(member.name) ?? fresh();
    if (!stays.has(member.generation)) stays.set(member.generation, stay);
  }

  recorded(
    member: { name: string },
    generation: number,
    bits: number,
    ejected: ReadonlySet<string>,
    nowMs: number,
  ): void {
    const known = this.#known.get(member.name);
    const isOfNow = known !== undefined && this.#stays.get(member)?.get(generation) === known.stay;
    if (isOfNow && known.ejectedAtMs === null && this.#isTooMuch(known, bits) && this.#ejectedNow < this.#limit)
      this.#eject(known, nowMs);
    this.#agrees(ejected);
  }

  /** Time has passed, and success rates may have been compared; how, is tested beside the code. */
  swept(ejected: ReadonlySet<string>, nowMs: number): void {
    for (const [name, known] of this.#known) {
      const { ejectedAtMs } = known;
      if (ejectedAtMs === null) {
        if (ejected.has(name) && this.plan.successRate !== null) this.#eject(known, nowMs);
        continue;
      }
      const shortestMs = this.#ejectionMs(known);
      const sinceMs = nowMs - ejectedAtMs;
      const isBack = !ejected.has(name);
      demand(
        isBack ? sinceMs >= shortestMs : sinceMs < shortestMs * LONGEST,
        () => `${name}, ejected for ${shortestMs} ms, was ${isBack ? 'back' : 'still out'} after ${sinceMs} ms`,
      );
      if (isBack) comeBack(known, nowMs);
    }
    this.#agrees(ejected);
  }

  get #ejectedNow(): number {
    return [...this.#known.keys()].filter((name) => this.isEjected(name)).length;
  }

  /** Rounded in favour of serving, and one endpoint is always left. */
  get #limit(): number {
    const { size } = this.#known;
    return Math.max(0, Math.min(Math.floor((size * this.plan.maxEjectionPercent) / 100), size - 1));
  }

  #ejectionMs({ timesEjected }: Known): number {
    const { ejectForMs, maxEjectForMs } = this.plan;
    return Math.min(ejectForMs * timesEjected, Math.max(ejectForMs, maxEjectForMs));
  }

  #isTooMuch(known: Known, bits: number): boolean {
    const { failureOn, consecutiveFailures, consecutiveLocalOriginFailures } = this.plan;
    const isLocalOrigin = (bits & LOCAL_ORIGIN) !== 0;
    const isFailure = (bits & failureMask(failureOn)) !== 0;
    if (isLocalOrigin && !isFailure) return false;
    if (isLocalOrigin) known.localOriginFailuresInRow += 1;
    else known.localOriginFailuresInRow = 0;
    if (!isFailure) known.failuresInRow = 0;
    else if (!isLocalOrigin) known.failuresInRow += 1;
    const isOver = (count: number, limit: number) => limit > 0 && count >= limit;
    return (
      isFailure &&
      (isOver(known.failuresInRow, consecutiveFailures) ||
        isOver(known.localOriginFailuresInRow, consecutiveLocalOriginFailures))
    );
  }

  #eject(known: Known, nowMs: number): void {
    const intervalsIn = Math.floor((nowMs - known.returnedAtMs) / this.plan.intervalMs);
    known.timesEjected = Math.max(0, known.timesEjected - intervalsIn) + 1;
    known.ejectedAtMs = nowMs;
    known.failuresInRow = 0;
    known.localOriginFailuresInRow = 0;
  }

  /** Fewer endpoints, or a smaller share: so many come back at once, and no more. */
  #shareHolds(ejected: ReadonlySet<string>, nowMs: number): void {
    const tooMany = Math.max(0, this.#ejectedNow - this.#limit);
    const back = [...this.#known].filter(([name]) => this.isEjected(name) && !ejected.has(name));
    demand(
      back.length === tooMany,
      () => `${back.length} endpoints came back where ${tooMany} were beyond the share of ${this.#limit}`,
    );
    for (const [, known] of back) comeBack(known, nowMs);
    this.#agrees(ejected);
  }

  #agrees(ejected: ReadonlySet<string>): void {
    const expected = [...this.#known.keys()]
      .filter((name) => this.isEjected(name))
      .sort()
      .join();
    const actual = [...ejected].sort().join();
    demand(actual === expected, () => `ejected are "${actual}", and should be "${expected}"`);
    demand(
      ejected.size <= this.#limit,
      () => `${ejected.size} of ${this.#known.size} endpoints are ejected, ${this.#limit} may be`,
    );
  }
}

function comeBack(known: Known, nowMs: number): void {
  known.stay = {};
  known.ejectedAtMs = null;
  known.returnedAtMs = nowMs;
}

/** What health checks must do: so many failures in a row make an endpoint unhealthy, so many successes healthy again. */
export class HealthModel {
  numbers: HealthCheckNumbers;
  #known = new Map<string, { healthy: boolean; contraryInRow: number }>();
  /** Whom a check asks, by what it keeps of the endpoint: who comes back is somebody else. */
  readonly #asked = new WeakMap<object, object>();

  constructor(numbers: HealthCheckNumbers) {
    this.numbers = numbers;
  }

  isUnhealthy(name: string): boolean {
    return this.#known.get(name)?.healthy === false;
  }

  endpointsAre(names: Iterable<string>): void {
    const before = this.#known;
    this.#known = new Map(Array.from(names, (name) => [name, before.get(name) ?? { healthy: true, contraryInRow: 0 }]));
  }

  taken(endpoint: { name: string }): void {
    const known = this.#known.get(endpoint.name);
    if (known !== undefined && !this.#asked.has(endpoint)) this.#asked.set(endpoint, known);
  }

  /** `isHealthy`: what the real one says now. */
  settled(endpoint: { name: string }, passed: boolean, isHealthy: boolean): void {
    const known = this.#known.get(endpoint.name);
    if (known === undefined) return;
    if (this.#asked.get(endpoint) === known) {
      const { healthyThreshold, unhealthyThreshold } = this.numbers;
      known.contraryInRow = passed === known.healthy ? 0 : known.contraryInRow + 1;
      if (known.contraryInRow >= (passed ? healthyThreshold : unhealthyThreshold)) {
        known.healthy = passed;
        known.contraryInRow = 0;
      }
    }
    demand(isHealthy === known.healthy, () => `${endpoint.name} is taken for ${isHealthy ? '' : 'un'}healthy`);
  }
}
