// What a real API server makes of injected pods: it calls the webhook over TLS with our authority, applies the patch and validates the pod.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { readBootstrap } from '../../plan/bootstrap.ts';
import type { Pod } from './pod.ts';
import { type Document, declarationsOf, initNames, RegisteredInjector } from './testing/registered-injector.ts';

const FOLDER = join(import.meta.dirname, 'testdata');
let injector: RegisteredInjector;

beforeAll(async () => {
  injector = await RegisteredInjector.start({
    shop: {},
    locked: { 'pod-security.kubernetes.io/enforce': 'restricted' },
  });
});
afterAll(() => injector?.stop());

const create = (namespace: string, pod: Pod) => injector.create(namespace, pod);
const documentsOf = (name: string) =>
  parseAllDocuments(readFileSync(join(FOLDER, `${name}.pod.yaml`), 'utf8')).map(
    (document) => document.toJS() as Document,
  );

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
    injector.declarations = declarationsOf(documents);
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
    injector.declarations = declarationsOf(documentsOf('loopback'));
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
    injector.declarations = declarationsOf(documentsOf('loopback').map(inNamespaceLocked));
    const { code, stdout, stderr } = await injector.controlPlane.kubectl(
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
    const { code, stdout, stderr } = await injector.controlPlane.kubectl(
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

test.each([
  ['annotations that leave no room', { annotations: { a: 'x'.repeat(256 * 1024 - 1) } }, {}],
  ['a megabyte and a half', {}, { args: ['x'.repeat(1_500_000)] }],
])('a pod with %s is taken as it is', async (_, metadata, more) => {
  const spec = { serviceAccountName: 'default', containers: [{ name: 'app', image: 'a/b:1', ...more }] };
  for (const capture of ['iptables', 'loopback', 'explicit']) {
    const labels = { app: 'checkout' };
    const annotations = 'annotations' in metadata ? metadata.annotations : { 'breakwater.dev/capture': capture };
    const pod = await create('shop', { metadata: { name: 'large', labels, annotations }, spec });
    expect(initNames(pod)).toEqual([]);
    expect(pod.metadata?.annotations).toEqual(annotations);
  }
});

test('a wrong annotation costs the sidecar, not the pod', async () => {
  const annotations = { 'breakwater.dev/admin-port': '99999' };
  const spec = { serviceAccountName: 'default', containers: [{ name: 'app', image: 'a/b:1' }] };
  const pod = await create('shop', { metadata: { name: 'odd', annotations }, spec });
  expect(initNames(pod)).toEqual([]);
});
