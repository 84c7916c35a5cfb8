import { afterAll, beforeAll, expect, test } from 'vitest';
import { kubectl } from './harness/kube.ts';
import { Shop } from './harness/shop.ts';
import { sleep } from './shell.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('rolling-restart', {
    payments: 3,
    paymentsGraceSeconds: 10,
    drainMs: 2_000,
    policy: { retries: { maxAttempts: 3 }, circuitBreaker: {}, timeouts: { request: '5s', connect: '1s' } },
  });
});
afterAll(() => shop?.close());

test('a rolling restart of the dependency under load loses no request, whatever its method', async () => {
  const stopGets = await shop.startLoad({ concurrency: 8, pauseMs: 2 });
  const stopPosts = await shop.startLoad({ method: 'POST', body: 'charge', concurrency: 8, pauseMs: 2, ids: true });
  const before = await shop.counts();
  await kubectl('-n', shop.namespace, 'rollout', 'restart', 'deployment/payments');
  await kubectl('-n', shop.namespace, 'rollout', 'status', 'deployment/payments', '--timeout=180s');
  await sleep(3_000);
  const [gets, posts] = [await stopGets(), await stopPosts()];

  expect(gets.calls).toBeGreaterThan(1_000);
  expect(posts.calls).toBeGreaterThan(1_000);
  for (const report of [gets, posts]) {
    expect(report.errors).toEqual({});
    expect(Object.keys(report.statuses)).toEqual(['200']);
  }
  // All pods are others than before, and each of those that are there now has answered.
  const after = await shop.counts();
  for (const name of after.hostname.split(',')) {
    expect(before.hostname.split(',')).not.toContain(name);
    expect(gets.servedBy[name]).toBeGreaterThan(0);
  }
}, 300_000);
