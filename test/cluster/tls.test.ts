// TLS to a host outside the cluster, with a client certificate from a Secret that the kubelet mounts and renews.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Pair, TestAuthority } from '../../sidecar/tls/testing/certificates.ts';
import { api, apply, control, kubectl, listPods, type Pod } from './harness/kube.ts';
import { deployment, service, serviceDependency } from './harness/objects.ts';
import {
  deleteNamespace,
  freshNamespace,
  isInjected,
  type Load,
  type Report,
  untilCondition,
  untilReady,
} from './harness/shop.ts';
import { OPERATOR_DEPLOYMENT, SYSTEM_NAMESPACE } from './install.ts';
import { eventually } from './shell.ts';

const NAMESPACE = 'test-tls';
const PARTNER = 'partner.example.com';
const CALLED_PORT = 8084;
const TLS_PORT = 8443;
const NOT_INJECTED = { 'breakwater.dev/injection': 'disabled' };
/** A kubelet looks at its volumes every minute or so, and at once where something else of the pod changes. */
const RENEWED_WITHIN_MS = 100_000;

let authority: TestAuthority;
let renewals = 0;

const clusterIpOf = async (name: string): Promise<string> =>
  (await api<{ spec: { clusterIP: string } }>('GET', `/api/v1/namespaces/${NAMESPACE}/services/${name}`)).spec
    .clusterIP;

const clientSecret = ({ cert, key }: Pair) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'partner-client', namespace: NAMESPACE },
  type: 'kubernetes.io/tls',
  stringData: { 'tls.crt': cert, 'tls.key': key },
});

const declared = () => {
  const object = serviceDependency(NAMESPACE, 'checkout', 'checkout', []);
  const tls = {
    port: TLS_PORT,
    caCertificateRefs: [{ name: 'partners' }],
    clientCertificateRef: { name: 'partner-client' },
  };
  const partner = { name: 'partner', host: { name: PARTNER, port: CALLED_PORT, tls } };
  return { ...object, spec: { ...object.spec, dependsOn: [partner] } };
};

beforeAll(async () => {
  authority = await TestAuthority.create('partners');
  const host = await authority.host([PARTNER]);
  await freshNamespace(NAMESPACE, { 'breakwater.dev/injection': 'enabled' });
  await apply(
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'partners', namespace: NAMESPACE },
      data: { 'ca.crt': authority.cert },
    },
    service(NAMESPACE, 'partner', [{ port: TLS_PORT, name: 'tls' }]),
    service(NAMESPACE, 'dns', [{ port: 53, name: 'dns', protocol: 'UDP', targetPort: 5353 }]),
    deployment({
      namespace: NAMESPACE,
      name: 'partner',
      script: 'tls-server.ts',
      ports: [TLS_PORT],
      labels: NOT_INJECTED,
      env: { TLS_CERT: host.cert, TLS_KEY: host.key, TLS_CLIENT_AUTHORITY: authority.cert },
    }),
    declared(),
  );
  await untilCondition('ServiceDependency', NAMESPACE, 'checkout', 'Accepted', 'True');
  const checkout = deployment({ namespace: NAMESPACE, name: 'checkout', script: 'client.ts' });
  Object.assign(checkout.spec.template.spec, {
    dnsPolicy: 'None',
    dnsConfig: {
      nameservers: [await clusterIpOf('dns')],
      searches: [`${NAMESPACE}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local'],
      options: [{ name: 'ndots', value: '5' }],
    },
  });
  const env = { DNS_NAME: PARTNER, DNS_ADDRESS: await clusterIpOf('partner') };
  await apply(deployment({ namespace: NAMESPACE, name: 'dns', script: 'dns.ts', env, labels: NOT_INJECTED }), checkout);
  for (const name of ['partner', 'dns', 'checkout']) await untilReady(NAMESPACE, `app=${name}`, 1);
  await untilCondition('ServiceDependency', NAMESPACE, 'checkout', 'Programmed', 'True');
});
afterAll(() => deleteNamespace(NAMESPACE));

async function checkoutPod(): Promise<Pod> {
  const [pod] = await listPods(NAMESPACE, 'app=checkout');
  if (!pod || !isInjected(pod)) return expect.fail('there is no injected pod of checkout');
  return pod;
}

const load = async (options: Partial<Load> = {}): Promise<Report> =>
  control<Report>(NAMESPACE, (await checkoutPod()).metadata.name, 'load', {
    url: `http://${PARTNER}:${CALLED_PORT}/`,
    requests: 1,
    ...options,
  });

/** Applies the Secret, and lets the kubelet look at the pod. */
async function renew(pair: Pair): Promise<void> {
  await apply(clientSecret(pair));
  const { name } = (await checkoutPod()).metadata;
  renewals++;
  await kubectl('-n', NAMESPACE, 'annotate', 'pod', name, '--overwrite', `test/renewal=${renewals}`);
}

const untilServedBy = (name: string) =>
  eventually(`the partner sees ${name}`, RENEWED_WITHIN_MS, async () =>
    (await load()).servedBy[name] === 1 ? true : undefined,
  );

test('a pod starts without its certificates, and both it and the ServiceDependency say what is missing', async () => {
  const report = await load();
  expect([report.statuses, report.reasons]).toEqual([{ 502: 1 }, { 'connect-failed': 1 }]);
  const condition = await untilCondition('ServiceDependency', NAMESPACE, 'checkout', 'ResolvedRefs', 'False');
  expect(condition).toMatchObject({ reason: 'InvalidCertificate' });
  expect(condition.message).toContain('partner-client');
});

test('with them the host is called in plain HTTP and sees the certificate of the Secret, in the pod as it was', async () => {
  const before = await checkoutPod();
  await renew(await authority.client('one'));
  await untilServedBy('one');
  expect((await load({ requests: 5 })).servedBy).toEqual({ one: 5 });
  const { metadata, spec } = await checkoutPod();
  expect(metadata.uid).toBe(before.metadata.uid);
  const mounting = [...(spec.initContainers ?? []), ...spec.containers].filter((container) =>
    JSON.stringify(container).includes('breakwater.dev-certificates'),
  );
  expect(mounting.map(({ name }) => name)).toEqual(['breakwater']);
  await untilCondition('ServiceDependency', NAMESPACE, 'checkout', 'ResolvedRefs', 'True');
}, 150_000);

test('a Secret that is renewed is used without a restart, and no request fails of it', async () => {
  const going = load({ requests: 100_000, durationMs: 20_000, pauseMs: 50 });
  await renew(await authority.client('two'));
  await untilServedBy('two');
  expect((await going).statuses).toEqual({ 200: expect.any(Number) });
}, 150_000);

test('a Secret that does not fit leaves the last good pair in force, and is reported', async () => {
  const { cert } = await authority.client('three');
  const { key } = await authority.client('four');
  await renew({ cert, key });
  const condition = await untilCondition(
    'ServiceDependency',
    NAMESPACE,
    'checkout',
    'ResolvedRefs',
    'False',
    RENEWED_WITHIN_MS,
  );
  expect(condition.reason).toBe('InvalidCertificate');
  expect((await load({ requests: 3 })).servedBy).toEqual({ two: 3 });
}, 150_000);

test('nobody but the kubelet reads the Secret: the operator may not', async () => {
  const subject = `system:serviceaccount:${SYSTEM_NAMESPACE}:${OPERATOR_DEPLOYMENT}`;
  const answer = await kubectl('auth', 'can-i', 'get', 'secrets', '-n', NAMESPACE, `--as=${subject}`).catch(String);
  expect(answer).toMatch(/\bno\b/);
});
