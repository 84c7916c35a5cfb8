// What takes the place of a failure, failures on purpose, what would be done, and what the dependency is told of its caller's time: each in
// one plain case of a cluster's. What its edges are is tested beside its code.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { api, apply, kubectl } from './harness/kube.ts';
import { deployment, service, serviceDependency } from './harness/objects.ts';
import {
  currentCondition,
  metricValue,
  type OwnObject,
  pathOf,
  Shop,
  untilCondition,
  untilReady,
} from './harness/shop.ts';
import { eventually } from './shell.ts';

const OF_PAYMENTS = { dependency: 'payments' };
let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('policies-answers');
});
beforeEach(async () => {
  await shop.behave({ status: 200 });
  await shop.resetCounts();
});
afterAll(() => shop?.close());

const KINDS = [
  ['ResiliencePolicy', 'payments'],
  ['ServiceDependency', 'checkout'],
] as const;

/** Both, the policy and what it acts on, say that there are faults, or neither does. */
const untilBothSay = (faults: boolean) =>
  eventually(`both kinds say that ${faults ? 'faults are' : 'no fault is'} injected`, 10_000, async () => {
    const objects = await Promise.all(
      KINDS.map(([kind, name]) => api<OwnObject>('GET', pathOf(kind, shop.namespace, name))),
    );
    const told = objects.map((object) => currentCondition(object, 'Accepted')?.message ?? '');
    return told.every((message) => message.includes('faults are injected on purpose') === faults) ? true : undefined;
  });

/** First, for their circuit must not have been opened by any other test: its state is kept over a change of the policy. */
describe('faults on purpose', () => {
  test('fail all that they are to, reach nobody, open no circuit, and the status says that they are there', async () => {
    await shop.setPolicy({
      faultInjection: { abort: { statusCode: 503, percent: 100 } },
      circuitBreaker: { consecutiveFailures: 5, openFor: '5m' },
    });
    expect((await shop.load({ requests: 20 })).reasons).toEqual({ 'fault-injected': 20 });
    expect((await shop.counts()).requests).toBe(0);
    await untilBothSay(true);
    expect(
      metricValue(await shop.metrics(), 'breakwater_faults_injected_total', { ...OF_PAYMENTS, fault: 'abort' }),
    ).toBe(20);
    await shop.setPolicy({ circuitBreaker: { consecutiveFailures: 5, openFor: '5m' } });
    expect((await shop.load({ requests: 20 })).statuses).toEqual({ 200: 20 });
    await untilBothSay(false);
  });

  test('strike a share, and delay it', async () => {
    const delayMs = 200;
    await shop.setPolicy({
      faultInjection: {
        abort: { statusCode: 503, percent: 30 },
        delay: { fixed: `${delayMs}ms`, percent: 100 },
      },
    });
    const report = await shop.load({ requests: 400, concurrency: 40 });
    const struck = report.reasons['fault-injected'] ?? 0;
    expect(report.statuses).toEqual({ 200: 400 - struck, 503: struck });
    // Five standard deviations of a binomial distribution.
    expect(Math.abs(struck - 120)).toBeLessThanOrEqual(46);
    // A timer of Node may come a millisecond early.
    expect(Math.min(...report.details.map(({ ms }) => ms))).toBeGreaterThanOrEqual(delayMs - 1);
  });
});

