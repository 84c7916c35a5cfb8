// kubectl and a real API server read every example, and every manifest that a page shows, as we do: they accept it, and keep every field.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allBlocks, whereIs } from './docs/pages.ts';
import { exampleFiles, manifestsOf, readText, root } from './examples.ts';
import { type ControlPlane, startControlPlane } from './harness/control-plane.ts';

let server: ControlPlane;

async function kubectl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await server.kubectl(args);
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

beforeAll(async () => {
  server = await startControlPlane();
  await kubectl('apply', '-f', join(root, 'crds/manifests'));
  await kubectl('wait', '--for=condition=Established', '--timeout=30s', '-f', join(root, 'crds/manifests'));
  await kubectl('apply', '-f', join(root, 'examples/shop.yaml'));
  // What is only tried makes no namespace for what comes after it.
  const namespaces = manifestsOf(readText('examples/restricted.yaml')).filter(({ kind }) => kind === 'Namespace');
  for (const { metadata } of namespaces) await kubectl('create', 'namespace', metadata.name);
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

  const manifests = allBlocks().filter(({ language }) => language === 'yaml');
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
