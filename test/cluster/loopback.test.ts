// Without any privilege: in a namespace that enforces PodSecurity `restricted` an application is injected and protected, and needs nothing
// but its declaration.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { api, apiText, apply, control, exec, kubectl, listPods, podProxy } from './harness/kube.ts';
import { deployment, resiliencePolicy, service, serviceDependency, type WorkloadOptions } from './harness/objects.ts';
import {
  ADMIN_PORT,
  deleteNamespace,
  freshNamespace,
  isInjected,
  type Load,
  metricValue,
  type OwnObject,
  pathOf,
  type Report,
  untilCondition,
  untilReady,
} from './harness/shop.ts';
import { OPERATOR_DEPLOYMENT, OPERATOR_REPLICAS, SYSTEM_NAMESPACE } from './install.ts';
import { eventually } from './shell.ts';

const SHOP = 'test-loopback';
const BILLING = 'test-loopback-billing';
const PARTNER = 'partner.example.com';
let nameserver = '';

/** As PodSecurity `restricted` wants a pod to be. */
function restricted(options: WorkloadOptions) {
  const object = deployment(options);
  const { template } = object.spec;
  const [container] = template.spec.containers;
  return {
    ...object,
    spec: {
      ...object.spec,
      template: {
        ...template,
        spec: {
          ...template.spec,
          securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
          containers: [
            { ...container, securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } },
          ],
          ...(nameserver === ''
            ? {}
            : {
                dnsPolicy: 'None',
                dnsConfig: {
                  nameservers: [nameserver],
                  searches: [`${SHOP}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local'],
                  options: [{ name: 'ndots', value: '5' }],
                },
              }),
        },
      },
    },
  };
}

const clusterIpOf = async (namespace: string, name: string): Promise<string> =>
  (await api<{ spec: { clusterIP: string } }>('GET', `/api/v1/namespaces/${namespace}/services/${name}`)).spec
    .clusterIP;

const upstream = (name: string, labels = {}) =>
  deployment({ namespace: BILLING, name, script: 'upstream.ts', ports: [8080], labels });

const dnsPort = { port: 53, name: 'dns', protocol: 'UDP', targetPort: 5353 };
const http = (port: number) => ({ port, name: `http-${port}`, targetPort: 8080 });

beforeAll(async () => {
  const injection = { 'breakwater.dev/injection': 'enabled' };
  await Promise.all([
    freshNamespace(SHOP, { ...injection, 'pod-security.kubernetes.io/enforce': 'restricted' }),
    freshNamespace(BILLING),
  ]);
  await apply(
    service(BILLING, 'payments', [http(8080), http(8081)]),
    service(BILLING, 'stock', [http(8080)]),
    service(BILLING, 'pods', [http(8080)], { clusterIP: 'None', selector: { app: 'stock' } }),
    service(BILLING, 'control', [http(9000)], { selector: { app: 'stock' } }),
    service(BILLING, 'late', [http(8080)], { selector: { app: 'stock' } }),
    service(BILLING, 'moved', [http(8080)], { selector: { app: 'stock' } }),
    // Of the same name as another in its namespace, and on the port that most Services have.
    service(SHOP, 'stock', [http(80), http(8090)]),
    service(BILLING, 'partner', [http(8080)]),
    service(BILLING, 'dns', [dnsPort]),
    upstream('payments'),
    upstream('stock'),
    upstream('partner'),
  );
  nameserver = await clusterIpOf(BILLING, 'dns');
  const env = { DNS_NAME: PARTNER, DNS_ADDRESS: await clusterIpOf(BILLING, 'partner') };
  await apply(deployment({ namespace: BILLING, name: 'dns', script: 'dns.ts', env }));
  await apply(
    restricted({
      namespace: SHOP,
      name: 'stock',
      script: 'upstream.ts',
      ports: [8080],
      labels: { 'breakwater.dev/injection': 'disabled' },
    }),
  );
  const to = (name: string, port = 8080) => ({ name, service: { name, namespace: BILLING, port } });
  await apply({
    ...serviceDependency(SHOP, 'checkout', 'checkout', []),
    spec: {
      consumer: { selector: { matchLabels: { app: 'checkout' } } },
      dependsOn: [
        to('payments'),
        to('stock'),
        to('pods'),
        to('control', 9000),
        to('moved'),
        { name: 'own-stock', service: { name: 'stock', port: 80 } },
        { name: 'own-stock-admin', service: { name: 'stock', port: 8090 } },
        { name: 'partner', host: { name: PARTNER, port: 8080 } },
      ],
    },
  });
  for (const entry of ['payments', 'partner', 'own-stock-admin']) {
    const policy = { circuitBreaker: { consecutiveFailures: 3, openFor: '10m' }, retries: { maxAttempts: 3 } };
    await apply(resiliencePolicy(SHOP, entry, 'checkout', entry, policy));
  }
  for (const name of ['payments', 'stock', 'partner', 'dns']) await untilReady(BILLING, `app=${name}`, 1);
  await apply(restricted({ namespace: SHOP, name: 'checkout', script: 'client.ts' }));
  for (const name of ['checkout', 'stock']) await untilReady(SHOP, `app=${name}`, 1);
  await untilCondition('ResiliencePolicy', SHOP, 'payments', 'Programmed', 'True', 20_000);
});
afterAll(() => Promise.all([SHOP, BILLING].map(deleteNamespace)));

async function podOf(namespace: string, name: string): Promise<string> {
  const [pod] = await listPods(namespace, `app=${name}`);
  return pod?.metadata.name ?? expect.fail(`there is no pod of ${name}`);
}

const load = async (url: string, options: Partial<Load> = {}): Promise<Report> =>
  control<Report>(SHOP, await podOf(SHOP, 'checkout'), 'load', { url, requests: 1, ...options });

const behave = async (name: string, behavior: object, namespace = BILLING): Promise<void> => {
  await control(namespace, await podOf(namespace, name), 'behave', behavior);
};

/** What a script prints, run by Node in the application's container of that pod. */
const evaluate = async (pod: string, script: string): Promise<unknown> =>
  JSON.parse(await exec(SHOP, pod, 'app', 'node', '-e', script)) as unknown;

/** The addresses of a name, or the code of the error, by getaddrinfo and by a DNS query of the application's own. */
const lookUp = async (pod: string, name: string): Promise<unknown> =>
  evaluate(
    pod,
    `const dns = require('node:dns/promises');
    const found = (asked) => asked.then((all) => all.map((one) => one.address ?? one), ({ code }) => code);
    Promise.all([
      found(dns.lookup('${name}', { family: 6, all: true })),
      found(dns.lookup('${name}', { all: true })),
      found(dns.resolve4('${name}')),
    ]).then(([ipv6, any, queried]) => console.log(JSON.stringify({ ipv6, any, queried })));`,
  );

const metric = async (name: string, labels: Record<string, string> = {}): Promise<number> =>
  metricValue(
    await apiText('GET', podProxy(SHOP, await podOf(SHOP, 'checkout'), ADMIN_PORT, '/metrics')),
    name,
    labels,
  );

/** Deletes the Service and creates it again, with another address. */
async function remake(name: string, before: string): Promise<void> {
  await kubectl('-n', BILLING, 'delete', 'service', name);
  await apply(service(BILLING, name, [http(8080)], { selector: { app: 'stock' } }));
  // Addresses are given at random; the former one is taken by nobody meanwhile, and may be given again.
  if ((await clusterIpOf(BILLING, name)) === before) await remake(name, before);
}

const requests = (dependency: string) => metric('breakwater_requests_total', { dependency });

test('a restricted pod is injected and needs no privilege', async () => {
  const [pod] = await listPods(SHOP, 'app=checkout');
  expect(pod && isInjected(pod)).toBe(true);
  expect(pod?.spec.initContainers?.map(({ name }) => name)).toEqual(['breakwater']);
  const status = await exec(SHOP, await podOf(SHOP, 'checkout'), 'breakwater', 'breakwater', 'status');
  expect(status).toMatch(/capture: {3}loopback, (\d+) of \1 listeners open/);
});

test.each([
  ['another namespace', `payments.${BILLING}`],
  ['svc', `payments.${BILLING}.svc`],
  ['the full name', `payments.${BILLING}.svc.cluster.local`],
])('its policies act by the name with %s, and Host stays', async (_form, name) => {
  const before = await requests('payments');
  expect((await load(`http://${name}:8080/`, { requests: 3 })).statuses).toEqual({ 200: 3 });
  expect((await requests('payments')) - before).toBe(3);
});

test('a port of the Service that nobody declared is passed on', async () => {
  const before = await requests('payments');
  expect((await load(`http://payments.${BILLING}:8081/`)).statuses).toEqual({ 200: 1 });
  expect(await requests('payments')).toBe(before);
});

test('two Services of one name in two namespaces are two, and the short name is that of its own', async () => {
  const [own, other] = await Promise.all([podOf(SHOP, 'stock'), podOf(BILLING, 'stock')]);
  const before = { own: await requests('own-stock'), other: await requests('stock') };
  for (const url of ['http://stock/', `http://stock.${SHOP}/`, `http://stock.${SHOP}.svc.cluster.local/`])
    expect((await load(url)).servedBy).toEqual({ [own]: 1 });
  expect((await load(`http://stock.${BILLING}:8080/`)).servedBy).toEqual({ [other]: 1 });
  expect(await requests('own-stock')).toBe(before.own + 3);
  expect(await requests('stock')).toBe(before.other + 1);
});

test('a port below 1024 needs nothing but a sysctl that Kubernetes calls safe', async () => {
  const pod = await api<{ spec: { securityContext: unknown } }>(
    'GET',
    `/api/v1/namespaces/${SHOP}/pods/${await podOf(SHOP, 'checkout')}`,
  );
  expect(pod.spec.securityContext).toMatchObject({
    sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }],
  });
});

test('of several ports of one Service each has its own policies', async () => {
  await behave('stock', { status: 500 }, SHOP);
  expect((await load('http://stock:8090/', { requests: 5 })).reasons).toEqual({ 'circuit-open': 2 });
  expect((await load('http://stock/', { requests: 5 })).statuses).toEqual({ 500: 5 });
  await behave('stock', {}, SHOP);
});

test('look-ups for IPv6 find what they find without a sidecar, and DNS queries the Service', async () => {
  const name = `payments.${BILLING}.svc.cluster.local`;
  const [checkout, without] = await Promise.all([podOf(SHOP, 'checkout'), podOf(SHOP, 'stock')]);
  const clusterIp = await clusterIpOf(BILLING, 'payments');
  const plain = { ipv6: 'ENOTFOUND', any: [clusterIp], queried: [clusterIp] };
  expect(await lookUp(without, name)).toEqual(plain);
  expect(await lookUp(checkout, name)).toEqual({ ...plain, any: [expect.stringMatching(/^127\.77\./) as string] });
});

test('calls past the hosts file reach the Service, and are counted', async () => {
  const before = await requests('payments');
  const queried = (await lookUp(await podOf(SHOP, 'checkout'), `stock.${SHOP}.svc.cluster.local`)) as {
    queried: string[];
  };
  // Long enough to be there at the next look.
  const long = { requests: 1_000_000, durationMs: 13_000, pauseMs: 500 };
  const [byDot, byQuery] = await Promise.all([
    load(`http://payments.${BILLING}.svc.cluster.local.:8080/`, long),
    load(`http://${queried.queried[0]}/`, long),
  ]);
  expect([byDot.errors, byQuery.errors]).toEqual([{}, {}]);
  expect(await requests('payments')).toBe(before);
  for (const dependency of ['payments', 'own-stock'])
    expect(await metric('breakwater_bypassed_connections_total', { dependency })).toBe(1);
  const status = await exec(SHOP, await podOf(SHOP, 'checkout'), 'breakwater', 'breakwater', 'status');
  expect(status).toMatch(/bypassed: +own-stock: at least 1/);
});

test('a Service that is made anew, with another ClusterIP, is called as before', async () => {
  const [url, before] = [`http://moved.${BILLING}:8080/`, await clusterIpOf(BILLING, 'moved')];
  expect((await load(url)).statuses).toEqual({ 200: 1 });
  await remake('moved', before);
  const counted = await requests('moved');
  expect((await load(url, { requests: 3 })).statuses).toEqual({ 200: 3 });
  await eventually('policies act on its calls again', 15_000, async () => {
    expect((await load(url)).statuses).toEqual({ 200: 1 });
    return (await requests('moved')) > counted ? true : undefined;
  });
  await untilCondition('ServiceDependency', SHOP, 'checkout', 'ResolvedRefs', 'True');
});

test('a host is found by DNS query and not by way of the sidecar, and protected', async () => {
  expect((await load(`http://${PARTNER}:8080/`, { requests: 3 })).statuses).toEqual({ 200: 3 });
  expect(await requests('partner')).toBe(3);
  const dns = await podOf(BILLING, 'dns');
  await control(BILLING, dns, 'fail', true);
  expect((await load(`http://${PARTNER}:8080/`)).statuses).toEqual({ 200: 1 });
  await control(BILLING, dns, 'fail', false);
  await behave('partner', { status: 500 });
  await load(`http://${PARTNER}:8080/`, { requests: 3 });
  expect((await load(`http://${PARTNER}:8080/`)).reasons).toEqual({ 'circuit-open': 1 });
});

test('a circuit opens', async () => {
  await behave('payments', { status: 500 });
  const report = await load(`http://payments.${BILLING}:8080/`, { requests: 6 });
  expect(report.reasons).toEqual({ 'circuit-open': 3 });
});

const messages = async (name = 'checkout'): Promise<string> => {
  const object = await api<OwnObject>('GET', pathOf('ServiceDependency', SHOP, name));
  return JSON.stringify(object.status?.conditions);
};

test('what cannot be led to the sidecar is called as before, and said', async () => {
  expect((await load(`http://pods.${BILLING}:8080/`)).statuses).toEqual({ 200: 1 });
  for (const reason of ['headless', 'port 9000'])
    await eventually(`the status tells of ${reason}`, 15_000, async () =>
      (await messages()).includes(reason) ? true : undefined,
    );
});

test('pods that are older than a declaration are counted, with what to do', async () => {
  const object = await api<OwnObject & { spec: { dependsOn: unknown[] } }>(
    'GET',
    pathOf('ServiceDependency', SHOP, 'checkout'),
  );
  const late = { name: 'late', service: { name: 'late', namespace: BILLING, port: 8080 } };
  await apply({
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ServiceDependency',
    metadata: { name: 'checkout', namespace: SHOP },
    spec: { ...object.spec, dependsOn: [...object.spec.dependsOn, late] },
  });
  await eventually('the status tells that the pod is older', 15_000, async () =>
    /1 of 1 pods were started before[^"]*kubectl/.test(await messages()) ? true : undefined,
  );
  expect((await load(`http://late.${BILLING}:8080/`)).statuses).toEqual({ 200: 1 });
});

test('explicit: the environment leads to the sidecar, and what cannot be refused is said', async () => {
  const annotations = { 'breakwater.dev/capture': 'explicit' };
  const declared = serviceDependency(SHOP, 'caller', 'caller', [
    { name: 'stock', service: { name: 'stock', namespace: BILLING, port: 8080 } },
  ]);
  await apply({ ...declared, spec: { ...declared.spec, undeclared: 'Deny' } });
  await apply(restricted({ namespace: SHOP, name: 'caller', script: 'client.ts', annotations }));
  await untilReady(SHOP, 'app=caller', 1);
  const caller = await podOf(SHOP, 'caller');
  const url = (await exec(SHOP, caller, 'app', 'printenv', 'BREAKWATER_STOCK_URL')).trim();
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  const report = await control<Report>(SHOP, caller, 'load', { url, requests: 3 });
  expect(report.statuses).toEqual({ 200: 3 });
  const text = await apiText('GET', podProxy(SHOP, caller, ADMIN_PORT, '/metrics'));
  expect(metricValue(text, 'breakwater_requests_total', { dependency: 'stock' })).toBe(3);
  await eventually('the status tells that nothing undeclared is refused', 15_000, async () =>
    (await messages('caller')).includes('undeclared: Deny is not enforced in 1 of 1 pods') ? true : undefined,
  );
});

describe('with the operator away', () => {
  const scale = async (replicas: number) => {
    await kubectl('-n', SYSTEM_NAMESPACE, 'scale', `deployment/${OPERATOR_DEPLOYMENT}`, `--replicas=${replicas}`);
    await eventually(`the operator has ${replicas} pods`, 60_000, async () => {
      const pods = await listPods(SYSTEM_NAMESPACE, 'app.kubernetes.io/component=operator');
      return pods.length === replicas ? true : undefined;
    });
    // One that was told to stop answers for a while.
    if (replicas === 0) {
      const gone = ['wait', 'pod', '-l', 'app.kubernetes.io/component=operator', '--for=delete', '--timeout=180s'];
      await kubectl('-n', SYSTEM_NAMESPACE, ...gone);
    }
  };
  const entry = (name: string) => ({ name, service: { name, namespace: BILLING, port: 8080 } });

  beforeAll(async () => {
    const { template } = restricted({
      namespace: SHOP,
      name: 'early',
      script: 'client.ts',
      annotations: { 'breakwater.dev/first-plan-wait-ms': '1000' },
      labels: { early: 'true' },
    }).spec;
    await apply(serviceDependency(SHOP, 'early', 'early', [entry('stock'), entry('moved')]));
    await apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'early', namespace: SHOP, ...template.metadata },
      spec: { ...template.spec, schedulingGates: [{ name: 'example.com/operator-away' }] },
    });
    await scale(0);
    await remake('moved', await clusterIpOf(BILLING, 'moved'));
    const ungate = '[{"op":"remove","path":"/spec/schedulingGates"}]';
    await kubectl('-n', SHOP, 'patch', 'pod', 'early', '--type=json', '-p', ungate);
    await untilReady(SHOP, 'early=true', 1);
  });
  afterAll(async () => {
    await scale(OPERATOR_REPLICAS);
    await kubectl('-n', SYSTEM_NAMESPACE, 'rollout', 'status', `deployment/${OPERATOR_DEPLOYMENT}`, '--timeout=180s');
  });

  const early = (service_: string) =>
    control<Report>(SHOP, 'early', 'load', { url: `http://${service_}.${BILLING}:8080/`, requests: 3 });

  test('before its first plan a pod calls as if there were no sidecar', async () => {
    expect((await early('stock')).statuses).toEqual({ 200: 3 });
    const text = await apiText('GET', podProxy(SHOP, 'early', ADMIN_PORT, '/metrics'));
    expect(metricValue(text, 'breakwater_tunnels_total', { cause: 'no-plan' })).toBeGreaterThan(0);
  });

  test('and a Service that has another ClusterIP than the one it was born with', async () => {
    expect((await early('moved')).statuses).toEqual({ 200: 3 });
  });

  test('a container of the sidecar that restarts listens as before, and enforces its last plan', async () => {
    const sidecarOf = async () => {
      const [pod] = await listPods(SHOP, 'app=checkout');
      return pod?.status.initContainerStatuses?.find((one) => one.name === 'breakwater');
    };
    const restarts = (await sidecarOf())?.restartCount ?? 0;
    await exec(SHOP, await podOf(SHOP, 'checkout'), 'breakwater', 'node', '-e', 'process.kill(1)');
    await eventually('the sidecar has restarted', 30_000, async () => {
      const sidecar = await sidecarOf();
      return sidecar && sidecar.restartCount > restarts && sidecar.ready ? true : undefined;
    });
    await untilReady(SHOP, 'app=checkout', 1);
    expect((await load('http://stock/')).statuses).toEqual({ 200: 1 });
    // Still failing since its circuit was opened above.
    const report = await load(`http://payments.${BILLING}:8080/`, { requests: 6 });
    expect(report).toMatchObject({ statuses: { 500: 3, 503: 3 }, reasons: { 'circuit-open': 3 } });
    const status = await exec(SHOP, await podOf(SHOP, 'checkout'), 'breakwater', 'breakwater', 'status');
    expect(status).toMatch(/capture: {3}loopback, (\d+) of \1 listeners open/);
  });
});
