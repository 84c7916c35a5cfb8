// Another check of the cluster refuses what injection adds: the workload has no pods, and the ServiceDependency says why and what to do.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { apply, kubectl, listPods } from './harness/kube.ts';
import { deployment, podTemplate, service, serviceDependency } from './harness/objects.ts';
import { deleteNamespace, freshNamespace, isInjected, untilCondition, untilReady } from './harness/shop.ts';
import { eventually, sleep, succeeds } from './shell.ts';

const NAMESPACE = 'test-refused';
const POLICY = 'breakwater-test-no-privileges';
const GROUP = 'admissionregistration.k8s.io/v1';

/** What a company may have in the place of labels for PodSecurity, which nobody can see at the namespace. */
const policy = {
  apiVersion: GROUP,
  kind: 'ValidatingAdmissionPolicy',
  metadata: { name: POLICY },
  spec: {
    failurePolicy: 'Fail',
    matchConstraints: {
      resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
    },
    validations: [
      {
        expression:
          "!has(object.spec.initContainers) || object.spec.initContainers.all(c, !has(c.securityContext) || !has(c.securityContext.capabilities) || !has(c.securityContext.capabilities.add) || !('NET_ADMIN' in c.securityContext.capabilities.add))",
        messageExpression:
          "'container ' + object.spec.initContainers[0].name + ' must not add the capability NET_ADMIN'",
      },
    ],
  },
};
const binding = {
  apiVersion: GROUP,
  kind: 'ValidatingAdmissionPolicyBinding',
  metadata: { name: POLICY },
  spec: {
    policyName: POLICY,
    validationActions: ['Deny'],
    matchResources: { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': NAMESPACE } } },
  },
};

const checkout = (annotations: Record<string, string> = {}) =>
  deployment({ namespace: NAMESPACE, name: 'checkout', script: 'client.ts', annotations });

beforeAll(async () => {
  await freshNamespace(NAMESPACE, { 'breakwater.dev/injection': 'enabled' });
  await apply(
    policy,
    binding,
    service(NAMESPACE, 'payments', [{ port: 8080, name: 'http' }]),
    serviceDependency(NAMESPACE, 'checkout', 'checkout', [
      { name: 'payments', service: { name: 'payments', port: 8080 } },
    ]),
  );
  const template = podTemplate({ namespace: NAMESPACE, name: 'trial', script: 'client.ts' });
  const trial = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'trial', namespace: NAMESPACE, ...template.metadata },
    spec: template.spec,
  };
  await eventually('the policy refuses pods that the webhook injected', 30_000, async () => {
    const input = JSON.stringify(trial);
    return (await succeeds('kubectl', ['create', '--dry-run=server', '-f', '-'], { input })) ? undefined : true;
  });
});
afterAll(async () => {
  await kubectl('delete', 'validatingadmissionpolicybinding,validatingadmissionpolicy', POLICY, '--ignore-not-found');
  await deleteNamespace(NAMESPACE);
});

test('the condition says who refuses it, and what helps', async () => {
  await apply(checkout());
  const condition = await untilCondition('ServiceDependency', NAMESPACE, 'checkout', 'Programmed', 'False');
  expect(condition.reason).toBe('InjectionRefused');
  expect(condition.message).toMatch(/ReplicaSet checkout-\w+ cannot create its pods/);
  expect(condition.message).toContain('annotate the pods with breakwater.dev/capture: loopback');
  expect(condition.message).toMatch(/It says: .*breakwater-capture must not add the capability NET_ADMIN/);
  expect(await listPods(NAMESPACE)).toEqual([]);
});

test('who does so has injected pods, and the condition is cleared', async () => {
  // Later than the refusal by the clock of Kubernetes, which counts seconds.
  await sleep(1_000);
  await apply(checkout({ 'breakwater.dev/capture': 'loopback' }));
  const [pod] = await untilReady(NAMESPACE, 'app=checkout', 1);
  expect(pod && isInjected(pod)).toBe(true);
  const condition = await untilCondition('ServiceDependency', NAMESPACE, 'checkout', 'Programmed', 'True');
  expect(condition.message).not.toContain('cannot create its pods');
});
