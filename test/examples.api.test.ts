// kubectl and a real API server read every example as we do: they accept it, and keep every field of it.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
});
afterAll(() => server?.stop());

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
      const stored = JSON.parse(output) as { items?: object[] };
      const specs = (objects: readonly object[]) =>
        objects
          .filter((one) => (one as { apiVersion: string }).apiVersion.startsWith('breakwater.dev/'))
          .map((one) => (one as { spec: object }).spec);
      expect(specs(stored.items ?? [stored])).toEqual(specs(manifestsOf(readText(`examples/${file}`))));
    },
  );
});
