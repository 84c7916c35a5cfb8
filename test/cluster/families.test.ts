// Services of IPv6, alone and beside IPv4, on a cluster of both families.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { api, apply, control, type KubeObject, listPods } from './harness/kube.ts';
import { deployment, resiliencePolicy, service, serviceDependency } from './harness/objects.ts';
import { isInjected, type Load, type Report, Shop, untilCondition, untilReady } from './harness/shop.ts';

interface ServiceObject extends KubeObject {
  spec: { clusterIPs: string[] };
}

const PORTS = [{ port: 8080, name: 'http' }];
const OF_PAYMENTS = { selector: { app: 'payments' } };
const ENTRIES = ['six', 'both'];
const BREAKER = { circuitBreaker: { consecutiveFailures: 5, openFor: '5m' } };

let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('families');
  const { namespace } = shop;
  const entries = ENTRIES.map((name) => ({ name, service: { name, port: 8080 } }));
  await apply(
    service(namespace, 'six', PORTS, { ...OF_PAYMENTS, ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] }),
    service(namespace, 'both', PORTS, {
      ...OF_PAYMENTS,
      ipFamilyPolicy: 'RequireDualStack',
      ipFamilies: ['IPv4', 'IPv6'],
    }),
    // Made long before it is called: DNS and kube-proxy learn of a new Service a moment after the API server does.
    service(namespace, 'undeclared', PORTS, { ...OF_PAYMENTS, ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] }),
    ...['checkout', 'bound'].map((consumer) => serviceDependency(namespace, `of-${consumer}`, consumer, entries)),
    ...['checkout', 'bound'].flatMap((consumer) =>
      ENTRIES.map((name) => resiliencePolicy(namespace, `${consumer}-${name}`, `of-${consumer}`, name, BREAKER)),
    ),
  );
  // Its names are what they are declared to be when it is born.
  await untilCondition('ServiceDependency', namespace, 'of-bound', 'ResolvedRefs', 'True');
  await apply(
    deployment({
      namespace,
      name: 'bound',
      script: 'client.ts',
      annotations: { 'breakwater.dev/capture': 'loopback' },
    }),
  );
  const pods = await untilReady(namespace, 'app=bound', 1);
  expect(pods.every(isInjected)).toBe(true);
  for (const consumer of ['checkout', 'bound'])
    await untilCondition('ServiceDependency', namespace, `of-${consumer}`, 'Programmed', 'True');
});
beforeEach(async () => {
  await shop.behave({ status: 200 });
  await shop.resetCounts();
});
afterAll(() => shop?.close());

async function load(from: string, url: string, more: Partial<Load> = {}): Promise<Report> {
  const [pod] = await listPods(shop.namespace, `app=${from}`);
  return control<Report>(shop.namespace, pod?.metadata.name ?? '', 'load', { url, requests: 10, ...more });
}

async function addressesOf(name: string): Promise<string[]> {
  const { spec } = await api<ServiceObject>('GET', `/api/v1/namespaces/${shop.namespace}/services/${name}`);
  return spec.clusterIPs;
}

const isIpv6 = (address: string): boolean => address.includes(':') && !address.startsWith('::ffff:');

test('a pod has addresses of both families, and each Service those that it asked for', async () => {
  expect((await addressesOf('six')).map(isIpv6)).toEqual([true]);
  expect((await addressesOf('both')).map(isIpv6)).toEqual([false, true]);
});

test.each(['checkout', 'bound'])('a Service of IPv6 is called by its name, and protected: %s', async (from) => {
  expect((await load(from, 'http://six:8080/')).statuses).toEqual({ 200: 10 });
  expect((await shop.arrivals()).map(({ address }) => isIpv6(address))).toEqual(Array.from({ length: 10 }, () => true));
  await shop.behave({ status: 500 });
  expect((await load(from, 'http://six:8080/', { requests: 20 })).reasons).toEqual({ 'circuit-open': 15 });
});

test('a Service of both is one dependency at each of its addresses', async () => {
  const [ipv4 = '', ipv6 = ''] = await addressesOf('both');
  for (const host of [ipv4, `[${ipv6}]`, 'both'])
    expect((await load('checkout', `http://${host}:8080/`)).statuses, host).toEqual({ 200: 10 });
  await shop.behave({ status: 500 });
  expect((await load('checkout', `http://${ipv4}:8080/`, { requests: 3 })).statuses).toEqual({ 500: 3 });
  expect((await load('checkout', `http://[${ipv6}]:8080/`)).reasons).toEqual({ 'circuit-open': 8 });
  expect((await load('checkout', `http://${ipv4}:8080/`)).reasons).toEqual({ 'circuit-open': 10 });
});

test('what is not declared passes, at an address of IPv6 too', async () => {
  await shop.behave({ status: 500 });
  expect((await load('checkout', 'http://undeclared:8080/', { requests: 20 })).statuses).toEqual({ 500: 20 });
});
