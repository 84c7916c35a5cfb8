// The rate limit under the contract of every policy: it lends nothing, so what is to be had again is its whole burst, after the time that it takes.
import { expect } from 'vitest';
import { RateLimit, type RateLimitNumbers } from '../rate-limit.ts';
import type { Subject } from './contract.ts';

export function rateLimitSubject(perHeader: boolean): (first: number) => Subject<string> {
  return (first) => {
    const specOf = (number: number): RateLimitNumbers => ({
      requestsPerSecond: 1 + (number % 7),
      burst: 1 + (number % 4),
      perHeader: perHeader ? { name: 'x-tenant', maxValues: 1 + (number % 3) } : null,
    });
    let spec = specOf(first);
    const limit = new RateLimit(spec, 0);
    let begun = 0;
    let situation = 'granted';
    return {
      begin(nowMs) {
        begun += 1;
        const value = perHeader ? `t${begun % 5}` : '';
        const shared = limit.sharedUses;
        const passes = limit.take(value, nowMs);
        situation = limit.sharedUses > shared ? 'shared' : passes ? 'granted' : 'refused';
        expect(limit.retryAfterMs(value, nowMs) > 0 || passes).toBe(true);
        return passes ? value : null;
      },
      end() {},
      update(number, nowMs) {
        spec = specOf(number);
        limit.update(spec, nowMs);
      },
      held: () => 0,
      situation: () => situation,
      idle(nowMs) {
        const laterMs = nowMs + (spec.burst * 1000) / spec.requestsPerSecond + 1;
        const passed = Array.from({ length: spec.burst + 1 }, () => limit.take('new', laterMs));
        expect(passed).toEqual([...Array.from({ length: spec.burst }, () => true), false]);
      },
    };
  };
}
