// What changes the books of a bulkhead in shadow beside calls that come and go: plans, time, and what an adaptive limit measures.
import { describe, expect, it } from 'vitest';
import type { BulkheadPlan } from '../../../plan/policies/bulkhead.ts';
import { Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { FallbackBit } from '../fallback.ts';
import type { ShadowCall } from './block-shadow.ts';
import { BulkheadShadow, ShadowPlaces } from './bulkhead-shadow.ts';
import { FallbackShadow } from './fallback-shadow.ts';
import { Route } from './testing.ts';
import { TimeoutsShadow } from './timeouts-shadow.ts';

const PLAN: BulkheadPlan = { stateKey: '', maxConcurrent: 1, maxQueued: 2, queueTimeoutMs: 100, adaptive: null };
const ADAPTIVE = { minConcurrent: 1, latencyTolerancePercent: 50, probeIntervalMs: 10_000 };

function bulkhead(changes: Partial<BulkheadPlan> = {}) {
  const places = new ShadowPlaces({ ...PLAN, ...changes }, 0);
  const route = new Route(new BulkheadShadow(places));
  const enter = (nowMs: number): ShadowCall => {
    const call = route.begin(nowMs);
    route.attempt(call, nowMs);
    return call;
  };
  const books = () => [places.inFlight, places.queued];
  return { places, route, enter, books };
}

describe('the books of a bulkhead in shadow', () => {
  it('know a place that nobody waits for', () => {
    const { enter, places, route } = bulkhead({ maxConcurrent: 2 });
    const first = enter(0);
    expect(places.hasRoom).toBe(true);
    const second = enter(0);
    expect(places.hasRoom).toBe(false);
    for (const call of [first, second]) route.endAttempt(call, { endMs: 1 });
    expect(places.hasRoom).toBe(true);
  });

  it('let nobody in who waited for too long when a plan makes room, and his place goes to the next', () => {
    const { books, enter, places, route } = bulkhead();
    const [holder, late, next] = [enter(0), enter(0), enter(50)];
    places.update({ ...PLAN, maxConcurrent: 2 }, 101);
    expect([late.over, late.holdsPlace, next.holdsPlace, books()]).toEqual([true, false, true, [2, 0]]);
    expect(route.decisions).toEqual({ queued: 2, 'queue-timeout': 1 });
    for (const call of [holder, late, next]) route.endAttempt(call, { endMs: 110 });
    expect(books()).toEqual([0, 0]);
  });

  it('let in at the last moment of a wait', () => {
    const { enter, places, route } = bulkhead();
    const [holder, waiter] = [enter(0), enter(0)];
    places.update({ ...PLAN, maxConcurrent: 2 }, 100);
    expect([waiter.over, waiter.holdsPlace]).toEqual([false, true]);
    const { enter: enterOther, route: other } = bulkhead();
    const [first, second] = [enterOther(0), enterOther(0)];
    other.endAttempt(first, { endMs: 100 });
    expect([second.over, second.holdsPlace]).toEqual([false, true]);
    expect([route.decisions, other.decisions]).toEqual([{ queued: 1 }, { queued: 1 }]);
    expect(holder.holdsPlace).toBe(true);
  });

  it('end a wait by the plan that holds then', () => {
    const { enter, places, route } = bulkhead();
    enter(0);
    const waiter = enter(0);
    places.update({ ...PLAN, queueTimeoutMs: 20 }, 10);
    places.sweep(20);
    expect(waiter.over).toBe(false);
    places.sweep(21);
    expect(waiter.over).toBe(true);
    expect(route.decisions).toEqual({ queued: 1, 'queue-timeout': 1 });
  });

  it('fail who is refused and who waits for too long of that', () => {
    const places = new ShadowPlaces({ ...PLAN, maxQueued: 1 }, 0);
    const replacing = (mask: number) =>
      new FallbackShadow({ mask, allMethods: false, hasResponse: true, lastGood: null, asksAnother: null, floorMs: 1 });
    for (const [mask, responses] of [
      [FallbackBit.BulkheadFull, 1],
      [FallbackBit.QueueTimeout, 1],
      [FallbackBit.BulkheadFull | FallbackBit.QueueTimeout, 2],
    ] as const) {
      const route = new Route(new BulkheadShadow(places), replacing(mask));
      const calls = [0, 0, 0].map((nowMs) => {
        const call = route.begin(nowMs);
        route.attempt(call, nowMs);
        return call;
      });
      places.sweep(101);
      for (const call of calls) {
        route.endAttempt(call, { endMs: 200 });
        route.shadow.end(call, 200);
      }
      expect(route.decisions).toEqual({ queued: 1, 'bulkhead-full': 1, 'queue-timeout': 1, response: responses });
    }
  });

  it('fail of that too who was let in too late', () => {
    const { enter, places } = bulkhead();
    enter(0);
    const late = enter(0);
    places.update({ ...PLAN, maxConcurrent: 2 }, 101);
    expect(late.failedBits).toBe(FallbackBit.QueueTimeout);
  });
});

describe('an adaptive limit in shadow', () => {
  const MAX = 60;

  /** The same calls, 50 at a time, for the shadow and for an enforced bulkhead, told one after the other. */
  function beside(tell: (places: ShadowPlaces, call: ShadowCall, wave: number, nowMs: number) => void) {
    const plan = { ...PLAN, maxConcurrent: MAX, maxQueued: 100, queueTimeoutMs: 1e9, adaptive: ADAPTIVE };
    const { books, enter, places, route } = bulkhead(plan);
    const limits: number[] = [];
    let nowMs = 0;
    for (let wave = 0; wave < 30; wave += 1) {
      const calls = Array.from({ length: 50 }, () => enter(nowMs));
      limits.push(places.inFlight);
      nowMs += 600;
      for (const call of calls) tell(places, call, wave, nowMs);
      for (const call of calls) route.endAttempt(call, { endMs: nowMs, responseMs: 0, outcome: Outcome.Ignored });
      expect(books()).toEqual([0, 0]);
    }
    return limits;
  }

  it('follows what answers took', () => {
    const steady = beside((places, call, _, nowMs) => places.record(call, 10, true, nowMs));
    const slower = beside((places, call, wave, nowMs) => places.record(call, wave < 15 ? 10 : 400, true, nowMs));
    expect(slower.slice(0, 15)).toEqual(steady.slice(0, 15));
    expect(Math.min(...slower.slice(15))).toBeLessThan(Math.min(...steady.slice(15)));
  });

  it('is told of fast answers as well as of slow ones', () => {
    const fast = (answered: boolean) =>
      beside((places, call, wave, nowMs) => {
        if (wave < 8) places.record(call, 100, true, nowMs);
        else places.record(call, 10, answered, nowMs);
      });
    expect(fast(true)).not.toEqual(fast(false));
  });

  it('lets in who waits when it rises, before anybody leaves', () => {
    const plan = { maxConcurrent: MAX, maxQueued: 100, queueTimeoutMs: 1e9, adaptive: ADAPTIVE };
    const { enter, places, route } = bulkhead(plan);
    const risen: number[] = [];
    let nowMs = 0;
    for (let wave = 0; wave < 5; wave += 1, nowMs += 600) {
      const calls = Array.from({ length: MAX }, () => enter(nowMs));
      const before = places.inFlight;
      for (const call of calls) places.record(call, 10, true, nowMs + 599);
      for (const call of calls) places.record(call, 10, true, nowMs + 599);
      for (const call of calls) places.record(call, 10, true, nowMs + 1_200);
      risen.push(places.inFlight - before);
      expect(calls.filter(({ holdsPlace }) => holdsPlace)).toHaveLength(places.inFlight);
      for (const call of calls) route.endAttempt(call, { endMs: nowMs, outcome: Outcome.Ignored });
    }
    expect(Math.max(...risen)).toBeGreaterThan(0);
  });

  it('takes what was given up for a measure only where that is no less than most take', () => {
    const only = beside((places, call, wave, nowMs) => wave < 10 && places.record(call, 10, true, nowMs));
    const early = beside((places, call, wave, nowMs) => places.record(call, wave < 10 ? 10 : 9, wave < 10, nowMs));
    const late = beside((places, call, wave, nowMs) => places.record(call, wave < 10 ? 10 : 400, wave < 10, nowMs));
    expect(early).toEqual(only);
    expect(late).not.toEqual(only);
  });

  it('takes no measure of a call that has no place, or that took no time', () => {
    const only = beside((places, call, _, nowMs) => call.holdsPlace && places.record(call, 10, true, nowMs));
    const all = beside((places, call, _, nowMs) => {
      places.record(call, call.holdsPlace ? 10 : 400, true, nowMs);
      places.record(call, 0, true, nowMs);
    });
    expect(all).toEqual(only);
  });

  it('lets in who waits when a probe is given up that nothing came of', () => {
    const { enter, places, route } = bulkhead({
      maxConcurrent: MAX,
      maxQueued: 100,
      queueTimeoutMs: 1e9,
      adaptive: ADAPTIVE,
    });
    let [nowMs, before, calls] = [0, 0, [] as ShadowCall[]];
    for (let inFlight = 0; inFlight >= before; nowMs += 600) {
      before = inFlight;
      for (const call of calls) places.record(call, 10, true, nowMs);
      for (const call of calls) route.endAttempt(call, { endMs: nowMs, outcome: Outcome.Ignored });
      calls = Array.from({ length: MAX }, () => enter(nowMs));
      inFlight = places.inFlight;
    }
    const held = places.inFlight;
    // The calls came 600 ms before; all places are taken, and so twenty medians of 10 ms are waited for.
    places.sweep(nowMs - 500);
    expect(places.inFlight).toBe(held);
    places.sweep(nowMs + 60_000);
    expect(places.inFlight).toBeGreaterThan(held);
    expect(calls.filter(({ holdsPlace }) => holdsPlace)).toHaveLength(places.inFlight);
  });

  it('is told by attempts that were answered or that a timeout ended, and by no others', () => {
    const records: [number, boolean][] = [];
    const places = new ShadowPlaces(PLAN, 0);
    places.record = (_call, latencyMs, answered) => {
      records.push([latencyMs, answered]);
    };
    const route = new Route(
      new TimeoutsShadow({ requestMs: 0, attemptMs: 400, connectMs: 50, idleMs: 0, opaqueIdleMs: 0 }),
      new BulkheadShadow(places),
    );
    route.request({ endMs: 30 });
    route.request({ endMs: 900 });
    expect(records.splice(0)).toEqual([
      [30, true],
      [400, false],
    ]);
    route.request({ endMs: 30, bits: FailureBit.Reset });
    route.request({ endMs: 30, outcome: Outcome.Ignored });
    // Nothing of the dependency is in the time of a connect, or in that of a slow reader.
    route.request({ connectedMs: 60, endMs: 300, outcome: Outcome.Failure });
    route.request({ endMs: 900, responseMs: 10, outcome: Outcome.Ignored });
    expect(records).toEqual([]);
  });
});
