// The last of all: `helm uninstall` and restarted pods leave nothing behind but the custom resource definitions, and what users wrote.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { api, type KubeObject, kubectl } from './harness/kube.ts';
import { isInjected, Shop, untilReady } from './harness/shop.ts';
import { installBreakwater, RELEASE, SYSTEM_NAMESPACE } from './install.ts';
import { eventually, run } from './shell.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await Shop.open('uninstall', { policy: { circuitBreaker: {} } });
});
afterAll(() => shop?.close());

const LISTS = [
  '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
  '/apis/rbac.authorization.k8s.io/v1/clusterroles',
  '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
  `/api/v1/namespaces/${SYSTEM_NAMESPACE}/configmaps`,
  `/api/v1/namespaces/${SYSTEM_NAMESPACE}/secrets`,
  `/api/v1/namespaces/${SYSTEM_NAMESPACE}/services`,
  `/api/v1/namespaces/${SYSTEM_NAMESPACE}/serviceaccounts`,
  `/api/v1/namespaces/${SYSTEM_NAMESPACE}/pods`,
  `/apis/discovery.k8s.io/v1/namespaces/${SYSTEM_NAMESPACE}/endpointslices`,
  `/apis/apps/v1/namespaces/${SYSTEM_NAMESPACE}/deployments`,
  `/apis/apps/v1/namespaces/${SYSTEM_NAMESPACE}/replicasets`,
  `/apis/rbac.authorization.k8s.io/v1/namespaces/${SYSTEM_NAMESPACE}/roles`,
  `/apis/rbac.authorization.k8s.io/v1/namespaces/${SYSTEM_NAMESPACE}/rolebindings`,
  `/apis/coordination.k8s.io/v1/namespaces/${SYSTEM_NAMESPACE}/leases`,
  '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
];

/** Names of everything of ours in the lists above. */
async function ours(): Promise<string[]> {
  const found: string[] = [];
  for (const path of LISTS) {
    const { items } = await api<{ items: KubeObject[] }>('GET', path);
    for (const { metadata } of items)
      if (/breakwater/.test(metadata.name)) found.push(`${path.split('/').at(-1)}/${metadata.name}`);
  }
  return found.sort();
}

const DEFINITIONS = [
  'customresourcedefinitions/resiliencepolicies.breakwater.dev',
  'customresourcedefinitions/servicedependencies.breakwater.dev',
];

test('before, there is something to leave', async () => {
  expect((await ours()).length).toBeGreaterThan(10);
  const stillCalling = await shop.load({ requests: 10 });
  expect(stillCalling.statuses).toEqual({ 200: 10 });
});

test('after helm uninstall nothing is left but the definitions, and the pods that run go on calling', async () => {
  const stop = await shop.startLoad({ concurrency: 4, pauseMs: 10 });
  await run('helm', ['uninstall', RELEASE, '-n', SYSTEM_NAMESPACE, '--wait', '--timeout=180s']);
  const left = await eventually('only the definitions are left', 30_000, async () => {
    const found = await ours();
    return found.length === DEFINITIONS.length ? found : undefined;
  });
  expect(left).toEqual(DEFINITIONS);
  const report = await stop();
  expect(report.errors).toEqual({});
  expect(Object.keys(report.statuses)).toEqual(['200']);
});

test('restarted pods have no trace of it, and their calls succeed', async () => {
  await kubectl('-n', shop.namespace, 'rollout', 'restart', 'deployment/checkout');
  await kubectl('-n', shop.namespace, 'rollout', 'status', 'deployment/checkout', '--timeout=180s');
  const [pod] = await eventually('one pod is left', 40_000, async () => {
    const pods = await untilReady(shop.namespace, 'app=checkout', 1);
    return pods.every((one) => !isInjected(one)) ? pods : undefined;
  });
  expect(JSON.stringify(pod)).not.toMatch(
    /breakwater\/sidecar|breakwater-state|breakwater-token|breakwater\.dev\/injected/,
  );
  expect((await shop.load({ requests: 20 })).statuses).toEqual({ 200: 20 });
});

test('what users wrote is still there, and namespaces can be deleted: no finalizer holds them', async () => {
  expect(await kubectl('-n', shop.namespace, 'get', 'sdep,rpol', '-o', 'name')).toBe(
    'servicedependency.breakwater.dev/checkout\nresiliencepolicy.breakwater.dev/payments\n',
  );
  await kubectl('delete', 'namespace', shop.namespace, '--wait=true', '--timeout=45s');
});

test('it can be installed again over the definitions that were kept', async () => {
  await installBreakwater(run);
  expect((await ours()).length).toBeGreaterThan(10);
}, 150_000);
