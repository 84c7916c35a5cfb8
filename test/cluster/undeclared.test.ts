// Where connections are redirected: hosts outside the cluster are told by what the application says to them, and what nobody declared is
// passed on, counted or refused.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { api, apiText, apply, control, exec, kubectl, listPods, podProxy } from './harness/kube.ts';
import { deployment, scriptInImage, service, serviceDependency } from './harness/objects.ts';
import {
  ADMIN_PORT,
  deleteNamespace,
  freshNamespace,
  isInjected,
  type Load,
  metricValue,
  type Report,
  untilCondition,
  untilReady,
} from './harness/shop.ts';
import { eventually } from './shell.ts';

const NAMESPACE = 'test-undeclared';
const PARTNER = 'partner.example.com';
const HTTP_PORT = 8084;
const TLS_PORT = 8443;
const PARTNER_URL = `http://${PARTNER}:${HTTP_PORT}/`;
const STRANGER_URL = `http://stranger:${HTTP_PORT}/`;
const NOT_INJECTED = { 'breakwater.dev/injection': 'disabled' };
const QUERY_ID = '1234';
/** An A query for kubernetes.default.svc.cluster.local, as TCP wants it: behind its length. */
function dnsQuery(): string {
  const labels = ['kubernetes', 'default', 'svc', 'cluster', 'local'].flatMap((label) => [
    Buffer.from([label.length]),
    Buffer.from(label),
  ]);
  const header = Buffer.from(`${QUERY_ID}01000001000000000000`, 'hex');
  const message = Buffer.concat([header, ...labels, Buffer.from('0000010001', 'hex')]);
  return Buffer.concat([Buffer.from([0, message.length]), message]).toString('base64');
}

const clusterIpOf = async (name: string, namespace = NAMESPACE): Promise<string> =>
  (await api<{ spec: { clusterIP: string } }>('GET', `/api/v1/namespaces/${namespace}/services/${name}`)).spec
    .clusterIP;

const declared = (undeclared: string) => {
  const object = serviceDependency(NAMESPACE, 'checkout', 'checkout', []);
  const hosts = [HTTP_PORT, TLS_PORT].map((port) => ({ name: `partner-${port}`, host: { name: PARTNER, port } }));
  return { ...object, spec: { ...object.spec, dependsOn: hosts, undeclared } };
};

