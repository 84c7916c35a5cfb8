// Outlier detection: which endpoints of a dependency are taken out of the choice for a while, because they fail where their peers do not.
//
// Semantics: Envoy's outlier detection with external and local-origin errors apart. Failures in a row eject at once; success rates are
// compared at the end of every interval (mean less so many standard deviations); an ejection lasts its base time by the number of times
// the endpoint was ejected, and that number falls by one for every interval that it stays in. Where it differs from Envoy:
//  - The share that may be ejected is rounded down, and one endpoint is always left: of one endpoint none is ever ejected, of two at most
//    one and only from 50 % on. Envoy's check before the ejection lets 67 % of three endpoints be all three. The share also holds when
//    endpoints go away: whoever would come back first then comes back at once.
//  - Nobody is ejected for chance. An endpoint must be below its peers by more than three standard errors of its own number of calls (a
//    Shewhart p-chart) and by five points at least; standard deviations alone find an outlier among twenty equals at every second look.
//  - Everything is bound to the generation of the endpoint, which changes with every return: a late result from before decides nothing.
//  - Jitter lengthens an ejection, by 10 % at most, so that what failed together does not come back together, in this sidecar or another.
// Whether the choice is made among all in spite of ejections (panic) is decided where the choice is prepared, not here.
import type { OutlierDetectionPlan } from '../../plan/policies/outlier-detection.ts';
import type { Random } from '../../runtime/random.ts';
import { failureMask, failureName, LOCAL_ORIGIN } from './failures.ts';

export type OutlierSpec = Omit<OutlierDetectionPlan, 'stateKey'>;

/** Why an endpoint is ejected; the `cause` of the metrics. */
export const OUTLIER_CAUSES = ['consecutive-failures', 'consecutive-local-origin-failures', 'success-rate'] as const;
export type OutlierCause = (typeof OUTLIER_CAUSES)[number];

export interface OutlierListener {
  ejected(member: OutlierMember, cause: OutlierCause): void;
  /** It was to be ejected, and the share is used up. Told once, until it succeeds or is ejected. */
  withheld(member: OutlierMember, cause: OutlierCause): void;
  returned(member: OutlierMember): void;
}

const JITTER = 0.1;
const STANDARD_ERRORS = 3;
const MINIMUM_GAP = 0.05;

/** What is known of one endpoint. Written by the detection alone. */
export class OutlierMember {
  readonly name: string;
  /** Changes with every return: results of calls that began before it are dropped. */
  generation = 1;
  ejected = false;
  /** Why it is, or was last, ejected; empty while it never was. */
  reason = '';
  ejectedAtMs = 0;
  /** How often it was ejected, less the intervals that it then stayed in. */
  timesEjected = 0;
  failuresInRow = 0;
  localOriginFailuresInRow = 0;
  /** Calls and failures of the present interval. */
  calls = 0;
  failures = 0;
  withheld = false;
  returnedAtMs = 0;
  /** Drawn at each ejection, in [1, 1.1). */
  jitter = 1;

  constructor(name: string) {
    this.name = name;
  }

  startAnew(): void {
    this.failuresInRow = 0;
    this.localOriginFailuresInRow = 0;
    this.calls = 0;
    this.failures = 0;
    this.withheld = false;
  }
}

export class OutlierDetection {
  #spec: OutlierSpec;
  #failureMask: number;
  readonly #random: Random;
  #members = new Map<string, OutlierMember>();
  readonly #ejected = new Set<OutlierMember>();
  #lookAtMs: number;
  /** Called after every change of what is ejected, and where an ejection was withheld. */
  listener: OutlierListener | null = null;

  constructor(spec: OutlierSpec, random: Random, nowMs: number) {
    this.#spec = spec;
    this.#failureMask = failureMask(spec.failureOn);
    this.#random = random;
    this.#lookAtMs = nowMs + spec.intervalMs;
  }

  /** New numbers hold from now on, also for what is ejected: its time, and the share. What was counted stays. */
  update(spec: OutlierSpec, nowMs: number): void {
    this.#lookAtMs = Math.min(this.#lookAtMs, nowMs + spec.intervalMs);
    this.#spec = spec;
    this.#failureMask = failureMask(spec.failureOn);
    this.#keepShare(nowMs);
  }

