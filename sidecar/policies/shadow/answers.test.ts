// Shadows of what decides about whole requests: rate limit, faults, fallback. Each beside the machine that it stands for.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FaultInjectionPlan } from '../../../plan/policies/fault-injection.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { FallbackBit } from '../fallback.ts';
import { drawAbort, drawDelayMs } from '../fault-injection.ts';
import { ANSWER_OVERHEAD_BYTES, LastGood, Recording } from '../last-good.ts';
import { RateLimit } from '../rate-limit.ts';
import { RetryBudget } from '../retry-budget.ts';
import { FallbackShadow, type ShadowFallback } from './fallback-shadow.ts';
import { FaultsShadow } from './faults-shadow.ts';
import { KeptAndMeasured, MeasuredAnswer } from './last-good-shadow.ts';
import { RateLimitShadow } from './rate-limit-shadow.ts';
import { RetriesShadow } from './retries-shadow.ts';
import { Route } from './testing.ts';
import { TimeoutsShadow } from './timeouts-shadow.ts';

const TIMEOUTS = { requestMs: 1000, attemptMs: 400, connectMs: 0, idleMs: 5000, opaqueIdleMs: 0 };

const nobody = (): boolean => false;
const somebody = (): boolean => true;

const fallback = (changes: Partial<ShadowFallback> = {}) =>
  new FallbackShadow({
    mask: FallbackBit.ServerError | FallbackBit.Reset | FallbackBit.RateLimited | FallbackBit.AttemptTimeout,
    allMethods: false,
    hasResponse: true,
    lastGood: null,
    asksAnother: null,
    floorMs: 1,
    ...changes,
  });

describe('a shadowed rate limit', () => {
  it('with the numbers of the enforced one refuses whom that one refuses', () => {
    let refused = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 5 }),
        fc.boolean(),
        fc.array(fc.record({ waitMs: fc.nat({ max: 100 }), tenant: fc.constantFrom('a', 'b', 'c', '', null) }), {
          maxLength: 60,
          size: 'max',
        }),
        (requestsPerSecond, burst, isPerHeader, steps) => {
          const perHeader = isPerHeader ? { name: 'X-Tenant', maxValues: 2 } : null;
          const numbers = { requestsPerSecond, burst, perHeader };
          const enforced = new RateLimit(numbers, 0);
          const route = new Route(new RateLimitShadow(new RateLimit(numbers, 0)));
          let nowMs = 0;
          let wanted = 0;
          for (const { waitMs, tenant } of steps) {
            nowMs += waitMs;
            const fields = tenant === null ? '' : `\r\nx-tenant: ${tenant}`;
            const call = route.begin(nowMs, 'GET', Number.POSITIVE_INFINITY, { fields });
            const passes = enforced.take((isPerHeader ? tenant : null) ?? '', nowMs);
            expect(call.over).toBe(!passes);
            if (!passes) wanted += 1;
          }
          refused += wanted;
          expect(route.decisions['rate-limited'] ?? 0).toBe(wanted);
        },
      ),
    );
    expect(refused).toBeGreaterThan(100);
  });

  it('is over for what comes after it', () => {
    const limit = new RateLimit({ requestsPerSecond: 1, burst: 1, perHeader: null }, 0);
    const route = new Route(new RateLimitShadow(limit), new TimeoutsShadow(TIMEOUTS));
    for (const startMs of [0, 1]) route.request({ startMs, endMs: startMs + 900 });
    expect(route.decisions).toEqual({ 'attempt-timeout': 1, 'rate-limited': 1 });
  });
});

describe('shadowed faults', () => {
  it('hit by their own chance as the enforced ones would by it', () => {
    const percent = fc.integer({ min: 0, max: 100 });
    fc.assert(
      fc.property(percent, percent, fc.integer(), fc.nat({ max: 200 }), (delayed, aborted, seed, requests) => {
        const plan: FaultInjectionPlan = {
          delay: { fixedMs: 100, percent: delayed },
          abort: { statusCode: 503, percent: aborted },
        };
        const random = seededRandom(seed);
        const route = new Route(new FaultsShadow(plan, seededRandom(seed)));
        const wanted = { delay: 0, abort: 0 };
        for (let nth = 0; nth < requests; nth++) {
          if (drawDelayMs(plan, random) > 0) wanted.delay += 1;
          const aborts = drawAbort(plan, random) > 0;
          if (aborts) wanted.abort += 1;
          expect(route.request({ endMs: 10 }).over).toBe(aborts);
        }
        expect({ delay: 0, abort: 0, ...route.decisions }).toEqual(wanted);
      }),
    );
  });
});

