import { afterAll, beforeAll, expect, test } from 'vitest';
import { REAL_TIME } from './harness/real-time.ts';
import { Shop } from './harness/shop.ts';

let shop: Shop;
const policy = (request: string) => ({
  timeouts: { request: '10s' },
  bulkhead: { maxConcurrent: 50 },
  // What changes concerns calls to /probe alone, so that every other call must succeed.
  rules: [{ name: 'probe', matches: [{ path: { type: 'PathPrefix', value: '/probe' } }], timeouts: { request } }],
});

beforeAll(async () => {
  shop = await Shop.open('policy-change', { policy: policy('5s') });
});
afterAll(() => shop?.close());

test('a changed policy reaches the sidecar within a second, and no request is dropped', REAL_TIME, async () => {
  const stop = await shop.startLoad({ concurrency: 8, pauseMs: 2 });
  const stopProbes = await shop.startLoad({
    url: 'http://payments:8080/probe',
    headers: { 'x-delay-ms': '150' },
    concurrency: 8,
    pauseMs: 20,
  });
  const changes: { at: number; limited: boolean }[] = [];
  for (const limited of [true, false, true, false]) {
    await shop.applyPolicy(policy(limited ? '50ms' : '5s'));
    changes.push({ at: Date.now(), limited });
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  }
  const report = await stop();
  const probes = await stopProbes();

  expect(report.calls).toBeGreaterThan(1_000);
  expect(report.errors).toEqual({});
  expect(Object.keys(report.statuses)).toEqual(['200']);
  expect(probes.errors).toEqual({});
  for (const { at, limited } of changes) {
    const settled = probes.details.filter((call) => call.at > at + 1_000 && call.at < at + 1_900);
    expect(
      settled.length,
      JSON.stringify({ at, limited, calls: probes.calls, first: probes.details[0], last: probes.details.at(-1) }),
    ).toBeGreaterThan(20);
    for (const call of settled) expect(call.status).toBe(limited ? 504 : 200);
  }
});
