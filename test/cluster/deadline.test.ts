import { afterAll, beforeAll, expect, test } from 'vitest';
import { apply } from './harness/kube.ts';
import { resiliencePolicy, serviceDependency } from './harness/objects.ts';
import { REAL_TIME } from './harness/real-time.ts';
import { type Load, type Report, Shop, untilCondition } from './harness/shop.ts';

// No call may outlive its deadline by more than 100 ms, whatever the dependency does; measured beside a timer of the application, which a
// machine that stands still for a moment delays as much.
const DEADLINE_MS = 500;
const LATE_MS = 100;
let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('deadline', {
    policy: {
      timeouts: { request: `${DEADLINE_MS}ms`, connect: '200ms' },
      retries: {
        maxAttempts: 10,
        retryOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError', 'ServerError'],
        backoff: { initial: '50ms', max: '400ms' },
        budget: { percent: 100, minPerSecond: 1000 },
      },
      bulkhead: { maxConcurrent: 5, maxQueued: 1000, queueTimeout: '1m' },
    },
  });
});
afterAll(() => shop?.close());

async function withinDeadline(load: Partial<Load> = {}): Promise<Report> {
  const report = await shop.load({ requests: 60, concurrency: 10, dueMs: DEADLINE_MS, ...load });
  expect(report.maxAfterDueMs, `the slowest took ${report.maxMs} ms`).toBeLessThan(LATE_MS);
  return report;
}

test('a dependency that does not answer', REAL_TIME, async () => {
  await shop.behave({ delayMs: 30_000 });
  expect((await withinDeadline()).reasons).toEqual({ deadline: 60 });
});

test('a dependency that stops in the midst of its answer', REAL_TIME, async () => {
  await shop.behave({ bodyDelayMs: 30_000 });
  const report = await withinDeadline();
  // The head had gone to the application already: what is left is to end the connection.
  expect(report.calls - Object.values(report.errors).reduce((sum, count) => sum + count, 0)).toBe(
    report.reasons['deadline'] ?? 0,
  );
});

test('a dependency that fails again and again, with backoffs between', REAL_TIME, async () => {
  await shop.behave({ status: 503 });
  await withinDeadline();
});

test('a dependency that resets every connection', REAL_TIME, async () => {
  await shop.behave({ reset: 'executed' });
  await withinDeadline();
});

test('a request whose body is slow to be taken', REAL_TIME, async () => {
  await shop.behave({ delayMs: 30_000 });
  await withinDeadline({ method: 'POST', body: 'x'.repeat(300_000) });
});

test('an address that nobody answers at', REAL_TIME, async () => {
  const { namespace } = shop;
  await apply(
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'nowhere', namespace },
      spec: { ports: [{ name: 'http', port: 8080 }] },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'nowhere', namespace, labels: { 'kubernetes.io/service-name': 'nowhere' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080 }],
      // Of the range for documentation (RFC 5737): no host has such an address.
      endpoints: [{ addresses: ['192.0.2.1'], conditions: { ready: true } }],
    },
    serviceDependency(namespace, 'nowhere', 'checkout', [
      { name: 'nowhere', service: { name: 'nowhere', port: 8080 } },
    ]),
    resiliencePolicy(namespace, 'nowhere', 'nowhere', 'nowhere', {
      timeouts: { request: '500ms', connect: '200ms' },
      retries: {},
    }),
  );
  await untilCondition('ResiliencePolicy', namespace, 'nowhere', 'Programmed', 'True');
  const report = await withinDeadline({ url: 'http://nowhere:8080/' });
  expect(Object.keys(report.reasons).filter((reason) => !['deadline', 'connect-failed'].includes(reason))).toEqual([]);
  expect(report.statuses['200']).toBeUndefined();
});
