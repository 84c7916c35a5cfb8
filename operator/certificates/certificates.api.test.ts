// The authority in a Secret of a real API server: several operators that start together, restart and lose the Secret agree on one.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { systemRandom } from '../../runtime/random.ts';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { ApiClient } from '../watch/api-client.ts';
import { loadKubeConfig } from '../watch/kube-config.ts';
import { type Certificates, createCertificates } from './certificates.ts';
import { createSecretStore } from './secret-store.ts';
import { createWebhookBundle } from './webhook-bundle.ts';

let controlPlane: UsedControlPlane;
let api: ApiClient;
const running: Certificates[] = [];

beforeAll(async () => {
  controlPlane = await useControlPlane();
  api = new ApiClient({
    kubeConfig: loadKubeConfig(controlPlane.kubeconfigPath),
    clock: systemClock,
    random: systemRandom,
  });
});
afterAll(async () => {
  for (const certificates of running) certificates.stop();
  await api.close();
  await controlPlane.stop();
});

async function kubectl(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await controlPlane.kubectl(args);
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

function keeper(name: string): Certificates {
  const certificates = createCertificates({
    store: createSecretStore({ api, namespace: 'default', name }),
    names: ['breakwater-operator.default.svc'],
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  running.push(certificates);
  return certificates;
}

const bundleIn = async (name: string) => {
  const data = await kubectl('get', 'secret', name, '-o', 'jsonpath={.data.ca\\.crt}');
  return Buffer.from(data, 'base64').toString();
};

test.each(['absent', 'empty'])('five operators and one Secret, which is %s', async (state) => {
  const name = `certificates-${state}`;
  if (state === 'empty') await kubectl('create', 'secret', 'generic', name);
  if (state === 'empty') await kubectl('label', 'secret', name, 'owner=chart');
  const keepers = Array.from({ length: 5 }, () => keeper(name));
  await Promise.all(keepers.map((one) => one.start()));
  const bundle = await bundleIn(name);
  expect(bundle).toContain('BEGIN CERTIFICATE');
  expect(keepers.map((one) => one.trustBundle())).toEqual(keepers.map(() => bundle));
  expect(new Set(keepers.map((one) => one.serving().certificate)).size).toBe(1);
  const owner = await kubectl('get', 'secret', name, '-o', 'jsonpath={.metadata.labels.owner}');
  expect(owner).toBe(state === 'empty' ? 'chart' : '');

  const restarted = keeper(name);
  await restarted.start();
  expect(restarted.trustBundle()).toBe(bundle);

  await kubectl('delete', 'secret', name);
  await Promise.all(keepers.map((one) => one.check()));
  expect(await bundleIn(name)).toBe(bundle);
});

test('caBundle is put into the configuration, and put back', async () => {
  const certificates = keeper('certificates-webhook');
  await certificates.start();
  const bundle = createWebhookBundle({
    api,
    name: 'breakwater-test',
    certificates,
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  await expect(bundle.check()).rejects.toMatchObject({ status: 404 });
  const webhook = (name: string) => ({
    name,
    clientConfig: { service: { name: 'breakwater-operator', namespace: 'default', path: '/inject' } },
    rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] }],
    namespaceSelector: { matchLabels: { 'breakwater.dev/injection': 'enabled' } },
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
  });
  const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
  await api.request('POST', path, {
    body: {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name: 'breakwater-test' },
      webhooks: [webhook('one.breakwater.dev'), webhook('two.breakwater.dev')],
    },
  });
  const held = () =>
    kubectl(
      'get',
      'mutatingwebhookconfiguration',
      'breakwater-test',
      '-o',
      'jsonpath={.webhooks[*].clientConfig.caBundle}',
    );
  const ours = Buffer.from(certificates.trustBundle()).toString('base64');
  bundle.start();
  while (!bundle.live()) await systemClock.sleep(20);
  expect(await held()).toBe(`${ours} ${ours}`);
  const theirs = [{ op: 'replace', path: '/webhooks/1/clientConfig/caBundle', value: '' }];
  await api.request('PATCH', `${path}/breakwater-test`, { body: theirs, contentType: 'application/json-patch+json' });
  expect(await held()).not.toBe(`${ours} ${ours}`);
  await bundle.check();
  expect(await held()).toBe(`${ours} ${ours}`);
  bundle.stop();

  // What is sent late loses to what was written since it was decided, here by the replica that leads meanwhile.
  const newer = Buffer.from(certificates.trustBundle().repeat(2)).toString('base64');
  const write = (caBundle: string) =>
    api.request('PATCH', `${path}/breakwater-test`, {
      body: [{ op: 'replace', path: '/webhooks/1/clientConfig/caBundle', value: caBundle }],
      contentType: 'application/json-patch+json',
    });
  await write('');
  const late = createWebhookBundle({
    api: {
      async request<T>(...call: Parameters<typeof api.request>): Promise<T> {
        if (call[0] === 'PATCH') await write(newer);
        return api.request<T>(...call);
      },
    },
    name: 'breakwater-test',
    certificates,
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  await expect(late.check()).rejects.toMatchObject({ cause: { status: 422 } });
  expect(await held()).toBe(`${ours} ${newer}`);
});
