// The chart: what helm renders of it, whom it lets do what, and which values it refuses. Set UPDATE_GOLDEN=1 to write the goldens anew.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { api, kubectl } from './harness/kube.ts';
import { CHART, installBreakwater, SYSTEM_NAMESPACE } from './install.ts';
import { CommandError, run } from './shell.ts';

const GOLDENS = join(import.meta.dirname, 'testdata', 'chart');
const CASES: Record<string, string[]> = {
  defaults: [],
  everything: [
    '--set=operator.replicas=3',
    '--set=networkPolicy.enabled=true',
    '--set=podMonitor.enabled=true',
    '--set=podMonitor.labels.release=prometheus',
    '--set=prometheusRule.enabled=true',
    '--set=prometheusRule.labels.release=prometheus',
    '--api-versions=monitoring.coreos.com/v1',
    '--set=webhook.failurePolicy=Fail',
    '--set=webhook.excludedNamespaces={payments,legacy}',
    '--set=operator.image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000',
    '--set=imagePullSecrets[0].name=registry',
    '--set=operator.nodeSelector.pool=system',
    '--set=operator.priorityClassName=system-cluster-critical',
    '--set=sidecar.ports.admin=16102',
    '--set=podSecurityDefault=baseline',
  ],
  bare: [
    '--set=crds.install=false',
    '--set=dashboard.enabled=false',
    '--set=podDisruptionBudget.enabled=false',
    '--set=nameOverride=bw',
  ],
};

interface Rendered {
  kind: string;
  metadata: { name: string; annotations?: Record<string, string> };
  rules?: { apiGroups: string[]; resources: string[]; verbs: string[]; resourceNames?: string[] }[];
}

const renderAs = (release: string, namespace: string, ...args: string[]) =>
  run('helm', ['template', release, CHART, '--namespace', namespace, '--kube-version=1.36.0', ...args]);
const render = (...args: string[]) => renderAs('breakwater', SYSTEM_NAMESPACE, ...args);

const documents = (text: string): Rendered[] =>
  parseAllDocuments(text)
    .map((document) => document.toJS() as Rendered | null)
    .filter((object) => object !== null);

/** What is long and has tests of its own is left out of the goldens. */
function abridged(text: string): string {
  return text
    .split(/^---\n/m)
    .filter((part) => !/^kind: (CustomResourceDefinition)$/m.test(part))
    .map((part) => part.replace(/^ {2}breakwater\.json: \|\n(?: {4}.*\n|\n)*/m, '  breakwater.json: …\n'))
    .map((part) => part.replace(/^ {2}groups:\n(?: {2}.*\n|\n)*/m, '  groups: …\n'))
    .join('---\n');
}

test('helm lint finds nothing to complain about', async () => {
  const printed = await run('helm', ['lint', CHART, '--strict', '--kube-version=1.36.0']);
  expect(printed).toContain('0 chart(s) failed');
});

describe.each(Object.entries(CASES))('values %s', (name, values) => {
  test('are rendered as ever', async () => {
    const rendered = abridged(await render(...values));
    const file = join(GOLDENS, `${name}.yaml`);
    if (process.env['UPDATE_GOLDEN'] === '1') await writeFile(file, rendered);
    expect(rendered).toBe(await readFile(file, 'utf8'));
  });

  test('make objects that the API server accepts', async () => {
    const text = await render(...values);
    const known = documents(text).filter(({ kind }) => kind !== 'PodMonitor' && kind !== 'PrometheusRule');
    await run('kubectl', ['apply', '--dry-run=server', '--validate=strict', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: known }),
    });
  });
});

/** Paths of the names and labels in there that are no text. */
function notText(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, field]) => {
    const isText =
      /^(name|namespace|priorityClassName|image)$/.test(key) || /(labels|matchLabels|selector)$/.test(path);
    const isWrong = isText && typeof field !== 'string' && typeof field !== 'object';
    return isWrong ? [`${path}.${key}: ${String(field)}`] : notText(field, `${path}.${key}`);
  });
}

