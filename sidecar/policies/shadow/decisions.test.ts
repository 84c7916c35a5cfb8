import { describe, expect, it } from 'vitest';
import { SHADOW_BLOCKS } from '../../../plan/policies/blocks.ts';
import { LOCAL_ANSWERS } from '../../errors.ts';
import { FALLBACKS, FAULTS, HEDGE_SUPPRESSIONS, SUPPRESSIONS } from '../../metrics/route-metrics.ts';
import { shadowCounts } from './block-shadow.ts';
import { EXPECTED_COSTS, ExpectedCost, SHADOW_DECISIONS, SHADOW_SLOTS, shadowSlot } from './decisions.ts';

const suppressed = (cause: string): string => `suppressed-${cause}`;

describe('the decisions of shadows', () => {
  it('are there for each block that can be shadowed', () => {
    expect(Object.keys(SHADOW_DECISIONS).sort()).toEqual([...SHADOW_BLOCKS].sort());
  });

  it('have the names that metrics have for the same', () => {
    const { retries, hedging, fallback, faultInjection } = SHADOW_DECISIONS;
    expect([...retries].sort()).toEqual(['retry', ...SUPPRESSIONS.map(suppressed)].sort());
    // What must not run twice is never hedged, which a shadow alone counts.
    expect([...hedging].sort()).toEqual(['hedge', ...[...HEDGE_SUPPRESSIONS, 'unsafe'].map(suppressed)].sort());
    expect(fallback).toEqual([...FALLBACKS, 'missed']);
    expect(faultInjection).toEqual(FAULTS);
  });

  it('have the names of the answers that callers would have been given', () => {
    const codes = Object.values(LOCAL_ANSWERS).map(({ code }) => code);
    const { bulkhead, circuitBreaker, rateLimit, timeouts } = SHADOW_DECISIONS;
    for (const code of [
      ...circuitBreaker,
      ...rateLimit,
      'deadline',
      'attempt-timeout',
      'bulkhead-full',
      'queue-timeout',
    ])
      expect(codes).toContain(code);
    expect(bulkhead).toEqual(['queued', LOCAL_ANSWERS.bulkheadFull.code, LOCAL_ANSWERS.queueTimeout.code]);
    expect([...timeouts].sort()).toEqual(['attempt-timeout', 'connect-timeout', 'deadline', 'idle-timeout']);
  });

  it('say which endpoint an attempt goes to, and what it costs', () => {
    const { healthCheck, loadBalancing, outlierDetection } = SHADOW_DECISIONS;
    expect(loadBalancing).toEqual(['same-endpoint', 'other-endpoint']);
    expect([outlierDetection, healthCheck]).toEqual([['ejected-endpoint'], ['unhealthy-endpoint']]);
    expect([EXPECTED_COSTS[ExpectedCost.Made], EXPECTED_COSTS[ExpectedCost.Shadow]]).toEqual(['made', 'shadow']);
  });

  it('have a slot each', () => {
    const slots = Object.entries(SHADOW_DECISIONS).flatMap(([block, decisions]) =>
      decisions.map((decision) => shadowSlot(block as never, decision as never)),
    );
    expect(slots).toEqual(SHADOW_SLOTS.map((_, slot) => slot));
    expect(shadowSlot('hedging', 'suppressed-budget')).not.toBe(shadowSlot('retries', 'suppressed-budget'));
    const { decisions, expectedCostMs } = shadowCounts();
    expect([decisions.length, expectedCostMs.length]).toEqual([slots.length, 2]);
  });
});
