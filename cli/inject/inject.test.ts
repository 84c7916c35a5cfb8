// Manifests with sidecars in them: what changes, what stays byte for byte, and that it is what the webhook would have done.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml, stringify } from 'yaml';
import { toServiceDependency, toWorldService } from '../../operator/compile/objects.ts';
import { service, serviceDependency } from '../../operator/compile/testing.ts';
import { injectionDefaults } from '../../operator/config.ts';
import { applyPatch } from '../../operator/inject/apply-patch.ts';
import { Declarations } from '../../operator/inject/declared.ts';
import { defaultSettings } from '../../operator/inject/settings.ts';
import { OPERATOR_VERSION } from '../../operator/version.ts';
import { expectGolden } from '../../test/harness/golden.ts';
import { readManifests } from '../manifests/document.ts';
import { UsageError } from '../usage-error.ts';
import { type Change, editManifests } from './edit.ts';
import { type InjectContext, injectText } from './inject.ts';
import { DEFAULT_OPERATOR_URL, installationFromValues } from './installation.ts';

const testdata = join(import.meta.dirname, 'testdata');
const CA = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
const payments = toWorldService(service('payments'));
const dependency = toServiceDependency(serviceDependency('checkout'));

function contextWith(values: object = {}, labels: Record<string, string> = {}): InjectContext {
  const declarations = new Declarations({
    serviceDependencies: () => ('model' in dependency ? [dependency.model] : []),
    service: (namespace, name) => (namespace === 'shop' && name === 'payments' ? payments : undefined),
  });
  return {
    installation: installationFromValues(values, DEFAULT_OPERATOR_URL, CA),
    namespace: 'shop',
    namespaceOf: () => ({ labels, annotations: {} }),
    declared: (namespace, podLabels) => declarations.of(namespace, podLabels),
  };
}

const DEPLOYMENT = `apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout, namespace: shop}   # as it was
spec:
  template:
    metadata: {labels: {app: checkout}}
    spec:
      containers:
      # the application
      - name: app
        image: app
`;
const OTHER = `apiVersion: v1
kind: ConfigMap
metadata: { name:   odd }
data:
    a:   010
`;

describe('injected', () => {
  it.each(['iptables', 'loopback', 'explicit'] as const)('by capture %s', (capture) => {
    const { text, notes } = injectText(DEPLOYMENT, contextWith({ sidecar: { capture } }));
    expectGolden(join(testdata, `${capture}.expected.yaml`), text);
    expect(notes).toEqual([
      { object: 'Deployment shop/checkout', what: 'injected', isQuiet: true, message: `injected, capture ${capture}` },
    ]);
  });

  it('by what PodSecurity of the namespace allows', () => {
    const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    expect(injectText(DEPLOYMENT, contextWith({}, restricted)).notes[0]?.message).toBe('injected, capture loopback');
    expect(injectText(DEPLOYMENT, contextWith({})).notes[0]?.message).toBe('injected, capture iptables');
  });

  it('would be more than the API server takes: left as it is, as the webhook leaves it', () => {
    const note = 'x'.repeat(256 * 1024 - 60);
    const large = DEPLOYMENT.replace('metadata: {labels', `metadata: {annotations: {a: ${note}}, labels`);
    const { text, notes } = injectText(large, contextWith());
    expect(text).toBe(large);
    expect(notes).toMatchObject([
      {
        what: 'skipped',
        isQuiet: false,
        message: expect.stringMatching(/^its annotations would have .*\(PodTooLarge\)$/),
      },
    ]);
  });

  it('again is as it was', () => {
    for (const capture of ['iptables', 'loopback', 'explicit']) {
      const context = contextWith({ sidecar: { capture } });
      const once = injectText(`${OTHER}---\n${DEPLOYMENT}`, context).text;
      const twice = injectText(once, context);
      expect(twice.text).toBe(once);
      expect(twice.notes).toMatchObject([{ what: 'skipped', isQuiet: true }]);
    }
  });

  it.each([
    ['StatefulSet', 'apps/v1', ['spec', 'template']],
    ['DaemonSet', 'apps/v1', ['spec', 'template']],
    ['ReplicaSet', 'apps/v1', ['spec', 'template']],
    ['ReplicationController', 'v1', ['spec', 'template']],
    ['Job', 'batch/v1', ['spec', 'template']],
    ['CronJob', 'batch/v1', ['spec', 'jobTemplate', 'spec', 'template']],
    ['Pod', 'v1', []],
  ] as const)('is a %s', (kind, apiVersion, path) => {
    const pod = { metadata: { labels: { app: 'checkout' } }, spec: { containers: [{ name: 'app' }] } };
    const object = {
      apiVersion,
      kind,
      metadata: { name: 'a' },
      ...path.reduceRight<object>((inner, name) => ({ [name]: inner }), pod),
    };
    if (kind === 'Pod') Object.assign(object, { metadata: { name: 'a', labels: { app: 'checkout' } } });
    const { text } = injectText(stringify(object), contextWith());
    const injected = path.reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], parseYaml(text));
    expect(injected).toMatchObject({
      spec: { initContainers: [{ name: 'breakwater-capture' }, { name: 'breakwater' }] },
    });
  });
});

