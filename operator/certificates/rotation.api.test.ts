// Two rotations of the authority and as many of the serving certificate, under load: a real API server calls the webhook of two replicas,
// of which one reads late what the other wrote, and sidecars of every day connect to both. Not one call is refused.
//
// The clock of the replicas is moved by the test. Everything that it lets them issue is valid today, for TLS looks at the real time.
import { get } from 'node:https';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Clock, systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { systemRandom } from '../../runtime/random.ts';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { ALWAYS_LEADING, type Leadership } from '../elect/elector.ts';
import { HttpsServer } from '../https-server.ts';
import { ApiClient } from '../watch/api-client.ts';
import { loadKubeConfig } from '../watch/kube-config.ts';
import { type Certificates, createCertificates } from './certificates.ts';
import type { Lifetimes } from './decide.ts';
import { createSecretStore } from './secret-store.ts';
import { createWebhookBundle, type WebhookBundle } from './webhook-bundle.ts';

const YEAR_MS = 365 * 86_400_000;
const LIFETIMES: Lifetimes = {
  authorityMs: 3 * YEAR_MS,
  servingMs: 2.9 * YEAR_MS,
  overlapMs: 7 * 86_400_000,
  backdateMs: 3_600_000,
};
const CONFIGURATION = 'breakwater-rotation';
const FOLLOWING: Pick<Leadership, 'role' | 'onChange'> = { role: 'Following', onChange: () => () => undefined };

let plane: UsedControlPlane;
let api: ApiClient;
/** The first one leads. */
const replicas: { certificates: Certificates; server: HttpsServer; bundle: WebhookBundle }[] = [];
let aheadMs = -2 * YEAR_MS - 3 * LIFETIMES.overlapMs;
const clock: Clock = { ...systemClock, unixMs: () => systemClock.unixMs() + aheadMs };

beforeAll(async () => {
  plane = await useControlPlane();
  api = new ApiClient({ kubeConfig: loadKubeConfig(plane.kubeconfigPath), clock: systemClock, random: systemRandom });
  for (const leadership of [ALWAYS_LEADING, FOLLOWING]) {
    const certificates = createCertificates({
      store: createSecretStore({ api, namespace: 'default', name: CONFIGURATION }),
      names: ['127.0.0.1'],
      leadership,
      lifetimes: LIFETIMES,
      clock,
      log: silentLogger,
    });
    await certificates.start();
    const server = new HttpsServer({
      listen: { host: '127.0.0.1', port: 0 },
      certificates,
      register(fastify) {
        // Each call makes a connection of its own: one that is open would not notice anything.
        fastify.addHook('onSend', async (_request, reply) => void reply.header('connection', 'close'));
        fastify.get('/', () => 'here');
        fastify.post<{ Body: { request: { uid: string } } }>('/inject', ({ body }) => ({
          apiVersion: 'admission.k8s.io/v1',
          kind: 'AdmissionReview',
          response: { uid: body.request.uid, allowed: true },
        }));
      },
      closeStreams: () => undefined,
      clock: systemClock,
    });
    await server.start();
    const bundle = createWebhookBundle({
      api,
      name: CONFIGURATION,
      certificates,
      leadership,
      clock,
      log: silentLogger,
    });
    replicas.push({ certificates, server, bundle });
  }
  await api.request('POST', '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', {
    body: {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name: CONFIGURATION },
      webhooks: replicas.map(({ server }, index) => ({
        name: `replica-${index}.breakwater.dev`,
        clientConfig: { url: `https://127.0.0.1:${server.port}/inject` },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'], operations: ['CREATE'] }],
        namespaceSelector: { matchLabels: { rotate: 'true' } },
        failurePolicy: 'Fail',
        sideEffects: 'None',
        timeoutSeconds: 10,
        admissionReviewVersions: ['v1'],
      })),
    },
  });
  await api.request('POST', '/api/v1/namespaces', { body: { metadata: { name: 'load', labels: { rotate: 'true' } } } });
  for (const { bundle } of replicas) await bundle.check();
});

afterAll(async () => {
  for (const { certificates, server } of replicas) {
    certificates.stop();
    await server.stop();
  }
  await api?.close();
  await plane?.stop();
});

/** A sidecar that knows this bundle, and nothing else. */
function connect(port: number, ca: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, ca, agent: false }, (response) => {
      response.resume().on('end', resolve);
    }).on('error', reject);
  });
}

/** Runs until it is stopped; gives how often it succeeded, and why it did not. */
function load(call: () => Promise<unknown>) {
  const failures: string[] = [];
  let count = 0;
  const over = new AbortController();
  const run = (async () => {
    while (!over.signal.aborted) {
      await call().then(
        () => (count += 1),
        (error: unknown) => failures.push(String(error)),
      );
    }
  })();
  return {
    failures,
    get count() {
      return count;
    },
    async stop() {
      over.abort();
      await run;
    },
  };
}

test('authority and certificate change under load, and no call notices', async () => {
  const [leader, follower] = replicas;
  if (!leader || !follower) throw new Error('there are no replicas');
  const born = new Set<string>();
  const served = new Set<string>();
  const loads: ReturnType<typeof load>[] = [];
  let turn = 0;
  const admit = () =>
    api.request('POST', '/api/v1/namespaces/load/configmaps', {
      query: { dryRun: 'All' },
      body: { metadata: { generateName: `load-${++turn}-` } },
    });
  loads.push(load(admit), load(admit));

  /** Some calls of every kind go through in the present state of both. */
  const bear = async () => {
    for (const { certificates, server } of replicas) {
      served.add(certificates.serving().certificate);
      const bundle = certificates.trustBundle();
      if (born.has(bundle)) continue;
      born.add(bundle);
      for (const one of replicas) loads.push(load(() => connect(one.server.port, bundle)));
      expect(server.port).toBeGreaterThan(0);
    }
    const before = loads.map((one) => one.count);
    while (loads.some((one, index) => one.count < (before[index] ?? 0) + 3 && one.failures.length === 0)) {
      await systemClock.sleep(5);
    }
  };
  // The order in which a step reaches who takes part is the worst: sidecars, API server and the other replica hear of it one after the other.
  const step = async (byMs: number) => {
    aheadMs += byMs;
    await leader.certificates.check();
    await bear();
    await leader.bundle.check();
    await bear();
    await follower.certificates.check();
    await follower.bundle.check();
    await bear();
  };

  await step(0);
  for (let rotation = 0; rotation < 2; rotation += 1) {
    await step(YEAR_MS);
    await step(LIFETIMES.overlapMs);
  }
  for (const one of loads) await one.stop();
  expect(loads.flatMap((one) => one.failures)).toEqual([]);
  expect(born.size).toBe(3);
  expect(served.size).toBeGreaterThanOrEqual(3);
  expect(leader.certificates.trustBundle().match(/BEGIN/g)).toHaveLength(3);
  // The first of them is two rotations old, and its pod has lost all that it was told since.
  expect([...born][0]?.match(/BEGIN/g)).toHaveLength(1);
  expect(follower.certificates.serving()).toEqual(leader.certificates.serving());
}, 60_000);