describe('a fallback', () => {
  test('that is fixed takes the place of a failure, of safe requests only', async () => {
    await shop.setPolicy({ fallback: { response: { statusCode: 203, contentType: 'application/json', body: '[]' } } });
    await shop.behave({ status: 500 });
    const gets = await shop.load({ requests: 10 });
    expect(gets.statuses).toEqual({ 203: 10 });
    expect(gets.fallbacks).toEqual({ response: 10 });
    const posts = await shop.load({ requests: 10, method: 'POST', body: 'charge' });
    expect(posts.statuses).toEqual({ 500: 10 });
    expect(posts.fallbacks).toEqual({});
    expect((await shop.counts()).requests).toBe(20);
    expect(metricValue(await shop.metrics(), 'breakwater_fallbacks_total', OF_PAYMENTS)).toBe(10);
  });

  test('that is the last good answer gives it, for the path that it was given for', async () => {
    await shop.setPolicy({ fallback: { lastGood: { maxAge: '10m' } } });
    const good = await shop.load({ requests: 1, url: 'http://payments:8080/stock' });
    expect(good.statuses).toEqual({ 200: 1 });
    await shop.behave({ status: 500 });
    const kept = await shop.load({ requests: 10, url: 'http://payments:8080/stock' });
    expect(kept.statuses).toEqual({ 200: 10 });
    expect(kept.fallbacks).toEqual({ 'last-good': 10 });
    expect(kept.servedBy).toEqual({ [Object.keys(good.servedBy)[0] ?? '']: 10 });
    const unknown = await shop.load({ requests: 5, url: 'http://payments:8080/prices' });
    expect(unknown.statuses).toEqual({ 500: 5 });
    expect(metricValue(await shop.metrics(), 'breakwater_fallbacks_missed_total', OF_PAYMENTS)).toBe(5);
  });

  test('that is another dependency is answered by that one', async () => {
    const { namespace } = shop;
    await apply(
      deployment({
        namespace,
        name: 'standby',
        script: 'upstream.ts',
        ports: [8080],
        labels: { 'breakwater.dev/injection': 'disabled' },
      }),
      service(namespace, 'standby', [{ port: 8080, name: 'http' }]),
      serviceDependency(namespace, 'checkout', 'checkout', [
        { name: 'payments', service: { name: 'payments', port: 8080 } },
        { name: 'standby', service: { name: 'standby', port: 8080 } },
      ]),
    );
    const [standby] = await untilReady(namespace, 'app=standby', 1);
    await untilCondition('ServiceDependency', namespace, 'checkout', 'Programmed', 'True');
    await shop.setPolicy({
      fallback: { dependency: 'standby' },
      circuitBreaker: { consecutiveFailures: 5, openFor: '5m' },
    });
    await shop.behave({ status: 500 });
    const report = await shop.load({ requests: 20 });
    expect(report.statuses).toEqual({ 200: 20 });
    expect(report.fallbacks).toEqual({ dependency: 20 });
    expect(report.servedBy).toEqual({ [standby?.metadata.name ?? '']: 20 });
    // The failures are failures all the same: from the fifth on the circuit keeps them away.
    expect((await shop.counts()).requests).toBe(5);
  });
});

test('blocks in shadow count what they would do, say it in the status, and do nothing', async () => {
  const decisions = async (policy: string, decision: string) =>
    metricValue(await shop.metrics(), 'breakwater_shadow_decisions_total', { ...OF_PAYMENTS, policy, decision });
  await shop.setPolicy({
    circuitBreaker: { mode: 'Shadow', consecutiveFailures: 5, openFor: '5m' },
    bulkhead: { mode: 'Shadow', maxConcurrent: 2, maxQueued: 0 },
  });
  const slow = await shop.load({ requests: 20, concurrency: 20, headers: { 'x-delay-ms': '300' } });
  expect(slow.statuses).toEqual({ 200: 20 });
  expect(await decisions('bulkhead', 'bulkhead-full')).toBeGreaterThan(0);
  await shop.behave({ status: 500 });
  await shop.resetCounts();
  const report = await shop.load({ requests: 50 });
  expect(report.statuses).toEqual({ 500: 50 });
  expect(report.reasons).toEqual({});
  expect((await shop.counts()).requests).toBe(50);
  expect(await decisions('circuitBreaker', 'circuit-open')).toBe(45);
  await eventually('the status shows the circuit that would be open', 10_000, async () => {
    const { status } = await api<OwnObject & { status?: { shadowCircuits?: unknown[]; circuits?: unknown[] } }>(
      'GET',
      pathOf('ServiceDependency', shop.namespace, 'checkout'),
    );
    if (JSON.stringify(status?.shadowCircuits ?? []).includes('Open')) {
      expect(JSON.stringify(status?.circuits ?? [])).not.toContain('Open');
      return true;
    }
    return undefined;
  });
});

