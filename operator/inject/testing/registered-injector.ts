// A real API server with our webhook registered, over TLS and with our authority, for tests of what becomes of pods.
import { systemClock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { systemRandom } from '../../../runtime/random.ts';
import type { UsedControlPlane } from '../../../test/harness/control-plane.ts';
import { useControlPlane } from '../../../test/harness/shared-control-plane.ts';
import { createCertificates } from '../../certificates/certificates.ts';
import { createSecretStore } from '../../certificates/secret-store.ts';
import { createWebhookBundle } from '../../certificates/webhook-bundle.ts';
import { addObject, buildWorld, createWorldBuilder } from '../../compile/world-builder.ts';
import { ALWAYS_LEADING } from '../../elect/elector.ts';
import { HttpsServer } from '../../https-server.ts';
import { ApiClient } from '../../watch/api-client.ts';
import { loadKubeConfig } from '../../watch/kube-config.ts';
import { Declarations } from '../declared.ts';
import type { Pod, PodNamespace } from '../pod.ts';
import { defaultSettings } from '../settings.ts';
import { registerInjector } from '../webhook.ts';

export interface Document {
  kind: string;
  [field: string]: unknown;
}

/** What these Services and ServiceDependencies declare; pods among them are passed over. */
export function declarationsOf(documents: readonly Document[]): Declarations {
  const builder = createWorldBuilder();
  for (const document of documents) if (document.kind !== 'Pod') addObject(builder, document);
  const world = buildWorld(builder, 'cluster.local');
  return new Declarations({
    serviceDependencies: () => world.serviceDependencies,
    service: (namespace, name) => builder.services.get(`${namespace}/${name}`),
  });
}

const smallPod: Pod = {
  metadata: { name: 'small' },
  spec: { serviceAccountName: 'default', containers: [{ name: 'app', image: 'a/b:1' }] },
};

export const initNames = (pod: Pod) => (pod.spec?.initContainers ?? []).map(({ name }) => name);

/** Ten thousand pods go through beside other tests, in what these leave of the processors. */
const PATIENCE_MS = 60_000;

export class RegisteredInjector {
  readonly controlPlane: UsedControlPlane;
  readonly #api: ApiClient;
  readonly #namespaces = new Map<string, PodNamespace>();
  readonly #cleanUps: (() => Promise<void> | void)[] = [];
  /** Of the case at hand. */
  declarations = declarationsOf([]);

  private constructor(controlPlane: UsedControlPlane) {
    this.controlPlane = controlPlane;
    this.#api = new ApiClient({
      kubeConfig: loadKubeConfig(controlPlane.kubeconfigPath),
      clock: systemClock,
      random: systemRandom,
    });
  }

  /** With a namespace that is not injected, and those of the given names and labels, which are. */
  static async start(namespaces: Readonly<Record<string, Record<string, string>>>): Promise<RegisteredInjector> {
    const self = new RegisteredInjector(await useControlPlane());
    await self.#register();
    await self.createNamespace('plain', { 'breakwater.dev/injection': 'disabled' });
    for (const [name, labels] of Object.entries(namespaces)) await self.createNamespace(name, labels);
    const [first] = Object.keys(namespaces);
    if (first !== undefined) await self.#untilCalled(first);
    return self;
  }

  async stop(): Promise<void> {
    for (const cleanUp of this.#cleanUps.splice(0).reverse()) await cleanUp();
    await this.#api.close();
    await this.controlPlane.stop();
  }

  async createNamespace(name: string, labels: Record<string, string>): Promise<void> {
    const all = { 'breakwater.dev/injection': 'enabled', ...labels };
    await this.#api.request('POST', '/api/v1/namespaces', { body: { metadata: { name, labels: all } } });
    this.#namespaces.set(name, { labels: all, annotations: {} });
  }

  /** What the API server would store; rejects with its ApiError. */
  create(namespace: string, pod: Pod): Promise<Pod> {
    return this.#api.request<Pod>('POST', `/api/v1/namespaces/${namespace}/pods`, {
      query: { dryRun: 'All' },
      body: { ...pod, metadata: { ...pod.metadata, namespace } },
      timeoutMs: PATIENCE_MS,
    });
  }

  async #register(): Promise<void> {
    const certificates = createCertificates({
      store: createSecretStore({ api: this.#api, namespace: 'default', name: 'breakwater-certificates' }),
      names: ['127.0.0.1'],
      leadership: ALWAYS_LEADING,
      clock: systemClock,
      log: silentLogger,
    });
    await certificates.start();
    this.#cleanUps.push(() => certificates.stop());
    const server = new HttpsServer({
      listen: { host: '127.0.0.1', port: 0 },
      certificates,
      register: (fastify) =>
        registerInjector(fastify, {
          clock: systemClock,
          log: silentLogger,
          namespaceOf: (name) => this.#namespaces.get(name),
          declared: (namespace, labels) => this.declarations.of(namespace, labels),
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
    this.#cleanUps.push(() => server.stop());
    await this.#api.request('POST', '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', {
      body: webhookConfiguration(server.port),
    });
    const bundle = createWebhookBundle({
      api: this.#api,
      name: 'breakwater-injector',
      certificates,
      leadership: ALWAYS_LEADING,
      clock: systemClock,
      log: silentLogger,
    });
    bundle.start();
    this.#cleanUps.push(() => bundle.stop());
    while (!bundle.live()) await systemClock.sleep(20);
  }

  /** The API server takes a moment to read its own configuration of webhooks; until then it calls none. */
  async #untilCalled(namespace: string): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + 30_000;
    for (let last: unknown = 'it is not called'; systemClock.monotonicMs() < deadlineMs; await systemClock.sleep(100)) {
      try {
        if (initNames(await this.create(namespace, smallPod)).length > 0) return;
      } catch (error) {
        last = error;
      }
      if (systemClock.monotonicMs() + 200 > deadlineMs) throw new Error('the webhook does not work', { cause: last });
    }
  }
}

function webhookConfiguration(port: number): object {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'breakwater-injector' },
    webhooks: [
      {
        name: 'injector.breakwater.dev',
        clientConfig: { url: `https://127.0.0.1:${port}/inject` },
        rules: [
          { apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'], scope: 'Namespaced' },
        ],
        namespaceSelector: { matchLabels: { 'breakwater.dev/injection': 'enabled' } },
        // A failure here must be seen, not passed over.
        failurePolicy: 'Fail',
        reinvocationPolicy: 'IfNeeded',
        sideEffects: 'None',
        // The longest that there is.
        timeoutSeconds: 30,
        admissionReviewVersions: ['v1'],
      },
    ],
  };
}
