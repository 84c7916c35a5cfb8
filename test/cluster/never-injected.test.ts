// Pods that must be left alone: they start as they are, and somebody is told why.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { apply, kubectl, type Pod } from './harness/kube.ts';
import { WORKLOADS_IMAGE } from './harness/objects.ts';
import { deleteNamespace, freshNamespace, isInjected, untilReady } from './harness/shop.ts';
import { SYSTEM_NAMESPACE } from './install.ts';
import { eventually } from './shell.ts';

const OPEN = 'test-never-injected';
const RESTRICTED = 'test-restricted';
const BASELINE = 'test-baseline';
const UNLABELLED = 'test-unlabelled';

const pod = (
  namespace: string,
  name: string,
  spec: Record<string, unknown> = {},
  labels: Record<string, string> = {},
  annotations: Record<string, string> = {},
) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels: { app: name, ...labels }, annotations },
  spec: {
    terminationGracePeriodSeconds: 1,
    securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'app',
        image: WORKLOADS_IMAGE,
        imagePullPolicy: 'IfNotPresent',
        command: ['sleep', 'infinity'],
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
      },
    ],
    ...spec,
  },
});

beforeAll(async () => {
  const injection = { 'breakwater.dev/injection': 'enabled' };
  await Promise.all([
    freshNamespace(OPEN, injection),
    freshNamespace(RESTRICTED, { ...injection, 'pod-security.kubernetes.io/enforce': 'restricted' }),
    freshNamespace(BASELINE, { ...injection, 'pod-security.kubernetes.io/enforce': 'baseline' }),
    freshNamespace(UNLABELLED),
  ]);
});
afterAll(() => Promise.all([OPEN, RESTRICTED, BASELINE, UNLABELLED].map(deleteNamespace)));

async function started(object: ReturnType<typeof pod>): Promise<Pod> {
  await apply(object);
  const [found] = await untilReady(object.metadata.namespace, `app=${object.metadata.name}`, 1, 30_000);
  if (!found) throw new Error('no pod');
  return found;
}

/** What kubectl tells about the pods of a namespace that have no sidecar. */
const told = (namespace: string, about: string, pattern: RegExp) =>
  eventually(`an Event about ${namespace}/${about} matches ${String(pattern)}`, 10_000, async () => {
    const events = await kubectl('-n', namespace, 'get', 'events', '--field-selector', 'reason=NotInjected');
    return events.split('\n').some((line) => line.includes(about) && pattern.test(line)) ? true : undefined;
  });

/** The same pod as a Deployment makes it. */
const deployed = (object: ReturnType<typeof pod>) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: object.metadata.name, namespace: object.metadata.namespace },
  spec: {
    selector: { matchLabels: { app: object.metadata.name } },
    template: { metadata: { labels: object.metadata.labels }, spec: object.spec },
  },
});

async function startedByDeployment(object: ReturnType<typeof pod>): Promise<Pod> {
  await apply(deployed(object));
  const [found] = await untilReady(object.metadata.namespace, `app=${object.metadata.name}`, 1, 30_000);
  if (!found) throw new Error('no pod');
  return found;
}

test('an ordinary pod of a labelled namespace is injected: the trial can fail', async () => {
  expect(isInjected(await started(pod(OPEN, 'ordinary')))).toBe(true);
});

test('a pod on the network of its node', async () => {
  expect(isInjected(await started(pod(OPEN, 'host', { hostNetwork: true })))).toBe(false);
  await told(OPEN, 'pod/host', /network of its node/);
});

test('a pod that opted out', async () => {
  expect(isInjected(await started(pod(OPEN, 'out', {}, { 'breakwater.dev/injection': 'disabled' })))).toBe(false);
});

test("a pod that runs as the sidecar's user", async () => {
  const found = await startedByDeployment(
    pod(OPEN, 'same-uid', { securityContext: { runAsUser: 14_750, runAsNonRoot: true } }),
  );
  expect(isInjected(found)).toBe(false);
  await told(OPEN, 'replicaset/same-uid', /UidInUse.*14750/);
});

test('a pod that uses a port of the sidecar', async () => {
  const object = pod(OPEN, 'same-port');
  const [container] = object.spec.containers;
  Object.assign(container ?? {}, { ports: [{ containerPort: 15_102 }] });
  expect(isInjected(await startedByDeployment(object))).toBe(false);
  await told(OPEN, 'replicaset/same-port', /PortInUse.*15102/);
});

test.each([RESTRICTED, BASELINE])('a pod that asks for iptables under PodSecurity: %s', async (namespace) => {
  const object = pod(namespace, 'secured', {}, {}, { 'breakwater.dev/capture': 'iptables' });
  expect(isInjected(await started(object))).toBe(false);
  await told(namespace, 'pod/secured', /PodSecurity (restricted|baseline)/);
});

test('a pod of a namespace without the label, and of our own', async () => {
  expect(isInjected(await started(pod(UNLABELLED, 'plain')))).toBe(false);
  expect(isInjected(await started(pod(SYSTEM_NAMESPACE, 'plain')))).toBe(false);
  await kubectl('-n', SYSTEM_NAMESPACE, 'delete', 'pod', 'plain', '--now');
});
