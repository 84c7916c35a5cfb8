import { afterAll, beforeAll, expect, test } from 'vitest';
import { REAL_TIME } from './harness/real-time.ts';
import { Shop } from './harness/shop.ts';
import { sleep } from './shell.ts';

const QUEUE_TIMEOUT_MS = 500;
let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('bulkhead', {
    policy: {
      timeouts: { request: '10s' },
      bulkhead: { maxConcurrent: 20, maxQueued: 100, queueTimeout: `${QUEUE_TIMEOUT_MS}ms` },
    },
  });
});
afterAll(() => shop?.close());

test('the 21st concurrent request of a bulkhead of 20 waits at most its queue timeout', REAL_TIME, async () => {
  await shop.resetCounts();
  await shop.behave({ delayMs: 3_000 });
  const stop = await shop.startLoad({ requests: 20, concurrency: 20 });
  await sleep(500);
  const late = await shop.load({ requests: 1, dueMs: QUEUE_TIMEOUT_MS });
  const first = await stop();

  expect(first.statuses).toEqual({ 200: 20 });
  expect(late.reasons).toEqual({ 'queue-timeout': 1 });
  expect(late.statuses).toEqual({ 503: 1 });
  expect(late.maxMs).toBeGreaterThanOrEqual(QUEUE_TIMEOUT_MS - 5);
  expect(late.maxAfterDueMs).toBeLessThan(100);
  expect((await shop.counts()).maxConcurrent).toBe(20);
});

test('one that gets a place in time is served', async () => {
  await shop.behave({ delayMs: 300 });
  await shop.resetCounts();
  const report = await shop.load({ requests: 40, concurrency: 40 });

  expect(report.statuses).toEqual({ 200: 40 });
  expect((await shop.counts()).maxConcurrent).toBe(20);
  expect(report.maxMs).toBeGreaterThan(550);
});

test('beyond the queue the answer is immediate', async () => {
  await shop.setPolicy({
    timeouts: { request: '10s' },
    bulkhead: { maxConcurrent: 2, maxQueued: 1, queueTimeout: '2s' },
  });
  await shop.behave({ delayMs: 1_000 });
  const report = await shop.load({ requests: 10, concurrency: 10 });

  expect(report.reasons).toEqual({ 'bulkhead-full': 7 });
  // Who waited for anything would be answered after one of those that have a place.
  for (const call of report.details.filter((one) => one.reason === 'bulkhead-full'))
    expect(call.ms).toBeLessThan(1_000);
});
