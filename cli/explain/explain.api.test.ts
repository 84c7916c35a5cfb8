// `kubectl breakwater explain` against a real API server: by the real kubectl, as its plugin, with the rights of whoever asks.
import { execFile } from 'node:child_process';
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { temporaryFolder } from '../../test/harness/temporary-folder.ts';
import { type Ran, run } from '../testing.ts';
import { explanation } from './explanation.ts';

const root = resolve(import.meta.dirname, '../..');
let plane: UsedControlPlane;
let folder: string;

const OBJECTS = `
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: billing}
spec: {ports: [{name: http, port: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout, namespace: shop}
spec:
  selector: {matchLabels: {app: checkout}}
  template: {metadata: {labels: {app: checkout}}, spec: {containers: [{name: app, image: app}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: checkout-0, namespace: shop, labels: {app: checkout}}
spec: {containers: [{name: app, image: app}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: developer, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: developer, namespace: shop}
rules:
- {apiGroups: [breakwater.dev], resources: [servicedependencies, resiliencepolicies], verbs: [get, list]}
- {apiGroups: [apps], resources: [deployments], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: developer, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: developer}
subjects: [{kind: ServiceAccount, name: developer, namespace: shop}]
`;
const OWN = `
apiVersion: breakwater.dev/v1alpha1
kind: ServiceDependency
metadata: {name: checkout, namespace: shop}
spec:
  consumer: {selector: {matchLabels: {app: checkout}}}
  dependsOn:
  - {name: payments, service: {name: payments, namespace: billing, port: http}}
  - {name: gone, service: {name: gone, port: 80}}
---
apiVersion: breakwater.dev/v1alpha1
kind: ResiliencePolicy
metadata: {name: for-callers, namespace: billing}
spec:
  targetRefs: [{group: "", kind: Service, name: payments}]
  timeouts: {request: 4s}
---
apiVersion: breakwater.dev/v1alpha1
kind: ResiliencePolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{group: breakwater.dev, kind: ServiceDependency, name: checkout, sectionName: payments}]
  retries: {maxAttempts: 2}
  rules: [{name: charge, matches: [{method: POST}], retries: {maxAttempts: 1}}]
`;

beforeAll(async () => {
  folder = temporaryFolder('test-plugin');
  for (const name of ['kubectl-breakwater', 'kubectl_complete-breakwater']) {
    symlinkSync(join(root, `cli/bin/${name}.js`), join(folder, name));
  }
  plane = await useControlPlane();
  for (const name of ['shop', 'billing']) await plane.kubectl(['create', 'namespace', name]);
  expect(await plane.kubectl(['apply', '-f', '-'], OBJECTS)).toMatchObject({ code: 0 });
});