beforeAll(async () => {
  await freshNamespace(NAMESPACE, { 'breakwater.dev/injection': 'enabled' });
  const ports = [HTTP_PORT, TLS_PORT].map((port) => ({ port, name: `p${port}` }));
  await apply(
    // One server under two names; that the addresses are ClusterIPs says nothing to a sidecar where no one declared the Service.
    service(NAMESPACE, 'partner', ports, { selector: { app: 'protocols' } }),
    service(NAMESPACE, 'stranger', ports, { selector: { app: 'protocols' } }),
    service(NAMESPACE, 'dns', [{ port: 53, name: 'dns', protocol: 'UDP', targetPort: 5353 }]),
    deployment({
      namespace: NAMESPACE,
      name: 'protocols',
      script: 'protocols.ts',
      ports: [HTTP_PORT, TLS_PORT],
      labels: NOT_INJECTED,
    }),
    declared('Warn'),
  );
  const env = { DNS_NAME: PARTNER, DNS_ADDRESS: await clusterIpOf('partner') };
  const checkout = deployment({ namespace: NAMESPACE, name: 'checkout', script: 'client.ts' });
  Object.assign(checkout.spec.template.spec, {
    dnsPolicy: 'None',
    dnsConfig: {
      nameservers: [await clusterIpOf('dns')],
      searches: [`${NAMESPACE}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local'],
      options: [{ name: 'ndots', value: '5' }],
    },
  });
  await apply(deployment({ namespace: NAMESPACE, name: 'dns', script: 'dns.ts', env, labels: NOT_INJECTED }), checkout);
  for (const name of ['protocols', 'dns', 'checkout']) await untilReady(NAMESPACE, `app=${name}`, 1);
  await untilCondition('ServiceDependency', NAMESPACE, 'checkout', 'Programmed', 'True');
});
afterAll(() => deleteNamespace(NAMESPACE));

async function checkoutPod(): Promise<string> {
  const [pod] = await listPods(NAMESPACE, 'app=checkout');
  if (!pod || !isInjected(pod)) return expect.fail('there is no injected pod of checkout');
  return pod.metadata.name;
}

const load = async (options: Partial<Load>): Promise<Report> =>
  control<Report>(NAMESPACE, await checkoutPod(), 'load', { requests: 1, ...options });

const metric = async (name: string, labels: Record<string, string>): Promise<number> =>
  metricValue(await apiText('GET', podProxy(NAMESPACE, await checkoutPod(), ADMIN_PORT, '/metrics')), name, labels);

const undeclaredConnections = (action: string) => metric('breakwater_undeclared_connections_total', { action });

/** The answer over TLS to a server of that name, or the error. */
async function tls(host: string): Promise<string> {
  return exec(NAMESPACE, await checkoutPod(), 'app', 'node', scriptInImage('protocol-client.ts'), 'tls', host).catch(
    String,
  );
}

const answered = (text: string) => /"commonName":"protocols"/.test(text);

const untilPlan = (what: string, holds: (report: Report) => boolean) =>
  eventually(what, 15_000, async () => (holds(await load({ url: STRANGER_URL })) ? true : undefined));
const isRefused = (report: Report) => report.reasons['undeclared'] === 1 && report.statuses['403'] === 1;

test('a host is told by Host, and its policies act', async () => {
  expect((await load({ url: PARTNER_URL, requests: 3 })).statuses).toEqual({ 200: 3 });
  expect(await metric('breakwater_requests_total', { dependency: `partner-${HTTP_PORT}` })).toBe(3);
});

test('a host is told by the server name of TLS, which is spoken with the host itself', async () => {
  const opaque = await metric('breakwater_tunnels_total', { cause: 'opaque' });
  expect(await tls(PARTNER)).toMatch(/"commonName":"protocols"/);
  expect(await metric('breakwater_tunnels_total', { cause: 'opaque' })).toBe(opaque + 1);
  expect(await undeclaredConnections('warned')).toBe(0);
});

test('Warn: the undeclared is passed on, counted, and named in the log', async () => {
  expect((await load({ url: STRANGER_URL })).statuses).toEqual({ 200: 1 });
  expect(answered(await tls('stranger'))).toBe(true);
  expect(await undeclaredConnections('warned')).toBe(2);
  const log = await kubectl('-n', NAMESPACE, 'logs', await checkoutPod(), '-c', 'breakwater');
  expect(log).toContain('undeclared: Warn');
  expect(log).toContain(await clusterIpOf('stranger'));
});

test('Deny: HTTP is answered 403, TLS is reset, and hosts are reached as before', async () => {
  await apply(declared('Deny'));
  await untilPlan('the undeclared is refused', isRefused);
  const denied = await undeclaredConnections('denied');
  expect(await tls('stranger')).toMatch(/ECONNRESET/);
  expect(await undeclaredConnections('denied')).toBe(denied + 1);
  expect((await load({ url: PARTNER_URL })).statuses).toEqual({ 200: 1 });
  expect(answered(await tls(PARTNER))).toBe(true);
});

test('Deny: DNS over TCP passes, for every other call of the pod depends on it', async () => {
  const nameserver = await clusterIpOf('kube-dns', 'kube-system');
  const script = ['node', scriptInImage('raw-client.ts'), nameserver, '53', dnsQuery(), '1500'];
  const { received, error } = JSON.parse(await exec(NAMESPACE, await checkoutPod(), 'app', ...script)) as {
    received: string;
    error: string;
  };
  expect(error).toBe('');
  expect(Buffer.from(received, 'latin1').subarray(2, 4).toString('hex')).toBe(QUERY_ID);
});

test.each([
  ['by hand', () => sidecar('disable'), () => sidecar('enable')],
  [
    'by the annotation',
    () => kubectl('-n', NAMESPACE, 'annotate', 'sdep', 'checkout', 'breakwater.dev/enforcement=disabled'),
    () => kubectl('-n', NAMESPACE, 'annotate', 'sdep', 'checkout', 'breakwater.dev/enforcement-'),
  ],
])('Deny: the kill switch lifts it, %s, and it comes back', async (_how, off, on) => {
  await off();
  await untilPlan('the undeclared passes', (report) => report.statuses['200'] === 1);
  expect(answered(await tls('stranger'))).toBe(true);
  await on();
  await untilPlan('the undeclared is refused again', isRefused);
});

async function sidecar(command: string): Promise<string> {
  return exec(NAMESPACE, await checkoutPod(), 'breakwater', 'breakwater', command);
}