describe('a shadowed fallback', () => {
  const failed = { endMs: 10, headMs: 10, status: 503, bits: FailureBit.ServerError, answered: true };
  it.each([
    ['a failed answer', failed, 'GET', {}, { response: 1 }],
    ['a good one', { endMs: 10, headMs: 10, status: 200 }, 'GET', {}, {}],
    ['another failure', { ...failed, status: 429, bits: FailureBit.TooManyRequests }, 'GET', {}, {}],
    ['a method that is not safe', failed, 'POST', {}, {}],
    ['one that is allowed', failed, 'POST', { allMethods: true }, { response: 1 }],
    ['no other dependency', failed, 'GET', { hasResponse: false, asksAnother: nobody }, { missed: 1 }],
    ['another dependency', failed, 'GET', { hasResponse: false, asksAnother: somebody }, { dependency: 1 }],
    [
      'a body that is gone',
      { ...failed, replayable: false },
      'GET',
      { hasResponse: false, asksAnother: somebody },
      { missed: 1 },
    ],
    ['nothing at all', failed, 'GET', { hasResponse: false }, { missed: 1 }],
  ] as const)('counts %s', (_, happens, method, changes, decisions) => {
    const route = new Route(fallback(changes));
    route.request(happens, method);
    expect(route.decisions).toEqual(decisions);
  });

  it('asks no other dependency without time', () => {
    const route = new Route(fallback({ hasResponse: false, asksAnother: somebody }));
    route.request(failed, 'GET', 10.5);
    expect(route.decisions).toEqual({ missed: 1 });
  });

  it('asks another dependency with just as much time as it has to have', () => {
    const route = new Route(fallback({ hasResponse: false, asksAnother: somebody, floorMs: 20 }));
    route.request(failed, 'GET', 30);
    route.request(failed, 'GET', 29.5);
    expect(route.decisions).toEqual({ dependency: 1, missed: 1 });
  });

  it('gives the last good answer to this host and target, to whom it may be given', () => {
    const spec = { maxAgeMs: 100, maxBytes: 9_000, maxAnswerBytes: 1_000, audience: 'Anonymous' as const };
    const lastGood = new LastGood({ ...spec, keyHeaders: [] }, { take: () => true, give: () => {} });
    lastGood.keep('host /', '', [], { fields: '', body: Buffer.alloc(0), bornMs: 0 });
    const told = (host: string, method: string, fields = '', endMs = 10) => {
      const route = new Route(fallback({ hasResponse: false, allMethods: true, lastGood, asksAnother: somebody }));
      const call = route.begin(0, method, Number.POSITIVE_INFINITY, { fields });
      call.host = host;
      route.attempt(call, 0);
      route.endAttempt(call, failed);
      route.shadow.end(call, endMs);
      return Object.keys(route.decisions);
    };
    expect(told('host', 'GET')).toEqual(['last-good']);
    expect(told('host', 'HEAD')).toEqual(['last-good']);
    expect(told('host', 'POST')).toEqual(['missed']);
    expect(told('host', 'GET', '\r\ncookie: a')).toEqual(['missed']);
    expect(told('other', 'GET')).toEqual(['missed']);
    expect(told('host', 'GET', '', 101)).toEqual(['missed']);
  });

  it('takes the place of what a shadow would have answered before the application left', () => {
    const limit = new RateLimit({ requestsPerSecond: 1, burst: 1, perHeader: null }, 0);
    const route = new Route(new RateLimitShadow(limit), fallback());
    for (const nowMs of [0, 1]) {
      const call = route.begin(nowMs);
      call.left = true;
      route.shadow.end(call, nowMs);
    }
    expect(route.decisions).toEqual({ 'rate-limited': 1, response: 1 });
  });

  it('goes by what is refused, and by nothing where its application left', () => {
    const route = new Route(fallback());
    const refused = route.begin(0);
    refused.refuse(FallbackBit.Reset);
    route.shadow.end(refused, 5);
    const left = route.begin(10);
    route.attempt(left, 10);
    route.endAttempt(left, { ...failed, endMs: 20 });
    left.left = true;
    route.shadow.end(left, 20);
    expect(route.decisions).toEqual({ response: 1 });
  });

  it('goes by what a timeout in shadow would have ended, but not in the middle of an answer', () => {
    const route = new Route(new TimeoutsShadow(TIMEOUTS), fallback());
    route.request({ endMs: 900, status: 200, headMs: 900 });
    expect(route.decisions).toEqual({ 'attempt-timeout': 1, response: 1 });
    route.request({ startMs: 1000, endMs: 1900, status: 200, headMs: 1100 });
    expect(route.decisions).toEqual({ 'attempt-timeout': 2, response: 1 });
  });

  it('leaves alone what retries in shadow would have tried again, and what went on', () => {
    const plan = {
      stateKey: '',
      maxAttempts: 2,
      retryOn: ['ServerError' as const],
      retryOnStatusCodes: [],
      retryOnGrpcStatusCodes: [],
      maxRetryAfterMs: 0,
      methods: 'Idempotent' as const,
      backoffInitialMs: 1,
      backoffMaxMs: 1,
      budgetPercent: 100,
      budgetMinPerSecond: 100,
    };
    const route = new Route(new RetriesShadow(plan, new RetryBudget(plan, 0)), fallback());
    route.request(failed);
    expect(route.decisions).toEqual({ retry: 1 });
    const call = route.begin(20);
    for (const startMs of [20, 40]) {
      route.attempt(call, startMs);
      route.endAttempt(call, { ...failed, endMs: startMs + 10 });
    }
    route.shadow.end(call, 50);
    expect(route.decisions).toEqual({ retry: 2, 'suppressed-attempts': 1, response: 1 });
    const cured = route.begin(60);
    route.attempt(cured, 60);
    route.endAttempt(cured, { ...failed, endMs: 70 });
    route.attempt(cured, 80);
    route.endAttempt(cured, { endMs: 90, headMs: 90, status: 200, outcome: Outcome.Success });
    route.shadow.end(cured, 90);
    expect(route.decisions).toEqual({ retry: 3, 'suppressed-attempts': 1, response: 1 });
  });
});

