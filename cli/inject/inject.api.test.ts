// `inject` with what a real API server holds of an installation, and its verdict on what comes out.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { createAuthority } from '../../operator/certificates/issue.ts';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { temporaryFolder } from '../../test/harness/temporary-folder.ts';
import { type Ran, run } from '../testing.ts';

const root = resolve(import.meta.dirname, '../..');
let plane: UsedControlPlane;
let folder: string;
let caBundle: string;

/** As the chart makes them, with what the operator writes. */
const installation = () => `
apiVersion: v1
kind: Namespace
metadata: {name: breakwater-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: our-operator, namespace: breakwater-system, labels: {app.kubernetes.io/version: 9.9.9}}
spec:
  selector: {matchLabels: {app: operator}}
  template:
    metadata: {labels: {app: operator}}
    spec:
      containers:
      - name: operator
        image: operator
        env:
${environmentOfChart()}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: our-injector}
webhooks:
- name: injector.breakwater.dev
  clientConfig:
    service: {name: our-operator, namespace: breakwater-system, path: /inject, port: 8443}
    caBundle: ${Buffer.from(caBundle).toString('base64')}
  namespaceSelector: {matchLabels: {breakwater.dev/injection: enabled}}
  rules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
`;

/** Every variable that the chart sets, with values of this installation's own. */
function environmentOfChart(): string {
  const template = readFileSync(join(root, 'charts/breakwater/templates/deployment.yaml'), 'utf8');
  const names = [...template.matchAll(/\{name: (BREAKWATER_\w+), (value|valueFrom): /g)];
  expect(names.length).toBeGreaterThan(15);
  const own: Record<string, string> = {
    BREAKWATER_LOG_LEVEL: 'info',
    BREAKWATER_POD_SECURITY_DEFAULT: 'privileged',
    BREAKWATER_CLUSTER_DOMAIN: 'example.org',
    BREAKWATER_SIDECAR_IMAGE: 'registry/our-sidecar:1',
    BREAKWATER_SIDECAR_IMAGE_PULL_POLICY: 'Never',
    BREAKWATER_SIDECAR_LOG_LEVEL: 'debug',
    BREAKWATER_SIDECAR_RESOURCES: '{"limits":{"memory":"99Mi"}}',
    BREAKWATER_SIDECAR_CAPTURE: 'auto',
    BREAKWATER_SIDECAR_OUTBOUND_PORT: '15001',
    BREAKWATER_SIDECAR_ADMIN_PORT: '15002',
    BREAKWATER_SIDECAR_CONTROL_PORT: '15003',
    BREAKWATER_SIDECAR_EXPLICIT_PORTS_FROM: '15300',
  };
  return names
    .map(([, name = '', from]) =>
      from === 'value'
        ? `        - {name: ${name}, value: '${own[name] ?? 'something'}'}`
        : `        - {name: ${name}, valueFrom: {fieldRef: {fieldPath: metadata.name}}}`,
    )
    .join('\n');
}

const SHOP = `
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: billing}
spec: {ports: [{name: http, port: 8080}]}
---
apiVersion: breakwater.dev/v1alpha1
kind: ServiceDependency
metadata: {name: checkout, namespace: shop}
spec:
  consumer: {selector: {matchLabels: {app: checkout}}}
  dependsOn: [{name: payments, service: {name: payments, namespace: billing, port: 8080}}]
`;
const workload = (capture: string) => `# The application.
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout, namespace: shop}
spec:
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}, annotations: {breakwater.dev/capture: ${capture}}}
    spec:
      containers:
      - {name: app, image: app}
`;

beforeAll(async () => {
  folder = temporaryFolder('test-inject');
  caBundle = (await createAuthority(Date.now())).certificate;
  plane = await useControlPlane();
  for (const name of ['shop', 'billing']) await plane.kubectl(['create', 'namespace', name]);
  await plane.kubectl(['apply', '--server-side', '-f', join(root, 'crds/manifests')]);
  await plane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
  await vi.waitFor(async () => expect((await plane.kubectl(['apply', '-f', '-'], SHOP)).stderr).toBe(''), {
    timeout: 20_000,
    interval: 300,
  });
});
afterAll(async () => {
  await plane?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const inject = (text: string, ...args: readonly string[]): Promise<Ran> =>
  run(['inject', '-', '--kubeconfig', plane.kubeconfigPath, ...args], text);

test('a cluster without an installation is told what it misses', async () => {
  const { code, stdout, stderr } = await inject(workload('iptables'));
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(
    'no installation of Breakwater to inject for: install its chart, or inject without a cluster',
  );
});

describe('with an installation', () => {
  beforeAll(async () => {
    const applied = await plane.kubectl(['apply', '-f', '-'], installation());
    expect(applied).toMatchObject({ code: 0 });
  });

  test.each(['iptables', 'loopback', 'explicit'])(
    'what comes out by capture %s is taken by the API server',
    async (capture) => {
      const { code, stdout, stderr } = await inject(workload(capture));
      expect(code).toBe(0);
      expect(stderr).toMatch(
        new RegExp(
          `^Deployment shop/checkout injected, capture ${capture}\nthe authority of the operator .* is valid for \\d+ days`,
        ),
      );
      const { template } = (parseYaml(stdout) as { spec: { template: Template } }).spec;
      const sidecar = template.spec.initContainers.find(({ name }) => name === 'breakwater');
      const value = (name: string) => sidecar?.env.find((one) => one.name === name)?.value;
      expect(sidecar).toMatchObject({
        image: 'registry/our-sidecar:1',
        imagePullPolicy: 'Never',
        resources: { limits: { memory: '99Mi' } },
      });
      expect(value('BREAKWATER_CA_BUNDLE')).toBe(caBundle);
      expect(value('BREAKWATER_OPERATOR_URL')).toBe('https://our-operator.breakwater-system.svc:8443');
      expect(value('BREAKWATER_CONTROL_PORT')).toBe('15003');
      expect(template.metadata.annotations['breakwater.dev/injected']).toBe('9.9.9');
      if (capture !== 'iptables') {
        const { stdout: address } = await plane.kubectl([
          'get',
          'service',
          'payments',
          '-n',
          'billing',
          '-o',
          'jsonpath={.spec.clusterIP}',
        ]);
        expect(template.metadata.annotations['breakwater.dev/bootstrap']).toContain(`"clusterIPs":["${address}"]`);
      }
      const taken = await plane.kubectl(['apply', '--dry-run=server', '--server-side', '-f', '-'], stdout);
      expect(taken).toMatchObject({ code: 0, stderr: '' });
      expect((await inject(stdout)).stdout).toBe(stdout);
    },
  );

  test('a namespace that enforces PodSecurity is known from the cluster', async () => {
    await plane.kubectl(['label', 'namespace', 'shop', 'pod-security.kubernetes.io/enforce=restricted']);
    try {
      expect((await inject(workload('auto'))).stderr).toContain('injected, capture loopback');
      const refused = await inject(workload('iptables'), '--strict');
      expect({ code: refused.code, stdout: refused.stdout }).toEqual({ code: 1, stdout: '' });
      expect(refused.stderr).toContain('(PodSecurity)');
    } finally {
      await plane.kubectl(['label', 'namespace', 'shop', 'pod-security.kubernetes.io/enforce-']);
    }
  });
});

interface Template {
  metadata: { annotations: Record<string, string> };
  spec: { initContainers: { name: string; image: string; env: { name: string; value?: string }[] }[] };
}

describe('without a cluster', () => {
  const offline = (text: string, ...args: readonly string[]) => run(['inject', '-', ...args], text);

  test('the certificates come from a file, and nothing is printed without', async () => {
    const file = join(folder, 'ca.pem');
    writeFileSync(file, caBundle);
    expect((await offline(workload('iptables'), '--ca-bundle-file', file)).stdout).toContain('breakwater-capture');
    writeFileSync(file, 'no certificate');
    const wrong = await offline(workload('iptables'), '--ca-bundle-file', file);
    expect(wrong).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('holds no certificate in PEM') as string,
    });
    const half = await offline(workload('iptables'), '--values', join(root, 'charts/breakwater/values.yaml'));
    expect(half).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('also needs --ca-bundle-file') as string,
    });
    expect(existsSync(file)).toBe(true);
  });

  test('Services that are not among the files are missed, aloud', async () => {
    const file = join(folder, 'ca.pem');
    writeFileSync(file, caBundle);
    const { code, stderr } = await offline(`${SHOP}---\n${workload('loopback')}`, '--ca-bundle-file', file);
    expect(code).toBe(0);
    expect(stderr).toContain('calls to billing/payments pass by the sidecar (NotThere)');
    expect(stderr).toContain('leave out --ca-bundle-file to read them from the cluster');
  });
});
