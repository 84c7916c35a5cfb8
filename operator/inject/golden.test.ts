// Each case is a pod as the API server sends it, perhaps with its namespace and options; beside it what is decided and the patch.
// UPDATE_GOLDEN=1 writes the latter anew.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { BOOTSTRAP_ANNOTATION, readBootstrap } from '../../plan/bootstrap.ts';
import { CERTIFICATES_VOLUME } from '../compile/objects.ts';
import { addObject, buildWorld, createWorldBuilder } from '../compile/world-builder.ts';
import { applyPatch } from './apply-patch.ts';
import { type Birth, birthOf } from './bootstrap.ts';
import { certificatesOf } from './certificates.ts';
import { type Decision, type DecisionContext, decide } from './decide.ts';
import { Declarations } from './declared.ts';
import { describeLeftOut } from './loopback.ts';
import {
  CAPTURE_CONTAINER,
  type PatchContext,
  patchFor,
  SIDECAR_CONTAINER,
  STATE_VOLUME,
  TOKEN_VOLUME,
} from './patch.ts';
import type { Container, Pod } from './pod.ts';
import { portsOf } from './ports.ts';
import { defaultSettings, resourceSettings } from './settings.ts';
import { tlsHostsOf } from './tls-hosts.ts';

const FOLDER = join(import.meta.dirname, 'testdata');
const CLUSTER_DOMAIN = 'cluster.local';
type Injected = Decision & { inject: true };
const UPDATE = process.env['UPDATE_GOLDEN'] === '1';
const names = (suffix: string) =>
  readdirSync(FOLDER)
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length));
const CASES = names('.pod.yaml');

interface Case {
  pod: Pod;
  context: DecisionContext;
  declarations: Declarations;
}

/** From the Services and ServiceDependencies beside the pod. */
function declarationsOf(documents: readonly object[]): Declarations {
  const builder = createWorldBuilder();
  for (const document of documents) addObject(builder, document);
  const world = buildWorld(builder, CLUSTER_DOMAIN);
  expect(world.invalid).toEqual([]);
  return new Declarations({
    serviceDependencies: () => world.serviceDependencies,
    service: (namespace, name) => builder.services.get(`${namespace}/${name}`),
  });
}

function readCase(name: string): Case {
  const documents = parseAllDocuments(readFileSync(join(FOLDER, `${name}.pod.yaml`), 'utf8')).map(
    (document) => document.toJS() as { kind: string } & Record<string, unknown>,
  );
  const pod = documents.find(({ kind }) => kind === 'Pod') as unknown as Pod;
  const namespace = documents.find(({ kind }) => kind === 'Namespace') as
    | { metadata?: Record<string, Record<string, string>> }
    | undefined;
  const options = documents.find(({ kind }) => kind === 'Options') ?? {};
  return {
    pod,
    declarations: declarationsOf(documents.filter(({ kind }) => kind === 'Service' || kind === 'ServiceDependency')),
    context: {
      namespace:
        'namespaceUnknown' in options
          ? undefined
          : { labels: namespace?.metadata?.['labels'] ?? {}, annotations: namespace?.metadata?.['annotations'] ?? {} },
      defaults: DEFAULTS,
      podSecurityDefault: 'privileged',
      ...options,
    },
  };
}

const DEFAULTS = defaultSettings({
  image: 'breakwater/sidecar:test',
  ...resourceSettings({ requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '256Mi' } }),
});
const patchContext = (
  { settings, capture }: Injected,
  birth: Birth | undefined,
  certificates: PatchContext['certificates'] = [],
  tlsHosts: PatchContext['tlsHosts'] = [],
): PatchContext => ({
  settings,
  capture,
  birth,
  certificates,
  tlsHosts,
  operatorUrl: 'https://breakwater-operator.breakwater-system.svc:8443',
  caBundle: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
  version: '0.1.0',
  imagePullPolicy: 'IfNotPresent',
});

function birth(pod: Pod, { settings, capture }: Injected, declarations: Declarations): Birth | undefined {
  if (capture === 'iptables') return undefined;
  const namespace = pod.metadata?.namespace ?? 'shop';
  const declared = declarations.of(namespace, pod.metadata?.labels ?? {});
  return birthOf(pod, { settings, capture, namespace, clusterDomain: CLUSTER_DOMAIN, declared });
}

