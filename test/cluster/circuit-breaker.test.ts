import { afterAll, beforeAll, expect, test } from 'vitest';
import { kubectl } from './harness/kube.ts';
import { metricValue, Shop } from './harness/shop.ts';
import { eventually, sleep } from './shell.ts';

const OPEN_FOR_MS = 3_000;
let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('circuit-breaker', {
    policy: {
      circuitBreaker: { consecutiveFailures: 5, openFor: `${OPEN_FOR_MS}ms`, halfOpen: { maxProbes: 2, successes: 2 } },
    },
  });
});
afterAll(() => shop?.close());

test('after 5 consecutive failures the circuit opens, and the failing service receives nothing more', async () => {
  await shop.behave({ status: 500 });
  const report = await shop.load({ requests: 50 });

  expect(report.statuses).toEqual({ 500: 5, 503: 45 });
  expect(report.reasons).toEqual({ 'circuit-open': 45 });
  expect((await shop.counts()).requests).toBe(5);
});

test('what is refused is refused at once, and says who and why', async () => {
  const slowMs = 2_000;
  await shop.behave({ status: 500, delayMs: slowMs });
  const report = await shop.load({ requests: 5, concurrency: 5 });
  await shop.behave({ status: 500 });

  expect(report.reasons).toEqual({ 'circuit-open': 5 });
  expect(report.maxMs).toBeLessThan(slowMs);
});

test('kubectl and the metrics show the open circuit', async () => {
  const shown = await eventually(
    'the status names the open circuit',
    5_000,
    async () => {
      const table = await kubectl('-n', shop.namespace, 'get', 'sdep,rpol');
      // It probes, and opens again, while we look.
      return /payments (Open|HalfOpen) in 1/.test(table) ? table : undefined;
    },
    100,
  );
  expect(shown).toMatch(/servicedependency\.breakwater\.dev\/checkout.*payments (Open|HalfOpen) in 1/);
  expect(
    metricValue(await shop.metrics(), 'breakwater_circuit_state', { dependency: 'payments', state: 'Closed' }),
  ).toBe(0);
});

test('while it fails on, it receives at most 2 probes at a time', async () => {
  await shop.behave({ status: 500, delayMs: 400 });
  await shop.resetCounts();
  // More callers than probes, over several reopenings.
  const report = await shop.load({ concurrency: 20, durationMs: 12_000, pauseMs: 5 });
  const counts = await shop.counts();

  expect(counts.maxConcurrent).toBeLessThanOrEqual(2);
  expect(counts.requests).toBeGreaterThanOrEqual(2);
  // openFor doubles with each reopening: 3, 6, 12 s; two probes each.
  expect(counts.requests).toBeLessThanOrEqual(8);
  expect(report.reasons['circuit-open']).toBeGreaterThan(1000);
});

test('it closes by itself after the service has recovered', async () => {
  await shop.behave({ status: 200 });
  const closed = async () => {
    const report = await shop.load({ requests: 10 });
    return report.statuses['200'] === 10 ? report : undefined;
  };
  // The last openFor was doubled up to three times and lengthened by a tenth at most.
  await eventually('ten calls in a row succeed', OPEN_FOR_MS * 8 * 1.1 + 2_000, closed, 250);

  await shop.resetCounts();
  expect((await shop.load({ requests: 100, concurrency: 10 })).statuses).toEqual({ 200: 100 });
  expect((await shop.counts()).requests).toBe(100);
  await eventually('status shows no open circuit', 10_000, async () => {
    const table = await kubectl('-n', shop.namespace, 'get', 'sdep');
    return /Open/.test(table) ? undefined : true;
  });
});

test('a service that answers well again is not probed too early', async () => {
  await shop.behave({ status: 500 });
  await shop.load({ requests: 5 });
  await shop.behave({ status: 200 });
  await shop.resetCounts();
  await sleep(200);
  expect((await shop.load({ requests: 20, pauseMs: 50 })).reasons).toEqual({ 'circuit-open': 20 });
  expect((await shop.counts()).requests).toBe(0);
});
