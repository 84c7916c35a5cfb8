import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createFolderStore } from './folder-store.ts';

describe('a folder', () => {
  async function folder(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'breakwater-certificates-'));
    onTestFinished(() => rm(path, { recursive: true, force: true }));
    return join(path, 'state');
  }

  test('keeps the document for its owner alone, and only one creator wins', async () => {
    const path = await folder();
    const stores = [1, 2, 3, 4, 5].map(() => createFolderStore(path));
    const won = await Promise.all(stores.map((store, index) => store.write(`document ${index}`, 'bundle', undefined)));
    expect(won.filter(Boolean)).toHaveLength(1);
    expect((await stat(join(path, 'certificates.json'))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(path, 'ca.crt'), 'utf8')).toBe('bundle');
    expect((await stores[0]?.read())?.text).toBe(`document ${won.indexOf(true)}`);
  });

  test('a stale writer loses', async () => {
    const path = await folder();
    const store = createFolderStore(path);
    expect(await store.read()).toBeUndefined();
    await store.write('one', '', undefined);
    const seen = await store.read();
    await writeFile(join(path, 'certificates.json'), 'two');
    expect(await store.write('three', '', seen)).toBe(false);
    expect(await store.write('three', '', await store.read())).toBe(true);
    expect((await store.read())?.text).toBe('three');
  });
});
