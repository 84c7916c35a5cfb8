import { afterAll, beforeAll, expect, test } from 'vitest';
import { watchSlices } from './harness/kube.ts';
import { REAL_TIME } from './harness/real-time.ts';
import { type Report, Shop, untilReady } from './harness/shop.ts';
import { eventually, sleep } from './shell.ts';

const FOLLOWED_WITHIN_MS = 1_000;
let shop: Shop;
let stopWatching: () => void;
/** Usable addresses by pod name, and since when (Unix milliseconds). */
const usable = new Map<string, number>();
let changedAt = 0;
let usableCount = 0;

beforeAll(async () => {
  shop = await Shop.open('endpoints', {
    paymentsGraceSeconds: 5,
    drainMs: 3_000,
    policy: { timeouts: { request: '2s' } },
  });
  const path = `/apis/discovery.k8s.io/v1/namespaces/${shop.namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dpayments`;
  stopWatching = await watchSlices(path, (slice, at) => {
    const ready = (slice.endpoints ?? []).filter((endpoint) => endpoint.conditions.ready !== false);
    for (const { targetRef } of ready) if (targetRef && !usable.has(targetRef.name)) usable.set(targetRef.name, at);
    if (ready.length !== usableCount) changedAt = at;
    usableCount = ready.length;
  });
});
afterAll(async () => {
  stopWatching?.();
  await shop?.close();
});

const untilUsable = (count: number) =>
  eventually(`${count} usable endpoints`, 30_000, () => usableCount === count || undefined, 20);

/** Load with a call about every 10 ms, during which `work` happens. */
async function during(work: () => Promise<void>): Promise<Report> {
  const stop = await shop.startLoad({ concurrency: 4, pauseMs: 10, closeConnections: true });
  await work();
  await sleep(FOLLOWED_WITHIN_MS + 700);
  return stop();
}

test('scaling up is followed within a second', REAL_TIME, async () => {
  await shop.scalePayments(1);
  await untilUsable(1);
  const [there] = await untilReady(shop.namespace, 'app=payments', 1);
  const report = await during(async () => {
    await shop.scalePayments(3);
    await untilUsable(3);
  });
  expect(report.errors).toEqual({});
  expect(Object.keys(report.statuses)).toEqual(['200']);
  const pods = await untilReady(shop.namespace, 'app=payments', 3);
  for (const { metadata } of pods) expect(report.servedBy[metadata.name], metadata.name).toBeGreaterThan(0);
  // From the whole list of calls the first one that a new pod answered; details are whole below 2000 calls.
  for (const { metadata } of pods.filter((pod) => pod.metadata.name !== there?.metadata.name)) {
    const first = report.details.find((call) => call.servedBy === metadata.name);
    if (first) expect(first.at - (usable.get(metadata.name) ?? 0), metadata.name).toBeLessThan(FOLLOWED_WITHIN_MS);
  }
});

test('scaling down is followed within a second, and no call fails', REAL_TIME, async () => {
  await shop.scalePayments(3);
  await untilUsable(3);
  let at = 0;
  const report = await during(async () => {
    await shop.scalePayments(1);
    await untilUsable(1);
    at = changedAt;
  });
  expect(report.errors).toEqual({});
  expect(Object.keys(report.statuses)).toEqual(['200']);
  const [left] = await untilReady(shop.namespace, 'app=payments', 1);
  const late = report.details.filter(
    (call) => call.at > at + FOLLOWED_WITHIN_MS && call.servedBy !== left?.metadata.name,
  );
  expect(late).toEqual([]);
});

test(
  'scaled to zero, calls are answered at once that there is nobody; and again when there is',
  REAL_TIME,
  async () => {
    let goneAt = 0;
    const gone = await during(async () => {
      await shop.scalePayments(0);
      // Terminating pods still serve: gone is what has left the slice altogether.
      await untilUsable(0);
      await untilReady(shop.namespace, 'app=payments', 0);
      await sleep(6_000);
      goneAt = Date.now();
    });
    const after = gone.details.filter((call) => call.at > goneAt + FOLLOWED_WITHIN_MS);
    expect(after.length).toBeGreaterThan(10);
    for (const call of after) expect(call).toMatchObject({ status: 503, reason: 'no-endpoints' });

    await shop.scalePayments(1);
    await untilUsable(1);
    await sleep(FOLLOWED_WITHIN_MS);
    const back = await shop.load({ requests: 20 });
    expect(back.statuses).toEqual({ 200: 20 });
  },
);

test('none of that resets a breaker', async () => {
  await shop.setPolicy({ circuitBreaker: { consecutiveFailures: 5, openFor: '60s' } });
  await shop.behave({ status: 500 });
  await shop.load({ requests: 5 });
  expect((await shop.load({ requests: 3 })).reasons).toEqual({ 'circuit-open': 3 });
  await shop.scalePayments(3);
  await untilUsable(3);
  await sleep(FOLLOWED_WITHIN_MS);
  expect((await shop.load({ requests: 3 })).reasons).toEqual({ 'circuit-open': 3 });
  await shop.scalePayments(0);
  await untilUsable(0);
  await sleep(FOLLOWED_WITHIN_MS);
  await shop.scalePayments(1);
  await untilUsable(1);
  await sleep(FOLLOWED_WITHIN_MS);
  expect((await shop.load({ requests: 3 })).reasons).toEqual({ 'circuit-open': 3 });
});
