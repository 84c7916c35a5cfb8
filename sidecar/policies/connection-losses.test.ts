import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BreakerPlan, BreakerState, CircuitBreaker, Outcome } from './circuit-breaker.ts';
import { ConnectionLosses, SAME_EVENT_MS } from './connection-losses.ts';
import { FailureBit } from './failures.ts';
import { BREAKER_PLAN } from './testing/breaker-plan.ts';

const { Closed, Open } = BreakerState;
const PLAN = { ...BREAKER_PLAN, consecutiveFailures: 3 };

describe('a lost connection', () => {
  it('belongs to the loss before it where its call was under way by then, and the same moment is not over', () => {
    const losses = new ConnectionLosses();
    const told = (endpoint: string, startMs: number, nowMs: number) =>
      losses.belongsToOneBefore(endpoint, startMs, nowMs);
    expect(told('a', 0, 1_000)).toBe(false);
    expect(told('a', 999, 1_000)).toBe(true);
    expect(told('a', 0, 1_000 + SAME_EVENT_MS)).toBe(true);
    // The moment is counted from the loss that counts: what belongs to it does not lengthen it.
    expect(told('a', 0, 1_001 + SAME_EVENT_MS)).toBe(false);
    expect(told('a', 0, 1_001 + SAME_EVENT_MS)).toBe(true);
    // Begun after it.
    expect(told('a', 1_001 + SAME_EVENT_MS, 1_002 + SAME_EVENT_MS)).toBe(false);
  });

  it('of another endpoint is another event', () => {
    const losses = new ConnectionLosses();
    const told = ['a', 'b', 'a', 'b', 'c'].map((endpoint) => losses.belongsToOneBefore(endpoint, 0, 1_000));
    expect(told).toEqual([false, false, true, true, false]);
  });

  it('is forgotten when its moment is over, so that addresses that come and go fill nothing', () => {
    const loss = fc.record({
      endpoint: fc.nat({ max: 9 }),
      startedMs: fc.nat({ max: 300 }),
      laterMs: fc.nat({ max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(loss, { maxLength: 60, size: 'max' }), (run) => {
        const losses = new ConnectionLosses();
        const counted: { endpoint: number; atMs: number }[] = [];
        let nowMs = 1_000;
        for (const { endpoint, startedMs, laterMs } of run) {
          nowMs += laterMs;
          const startMs = nowMs - startedMs;
          const last = counted.findLast((it) => it.endpoint === endpoint)?.atMs ?? Number.NEGATIVE_INFINITY;
          const belongs = startMs < last && nowMs <= last + SAME_EVENT_MS;
          expect(losses.belongsToOneBefore(`${endpoint}`, startMs, nowMs)).toBe(belongs);
          if (belongs) continue;
          counted.push({ endpoint, atMs: nowMs });
          const present = counted.filter(({ atMs }) => nowMs - atMs <= SAME_EVENT_MS);
          expect(losses.size).toBe(new Set(present.map((it) => it.endpoint)).size);
        }
      }),
    );
  });
});

describe('a circuit', () => {
  /** Settles one call for each of `endpoints`, all of them under way since before; the state after each. */
  function lost(breaker: CircuitBreaker, endpoints: readonly string[], bits: number, atMs = 1_000): number[] {
    const permits = endpoints.map(() => breaker.admit(0));
    return endpoints.map((endpoint, nth) => {
      breaker.settle(permits[nth] ?? 0, Outcome.Failure, atMs, atMs, bits, endpoint, 0);
      return breaker.state(atMs);
    });
  }
  const circuit = (changes: Partial<BreakerPlan> = {}) => new CircuitBreaker({ ...PLAN, ...changes }, () => 0);

  it('counts what one endpoint loses in one moment as one failure in a row, and each call in the window', () => {
    const breaker = circuit();
    expect(lost(breaker, ['a', 'a', 'a', 'a', 'a'], FailureBit.Reset).at(-1)).toBe(Closed);
    expect(breaker.counts(1_000)).toEqual({ calls: 5, failures: 5, slow: 0 });
    breaker.settle(breaker.admit(1_000), Outcome.Failure, 1, 1_001, FailureBit.ConnectFailure, 'a', 1_000);
    expect(breaker.state(1_001)).toBe(Closed);
    breaker.settle(breaker.admit(1_001), Outcome.Failure, 1, 1_002, FailureBit.ConnectFailure, 'a', 1_001);
    expect([breaker.state(1_002), breaker.reason]).toEqual([Open, '3 consecutive failures (last: ConnectFailure)']);
  });

  it('opens where as many endpoints are lost in one moment', () => {
    expect(lost(circuit(), ['a', 'a', 'b', 'b', 'a', 'c'], FailureBit.Reset)).toEqual([
      Closed,
      Closed,
      Closed,
      Closed,
      Closed,
      Open,
    ]);
  });

  it('opens by the share of the calls that one endpoint took with it', () => {
    const breaker = circuit({ failureRate: { percent: 50, minimumCalls: 4 } });
    expect(lost(breaker, ['a', 'a', 'a', 'a'], FailureBit.Reset)).toEqual([Closed, Closed, Closed, Open]);
    expect(breaker.reason).toBe('4 of 4 calls failed (last: Reset)');
  });

  it('begins a new row with a success, which the rest of the same event does not lengthen', () => {
    const breaker = circuit({ consecutiveFailures: 2 });
    const permits = [0, 1, 2].map(() => breaker.admit(0));
    breaker.settle(permits[0] ?? 0, Outcome.Failure, 1_000, 1_000, FailureBit.Reset, 'a', 0);
    breaker.settle(breaker.admit(1_000), Outcome.Success, 1, 1_001, 0, 'b', 1_000);
    breaker.settle(permits[1] ?? 0, Outcome.Failure, 1_000, 1_002, FailureBit.Reset, 'a', 0);
    breaker.settle(breaker.admit(1_002), Outcome.Failure, 1, 1_003, FailureBit.ServerError, 'b', 1_002);
    expect(breaker.state(1_003)).toBe(Closed);
    breaker.settle(breaker.admit(1_003), Outcome.Failure, 1, 1_004, FailureBit.ServerError, 'b', 1_003);
    expect(breaker.state(1_004)).toBe(Open);
  });

  it.each([
    ['statuses', FailureBit.ServerError, 'a'],
    ['timeouts', FailureBit.AttemptTimeout, 'a'],
    ['connections that were not made', FailureBit.ConnectFailure, 'a'],
    ['connections lost nobody knows where', FailureBit.Reset, ''],
  ])('counts %s call by call', (_what, bits, endpoint) => {
    expect(lost(circuit(), [endpoint, endpoint, endpoint], bits)).toEqual([Closed, Closed, Open]);
  });

  it('reopens by a probe whose connection is lost, as by any failure', () => {
    const breaker = circuit();
    lost(breaker, ['a', 'b', 'c'], FailureBit.Reset);
    const probe = breaker.admit(31_000);
    breaker.settle(probe, Outcome.Failure, 1, 31_001, FailureBit.Reset, 'a', 31_000);
    expect([breaker.state(31_001), breaker.reopenings]).toEqual([Open, 1]);
  });
});