function run({ pod, context: given, declarations }: Case) {
  const decision = decide(pod, given);
  if (!decision.inject) return { decision, born: undefined, patch: [] };
  const born = birth(pod, decision, declarations);
  const declared = declarations.of(pod.metadata?.namespace ?? 'shop', pod.metadata?.labels ?? {});
  const context = patchContext(decision, born, certificatesOf(declared), tlsHostsOf(declared).hosts);
  return { decision, born, patch: patchFor(pod, context) };
}

function render({ decision, born, patch }: ReturnType<typeof run>): string {
  const told = decision.inject ? { decision: 'Injected' } : { decision: decision.reason, message: decision.message };
  // What is JSON in a string would be hard to read.
  const bootstrap = born === undefined ? {} : { bootstrap: born.bootstrap };
  const warnings = [...decision.warnings, ...(born?.warnings ?? []), ...(born?.leftOut ?? []).map(describeLeftOut)];
  const shown = JSON.parse(JSON.stringify(patch), (key, value: unknown) =>
    key === BOOTSTRAP_ANNOTATION ? '(see bootstrap)' : value,
  ) as typeof patch;
  for (const operation of shown) {
    if (operation.path.endsWith('breakwater.dev~1bootstrap')) operation.value = '(see bootstrap)';
  }
  return stringify({ ...told, warnings, ...bootstrap, patch: shown }, { lineWidth: 0, aliasDuplicateObjects: false });
}

const ours = new Set([CAPTURE_CONTAINER, SIDECAR_CONTAINER, TOKEN_VOLUME, STATE_VOLUME, CERTIFICATES_VOLUME]);
const notOurs = <T extends { name: string }>(list: readonly T[] | null | undefined) =>
  (list ?? []).filter(({ name }) => !ours.has(name));

/** The user's part of a pod that is born without privileges: ours is what is named here, and nothing else. */
function withoutLeads(patched: Pod, born: Birth | undefined): Pod['spec'] {
  const aliases = new Set(born?.hostAliases.map(({ ip }) => ip));
  const variables = new Map(born?.variables.map(({ name, value }) => [name, value]));
  const sysctls = new Set(born?.sysctls.map(({ name }) => name));
  const strip = (container: Container): Container => {
    const env = (container.env ?? []).filter((one) => variables.get(one.name) !== (one as { value?: string }).value);
    return { ...container, env };
  };
  const { spec } = patched;
  return {
    ...spec,
    hostAliases: (spec?.hostAliases ?? []).filter(({ ip }) => !aliases.has(ip)),
    securityContext: {
      ...spec?.securityContext,
      sysctls: (spec?.securityContext?.sysctls ?? []).filter(({ name, value }) => !sysctls.has(name) || value !== '0'),
    },
    initContainers: notOurs<Container>(spec?.initContainers).map(strip),
    containers: (spec?.containers ?? []).map(strip),
    volumes: notOurs(spec?.volumes),
  };
}

/** What must hold for every injected pod. */
function checkInjected({ pod, context, declarations }: Case): void {
  const before = structuredClone(pod);
  const first = run({ pod, context, declarations });
  expect(pod).toEqual(before);
  if (!first.decision.inject) return;
  expect(first.patch.every(({ op }) => op === 'add')).toBe(true);
  const patched = applyPatch(pod, first.patch) as Pod;

  // Ours come first, in order; everything of the user's is as it was, in its order.
  const initContainers = patched.spec?.initContainers ?? [];
  const added = first.decision.capture === 'iptables' ? [CAPTURE_CONTAINER, SIDECAR_CONTAINER] : [SIDECAR_CONTAINER];
  expect(initContainers.slice(0, added.length).map(({ name }) => name)).toEqual(added);
  expect(withoutLeads(patched, first.born)).toEqual(withoutLeads(pod, undefined));
  expect(patched.metadata?.annotations).toMatchObject({
    ...pod.metadata?.annotations,
    ...written(patched, pod.metadata?.annotations ?? {}),
    'breakwater.dev/injected': '0.1.0',
  });
  expect(patched.metadata?.labels).toMatchObject({ ...pod.metadata?.labels, 'breakwater.dev/injected': 'true' });

  // A second pass adds nothing, neither by decision nor by name.
  const again = decide(patched, context);
  expect(again).toMatchObject({ inject: false, reason: 'AlreadyInjected' });
  expect(patchFor(patched, patchContext(first.decision, first.born))).toEqual([]);
  if (first.born) checkBirth(pod, patched, first.born);
}

