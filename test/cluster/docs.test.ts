// Whatever the pages tell a reader to do on a cluster is done here, in their order, and shows what they show. What needs no cluster is
// done by test/docs/read-through.test.ts.
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { kindOf } from '../docs/kinds.ts';
import { allBlocks, blocksOfPage } from '../docs/pages.ts';
import { readThrough } from '../docs/read-through.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { kubectl } from './harness/kube.ts';
import { installBreakwater, RELEASE, SYSTEM_NAMESPACE } from './install.ts';
import { eventually, run } from './shell.ts';

const NAMESPACES = ['shop', 'billing', SYSTEM_NAMESPACE];
const DEFINITIONS = ['servicedependencies.breakwater.dev', 'resiliencepolicies.breakwater.dev'];

/** What the reader of a page has already, beside an empty cluster. */
const PREPARED: Readonly<Record<string, readonly string[]>> = {
  // A shop, with Breakwater.
  'docs/cli.md': [
    'helm install breakwater charts/breakwater --namespace breakwater-system --create-namespace --wait',
    'kubectl apply -f examples/shop.yaml -f examples/shop-workloads.yaml -f examples/complete.yaml',
  ],
  // A shop that knows nothing of Breakwater.
  'docs/operations.md': [
    'kubectl create namespace shop && kubectl create namespace billing && kubectl apply -f examples/shop-workloads.yaml',
  ],
};

const programs = temporaryFolder('docs-programs');

/** As on the day the reader got the cluster. */
async function emptyCluster(): Promise<void> {
  const releases = await run('helm', ['list', '-n', SYSTEM_NAMESPACE, '-q']);
  if (releases.trim() !== '')
    await run('helm', ['uninstall', RELEASE, '-n', SYSTEM_NAMESPACE, '--wait', '--timeout=180s']);
  await kubectl('delete', 'crd', ...DEFINITIONS, '--ignore-not-found', '--timeout=180s');
  await kubectl('delete', 'namespace', ...NAMESPACES, '--ignore-not-found', '--wait=true', '--timeout=240s');
}

beforeAll(() => {
  for (const program of ['docker', 'kind']) {
    const file = join(programs, program);
    const standIn = join(import.meta.dirname, 'stand-in.ts');
    writeFileSync(file, `#!/bin/sh\nexec '${process.execPath}' '${standIn}' ${program} "$@"\n`);
    chmodSync(file, 0o755);
  }
});
beforeEach(emptyCluster, 420_000);
afterAll(async () => {
  rmSync(programs, { recursive: true });
  await emptyCluster();
  await installBreakwater(run);
}, 600_000);

const blocks = allBlocks();
const pages = [...new Set(blocks.filter((block) => kindOf(block, blocks) === 'cluster').map(({ page }) => page))];

test('there is something to do on a cluster', () => {
  expect(pages).toEqual(expect.arrayContaining(['README.md', 'docs/tutorial.md', 'docs/operations.md']));
});

test.each(pages)(
  'a reader of %s finds that it holds',
  async (page) => {
    for (const command of PREPARED[page] ?? []) {
      // The definitions take a moment until objects of theirs are taken.
      await eventually(
        command,
        20_000,
        () => run('sh', ['-c', command], { cwd: join(import.meta.dirname, '../..') }),
        500,
      );
    }
    await readThrough(blocksOfPage(page), {
      kind: 'cluster',
      environment: { PATH: `${programs}:${process.env['PATH'] ?? ''}` },
    });
  },
  400_000,
);