afterAll(async () => {
  await plane?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the real kubectl with the plugin in its path. */
function kubectl(...args: readonly string[]): Promise<Ran> {
  const path = `${folder}:${plane.binaries}:${process.env['PATH']}`;
  const env = { ...process.env, PATH: path, KUBECONFIG: plane.kubeconfigPath };
  return new Promise((done) => {
    const child = execFile(join(plane.binaries, 'kubectl'), args, { env }, (_, stdout, stderr) =>
      done({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

const explain = (...args: readonly string[]) => run(['explain', ...args, '--kubeconfig', plane.kubeconfigPath]);

test('without the resources of Breakwater it says how to get them', async () => {
  const { code, stderr } = await explain('deploy/checkout', '-n', 'shop');
  expect({ code, stderr }).toEqual({
    code: expect.any(Number) as number,
    stderr: expect.stringContaining('install its chart') as string,
  });
  expect(code).not.toBe(0);
});

describe('with them', () => {
  beforeAll(async () => {
    expect(await plane.kubectl(['apply', '--server-side', '-f', join(root, 'crds/manifests')])).toMatchObject({
      code: 0,
    });
    await plane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
    const created = async () => expect((await plane.kubectl(['apply', '-f', '-'], OWN)).stderr).toBe('');
    await vi.waitFor(created, { timeout: 20_000, interval: 300 });
    // A generation beyond the first.
    await plane.kubectl(['patch', 'rpol', 'payments', '-n', 'shop', '--type=merge', '-p', '{"spec":{"bulkhead":{}}}']);
  });

  test('a request is explained with the resources of two namespaces, and their generations', async () => {
    const { code, stdout, stderr } = await explain(
      'deploy/checkout',
      'payments',
      '-n',
      'shop',
      '--method',
      'POST',
      '--path',
      '/charges',
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(
      'Deployment shop/checkout calls payments: Service billing/payments:http (8080), HTTP by its port',
    );
    expect(stdout).toContain(
      'ResiliencePolicy billing/for-callers generation 1\n      on Service billing/payments: no rule matches',
    );
    expect(stdout).toContain('ResiliencePolicy shop/payments generation 2');
    expect(stdout).toMatch(/request +4s +billing\/for-callers\n/);
    expect(stdout).toMatch(/maxAttempts +1 +shop\/payments rule charge\n +over 2 of shop\/payments\n/);
    expect(stdout).toContain('kubectl label namespace shop breakwater.dev/injection=enabled');
  });

  test('the flags of kubectl and its own errors are those of a plugin', async () => {
    const json = await kubectl(
      'breakwater',
      'explain',
      'sdep/checkout',
      '--namespace=shop',
      '--context=test',
      '-ojson',
    );
    expect(explanation.parse(JSON.parse(json.stdout)).dependencies).toHaveLength(2);
    const wrong = await kubectl('breakwater', 'explian');
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain('("kubectl breakwater --help" lists the commands)');
  });

  test('kubectl completes what the plugin takes', async () => {
    const asked = await kubectl('__complete', 'breakwater', 'explain', 'deploy/checkout', '--meth');
    expect(asked.stdout).toBe('--method\tmethod of the request\n:4\n');
    expect((await kubectl('__complete', 'breakwater', 'chec')).stdout).toMatch(/^check\tcheck manifests offline/);
  });

  test('as JSON, for a pod and for the ServiceDependency itself, all dependencies', async () => {
    for (const workload of ['pod/checkout-0', 'sdep/checkout']) {
      const { stdout } = await explain(workload, '--namespace=shop', '-o', 'json');
      const said = explanation.parse(JSON.parse(stdout));
      expect(said.workload).toMatchObject({ namespace: 'shop', serviceDependencies: ['checkout'] });
      expect(said.dependencies.map(({ name, isDeclared }) => [name, isDeclared])).toEqual([
        ['payments', true],
        ['gone', false],
      ]);
      expect(said.dependencies[1]?.problems).toMatchObject([{ reason: 'ServiceNotFound' }]);
    }
  });

  test('what the user may not read is told, and the rest is explained', async () => {
    const { stdout: token } = await plane.kubectl(['create', 'token', 'developer', '-n', 'shop']);
    const kubeconfig = join(folder, 'developer.json');
    const user = { name: 'developer', user: { token: token.trim() } };
    const cluster = { name: 'test', cluster: { server: plane.serverUrl, 'certificate-authority': plane.caFile } };
    const context = { name: 'test', context: { cluster: 'test', user: 'developer', namespace: 'shop' } };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      users: [user],
      clusters: [cluster],
      contexts: [context],
    };
    writeFileSync(kubeconfig, JSON.stringify(config), { mode: 0o600 });
    const { code, stdout } = await run(['explain', 'deploy/checkout', 'payments', '--kubeconfig', kubeconfig]);
    expect(code).toBe(0);
    for (const what of [
      'Service billing/payments',
      'ResiliencePolicies of namespace billing',
      'Namespace shop',
      'pods of namespace shop',
    ]) {
      expect(stdout).toMatch(new RegExp(`assumed: you may not (read|list) ${what}`));
    }
    expect(stdout).toMatch(/maxAttempts +2 +shop\/payments/);
    const refused = await run(['explain', 'deploy/checkout', '-n', 'billing', '--kubeconfig', kubeconfig]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/you may not read .*; ask for the right to/);
  });

  test.each([
    [
      ['deploy/chekout', '-n', 'shop'],
      /namespace shop has no Deployment chekout; see "kubectl get deployments -n shop"/,
    ],
    [['deploy/checkout', '--context', 'tst'], /has no context tst; did you mean test\?/],
    [['deploy/checkout', '--kubeconfig', '/nowhere'], /\/nowhere does not exist/],
    [['deploy/checkout', 'paiments', '-n', 'shop'], /has no dependency paiments; did you mean payments\?/],
  ])('%s is answered with what to do', async (args, message) => {
    const { code, stdout, stderr } = await run(['explain', '--kubeconfig', plane.kubeconfigPath, ...args]);
    expect(code).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('    at ');
  });

  test('an API server that is not there is named', async () => {
    const kubeconfig = join(folder, 'nobody.json');
    const cluster = { name: 'away', cluster: { server: 'https://127.0.0.1:1' } };
    const context = { name: 'away', context: { cluster: 'away', user: 'me' } };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'away',
      users: [{ name: 'me', user: {} }],
      clusters: [cluster],
      contexts: [context],
    };
    writeFileSync(kubeconfig, JSON.stringify(config));
    const { stderr } = await run(['explain', 'deploy/checkout', '--kubeconfig', kubeconfig]);
    expect(stderr).toMatch(/the API server \(127\.0\.0\.1:1, context away\) cannot be reached: .*ECONNREFUSED/);
  });
});
