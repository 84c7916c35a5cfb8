// What a real API server makes of injected pods: it calls the webhook over TLS with our authority, applies the patch and validates the pod.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { systemRandom } from '../../runtime/random.ts';
import { type ControlPlane, startControlPlane } from '../../test/harness/control-plane.ts';
import { type Certificates, createCertificates } from '../certificates/certificates.ts';
import { createSecretStore } from '../certificates/secret-store.ts';
import { createWebhookBundle, type WebhookBundle } from '../certificates/webhook-bundle.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { HttpsServer } from '../https-server.ts';
import { ApiClient, loadKubeConfig } from '../watch/api-client.ts';
import type { Pod, PodNamespace } from './pod.ts';
import { defaultSettings } from './settings.ts';
import { registerInjector } from './webhook.ts';

const FOLDER = join(import.meta.dirname, 'testdata');
const namespaces = new Map<string, PodNamespace>();
let controlPlane: ControlPlane;
let api: ApiClient;
let certificates: Certificates;
let server: HttpsServer;
let bundle: WebhookBundle;

async function createNamespace(name: string, labels: Record<string, string> = {}): Promise<void> {
  const all = { 'breakwater.dev/injection': 'enabled', ...labels };
  await api.request('POST', '/api/v1/namespaces', { body: { metadata: { name, labels: all } } });
  namespaces.set(name, { labels: all, annotations: {} });
}

beforeAll(async () => {
  controlPlane = await startControlPlane();
  api = new ApiClient({
    kubeConfig: loadKubeConfig(controlPlane.kubeconfigPath),
    clock: systemClock,
    random: systemRandom,
  });
  certificates = createCertificates({
    store: createSecretStore({ api, namespace: 'default', name: 'breakwater-certificates' }),
    names: ['127.0.0.1'],
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  await certificates.start();
  server = new HttpsServer({
    listen: { host: '127.0.0.1', port: 0 },
    certificates,
    register: (fastify) =>
      registerInjector(fastify, {
        clock: systemClock,
        log: silentLogger,
        namespaceOf: (name) => namespaces.get(name),
        caBundle: () => certificates.trustBundle(),
        operatorUrl: 'https://breakwater-operator.default.svc:8443',
        version: '0.1.0',
        defaults: defaultSettings({ image: 'breakwater/sidecar:test' }),
      }),
    closeStreams: () => {},
    clock: systemClock,
  });
  await server.start();
  await api.request('POST', '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', {
    body: {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name: 'breakwater-injector' },
      webhooks: [
        {
          name: 'injector.breakwater.dev',
          clientConfig: { url: `https://127.0.0.1:${server.port}/inject` },
          rules: [
            { apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'], scope: 'Namespaced' },
          ],
          namespaceSelector: { matchLabels: { 'breakwater.dev/injection': 'enabled' } },
          // A failure here must be seen, not passed over.
          failurePolicy: 'Fail',
          reinvocationPolicy: 'IfNeeded',
          sideEffects: 'None',
          timeoutSeconds: 5,
          admissionReviewVersions: ['v1'],
        },
      ],
    },
  });
  bundle = createWebhookBundle({
    api,
    name: 'breakwater-injector',
    certificates,
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  bundle.start();
  while (!bundle.live()) await systemClock.sleep(20);
  await createNamespace('plain', { 'breakwater.dev/injection': 'disabled' });
  await createNamespace('shop');
  await createNamespace('locked', { 'pod-security.kubernetes.io/enforce': 'restricted' });
  await untilCalled();
});
afterAll(async () => {
  bundle?.stop();
  certificates?.stop();
  await server?.stop();
  await api.close();
  await controlPlane.stop();
});

const create = (namespace: string, pod: Pod) =>
  api.request<Pod>('POST', `/api/v1/namespaces/${namespace}/pods`, {
    query: { dryRun: 'All' },
    body: { ...pod, metadata: { ...pod.metadata, namespace } },
  });
const initNames = (pod: Pod) => (pod.spec?.initContainers ?? []).map(({ name }) => name);
const smallPod = {
  metadata: { name: 'small' },
  spec: { serviceAccountName: 'default', containers: [{ name: 'app', image: 'a/b:1' }] },
};

/** The API server takes a moment to read its own configuration of webhooks; until then it calls none. */
async function untilCalled(): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + 30_000;
  for (let last: unknown = 'it is not called'; systemClock.monotonicMs() < deadlineMs; await systemClock.sleep(100)) {
    try {
      if (initNames(await create('shop', smallPod)).length > 0) return;
    } catch (error) {
      last = error;
    }
    if (systemClock.monotonicMs() + 200 > deadlineMs) throw new Error('the webhook does not work', { cause: last });
  }
}

/** The cases that are injected in a namespace of no particular kind. */
const CASES = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.pod.yaml'))
  .map((file) => file.slice(0, -'.pod.yaml'.length))
  .filter((name) => {
    const alone = parseAllDocuments(readFileSync(join(FOLDER, `${name}.pod.yaml`), 'utf8')).length === 1;
    return alone && readFileSync(join(FOLDER, `${name}.patch.yaml`), 'utf8').startsWith('decision: Injected');
  });

describe('injected pods are valid', () => {
  test.each(CASES)('%s', async (name) => {
    const pod = parseAllDocuments(readFileSync(join(FOLDER, `${name}.pod.yaml`), 'utf8'))[0]?.toJS() as Pod;
    const without = await create('plain', pod);
    expect(initNames(without)).not.toContain('breakwater');
    const injected = await create('shop', pod);
    expect(initNames(injected)).toEqual(['breakwater-capture', 'breakwater', ...initNames(without)]);
    expect(injected.spec?.containers).toEqual(without.spec?.containers);
    expect(injected.spec?.initContainers?.slice(2)).toEqual(without.spec?.initContainers ?? []);
    expect(injected.spec?.initContainers?.[1]).toMatchObject({
      restartPolicy: 'Always',
      securityContext: { runAsUser: 14_750 },
    });
    // An injected pod that is created again, as kubectl would from what it printed, is not injected twice.
    const again = await create('shop', { metadata: injected.metadata ?? {}, spec: injected.spec ?? {} });
    expect(initNames(again)).toEqual(initNames(injected));
  });
});

test('a pod where PodSecurity forbids ours starts without it, and says why', async () => {
  const manifest = JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'careful', namespace: 'locked' },
    spec: {
      serviceAccountName: 'default',
      securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'app',
          image: 'a/b:1',
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  });
  const { code, stdout, stderr } = await controlPlane.kubectl(['create', '-f', '-', '-o', 'json'], manifest);
  expect(code).toBe(0);
  expect(initNames(JSON.parse(stdout) as Pod)).toEqual([]);
  expect(stderr).toContain(
    'Warning: breakwater: not injected by Breakwater (PodSecurity): the namespace enforces PodSecurity restricted',
  );
});

test('a wrong annotation costs the sidecar, not the pod', async () => {
  const annotations = { 'breakwater.dev/admin-port': '99999' };
  const pod = await create('shop', { ...smallPod, metadata: { name: 'odd', annotations } });
  expect(initNames(pod)).toEqual([]);
});
