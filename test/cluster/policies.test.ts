// The policies beside retries, circuit and bulkhead, each in one plain case of a cluster's: what its edges are is tested beside its code.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { api, apply, control, kubectl, listPods, type Pod } from './harness/kube.ts';
import { serviceDependency } from './harness/objects.ts';
import { metricValue, type OwnObject, pathOf, Shop, untilCondition } from './harness/shop.ts';
import { SYSTEM_NAMESPACE } from './install.ts';
import { eventually } from './shell.ts';

const PAYMENTS = 4;
let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('policies', { payments: PAYMENTS });
});
beforeEach(async () => {
  await shop.behave({ status: 200 });
  await shop.resetCounts();
});
afterAll(async () => {
  await kubectl('-n', SYSTEM_NAMESPACE, 'delete', 'rpol', 'everywhere', '--ignore-not-found');
  await shop?.close();
});

test('outlier detection takes the one bad pod out, and callers see few of its failures', async () => {
  // By itself PeakEwma keeps off an endpoint that fails, before it has failed three times.
  await shop.setPolicy({
    outlierDetection: { consecutiveFailures: 3, ejectFor: '60s' },
    loadBalancing: { algorithm: 'LeastRequest' },
  });
  const [bad] = await listPods(shop.namespace, 'app=payments');
  await control(shop.namespace, bad?.metadata.name ?? '', 'behave', { status: 500 });
  const report = await shop.load({ requests: 400, concurrency: 4 });
  expect(report.statuses[500]).toBeGreaterThanOrEqual(3);
  // Those that were under way when the third failure came are the last ones.
  expect(report.statuses[500]).toBeLessThanOrEqual(3 + 4);
  expect((report.statuses[200] ?? 0) + (report.statuses[500] ?? 0)).toBe(400);
  expect(metricValue(await shop.metrics(), 'breakwater_endpoints', { dependency: 'payments' })).toBe(PAYMENTS);
});

test('a rate limit lets its burst pass and refuses the rest at once', async () => {
  await shop.setPolicy({ rateLimit: { requestsPerSecond: 1, burst: 20 } });
  const report = await shop.load({ requests: 100, concurrency: 4 });
  const refused = report.reasons['rate-limited'] ?? 0;
  expect(report.statuses).toEqual({ 200: 100 - refused, 429: refused });
  // While 100 requests run, a token or a few come back.
  expect(100 - refused).toBeGreaterThanOrEqual(20);
  expect(100 - refused).toBeLessThanOrEqual(20 + 1 + Math.ceil(report.maxMs / 1000) + 10);
  expect((await shop.counts()).requests).toBe(100 - refused);
});

test('a rate limit by a header has a bucket for each of its values', async () => {
  await shop.setPolicy({ rateLimit: { requestsPerSecond: 1, burst: 10, perHeader: { name: 'x-tenant' } } });
  const of = (tenant: string) => shop.load({ requests: 60, headers: { 'x-tenant': tenant } });
  for (const tenant of ['busy', 'quiet']) {
    const { statuses, details } = await of(tenant);
    expect(statuses[429], tenant).toBeGreaterThan(0);
    expect((statuses[200] ?? 0) + (statuses[429] ?? 0)).toBe(60);
    expect(details.slice(0, 10).filter(({ status }) => status !== 200)).toEqual([]);
  }
  expect(metricValue(await shop.metrics(), 'breakwater_rate_limit_values', { dependency: 'payments' })).toBe(2);
});

