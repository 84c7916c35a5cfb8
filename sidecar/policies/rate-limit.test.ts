import { describe, expect, it } from 'vitest';
import { RateLimit, type RateLimitNumbers, rateLimitFields } from './rate-limit.ts';

const SPEC: RateLimitNumbers = { requestsPerSecond: 10, burst: 2, perHeader: null };
const BY_TENANT: RateLimitNumbers = { ...SPEC, perHeader: { name: 'X-Tenant', maxValues: 2 } };

const take = (limit: RateLimit, values: readonly string[], nowMs = 0) =>
  values.map((value) => limit.take(value, nowMs));

describe('RateLimit', () => {
  it('is one for all requests, whatever their headers say', () => {
    const limit = new RateLimit(SPEC, 0);
    expect(limit.headerName).toBeNull();
    expect(take(limit, ['a', 'b', 'c'])).toEqual([true, true, false]);
    expect(limit.retryAfterMs('c', 0)).toBe(100);
    expect(limit.retryAfterMs('c', 99.5)).toBeCloseTo(0.5, 6);
    expect([limit.values, limit.sharedUses]).toEqual([0, 0]);
  });

  it('is one for each value of a header, and one for all that have no room', () => {
    const limit = new RateLimit(BY_TENANT, 0);
    expect(limit.headerName).toBe('x-tenant');
    expect(take(limit, ['a', 'a', 'a', 'b'])).toEqual([true, true, false, true]);
    expect(take(limit, ['x', 'y', 'z'])).toEqual([true, true, false]);
    expect([limit.values, limit.sharedUses]).toEqual([2, 3]);
    expect(limit.retryAfterMs('z', 0)).toBe(100);
  });

  it('keeps what was taken over a plan with other numbers', () => {
    const limit = new RateLimit(SPEC, 0);
    take(limit, ['', '']);
    limit.update({ ...SPEC, requestsPerSecond: 1, burst: 50 }, 0);
    expect(limit.retryAfterMs('', 0)).toBe(1000);
    const byTenant = new RateLimit(BY_TENANT, 0);
    take(byTenant, ['a', 'a']);
    byTenant.update({ ...BY_TENANT, perHeader: { name: 'x-TENANT', maxValues: 50 } }, 0);
    expect(take(byTenant, ['a', 'b', 'c'])).toEqual([false, true, true]);
    expect([byTenant.values, byTenant.sharedUses]).toEqual([3, 0]);
  });

  it('earns at the old rate until the plan with another one came', () => {
    for (const [spec, value] of [
      [SPEC, ''],
      [BY_TENANT, 'a'],
    ] as const) {
      const limit = new RateLimit(spec, 0);
      take(limit, [value, value]);
      limit.update({ ...spec, requestsPerSecond: 1000 }, 100);
      expect(take(limit, [value, value], 100)).toEqual([true, false]);
    }
  });

  it('begins anew where another header decides, or none any more', () => {
    const limit = new RateLimit(BY_TENANT, 0);
    take(limit, ['a', 'a']);
    limit.update({ ...BY_TENANT, perHeader: { name: 'x-user', maxValues: 2 } }, 0);
    expect([limit.headerName, limit.values, limit.take('a', 0)]).toEqual(['x-user', 0, true]);
    limit.update(SPEC, 0);
    expect([limit.headerName, ...take(limit, ['a', 'a', 'a'])]).toEqual([null, true, true, false]);
  });
});

describe('rateLimitFields', () => {
  it('has the form of the draft', () => {
    expect(rateLimitFields({ ...SPEC, stateKey: 'rateLimit:shop/payments/charge', burst: 50 }, 3)).toBe(
      'RateLimit-Policy: "shop/payments/charge";q=10;w=1;breakwater-burst=50\r\nRateLimit: "shop/payments/charge";r=0;t=3\r\n',
    );
  });

  it('writes a name that structured fields can hold', () => {
    expect(rateLimitFields({ ...SPEC, stateKey: 'rateLimit:a"b\\c' }, 1)).toContain('RateLimit: "a\\"b\\\\c";r=0;t=1');
  });
});