describe('the answers that a fallback in shadow would keep', () => {
  const LIMIT_BYTES = 6_000;
  function pool() {
    const state = { usedBytes: 0, take, give };
    function take(bytes: number): boolean {
      if (state.usedBytes + bytes > LIMIT_BYTES) return false;
      state.usedBytes += bytes;
      return true;
    }
    function give(bytes: number): void {
      state.usedBytes -= bytes;
    }
    return state;
  }

  it('are those that the enforced one keeps, in its bounds, for its time', () => {
    const step = fc.record({
      waitMs: fc.nat({ max: 400 }),
      target: fc.constantFrom('/a', '/b', '/c', '/d'),
      tenant: fc.constantFrom('x', 'y'),
      bytes: fc.integer({ min: 0, max: 1200 }),
      age: fc.constantFrom('', '\r\nage: 1'),
      vary: fc.constantFrom('', '\r\nvary: x-tenant'),
      kind: fc.constantFrom('keep', 'keep', 'find', 'cut'),
    });
    const found = { yes: 0, no: 0 };
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60, size: 'max' }),
        fc.integer({ min: 600, max: 5000 }),
        (steps, maxBytes) => {
          const spec = {
            maxAgeMs: 3_000,
            maxBytes,
            maxAnswerBytes: 1_000,
            audience: 'Anonymous' as const,
            keyHeaders: [],
          };
          const [keptPool, measuredPool] = [pool(), pool()];
          const kept = new LastGood(spec, keptPool);
          const measured = new LastGood(spec, measuredPool);
          let nowMs = 0;
          for (const { waitMs, target, tenant, bytes, age, vary, kind } of steps) {
            nowMs += waitMs;
            const request = `\r\nx-tenant: ${tenant}`;
            if (kind === 'find') {
              const good = kept.find(target, request, nowMs);
              expect(measured.find(target, request, nowMs)?.bornMs).toBe(good?.bornMs);
              found[good === null ? 'no' : 'yes'] += 1;
              continue;
            }
            // The recording counts while it goes on, which a measure does not: it is given all the room.
            const recording = new Recording(
              kept,
              { take: () => true, give: () => {} },
              target,
              request,
              age + vary,
              nowMs,
            );
            const measure = new MeasuredAnswer(measured, target, request, age + vary, nowMs);
            const both = new KeptAndMeasured(recording, measure);
            const body = Buffer.alloc(bytes);
            const wanted = both.add(body, 0, bytes >> 1) && both.add(body, bytes >> 1, bytes);
            expect(wanted).toBe(bytes <= spec.maxAnswerBytes);
            if (wanted && kind === 'keep') both.commit();
            both.discard();
            expect([measured.answers, measured.bytes]).toEqual([kept.answers, kept.bytes]);
            expect(measuredPool.usedBytes).toBe(keptPool.usedBytes);
          }
        },
      ),
    );
    expect(Math.min(found.yes, found.no)).toBeGreaterThan(50);
  });

  it('are measured on when the enforced one wants no more, and the other way round', () => {
    const spec = (maxAnswerBytes: number) => ({
      maxAgeMs: 1000,
      maxBytes: 10_000,
      maxAnswerBytes,
      audience: 'Anonymous' as const,
      keyHeaders: [],
    });
    for (const [keptBytes, measuredBytes] of [
      [5, 100],
      [100, 5],
    ] as const) {
      const kept = new LastGood(spec(keptBytes), pool());
      const measured = new LastGood(spec(measuredBytes), pool());
      const both = new KeptAndMeasured(
        new Recording(kept, pool(), '/', '', '', 0),
        new MeasuredAnswer(measured, '/', '', '', 0),
      );
      expect(both.add(Buffer.alloc(10), 0, 10)).toBe(true);
      expect(both.add(Buffer.alloc(10), 0, 10)).toBe(true);
      both.commit();
      expect([kept.answers, measured.answers]).toEqual([keptBytes > 5 ? 1 : 0, measuredBytes > 5 ? 1 : 0]);
    }
  });

  it('take as much as an answer may have, and are there once it is whole, once', () => {
    const spec = { maxAgeMs: 1000, maxBytes: 10_000, maxAnswerBytes: 10, audience: 'Anonymous' as const };
    const store = new LastGood({ ...spec, keyHeaders: [] }, pool());
    const measure = () => new MeasuredAnswer(store, '/', '', '\r\nx: 1', 0);
    const body = Buffer.alloc(11);
    const whole = measure();
    expect([whole.add(body, 0, 4), whole.add(body, 4, 10)]).toEqual([true, true]);
    expect(store.answers).toBe(0);
    whole.commit();
    const { bytes } = store;
    // No byte of it.
    expect(store.find('/', '', 0)).toMatchObject({ fields: '', body: Buffer.alloc(0) });
    expect([store.answers, bytes]).toEqual([1, ANSWER_OVERHEAD_BYTES + '/'.length + '\r\nx: 1'.length + 10]);
    store.clear();
    whole.commit();
    const long = measure();
    expect([long.add(body, 0, 10), long.add(body, 10, 11), long.add(body, 0, 0)]).toEqual([true, false, false]);
    long.commit();
    const cut = measure();
    cut.add(body, 0, 4);
    cut.discard();
    cut.commit();
    expect(store.answers).toBe(0);
  });

  it('are let go of with those of the enforced one', () => {
    const told: string[] = [];
    const watch = (name: string) => ({
      add: () => true,
      commit: () => told.push(`${name} commits`),
      discard: () => told.push(`${name} discards`),
    });
    const both = new KeptAndMeasured(watch('kept'), watch('measured'));
    both.commit();
    both.discard();
    expect(told).toEqual(['kept commits', 'measured commits', 'kept discards', 'measured discards']);
  });

  it('are asked for no byte more by whoever wanted no more', () => {
    const asked = [0, 0];
    const committed: number[] = [];
    const watch = (index: number, wanted: number) => ({
      add: () => {
        asked[index] = (asked[index] ?? 0) + 1;
        return (asked[index] ?? 0) < wanted;
      },
      commit: () => committed.push(index),
      discard: () => {},
    });
    const both = new KeptAndMeasured(watch(0, 1), watch(1, 3));
    expect([1, 2, 3, 4].map(() => both.add(Buffer.alloc(1), 0, 1))).toEqual([true, true, false, false]);
    expect(asked).toEqual([1, 3]);
    both.commit();
    expect(committed).toEqual([]);
  });
});
