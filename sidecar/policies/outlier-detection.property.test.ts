// The detection beside a model that keeps every result and decides by reading them all: who is ejected, and why, must be the same; and
// whatever happens, the share holds, one endpoint is left, and every ejection ends in its time.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FailureBit } from './failures.ts';
import { OutlierDetection, type OutlierMember, type OutlierSpec } from './outlier-detection.ts';

const NAMES: readonly string[] = Array.from('abcdefgh');
const RESULTS = {
  success: 0,
  error: FailureBit.ServerError,
  tooMany: FailureBit.TooManyRequests,
  reset: FailureBit.Reset,
  timeout: FailureBit.AttemptTimeout,
} as const;
type Result = keyof typeof RESULTS;
/** AttemptTimeout is not among the failures that count. */
const FAILURE_ON: OutlierSpec['failureOn'] = ['ConnectFailure', 'Reset', 'ServerError'];

interface ModelEndpoint {
  /** Results since it came, or came back, in order. */
  results: Result[];
  ejectedAtMs: number | null;
  returnedAtMs: number;
  times: number;
  /** Of the ejections: of two that end at once the older one ends first. */
  sequence: number;
}

/** Consecutive failures only: success rates have a test of their own below. */
class Model {
  endpoints = new Map<string, ModelEndpoint>();
  spec: OutlierSpec;
  ejections = 0;

  constructor(spec: OutlierSpec) {
    this.spec = spec;
  }

  get ejected(): string[] {
    return [...this.endpoints].filter(([, { ejectedAtMs }]) => ejectedAtMs !== null).map(([name]) => name);
  }

  get limit(): number {
    const count = this.endpoints.size;
    return count === 0 ? 0 : Math.min(Math.floor((this.spec.maxEjectionPercent / 100) * count), count - 1);
  }

  endMs({ ejectedAtMs, times }: ModelEndpoint): number {
    const { ejectForMs, maxEjectForMs } = this.spec;
    return (ejectedAtMs ?? 0) + Math.min(ejectForMs * times, Math.max(ejectForMs, maxEjectForMs));
  }

  setEndpoints(names: readonly string[], nowMs: number): void {
    const before = this.endpoints;
    this.endpoints = new Map(
      names.map((name) => [
        name,
        before.get(name) ?? { results: [], ejectedAtMs: null, returnedAtMs: 0, times: 0, sequence: 0 },
      ]),
    );
    this.keepShare(nowMs);
  }

  keepShare(nowMs: number): void {
    while (this.ejected.length > this.limit) {
      const [first] = [...this.endpoints.values()]
        .filter(({ ejectedAtMs }) => ejectedAtMs !== null)
        .sort((left, right) => this.endMs(left) - this.endMs(right) || left.sequence - right.sequence);
      if (first) this.comeBack(first, nowMs);
    }
  }

  comeBack(endpoint: ModelEndpoint, nowMs: number): void {
    endpoint.ejectedAtMs = null;
    endpoint.returnedAtMs = nowMs;
    endpoint.results = [];
  }

  record(name: string, result: Result, nowMs: number): void {
    const endpoint = this.endpoints.get(name);
    if (!endpoint || endpoint.ejectedAtMs !== null || result === 'timeout') return;
    endpoint.results.push(result);
    if (result !== 'error' && result !== 'reset') return;
    const wanted =
      runOf(endpoint.results, 'error', ['success', 'tooMany']) >= this.spec.consecutiveFailures ||
      runOf(endpoint.results, 'reset', ['success', 'tooMany', 'error']) >= this.spec.consecutiveLocalOriginFailures;
    if (!wanted || this.ejected.length >= this.limit) return;
    const in_ = Math.floor((nowMs - endpoint.returnedAtMs) / this.spec.intervalMs);
    endpoint.times = Math.max(0, endpoint.times - in_) + 1;
    endpoint.ejectedAtMs = nowMs;
    this.ejections += 1;
    endpoint.sequence = this.ejections;
  }

  sweep(nowMs: number): void {
    for (const endpoint of this.endpoints.values())
      if (endpoint.ejectedAtMs !== null && nowMs >= this.endMs(endpoint)) this.comeBack(endpoint, nowMs);
  }
}

/** How many `counted` there are since the last of `enders`. */
function runOf(results: readonly Result[], counted: Result, enders: readonly Result[]): number {
  let run = 0;
  for (const result of results) {
    if (enders.includes(result)) run = 0;
    else if (result === counted) run += 1;
  }
  return run;
}

const spec = fc.record({
  failureOn: fc.constant(FAILURE_ON),
  consecutiveFailures: fc.integer({ min: 1, max: 4 }),
  consecutiveLocalOriginFailures: fc.integer({ min: 1, max: 4 }),
  successRate: fc.constant(null),
  intervalMs: fc.integer({ min: 100, max: 2_000 }),
  maxEjectionPercent: fc.integer({ min: 0, max: 100 }),
  ejectForMs: fc.integer({ min: 100, max: 1_000 }),
  maxEjectForMs: fc.integer({ min: 100, max: 3_000 }),
  panicThresholdPercent: fc.constant(50),
});

const name = fc.constantFrom(...NAMES);
const result = fc.constantFrom<Result>('success', 'error', 'error', 'error', 'tooMany', 'reset', 'reset', 'timeout');
const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ kind: fc.constant('call' as const), name, result, times: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('begin' as const), name }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const), result }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 900 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('endpoints' as const), names: fc.subarray([...NAMES]) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('update' as const), spec }) },
);