/** The bootstrap, where it replaces one that was copied from another pod. */
function written(patched: Pod, own: Record<string, string>): Record<string, string> {
  const value = patched.metadata?.annotations?.[BOOTSTRAP_ANNOTATION] ?? '';
  return BOOTSTRAP_ANNOTATION in own && readBootstrap(value).ok ? { [BOOTSTRAP_ANNOTATION]: value } : {};
}

/** What must hold without privileges: nothing of the pod's own is taken, and the sidecar can read what it is born with. */
function checkBirth(pod: Pod, patched: Pod, born: Birth): void {
  const text = patched.metadata?.annotations?.[BOOTSTRAP_ANNOTATION] ?? '';
  expect(readBootstrap(text)).toEqual({ ok: true, bootstrap: born.bootstrap });
  const { capture, entries } = born.bootstrap;
  const used = new Set([...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].flatMap(portsOf));
  const listening = entries.flatMap(({ address, ports }) => ports.map(({ listen }) => `${address}:${listen}`));
  expect(new Set(listening).size).toBe(listening.length);
  for (const { listen } of entries.flatMap(({ ports }) => ports)) expect(used.has(listen)).toBe(false);
  const names = (patched.spec?.hostAliases ?? []).flatMap(({ hostnames }) => hostnames ?? []);
  const before = (pod.spec?.hostAliases ?? []).flatMap(({ hostnames }) => hostnames ?? []);
  expect(new Set(names).size - new Set(before).size).toBe(names.length - before.length);
  expect(names).not.toContain('localhost');
  if (capture === 'explicit') expect(entries.every(({ address }) => address === '127.0.0.1')).toBe(true);
  else expect(born.hostAliases.map(({ ip }) => ip)).toEqual(entries.map(({ address }) => address));
  // Nothing of iptables, so nothing that PodSecurity forbids.
  expect(JSON.stringify(born)).not.toContain('NET_ADMIN');
}

describe('goldens', () => {
  test('there are enough, and none is stale', () => {
    expect(CASES.length).toBeGreaterThanOrEqual(25);
    if (!UPDATE) expect(names('.patch.yaml').sort()).toEqual([...CASES].sort());
  });

  test.each(CASES)('%s', (name) => {
    const file = join(FOLDER, `${name}.patch.yaml`);
    const actual = render(run(readCase(name)));
    if (UPDATE) writeFileSync(file, actual);
    expect(actual).toBe(readFileSync(file, 'utf8'));
  });

  test.each(CASES)('%s keeps what is the user’s, and is injected once', (name) => {
    checkInjected(readCase(name));
  });
});