describe('a deadline travels', () => {
  const OWN_MS = 10_000;
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const timeouts = (more: object = {}) => ({ timeouts: { request: `${OWN_MS}ms`, ...more } });

  async function arrived(headers: Record<string, string>) {
    await shop.resetCounts();
    const { details } = await shop.load({ requests: 1, headers });
    const [arrival] = await shop.arrivals();
    const [call] = details;
    if (!arrival || !call) throw new Error('nothing arrived');
    return { call, told: arrival.headers, deadline: Number(arrival.headers['x-breakwater-deadline']) };
  }

  test('to the dependency, by its own header and by tracestate', async () => {
    await shop.setPolicy(timeouts());
    const { call, told, deadline } = await arrived({ traceparent, tracestate: 'vendor=1' });
    // All of it runs by one clock; what it took until the sidecar saw the request is between the two.
    expect(deadline - call.at).toBeGreaterThanOrEqual(OWN_MS);
    expect(deadline - call.at).toBeLessThan(OWN_MS + 5_000);
    expect(told).toMatchObject({ traceparent, tracestate: `breakwater=d:${deadline},vendor=1` });
  });

  test('from the caller, where it is sooner; a later one does not lengthen it', async () => {
    const soonMs = Date.now() + OWN_MS / 2;
    expect((await arrived({ 'x-breakwater-deadline': String(soonMs) })).deadline).toBe(soonMs);
    const { call, deadline } = await arrived({ 'x-breakwater-deadline': String(Date.now() + 60_000) });
    expect(deadline - call.at).toBeLessThan(OWN_MS + 5_000);
  });

  test('and ends the call at that moment', async () => {
    await shop.behave({ delayMs: 30_000 });
    const inMs = 2_000;
    const report = await shop.load({ requests: 1, headers: { 'x-breakwater-deadline': String(Date.now() + inMs) } });
    expect(report.reasons).toEqual({ deadline: 1 });
    expect(report.maxMs).toBeLessThan(OWN_MS);
  });

  test('no further where the policy says so', async () => {
    await shop.setPolicy(timeouts({ deadline: { propagate: 'Never' } }));
    const { told } = await arrived({ traceparent, 'x-breakwater-deadline': String(Date.now() + OWN_MS / 2) });
    expect(told).toEqual({ traceparent });
  });
});

test('an adaptive bulkhead finds what the dependency can work on, and sends it little more', async () => {
  const capacity = 20;
  const callers = 100;
  await kubectl('-n', shop.namespace, 'delete', 'rpol', 'payments');
  await shop.setPolicy({
    bulkhead: {
      maxConcurrent: 200,
      maxQueued: 200,
      queueTimeout: '30s',
      adaptive: { minConcurrent: 5, latencyTolerancePercent: 50 },
    },
  });
  const limit = async () => metricValue(await shop.metrics(), 'breakwater_bulkhead_limit', OF_PAYMENTS);
  expect(await limit()).toBe(20);
  await shop.behave({ delayMs: 200, capacity });
  const stop = await shop.startLoad({ concurrency: callers });
  // It tries more than at first …
  await eventually('the limit has grown', 20_000, async () => ((await limit()) > 25 ? true : undefined));
  // … and once it knows that no more is to be had, far fewer are under way than callers there are.
  await eventually('it has settled', 20_000, async () => {
    await shop.resetCounts();
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const { maxConcurrent, requests } = await shop.counts();
    return requests > capacity && maxConcurrent < callers * 0.7 && maxConcurrent >= capacity / 2 ? true : undefined;
  });
  const report = await stop();
  expect(Object.keys(report.statuses)).toEqual(['200']);
});
