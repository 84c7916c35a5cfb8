// Without any privilege: in a namespace that enforces PodSecurity `restricted` an application is injected and protected, and needs nothing
// but its declaration.
import { afterAll, beforeAll, expect, test } from 'vitest';
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
import { OPERATOR_DEPLOYMENT, SYSTEM_NAMESPACE } from './install.ts';
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
    service(BILLING, 'partner', [http(8080)]),
    service(BILLING, 'dns', [dnsPort]),
    upstream('payments'),
    upstream('stock'),
    upstream('partner'),
  );
  nameserver = await clusterIpOf(BILLING, 'dns');
  const env = { DNS_NAME: PARTNER, DNS_ADDRESS: await clusterIpOf(BILLING, 'partner') };
  await apply(deployment({ namespace: BILLING, name: 'dns', script: 'dns.ts', env }));
  const to = (name: string, port = 8080) => ({ name, service: { name, namespace: BILLING, port } });
  await apply({
    ...serviceDependency(SHOP, 'checkout', 'checkout', []),
    spec: {
      consumer: { selector: { matchLabels: { app: 'checkout' } } },
      dependsOn: [
        to('payments'),
        to('stock'),
        to('pods'),
        { ...to('control', 9000) },
        { name: 'partner', host: { name: PARTNER, port: 8080 } },
      ],
    },
  });
  for (const entry of ['payments', 'partner']) {
    const policy = { circuitBreaker: { consecutiveFailures: 3, openFor: '10m' }, retries: { maxAttempts: 3 } };
    await apply(resiliencePolicy(SHOP, entry, 'checkout', entry, policy));
  }
  for (const name of ['payments', 'stock', 'partner', 'dns']) await untilReady(BILLING, `app=${name}`, 1);
  await apply(restricted({ namespace: SHOP, name: 'checkout', script: 'client.ts' }));
  await untilReady(SHOP, 'app=checkout', 1);
  await untilCondition('ResiliencePolicy', SHOP, 'payments', 'Programmed', 'True', 20_000);
});
afterAll(() => Promise.all([SHOP, BILLING].map(deleteNamespace)));

async function podOf(namespace: string, name: string): Promise<string> {
  const [pod] = await listPods(namespace, `app=${name}`);
  return pod?.metadata.name ?? expect.fail(`there is no pod of ${name}`);
}

const load = async (url: string, options: Partial<Load> = {}): Promise<Report> =>
  control<Report>(SHOP, await podOf(SHOP, 'checkout'), 'load', { url, requests: 1, ...options });

const behave = async (name: string, behavior: object): Promise<void> => {
  await control(BILLING, await podOf(BILLING, name), 'behave', behavior);
};

const metric = async (name: string, labels: Record<string, string> = {}): Promise<number> =>
  metricValue(
    await apiText('GET', podProxy(SHOP, await podOf(SHOP, 'checkout'), ADMIN_PORT, '/metrics')),
    name,
    labels,
  );

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

test('calls past the hosts file reach the Service, and are counted', async () => {
  const before = await requests('payments');
  const url = `http://payments.${BILLING}.svc.cluster.local.:8080/`;
  // Long enough to be there at the next look.
  expect((await load(url, { requests: 1_000_000, durationMs: 13_000, pauseMs: 500 })).errors).toEqual({});
  expect(await requests('payments')).toBe(before);
  expect(await metric('breakwater_bypassed_connections_total', { dependency: 'payments' })).toBeGreaterThan(0);
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

test('before its first plan a pod calls as if there were no sidecar', async () => {
  const gated = restricted({
    namespace: SHOP,
    name: 'early',
    script: 'client.ts',
    annotations: { 'breakwater.dev/first-plan-wait-ms': '1000' },
    labels: { early: 'true' },
  });
  await apply(
    serviceDependency(SHOP, 'early', 'early', [
      { name: 'stock', service: { name: 'stock', namespace: BILLING, port: 8080 } },
    ]),
  );
  const { template } = gated.spec;
  await apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'early', namespace: SHOP, ...template.metadata },
    spec: { ...template.spec, schedulingGates: [{ name: 'example.com/operator-away' }] },
  });
  const scale = async (replicas: number) => {
    await kubectl('-n', SYSTEM_NAMESPACE, 'scale', `deployment/${OPERATOR_DEPLOYMENT}`, `--replicas=${replicas}`);
    await eventually(`the operator has ${replicas} pods`, 60_000, async () => {
      const pods = await listPods(SYSTEM_NAMESPACE, 'app.kubernetes.io/component=operator');
      return pods.length === replicas ? true : undefined;
    });
  };
  await scale(0);
  try {
    await kubectl(
      '-n',
      SHOP,
      'patch',
      'pod',
      'early',
      '--type=json',
      '-p',
      '[{"op":"remove","path":"/spec/schedulingGates"}]',
    );
    await untilReady(SHOP, 'early=true', 1);
    const report = await control<Report>(SHOP, 'early', 'load', { url: `http://stock.${BILLING}:8080/`, requests: 3 });
    expect(report.statuses).toEqual({ 200: 3 });
    const text = await apiText('GET', podProxy(SHOP, 'early', ADMIN_PORT, '/metrics'));
    expect(metricValue(text, 'breakwater_tunnels_total', { cause: 'no-plan' })).toBeGreaterThan(0);
  } finally {
    await scale(1);
    await kubectl('-n', SYSTEM_NAMESPACE, 'rollout', 'status', `deployment/${OPERATOR_DEPLOYMENT}`, '--timeout=60s');
  }
});
