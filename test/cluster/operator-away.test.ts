// One outage of the operator, and everything that must hold meanwhile, in its order.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kubectl, listPods } from './harness/kube.ts';
import { Shop, untilReady } from './harness/shop.ts';
import { OPERATOR_DEPLOYMENT, OPERATOR_REPLICAS, SYSTEM_NAMESPACE } from './install.ts';
import { eventually, sleep } from './shell.ts';

const CONNECT_TIMEOUT_MS = 1_000;
let shop: Shop;
let awaySince = 0;

beforeAll(async () => {
  shop = await Shop.open('operator-away', {
    payments: 3,
    paymentsGraceSeconds: 5,
    drainMs: 1_000,
    policy: {
      timeouts: { request: '5s', connect: `${CONNECT_TIMEOUT_MS}ms` },
      retries: { maxAttempts: 3 },
      circuitBreaker: { consecutiveFailures: 5, openFor: '60s' },
    },
  });
  await kubectl('-n', SYSTEM_NAMESPACE, 'scale', `deployment/${OPERATOR_DEPLOYMENT}`, '--replicas=0');
  await kubectl(
    '-n',
    SYSTEM_NAMESPACE,
    'delete',
    'pod',
    '-l',
    'app.kubernetes.io/component=operator',
    '--grace-period=0',
    '--force',
  );
  awaySince = Date.now();
});

afterAll(async () => {
  await kubectl(
    '-n',
    SYSTEM_NAMESPACE,
    'scale',
    `deployment/${OPERATOR_DEPLOYMENT}`,
    `--replicas=${OPERATOR_REPLICAS}`,
  );
  await kubectl('-n', SYSTEM_NAMESPACE, 'rollout', 'status', `deployment/${OPERATOR_DEPLOYMENT}`, '--timeout=180s');
  await shop?.close();
});

test('the dependency is rolled completely: no idempotent request fails, none is delayed by more than the connect timeout', async () => {
  const stop = await shop.startLoad({ concurrency: 6, pauseMs: 10, dueMs: CONNECT_TIMEOUT_MS });
  const before = (await listPods(shop.namespace, 'app=payments')).map((pod) => pod.metadata.name);
  await kubectl('-n', shop.namespace, 'rollout', 'restart', 'deployment/payments');
  await kubectl('-n', shop.namespace, 'rollout', 'status', 'deployment/payments', '--timeout=180s');
  // The old pods are gone altogether, and the minute is over, before the load ends.
  await eventually('no old pod is left', 30_000, async () => {
    const now = (await listPods(shop.namespace, 'app=payments')).map((pod) => pod.metadata.name);
    return now.some((name) => before.includes(name)) ? undefined : true;
  });
  await sleep(Math.max(5_000, awaySince + 60_000 - Date.now()));
  const report = await stop();

  expect(report.calls).toBeGreaterThan(2_000);
  expect(report.errors).toEqual({});
  expect(Object.keys(report.statuses)).toEqual(['200']);
  expect(report.maxAfterDueMs).toBeLessThan(100);
  for (const name of before) expect(report.details.at(-1)?.servedBy).not.toBe(name);
}, 150_000);

test('a sidecar container that restarts still enforces the last plan', async () => {
  const [pod] = await shop.checkoutPods();
  const restartsBefore = pod?.status.initContainerStatuses?.find((one) => one.name === 'breakwater')?.restartCount ?? 0;
  // Process 1 of the container ends; the kubelet starts it again.
  await kubectl(
    '-n',
    shop.namespace,
    'exec',
    pod?.metadata.name ?? '',
    '-c',
    'breakwater',
    '--',
    'node',
    '-e',
    'process.kill(1)',
  );
  await eventually('the sidecar has restarted', 30_000, async () => {
    const [now] = await shop.checkoutPods();
    const status = now?.status.initContainerStatuses?.find((one) => one.name === 'breakwater');
    return status && status.restartCount > restartsBefore && status.ready ? true : undefined;
  });
  await untilReady(shop.namespace, 'app=checkout', 1);

  await shop.behave({ status: 500 });
  await shop.resetCounts();
  const report = await shop.load({ requests: 50 });
  await shop.behave({ status: 200 });
  expect(report.reasons).toEqual({ 'circuit-open': 45 });
  expect(report.statuses).toEqual({ 500: 5, 503: 45 });
}, 60_000);

test('the kill switch works by hand, is kept over a restart, and can be taken back', async () => {
  expect((await shop.load({ requests: 3 })).reasons).toEqual({ 'circuit-open': 3 });
  await shop.breakwater('disable');
  // The command answers when it is so.
  expect((await shop.load({ requests: 3 })).statuses).toEqual({ 200: 3 });
  expect(await shop.breakwater('status')).toMatch(/disabled/i);

  const pod = await shop.checkout();
  await kubectl('-n', shop.namespace, 'exec', pod, '-c', 'breakwater', '--', 'node', '-e', 'process.kill(1)');
  await sleep(2_000);
  await eventually('the sidecar answers again', 30_000, () => shop.breakwater('status'));
  await shop.behave({ status: 500 });
  expect((await shop.load({ requests: 20 })).statuses).toEqual({ 500: 20 });

  await shop.breakwater('enable');
  await eventually('policies act again', 5_000, async () => {
    const { reasons } = await shop.load({ requests: 10 });
    return reasons['circuit-open'] ? true : undefined;
  });
}, 60_000);
