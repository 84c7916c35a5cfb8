import { expect, test } from 'vitest';
import { toWorldPod } from './objects.ts';
import { restartCommand } from './restart.ts';

const pod = (name: string, metadata: object = {}) =>
  toWorldPod({ metadata: { name, namespace: 'shop', ...metadata }, spec: { containers: [{ name: 'app' }] } });
const owner = (kind: string, name: string) => ({ ownerReferences: [{ kind, name, controller: true }] });

test.each([
  [
    pod('check-out-6d5f7c9b8-x2x4z', {
      labels: { 'pod-template-hash': '6d5f7c9b8' },
      ...owner('ReplicaSet', 'check-out-6d5f7c9b8'),
    }),
    'kubectl rollout restart deployment check-out --namespace shop',
  ],
  [pod('db-0', owner('StatefulSet', 'db')), 'kubectl rollout restart statefulset db --namespace shop'],
  [pod('log-abcde', owner('DaemonSet', 'log')), 'kubectl rollout restart daemonset log --namespace shop'],
  [pod('import-x7x7x', owner('Job', 'import')), 'kubectl delete pod import-x7x7x --namespace shop'],
  [pod('bare'), 'kubectl delete pod bare --namespace shop, and create it again'],
])('a pod is replaced by what made it (%#)', (one, command) => {
  expect(restartCommand([one])).toBe(command);
});

test('pods of one workload need one command, those of many a few', () => {
  const db = [pod('db-0', owner('StatefulSet', 'db')), pod('db-1', owner('StatefulSet', 'db'))];
  expect(restartCommand(db)).toBe('kubectl rollout restart statefulset db --namespace shop');
  const many = ['a', 'b', 'c', 'd', 'e'].map((name) => pod(`${name}-0`, owner('StatefulSet', name)));
  expect(restartCommand(many)).toMatch(/statefulset a .*; .*statefulset b .*; .*statefulset c .*; and 2 more$/);
});