describe('everything else', () => {
  it('stays as it was, byte for byte, between and around', () => {
    const text = `# first\n---\n${OTHER}\n--- # second\n${DEPLOYMENT}---\n\n# nothing\n---\n${OTHER}`;
    const injected = injectText(text, contextWith()).text;
    expect(injected.startsWith(`# first\n---\n${OTHER}\n---`)).toBe(true);
    expect(injected.endsWith(`---\n\n# nothing\n---\n${OTHER}`)).toBe(true);
    expect(injected).toContain('# second');
    expect(injected).toContain('# as it was');
    expect(injected).toContain('      # the application\n      - name: app\n        image: app\n');
  });

  it('keeps its order in a List, and JSON stays JSON', () => {
    const items = [parseYaml(OTHER), parseYaml(DEPLOYMENT), parseYaml(OTHER)] as object[];
    const list = { apiVersion: 'v1', kind: 'List', items };
    const { text } = injectText(JSON.stringify(list), contextWith());
    const injected = JSON.parse(text) as { items: object[] };
    expect(injected.items.map((item) => Reflect.get(item, 'kind') as string)).toEqual([
      'ConfigMap',
      'Deployment',
      'ConfigMap',
    ]);
    expect(injected.items[0]).toEqual(items[0]);
    expect(injected.items[1]).not.toEqual(items[1]);
    expect(injectText(stringify(list), contextWith()).text).toContain('breakwater-capture');
  });

  it('is not changed through an alias', () => {
    const text = `apiVersion: v1\nkind: List\nshared: &pod {metadata: {labels: {app: checkout}}, spec: {containers: [{name: app}]}}\nitems:\n- {apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: *pod}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: *pod}\n`;
    const injected = parseYaml(injectText(text, contextWith()).text) as {
      shared: object;
      items: { spec?: object; data?: object }[];
    };
    expect(injected.items[0]?.spec).toMatchObject({
      template: { spec: { initContainers: expect.any(Array) as unknown } },
    });
    expect(injected.shared).toEqual({
      metadata: { labels: { app: 'checkout' } },
      spec: { containers: [{ name: 'app' }] },
    });
    expect(injected.items[1]?.data).toEqual(injected.shared);
  });
});

describe('what is not injected is told with its reason', () => {
  it.each([
    [
      'a pod of the host network',
      DEPLOYMENT.replace('    spec:\n', '    spec:\n      hostNetwork: true\n'),
      'HostNetwork',
      false,
    ],
    [
      'one that refuses',
      DEPLOYMENT.replace('{app: checkout}', '{app: checkout, breakwater.dev/injection: disabled}'),
      'OptedOut',
      true,
    ],
    [
      'an annotation that cannot be read',
      DEPLOYMENT.replace('{labels:', '{annotations: {breakwater.dev/admin-port: x}, labels:'),
      'MalformedAnnotation',
      false,
    ],
    [
      'a kind that is not known',
      DEPLOYMENT.replace('apps/v1', 'argoproj.io/v1alpha1'),
      'its kind is not known here',
      false,
    ],
  ])('%s', (_, text, reason, isQuiet) => {
    const injected = injectText(text, contextWith());
    expect(injected.text).toBe(text);
    expect(injected.notes).toMatchObject([
      { what: 'skipped', isQuiet, message: expect.stringContaining(reason) as string },
    ]);
  });

  it.each([
    ['nobody selects', DEPLOYMENT.replace('app: checkout', 'app: other'), /no ServiceDependency selects it/],
    ['lead nowhere', DEPLOYMENT, /calls to shop\/payments pass by the sidecar \(NotThere\)/],
  ])('calls that %s', (_, text, message) => {
    const context = { ...contextWith({ sidecar: { capture: 'loopback' } }) };
    const nowhere = new Declarations({
      serviceDependencies: () => ('model' in dependency ? [dependency.model] : []),
      service: () => undefined,
    });
    const { notes } = injectText(text, { ...context, declared: (namespace, labels) => nowhere.of(namespace, labels) });
    expect(notes).toMatchObject([
      { what: 'injected' },
      { what: 'lacking', isQuiet: false, message: expect.stringMatching(message) as string },
    ]);
  });
});