interface Call {
  name: string;
  member: OutlierMember;
  generation: number;
  /** Of the model: the endpoint object and its results as they were, which a return or a removal replaces. */
  endpoint: ModelEndpoint;
  results: Result[];
}

describe('outlier detection', () => {
  it('ejects exactly what a model that reads all results does, within the share, and for its time', () => {
    fc.assert(
      fc.property(spec, fc.array(step, { maxLength: 120, size: 'max' }), (first, steps) => {
        let nowMs = 0;
        const detection = new OutlierDetection(first, () => 0, nowMs);
        const model = new Model(first);
        detection.setEndpoints(NAMES, nowMs);
        model.setEndpoints(NAMES, nowMs);
        const begun: Call[] = [];
        const begin = (which: string): void => {
          const member = detection.member(which);
          const endpoint = model.endpoints.get(which);
          expect(member === null).toBe(endpoint === undefined);
          if (member && endpoint)
            begun.push({ name: which, member, generation: member.generation, endpoint, results: endpoint.results });
        };
        const end = (call: Call | undefined, how: Result): void => {
          if (!call) return;
          detection.record(call.member, call.generation, RESULTS[how], nowMs);
          // Late: its endpoint is gone, or has come back since.
          const present = model.endpoints.get(call.name);
          if (present === call.endpoint && present.results === call.results) model.record(call.name, how, nowMs);
        };
        for (const each of steps) {
          if (each.kind === 'begin') begin(each.name);
          else if (each.kind === 'end') end(begun.shift(), each.result);
          else if (each.kind === 'call') {
            for (let call = 0; call < each.times; call += 1) {
              begin(each.name);
              if (detection.member(each.name)) end(begun.pop(), each.result);
            }
          } else if (each.kind === 'endpoints') {
            detection.setEndpoints(each.names, nowMs);
            model.setEndpoints(each.names, nowMs);
          } else if (each.kind === 'update') {
            model.spec = each.spec;
            detection.update(each.spec, nowMs);
            model.keepShare(nowMs);
          } else {
            nowMs += each.ms;
            detection.sweep(nowMs);
            model.sweep(nowMs);
          }
          const ejected = Array.from(detection.ejected, (member) => member.name);
          expect([...ejected].sort()).toEqual(model.ejected.sort());
          expect(ejected.filter((which) => !detection.isEjected(which))).toEqual([]);
          const count = model.endpoints.size;
          expect(ejected.length * 100).toBeLessThanOrEqual(count * model.spec.maxEjectionPercent);
          if (count > 0) expect(ejected.length).toBeLessThan(count);
          for (const member of detection.ejected)
            expect(detection.untilMs(member) - nowMs).toBeLessThanOrEqual(
              Math.max(model.spec.ejectForMs, model.spec.maxEjectForMs),
            );
        }
        detection.sweep(nowMs + 3_001);
        expect(detection.ejected.size).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('ejects for its success rate only who is below the mean of its peers, by every margin, and the worst first', () => {
    const counts = fc.array(
      fc.record({
        calls: fc.integer({ min: 0, max: 300 }),
        failed: fc.nat({ max: 100 }).map((percent) => percent / 100),
      }),
      {
        minLength: 1,
        maxLength: NAMES.length,
      },
    );
    fc.assert(
      fc.property(
        counts,
        fc.integer({ min: 100, max: 400 }),
        fc.integer({ min: 0, max: 100 }),
        (endpoints, deviationFactorPercent, maxEjectionPercent) => {
          const detection = new OutlierDetection(
            {
              failureOn: ['ServerError'],
              consecutiveFailures: 0,
              consecutiveLocalOriginFailures: 0,
              successRate: { minimumEndpoints: 3, minimumCalls: 50, deviationFactorPercent },
              intervalMs: 1_000,
              maxEjectionPercent,
              ejectForMs: 1_000,
              maxEjectForMs: 1_000,
              panicThresholdPercent: 50,
            },
            () => 0,
            0,
          );
          const names = NAMES.slice(0, endpoints.length);
          detection.setEndpoints(names, 0);
          const rates = new Map<string, { rate: number; calls: number }>();
          endpoints.forEach(({ calls, failed }, index) => {
            const member = detection.member(names[index] ?? '');
            const failures = Math.floor(calls * failed);
            if (member === null) return;
            for (let call = 0; call < calls; call += 1)
              detection.record(member, member.generation, call < failures ? FailureBit.ServerError : 0, 0);
            if (calls >= 50) rates.set(member.name, { rate: (calls - failures) / calls, calls });
          });
          detection.sweep(1_000);
          const all = [...rates.values()];
          const mean = all.reduce((sum, { rate }) => sum + rate, 0) / all.length;
          const deviation = Math.sqrt(all.reduce((sum, { rate }) => sum + (rate - mean) ** 2, 0) / all.length);
          const outliers = [...rates].filter(
            ([, { rate, calls }]) =>
              all.length >= 3 &&
              mean - rate > (deviation * deviationFactorPercent) / 100 &&
              mean - rate > 0.05 &&
              mean - rate > 3 * Math.sqrt((mean * (1 - mean)) / calls),
          );
          outliers.sort(([, left], [, right]) => left.rate - right.rate);
          const wanted = outliers.slice(0, detection.limit).map(([, { rate }]) => rate);
          expect(Array.from(detection.ejected, (member) => rates.get(member.name)?.rate)).toEqual(wanted);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
