// What a real API server makes of injected pods: it calls the webhook over TLS with our authority, applies the patch and validates the pod.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { readBootstrap } from '../../plan/bootstrap.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { systemRandom } from '../../runtime/random.ts';
import { type ControlPlane, startControlPlane } from '../../test/harness/control-plane.ts';
import { type Certificates, createCertificates } from '../certificates/certificates.ts';
import { createSecretStore } from '../certificates/secret-store.ts';
import { createWebhookBundle, type WebhookBundle } from '../certificates/webhook-bundle.ts';
import { addObject, buildWorld, createWorldBuilder } from '../compile/objects.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { HttpsServer } from '../https-server.ts';
import { ApiClient, loadKubeConfig } from '../watch/api-client.ts';
import { Declarations } from './declared.ts';
import type { Pod, PodNamespace } from './pod.ts';
import { defaultSettings } from './settings.ts';
import { registerInjector } from './webhook.ts';

/** Of the case at hand. */
let declarations = declarationsOf([]);
const FOLDER = join(import.meta.dirname, 'testdata');
const namespaces = new Map<string, PodNamespace>();
let controlPlane: ControlPlane;
let api: ApiClient;
let certificates: Certificates;
let server: HttpsServer;
let bundle: WebhookBundle;

interface Document {
  kind: string;
  [field: string]: unknown;
}

const documentsOf = (name: string) =>
  parseAllDocuments(readFileSync(join(FOLDER, `${name}.pod.yaml`), 'utf8')).map(
    (document) => document.toJS() as Document,
  );

function declarationsOf(documents: readonly Document[]): Declarations {
  const builder = createWorldBuilder();
  for (const document of documents) if (document.kind !== 'Pod') addObject(builder, document);
  const world = buildWorld(builder, 'cluster.local');
  return new Declarations({
    serviceDependencies: () => world.serviceDependencies,
    service: (namespace, name) => builder.services.get(`${namespace}/${name}`),
  });
}

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
        declared: (namespace, labels) => declarations.of(namespace, labels),
        clusterDomain: 'cluster.local',
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
    const ordinary = documentsOf(name).every(({ kind }) => kind !== 'Namespace' && kind !== 'Options');
    return ordinary && readFileSync(join(FOLDER, `${name}.patch.yaml`), 'utf8').startsWith('decision: Injected');
  });

describe('injected pods are valid', () => {
  test.each(CASES)('%s', async (name) => {
    const documents = documentsOf(name);
    const pod = documents[0] as unknown as Pod;
    declarations = declarationsOf(documents);
    const without = await create('plain', pod);
    expect(initNames(without)).not.toContain('breakwater');
    const injected = await create('shop', pod);
    const capture = pod.metadata?.annotations?.['breakwater.dev/capture'] ?? 'iptables';
    const ours = capture === 'iptables' ? ['breakwater-capture', 'breakwater'] : ['breakwater'];
    expect(initNames(injected)).toEqual([...ours, ...initNames(without)]);
    if (capture !== 'explicit') {
      expect(injected.spec?.containers).toEqual(without.spec?.containers);
      expect(injected.spec?.initContainers?.slice(ours.length)).toEqual(without.spec?.initContainers ?? []);
    }
    expect(injected.spec?.initContainers?.[ours.length - 1]).toMatchObject({
      restartPolicy: 'Always',
      securityContext: { runAsUser: 14_750 },
    });
    // What is declared by then does not matter any more.
    declarations = declarationsOf(documentsOf('loopback'));
    // An injected pod that is created again, as kubectl would from what it printed, is not injected twice.
    const again = await create('shop', { metadata: injected.metadata ?? {}, spec: injected.spec ?? {} });
    expect(again.spec).toEqual(injected.spec);
    expect(again.metadata?.annotations).toEqual(injected.metadata?.annotations);
  });
});

describe('where PodSecurity restricted is enforced, a pod', () => {
  const labels = { app: 'checkout' };
  const careful = (name: string, annotations: Record<string, string> = {}) =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'locked', labels, annotations },
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

  test.each([
    ['loopback', {}],
    ['explicit', { 'breakwater.dev/capture': 'explicit' }],
  ])('is admitted with capture %s', async (capture, annotations) => {
    declarations = declarationsOf(documentsOf('loopback').map(inNamespaceLocked));
    const { code, stdout, stderr } = await controlPlane.kubectl(
      ['create', '-f', '-', '-o', 'json'],
      careful(`careful-${capture}`, annotations),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const pod = JSON.parse(stdout) as Pod;
    expect(initNames(pod)).toEqual(['breakwater']);
    expect(readBootstrap(pod.metadata?.annotations?.['breakwater.dev/bootstrap'] ?? '')).toMatchObject({
      ok: true,
      bootstrap: { capture, entries: expect.arrayContaining([expect.objectContaining({ host: 'api.stripe.com' })]) },
    });
    if (capture === 'loopback') {
      // A port below 1024 is among them.
      const sysctls = [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }];
      expect(pod.spec).toMatchObject({ securityContext: { sysctls } });
      expect(pod.spec?.hostAliases?.flatMap(({ hostnames }) => hostnames)).toContain('payments.locked');
    } else {
      const names = pod.spec?.containers?.[0]?.env?.map(({ name }) => name);
      expect(names).toContain('BREAKWATER_PAYMENTS_URL');
      expect(names).not.toContain('BREAKWATER_STRIPE_URL');
    }
  });

  test('that asks for iptables starts without a sidecar, and is told the fix', async () => {
    const { code, stdout, stderr } = await controlPlane.kubectl(
      ['create', '-f', '-', '-o', 'json'],
      careful('careful-iptables', { 'breakwater.dev/capture': 'iptables' }),
    );
    expect(code).toBe(0);
    expect(initNames(JSON.parse(stdout) as Pod)).toEqual([]);
    expect(stderr).toContain(
      'Warning: breakwater: not injected by Breakwater (PodSecurity): the namespace enforces PodSecurity restricted',
    );
    expect(stderr).toContain('set breakwater.dev/capture to loopback or explicit');
  });
});

/** The objects of the case are in the namespace shop. */
function inNamespaceLocked(document: Document): Document {
  const { metadata } = document as unknown as { metadata: { namespace?: string } };
  return metadata.namespace === 'shop' ? { ...document, metadata: { ...metadata, namespace: 'locked' } } : document;
}

test('a wrong annotation costs the sidecar, not the pod', async () => {
  const annotations = { 'breakwater.dev/admin-port': '99999' };
  const pod = await create('shop', { ...smallPod, metadata: { name: 'odd', annotations } });
  expect(initNames(pod)).toEqual([]);
});
