import { afterAll, beforeAll, expect, test } from 'vitest';
import { metricValue, Shop } from './harness/shop.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('retries');
});
afterAll(() => shop?.close());

// First, for calls made before would add to the budget.
test('an idempotent call beyond its budget is not retried', async () => {
  await shop.setPolicy({
    retries: { maxAttempts: 3, backoff: { initial: '1ms', max: '1ms' }, budget: { percent: 10, minPerSecond: 0 } },
  });
  await shop.behave({ status: 503 });
  await shop.resetCounts();
  await shop.load({ requests: 200 });
  const { requests } = await shop.counts();
  await shop.behave({ status: 200 });

  expect(requests).toBeGreaterThan(200);
  expect(requests).toBeLessThanOrEqual(230);
});

test('with budget enough, all that may run twice is retried', async () => {
  await shop.setPolicy({
    timeouts: { request: '10s', attempt: '2s' },
    retries: {
      maxAttempts: 3,
      retryOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError', 'ServerError'],
      budget: { percent: 100, minPerSecond: 1000 },
      backoff: { initial: '1ms', max: '5ms' },
    },
  });
  await shop.next({ status: 503 }, { status: 500 });
  expect((await shop.load({ requests: 1 })).statuses).toEqual({ 200: 1 });
});

test('a GET that failed is retried, succeeds, and is counted', async () => {
  await shop.resetCounts();
  const before = metricValue(await shop.metrics(), 'breakwater_retries_total', { dependency: 'payments' });
  await shop.next({ status: 503 });
  const report = await shop.load({ requests: 1 });

  expect(report.statuses).toEqual({ 200: 1 });
  expect((await shop.counts()).requests).toBe(2);
  expect(metricValue(await shop.metrics(), 'breakwater_retries_total', { dependency: 'payments' })).toBe(before + 1);
});

test('a GET whose connection is reset is retried and succeeds', async () => {
  await shop.resetCounts();
  await shop.next({ reset: 'executed' }, { reset: 'response-head' });
  const report = await shop.load({ requests: 1 });

  expect(report.statuses).toEqual({ 200: 1 });
  expect((await shop.counts()).requests).toBe(3);
});

test('a POST that may have been executed is never sent twice: 10,000 requests, resets at every point', async () => {
  await shop.resetCounts();
  await shop.behave({ reset: 'random', share: 0.3 });
  const report = await shop.load({
    method: 'POST',
    body: 'x'.repeat(20_000),
    ids: true,
    requests: 10_000,
    concurrency: 16,
  });
  const counts = await shop.counts();
  await shop.behave({ status: 200 });

  expect(report.calls).toBe(10_000);
  expect(counts.idsThatArrivedTwice).toEqual([]);
  expect(counts.maxArrivalsOfOneId).toBe(1);
  // The trial means something only if every kind of reset happened, and often.
  for (const point of [
    'accept',
    'request-head',
    'request-body',
    'executed',
    'response-status-line',
    'response-head',
    'response-body',
  ]) {
    expect(counts.resets[point], point).toBeGreaterThan(50);
  }
  // And if what was not reset succeeded.
  expect(report.statuses['200']).toBeGreaterThan(6_000);
  expect(report.reasons['reset']).toBeGreaterThan(500);
}, 180_000);

test('the same resets on GETs are retried: the counting would have seen a second arrival', async () => {
  await shop.resetCounts();
  await shop.behave({ reset: 'random', share: 0.3 });
  const report = await shop.load({ ids: true, requests: 500, concurrency: 8 });
  const counts = await shop.counts();
  await shop.behave({ status: 200 });

  expect(counts.maxArrivalsOfOneId).toBeGreaterThan(1);
  // Three attempts at 30 %; a reset in the body of the answer cannot be repeated.
  expect(report.statuses['200']).toBeGreaterThan(440);
});

test('a service that says POST may run twice gets its retries', async () => {
  await shop.setPolicy({ retries: { maxAttempts: 2, methods: 'All', backoff: { initial: '1ms', max: '5ms' } } });
  await shop.resetCounts();
  await shop.next({ status: 503 });
  const report = await shop.load({ method: 'POST', body: 'charge', requests: 1 });

  expect(report.statuses).toEqual({ 200: 1 });
  expect((await shop.counts()).requests).toBe(2);
});