test.each([
  ['123', '456', '1e3'],
  ['true', 'on', 'null'],
])(
  'release %s in namespace %s, called %s: text stays text, as the API server wants it',
  async (release, namespace, name) => {
    const text = await renderAs(
      release,
      namespace,
      `--set-string=nameOverride=${name},operator.priorityClassName=1000`,
      '--set=crds.install=false,networkPolicy.enabled=true,podMonitor.enabled=true',
      '--api-versions=monitoring.coreos.com/v1',
    );
    // As kubectl and helm read it.
    const objects = parseAllDocuments(text, { version: '1.1' }).map((document) => document.toJS() as Rendered | null);
    expect(objects.length).toBeGreaterThan(10);
    expect(objects.flatMap((object) => notText(object, object?.kind ?? ''))).toEqual([]);
  },
);

test('the rights are those that are needed: no wildcard, no Secret but its own, nothing written but status and events', async () => {
  const roles = documents(await render()).filter(
    ({ kind, metadata }) => kind.endsWith('Role') && metadata.name === 'breakwater-operator',
  );
  expect(roles.map(({ kind }) => kind).sort()).toEqual(['ClusterRole', 'Role']);
  const writable = new Set<string>();
  for (const { kind, rules = [] } of roles) {
    for (const { apiGroups, resources, verbs, resourceNames } of rules) {
      expect([...apiGroups, ...resources, ...verbs]).not.toContain('*');
      if (resources.some((resource) => resource.endsWith('/status'))) expect(verbs).toEqual(['patch']);
      if (resources.includes('secrets')) expect([kind, resourceNames]).toEqual(['Role', ['breakwater-certificates']]);
      const writes = verbs.some((verb) => !['get', 'list', 'watch'].includes(verb));
      if (writes)
        for (const resource of resources) writable.add(`${resource}${resourceNames ? ` ${resourceNames.join()}` : ''}`);
    }
  }
  expect([...writable].sort()).toEqual([
    'events',
    'leases',
    'leases breakwater-operator',
    'mutatingwebhookconfigurations breakwater-injector',
    'resiliencepolicies/status',
    'secrets breakwater-certificates',
    'servicedependencies/status',
    'tokenreviews',
  ]);
});

test('the definitions stay when the release goes', async () => {
  const definitions = documents(await render()).filter(({ kind }) => kind === 'CustomResourceDefinition');
  expect(definitions).toHaveLength(2);
  for (const { metadata } of definitions) expect(metadata.annotations?.['helm.sh/resource-policy']).toBe('keep');
});

test('an upgrade of the release upgrades the definitions', async () => {
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/servicedependencies.breakwater.dev';
  type Definition = { spec: { names: { shortNames?: string[] } } };
  // As an older version might have left it.
  await api('PATCH', path, [{ op: 'remove', path: '/spec/names/shortNames' }], 'application/json-patch+json');
  expect((await api<Definition>('GET', path)).spec.names.shortNames).toBeUndefined();
  await installBreakwater(run);
  expect((await api<Definition>('GET', path)).spec.names.shortNames).toEqual(['sdep']);
}, 150_000);

test.each([
  ['a value that does not exist', '--set=sidecar.replicas=3', 'replicas'],
  ['a value out of its range', '--set=webhook.timeoutSeconds=60', 'timeoutSeconds'],
  ['a word that is none of those allowed', '--set=webhook.failurePolicy=Maybe', 'failurePolicy'],
  ['text in the place of a number', '--set-string=sidecar.ports.admin=http', 'admin'],
])('%s is refused by name', async (_what, value, named) => {
  const refusal = await render(value).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(refusal).toBeInstanceOf(CommandError);
  expect((refusal as CommandError).stderr).toContain(named);
});

test('whoever may edit a namespace may edit its dependencies and policies; whoever may view it may see them', async () => {
  const may = async (verb: string, role: string) => {
    const user = `test-${role}`;
    await kubectl('create', 'rolebinding', user, '-n', 'default', `--clusterrole=${role}`, `--user=${user}`);
    try {
      const printed = await kubectl(
        'auth',
        'can-i',
        verb,
        'resiliencepolicies.breakwater.dev',
        '-n',
        'default',
        `--as=${user}`,
      ).catch((error: CommandError) => error.stdout);
      return printed.trim();
    } finally {
      await kubectl('delete', 'rolebinding', user, '-n', 'default');
    }
  };
  expect(await may('create', 'edit')).toBe('yes');
  expect(await may('list', 'view')).toBe('yes');
  expect(await may('create', 'view')).toBe('no');
});