describe('the values of the chart', () => {
  it('have the defaults of the chart', () => {
    const chart = parseYaml(
      readFileSync(join(import.meta.dirname, '../../charts/breakwater/values.yaml'), 'utf8'),
    ) as object;
    expect(installationFromValues(chart, DEFAULT_OPERATOR_URL, CA)).toEqual(
      installationFromValues(undefined, DEFAULT_OPERATOR_URL, CA),
    );
  });

  it('become the settings that the operator has of them', () => {
    const sidecar = {
      image: 'registry/sidecar@sha256:0',
      imagePullPolicy: 'Always' as const,
      logLevel: 'debug' as const,
      resources: { limits: { cpu: 1 } },
      capture: 'explicit' as const,
      outboundPort: 1,
      adminPort: 2,
      controlPort: 3,
      explicitPortsFrom: 4,
    };
    const values = {
      sidecar: {
        image: { repository: 'registry/sidecar', digest: 'sha256:0', pullPolicy: 'Always' },
        logLevel: 'debug',
        resources: { limits: { cpu: 1 } },
        capture: 'explicit',
        ports: { outbound: 1, admin: 2, control: 3, explicitFrom: 4 },
      },
      podSecurityDefault: 'baseline',
      clusterDomain: 'example.org',
    };
    expect(installationFromValues(values, 'https://operator', CA)).toEqual({
      defaults: injectionDefaults(sidecar),
      imagePullPolicy: 'Always',
      podSecurityDefault: 'baseline',
      clusterDomain: 'example.org',
      operatorUrl: 'https://operator',
      caBundle: CA,
      version: OPERATOR_VERSION,
    });
  });

  it('that do not fit are told with their names', () => {
    expect(() => installationFromValues({ sidecar: { capture: 'ebpf' } }, '', CA)).toThrow(UsageError);
    expect(() => installationFromValues({ sidecar: { capture: 'ebpf' } }, '', CA)).toThrow(/sidecar\.capture: /);
  });

  it('leave nothing of a pod unset', () => {
    const { defaults } = installationFromValues(undefined, '', CA);
    expect(Object.keys(defaults).sort()).toEqual(Object.keys(defaultSettings()).sort());
  });
});

const word = fc.constantFrom(
  'a',
  'yes',
  '010',
  'x: y',
  '# no',
  '',
  'ä',
  '- b',
  'null',
  '"',
  "it's",
  'line\nbreak\n',
  '  indented\n more',
);
const node: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  node: fc.oneof({ maxDepth: 3 }, word, fc.integer(), fc.boolean(), fc.constant(null), tie('list'), tie('map')),
  list: fc.array(tie('node'), { maxLength: 3 }),
  map: fc.dictionary(fc.constantFrom('a', 'b-c', 'yes', 'd/e', '~'), tie('node'), { maxKeys: 3 }),
})).node;

describe('for any manifest', () => {
  it('an edit does to the text what the patch does to the object', () => {
    const operations = fc.constantFrom<ReturnType<Change>>(
      [{ op: 'add', path: '/metadata/labels/x~1y', value: 'yes' }],
      [
        { op: 'add', path: '/list/0', value: { name: 'first', text: 'a\nb\n' } },
        { op: 'add', path: '/list/-', value: ['last'] },
      ],
      [{ op: 'add', path: '/made/on/the/way', value: 1 }],
      [{ op: 'add', path: '/metadata', value: { labels: {} } }],
    );
    fc.assert(
      fc.property(
        fc.array(node, { maxLength: 3 }),
        node,
        operations,
        fc.boolean(),
        fc.boolean(),
        (list, rest, change, flush, json) => {
          const object = { kind: 'A', metadata: { labels: {} }, made: { on: { the: {} } }, list, rest };
          const text = json ? JSON.stringify(object) : stringify(object, { version: '1.1', indentSeq: !flush });
          const edited = readManifests(
            editManifests(text, () => change),
            'a',
          );
          expect(edited.problems).toEqual([]);
          expect(edited.objects[0]?.raw).toEqual(applyPatch(object, change));
        },
      ),
      { numRuns: 300 },
    );
  });
});