test('property: whatever the pod, what is the user’s stays and a second pass adds nothing', () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
  const usual = fc.constantFrom(80, 8080, 8081, 15_200, 15_201);
  const variable = fc.constantFrom('BREAKWATER_PAYMENTS_URL', 'BREAKWATER_SHOP_ADDRESS', 'PORT');
  const alias = fc.record({
    ip: fc.constantFrom('127.0.0.1', '127.77.1.1', '192.0.2.1'),
    hostnames: fc.uniqueArray(fc.constantFrom('payments', 'cart.shop', 'api.example.com', 'other'), { maxLength: 1 }),
  });
  const sysctl = fc.record({
    name: fc.constantFrom('net.ipv4.ip_unprivileged_port_start', 'kernel.shm_rmid_forced'),
    value: fc.constantFrom('0', '1024'),
  });
  const container = fc.record(
    {
      name,
      image: fc.constant('a/b:1'),
      ports: fc.array(fc.record({ containerPort: fc.oneof(fc.integer({ min: 1, max: 65_535 }), usual) })),
      env: fc.option(fc.array(fc.record({ name: variable, value: fc.constant('x') })), { nil: null }),
    },
    { requiredKeys: ['name', 'image'] },
  );
  const list = <T>(item: fc.Arbitrary<T>) => fc.option(fc.array(item, { maxLength: 5 }), { nil: null });
  const texts = fc.option(fc.dictionary(fc.string(), fc.string()), { nil: null });
  const distinct = <T>(item: fc.Arbitrary<T>, by: (one: T) => unknown) =>
    fc.option(fc.uniqueArray(item, { selector: by, maxLength: 3 }), { nil: null });
  const pod = fc.record({
    metadata: fc.record({ labels: texts, annotations: texts }, { requiredKeys: [] }),
    spec: fc.record(
      {
        initContainers: list(container),
        containers: fc.array(container, { minLength: 1, maxLength: 5 }),
        volumes: list(fc.record({ name })),
        hostNetwork: fc.boolean(),
        hostAliases: distinct(alias, ({ ip, hostnames }) => `${ip}${hostnames.join('')}`),
        securityContext: fc.option(fc.record({ sysctls: distinct(sysctl, (one) => one.name) }), { nil: null }),
        serviceAccountName: fc.constant('default'),
        resources: fc.option(fc.constant({}), { nil: null }),
      },
      { requiredKeys: ['containers', 'serviceAccountName'] },
    ),
  });
  const capture = fc.constantFrom('auto', 'loopback', 'explicit');
  const level = fc.constantFrom('privileged', 'restricted');
  fc.assert(
    fc.property(pod, capture, level, declared, (one, mode, podSecurityDefault, documents) => {
      const context = {
        namespace: { labels: {}, annotations: {} },
        defaults: { ...DEFAULTS, capture: mode },
        podSecurityDefault,
      };
      checkInjected({ pod: one, context, declarations: declarationsOf(documents) });
    }),
    { numRuns: 600 },
  );
});

/** A few Services of every kind, and ServiceDependencies that select every pod and name them, or hosts, or what is not there. */
const declared = fc
  .record({
    services: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('payments', 'cart', 'localhost', 'db'),
        namespace: fc.constantFrom('shop', 'billing'),
        spec: fc.constantFrom(
          { clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
          { clusterIP: '10.96.0.2', ports: [{ port: 8080 }, { port: 8443, appProtocol: 'https' }] },
          { clusterIP: 'None', ports: [{ port: 8080 }] },
          { clusterIP: '10.96.0.3', ports: [{ port: 8080 }, { port: 53, protocol: 'UDP' }] },
          { type: 'ExternalName', ports: [] },
          { ports: [{ port: 80 }] },
        ),
      }),
      { selector: ({ name, namespace }) => `${namespace}/${name}` },
    ),
    entries: fc.uniqueArray(
      fc.record({
        by: fc.constantFrom('shop', 'team-a', 'shop-team-a'),
        name: fc.constantFrom('payments', 'a', 'team-a-payments', 'shop'),
        to: fc.oneof(
          fc.record({
            service: fc.record({
              name: fc.constantFrom('payments', 'cart', 'localhost', 'db', 'absent'),
              namespace: fc.constantFrom('shop', 'billing'),
              port: fc.constantFrom(80, 8080, 8443),
            }),
          }),
          fc.record({
            host: fc.record({
              name: fc.constantFrom('api.example.com', 'cart.shop'),
              port: fc.constantFrom(80, 443, 8080),
            }),
          }),
        ),
      }),
      { selector: ({ by, name }) => `${by}/${name}`, maxLength: 8 },
    ),
  })
  .map(({ services, entries }) => [
    ...services.map(({ name, namespace, spec }) => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec,
    })),
    ...[...Map.groupBy(entries, ({ by }) => by)].map(([name, own]) => ({
      apiVersion: 'breakwater.dev/v1alpha1',
      kind: 'ServiceDependency',
      metadata: { name, namespace: 'shop' },
      spec: { consumer: { selector: {} }, dependsOn: own.map(({ name: entry, to }) => ({ name: entry, ...to })) },
    })),
  ]);