  /** The endpoints that there are now. Who stays keeps what is known of it; who comes back begins anew: addresses are reused. */
  setEndpoints(names: Iterable<string>, nowMs: number): void {
    const before = this.#members;
    this.#members = new Map();
    for (const name of names) this.#members.set(name, before.get(name) ?? new OutlierMember(name));
    for (const [name, member] of before) {
      if (this.#members.has(name)) continue;
      member.generation += 1;
      this.#ejected.delete(member);
    }
    this.#keepShare(nowMs);
  }

  /** What an attempt keeps, with its `generation` of that moment, to record its result. Null: no such endpoint. */
  member(name: string): OutlierMember | null {
    return this.#members.get(name) ?? null;
  }

  /** The result of an attempt: `FailureBit`s, 0 for an answer that is none. What says nothing about the endpoint is not recorded. */
  record(member: OutlierMember, generation: number, failureBits: number, nowMs: number): void {
    if (member.ejected || member.generation !== generation) return;
    const localOrigin = (failureBits & LOCAL_ORIGIN) !== 0;
    const failed = (failureBits & this.#failureMask) !== 0;
    // It would be no more right to take a timeout that is not to count for a success.
    if (localOrigin && !failed) return;
    member.calls += 1;
    if (localOrigin) member.localOriginFailuresInRow += 1;
    else member.localOriginFailuresInRow = 0;
    if (!failed) {
      member.failuresInRow = 0;
      member.withheld = false;
      return;
    }
    member.failures += 1;
    if (!localOrigin) member.failuresInRow += 1;
    this.#ejectForFailuresInRow(member, failureBits, nowMs);
  }

  /** What time alone changes: ejections that end, and the look at the success rates. To be called a few times per second. */
  sweep(nowMs: number): void {
    for (const member of this.#ejected) if (nowMs >= this.untilMs(member)) this.#return(member, nowMs);
    if (nowMs < this.#lookAtMs) return;
    this.#lookAtMs = nowMs + this.#spec.intervalMs;
    this.#compareSuccessRates(nowMs);
    for (const member of this.#members.values()) {
      member.calls = 0;
      member.failures = 0;
    }
  }

  isEjected(name: string): boolean {
    return this.#members.get(name)?.ejected === true;
  }

  get ejected(): ReadonlySet<OutlierMember> {
    return this.#ejected;
  }

  /** How many may be ejected at a time. */
  get limit(): number {
    const count = this.#members.size;
    return Math.max(0, Math.min(Math.floor((count * this.#spec.maxEjectionPercent) / 100), count - 1));
  }

  get panicThresholdPercent(): number {
    return this.#spec.panicThresholdPercent;
  }

  /** When the ejection of a member that is ejected ends. */
  untilMs(member: OutlierMember): number {
    const { ejectForMs, maxEjectForMs } = this.#spec;
    const longestMs = Math.max(ejectForMs, maxEjectForMs);
    return member.ejectedAtMs + Math.min(ejectForMs * member.timesEjected, longestMs) * member.jitter;
  }

  #ejectForFailuresInRow(member: OutlierMember, failureBits: number, nowMs: number): void {
    const { consecutiveFailures, consecutiveLocalOriginFailures } = this.#spec;
    const last = failureName(failureBits & this.#failureMask);
    if (consecutiveFailures > 0 && member.failuresInRow >= consecutiveFailures) {
      const reason = `${member.failuresInRow} consecutive failures (last: ${last})`;
      this.#eject(member, 'consecutive-failures', reason, nowMs);
    } else if (
      consecutiveLocalOriginFailures > 0 &&
      member.localOriginFailuresInRow >= consecutiveLocalOriginFailures
    ) {
      const reason = `${member.localOriginFailuresInRow} consecutive failures without an answer (last: ${last})`;
      this.#eject(member, 'consecutive-local-origin-failures', reason, nowMs);
    }
  }

  #compareSuccessRates(nowMs: number): void {
    const { successRate } = this.#spec;
    if (successRate === null) return;
    const compared: { member: OutlierMember; rate: number }[] = [];
    for (const member of this.#members.values()) {
      if (!member.ejected && member.calls >= successRate.minimumCalls)
        compared.push({ member, rate: 1 - member.failures / member.calls });
    }
    if (compared.length < successRate.minimumEndpoints) return;
    const mean = compared.reduce((sum, { rate }) => sum + rate, 0) / compared.length;
    const deviation = Math.sqrt(compared.reduce((sum, { rate }) => sum + (rate - mean) ** 2, 0) / compared.length);
    const gap = Math.max((deviation * successRate.deviationFactorPercent) / 100, MINIMUM_GAP);
    // The worst first: the share may not be enough for all.
    compared.sort((left, right) => left.rate - right.rate);
    for (const { member, rate } of compared) {
      const standardError = Math.sqrt(Math.max(0, mean * (1 - mean)) / member.calls);
      if (mean - rate <= Math.max(gap, STANDARD_ERRORS * standardError)) continue;
      const reason = `success rate ${percent(rate)} of ${member.calls} calls, mean of ${compared.length} endpoints ${percent(mean)}`;
      this.#eject(member, 'success-rate', reason, nowMs);
    }
  }

  #eject(member: OutlierMember, cause: OutlierCause, reason: string, nowMs: number): void {
    if (this.#ejected.size >= this.limit) {
      if (!member.withheld) this.listener?.withheld(member, cause);
      member.withheld = true;
      return;
    }
    const intervalsIn = Math.floor((nowMs - member.returnedAtMs) / this.#spec.intervalMs);
    member.timesEjected = Math.max(0, member.timesEjected - intervalsIn) + 1;
    member.ejected = true;
    member.ejectedAtMs = nowMs;
    member.jitter = 1 + JITTER * this.#random();
    member.reason = reason;
    member.startAnew();
    this.#ejected.add(member);
    this.listener?.ejected(member, cause);
  }

  #return(member: OutlierMember, nowMs: number): void {
    this.#ejected.delete(member);
    member.ejected = false;
    member.generation += 1;
    member.returnedAtMs = nowMs;
    this.listener?.returned(member);
  }

  /** Fewer endpoints, or a smaller share: who would come back first comes back now. */
  #keepShare(nowMs: number): void {
    if (this.#ejected.size <= this.limit) return;
    const soonestFirst = [...this.#ejected].sort((left, right) => this.untilMs(left) - this.untilMs(right));
    for (const member of soonestFirst.slice(0, this.#ejected.size - this.limit)) this.#return(member, nowMs);
  }
}

function percent(rate: number): string {
  return `${(rate * 100).toFixed(1)} %`;
}
