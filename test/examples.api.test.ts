// kubectl and a real API server read every example, and every manifest that a page shows, as we do: they accept it, and keep every field.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allBlocks, whereIs } from './docs/pages.ts';
import { exampleFiles, manifestsOf, readText, root } from './examples.ts';
import type { UsedControlPlane } from './harness/control-plane.ts';
import { useControlPlane } from './harness/shared-control-plane.ts';

let server: UsedControlPlane;
const manifests = allBlocks().filter(({ language }) => language === 'yaml');

async function kubectl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await server.kubectl(args);
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

beforeAll(async () => {
  server = await useControlPlane();
  await kubectl('apply', '-f', join(root, 'crds/manifests'));
  await kubectl('wait', '--for=condition=Established', '--timeout=30s', '-f', join(root, 'crds/manifests'));
  await kubectl('apply', '-f', join(root, 'examples/shop.yaml'));
  for (const name of namespacesNamed()) await kubectl('create', 'namespace', name);
});
afterAll(() => server?.stop());

const specsOf = (objects: readonly object[]): object[] =>
  objects
    .filter((one) => (one as { apiVersion: string }).apiVersion.startsWith('breakwater.dev/'))
    .map((one) => (one as { spec: object }).spec);

function specsIn(output: string): object[] {
  const stored = JSON.parse(output) as { items?: object[] };
  return specsOf(stored.items ?? [stored]);
}

/** Those that do not exist yet: what is only tried makes no namespace for what comes after it. */
function namespacesNamed(): Set<string> {
  const shown = manifests.map(({ text }) => text);
  const read = [...exampleFiles().map((file) => readText(`examples/${file}`)), ...shown].flatMap(manifestsOf);
  const names = read.map(({ kind, metadata }) => (kind === 'Namespace' ? metadata.name : metadata.namespace));
  const present = manifestsOf(readText('examples/shop.yaml')).filter(({ kind }) => kind === 'Namespace');
  const known = new Set([undefined, 'default', ...present.map(({ metadata }) => metadata.name)]);
  return new Set(names.filter((name): name is string => !known.has(name)));
}

describe('kubectl', () => {
  it.each([...exampleFiles(), 'standalone/shop.yaml', 'standalone/policy.yaml'])(
    'accepts %s and reads it as we do',
    async (file) => {
      const output = await kubectl(
        'apply',
        '--validate=strict',
        '--dry-run=server',
        '-o',
        'json',
        '-f',
        join(root, 'examples', file),
      );
      expect(specsIn(output)).toEqual(specsOf(manifestsOf(readText(`examples/${file}`))));
    },
  );

  it.each(manifests.map((block) => [whereIs(block), block.text] as const))(
    'accepts what %s shows, and reads it as we do',
    async (_, text) => {
      const { code, stdout, stderr } = await server.kubectl(
        ['apply', '--validate=strict', '--dry-run=server', '-o', 'json', '-f', '-'],
        text,
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(specsIn(stdout)).toEqual(specsOf(manifestsOf(text)));
    },
  );
});
