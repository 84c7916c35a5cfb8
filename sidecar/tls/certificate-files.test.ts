import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { CertificateFile } from '../../plan/certificates.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { CertificateFiles } from './certificate-files.ts';

const FILE: CertificateFile = { object: { kind: 'ConfigMap', name: 'partners' }, key: 'ca.crt' };

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'breakwater-certificates-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** As the kubelet does it: a new folder, and a link that is swapped. */
async function publish(version: string, text: string | null): Promise<void> {
  const data = join(folder, `..${version}`);
  await mkdir(join(data, 'configmap/partners'), { recursive: true });
  if (text !== null) await writeFile(join(data, 'configmap/partners/ca.crt'), text);
  await symlink(`..${version}`, join(folder, '..data_tmp'));
  await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  if (version === '1') await symlink('..data/configmap', join(folder, 'configmap'));
}

it('reads what the kubelet has published, and tells of what it publishes anew', async () => {
  const clock = new ManualClock();
  const files = new CertificateFiles({ directory: folder, clock });
  let changes = 0;
  files.onChange(() => changes++);
  files.start();
  expect(files.read(FILE)).toBeNull();
  await publish('1', 'one');
  await clock.advance(5_000);
  expect([files.read(FILE), changes]).toEqual(['one', 1]);
  await publish('2', 'two');
  expect(files.read(FILE)).toBe('one');
  await clock.advance(5_000);
  expect([files.read(FILE), changes]).toEqual(['two', 2]);
  await clock.advance(60_000);
  expect(changes).toBe(2);
  await publish('3', null);
  await clock.advance(5_000);
  expect([files.read(FILE), changes]).toEqual([null, 3]);
  files.close();
  await publish('4', 'four');
  await clock.advance(60_000);
  expect(changes).toBe(3);
});

it('forgets what nobody wants any more, and reads it anew where somebody does again', async () => {
  const clock = new ManualClock();
  const other: CertificateFile = { object: { kind: 'Secret', name: 'client' }, key: 'tls.key' };
  await publish('1', 'one');
  await mkdir(join(folder, 'secret/client'), { recursive: true });
  await writeFile(join(folder, 'secret/client/tls.key'), 'old');
  const files = new CertificateFiles({ directory: folder, clock });
  let changes = 0;
  files.onChange(() => changes++);
  files.start();
  expect([files.read(FILE), files.read(other)]).toEqual(['one', 'old']);
  files.keepOnly([FILE]);
  await writeFile(join(folder, 'secret/client/tls.key'), 'new');
  await clock.advance(5_000);
  expect(changes).toBe(0);
  expect([files.read(FILE), files.read(other)]).toEqual(['one', 'new']);
  await publish('2', 'two');
  await clock.advance(5_000);
  expect([files.read(FILE), changes]).toEqual(['two', 1]);
  files.close();
});

it('has nothing where nothing was mounted', () => {
  const files = new CertificateFiles({ directory: null, clock: new ManualClock() });
  files.start();
  expect(files.read(FILE)).toBeNull();
  files.close();
});

it('takes no file that is larger than any bundle', async () => {
  await publish('1', 'x'.repeat(1024 * 1024 + 1));
  expect(new CertificateFiles({ directory: folder, clock: new ManualClock() }).read(FILE)).toBeNull();
});
