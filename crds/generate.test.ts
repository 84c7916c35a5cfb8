import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { differences, generatedFiles, NOTES, write } from './generate.ts';
import { kinds } from './registry.ts';
import { rawSchema, type SchemaNode } from './structural.ts';

const definition = 'crds/manifests/breakwater.dev_resiliencepolicies.yaml';
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'breakwater-generate-'));
  await mkdir(join(root, 'crds'));
  await cp(join(import.meta.dirname, 'testdata'), join(root, 'crds/testdata'), { recursive: true });
  await cp(join(import.meta.dirname, '../examples'), join(root, 'examples'), { recursive: true });
});

afterEach(() => rm(root, { recursive: true }));

test('what is committed is what the schemas say', async () => {
  expect(await differences(await generatedFiles())).toEqual([]);
});

test('what was written is no difference', async () => {
  const files = await generatedFiles(root);
  await write(files, root);
  expect(await differences(files, root)).toEqual([]);
});

test('a missing, a changed and a stale file are differences, and writing mends them', async () => {
  const files = await generatedFiles(root);
  await write(files, root);
  await rm(join(root, 'docs/crd-reference.md'));
  await writeFile(join(root, definition), `${await readFile(join(root, definition), 'utf8')}# changed\n`);
  await writeFile(join(root, 'charts/breakwater/files/crds/breakwater.dev_olds.yaml'), '');
  expect(await differences(files, root)).toEqual([
    `${definition} is not what the schemas say`,
    'docs/crd-reference.md is missing',
    'charts/breakwater/files/crds/breakwater.dev_olds.yaml belongs to no kind',
  ]);
  await write(files, root);
  expect(await differences(files, root)).toEqual([]);
});

test('the chart has the same definitions as the manifests', async () => {
  const files = await generatedFiles(root);
  const chart = definition.replace('crds/manifests', 'charts/breakwater/files/crds');
  expect(files.get(chart)).toBe(files.get(definition));
  expect(parse(files.get(chart) ?? '')).toMatchObject({
    kind: 'CustomResourceDefinition',
    metadata: { annotations: { 'helm.sh/resource-policy': 'keep' } },
  });
});

test('every field is in the reference', async () => {
  const reference = (await generatedFiles(root)).get('docs/crd-reference.md') ?? '';
  const names = (node: SchemaNode): string[] => [
    ...Object.keys(node.properties ?? {}),
    ...[...Object.values(node.properties ?? {}), ...(node.items ? [node.items] : [])].flatMap(names),
  ];
  for (const kind of kinds) {
    for (const name of [...names(rawSchema(kind.spec)), ...names(rawSchema(kind.status))])
      expect(reference).toContain(`| \`${name}\``);
  }
});

test('a block of the reference has an example, and leads to what explains it', async () => {
  const reference = (await generatedFiles(root)).get('docs/crd-reference.md') ?? '';
  const timeouts = reference.split('### ResiliencePolicy spec.timeouts\n')[1]?.split('\n### ')[0] ?? '';
  expect(timeouts).toContain('See [Deadline](concepts.md#deadline).');
  expect(timeouts).toContain('For example ([examples/timeouts.yaml](../examples/timeouts.yaml)):');
  expect(timeouts).toContain('timeouts: {request: 2s, attempt: 1s, connect: 300ms}');
  expect(reference).toContain('| `timeouts` | [object](#resiliencepolicy-spectimeouts) |');
});

test('every note of the generator finds its heading', async () => {
  const reference = (await generatedFiles(root)).get('docs/crd-reference.md') ?? '';
  for (const heading of Object.keys(NOTES)) expect(reference).toContain(`### ${heading}\n`);
});