test('where EndpointSlices have hints for zones, those for the zone of the pod are called, and all when it has none', async () => {
  const { namespace } = shop;
  const pods = await listPods(namespace, 'app=payments');
  const near = pods.slice(0, 2);
  /** As the controller of the Service writes it, with zones that a node alone does not have. */
  const slice = (nearZone: string) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'zonal', namespace, labels: { 'kubernetes.io/service-name': 'zonal' } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080 }],
    endpoints: pods.map((pod) => {
      const zone = near.includes(pod) ? nearZone : 'far';
      return {
        addresses: [pod.status.podIP],
        conditions: { ready: true },
        ...(near.includes(pod)
          ? { nodeName: pod.spec.nodeName, zone: 'near' }
          : { nodeName: 'elsewhere', zone: 'far' }),
        hints: { forZones: [{ name: zone }] },
      };
    }),
  });
  await apply(
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'zonal', namespace },
      spec: { ports: [{ name: 'http', port: 8080 }] },
    },
    slice('near'),
    serviceDependency(namespace, 'zonal', 'checkout', [{ name: 'zonal', service: { name: 'zonal', port: 8080 } }]),
  );
  await untilCondition('ServiceDependency', namespace, 'zonal', 'Programmed', 'True');
  const names = (of: Pod[]) => of.map(({ metadata }) => metadata.name).toSorted();
  const called = (of: Pod[]) =>
    eventually(`the pods ${names(of).join(', ')} are called, and no other`, 10_000, async () => {
      const { statuses, servedBy } = await shop.load({ url: 'http://zonal:8080/', requests: 100, concurrency: 4 });
      const isSo = statuses[200] === 100 && Object.keys(servedBy).toSorted().join() === names(of).join();
      return isSo ? true : undefined;
    });
  await called(near);
  await apply(slice('nowhere'));
  await called(pods);
});

test('a circuit is held open by hand, let go, and reset by the annotation', async () => {
  await shop.setPolicy({ circuitBreaker: { force: 'Open' } });
  expect((await shop.load({ requests: 20 })).reasons).toEqual({ 'circuit-open': 20 });
  await shop.setPolicy({ circuitBreaker: { consecutiveFailures: 5, openFor: '5m', maxOpenFor: '5m' } });
  expect((await shop.load({ requests: 20 })).statuses).toEqual({ 200: 20 });
  await shop.behave({ status: 500 });
  expect((await shop.load({ requests: 20 })).reasons).toEqual({ 'circuit-open': 15 });
  await shop.behave({ status: 200 });
  await kubectl('-n', shop.namespace, 'annotate', 'sdep', 'checkout', 'breakwater.dev/reset-circuit=now');
  await eventually('the circuit is closed', 10_000, async () => {
    const { statuses } = await shop.load({ requests: 10 });
    return statuses[200] === 10 ? true : undefined;
  });
});

test('a policy for the Platform acts where nothing narrower does, one for the Namespace over it', async () => {
  await kubectl('-n', shop.namespace, 'delete', 'rpol', 'payments', '--ignore-not-found');
  const policy = (namespace: string, name: string, target: object, force: object) => ({
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ResiliencePolicy',
    metadata: { namespace, name },
    spec: { targetRefs: [target], circuitBreaker: force },
  });
  const platform = { group: 'breakwater.dev', kind: 'Platform', name: 'default' };
  await apply(policy(SYSTEM_NAMESPACE, 'everywhere', platform, { force: 'Open' }));
  await eventually('the platform refuses', 10_000, async () =>
    (await shop.load({ requests: 1 })).reasons['circuit-open'] === 1 ? true : undefined,
  );
  const namespace = { group: '', kind: 'Namespace', name: shop.namespace };
  await apply(policy(shop.namespace, 'ours', namespace, { force: 'Closed' }));
  await untilCondition('ResiliencePolicy', shop.namespace, 'ours', 'Programmed', 'True');
  await eventually('the namespace lets pass', 10_000, async () =>
    (await shop.load({ requests: 1 })).statuses[200] === 1 ? true : undefined,
  );
  const { status } = await api<OwnObject>('GET', pathOf('ResiliencePolicy', SYSTEM_NAMESPACE, 'everywhere'));
  expect(status?.conditions?.find(({ type }) => type === 'Accepted')).toMatchObject({ status: 'True' });
});
