// Loads images into the cluster's containerd, where `imagePullPolicy: Never` or `IfNotPresent` finds them.
//   node test/cluster/kubernetes/load-image.ts FILE…      FILE: what `buildah push NAME docker-archive:FILE:NAME` or `docker save` wrote
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../shell.ts';
import { type Cache, cacheLayout, stateDirectory } from './layout.ts';

interface ArchivedImage {
  tag: string;
  /** Digest of the image's configuration: two archives with the same one hold the same image. */
  config: string;
}

async function imagesIn(archive: string): Promise<ArchivedImage[]> {
  const manifest = JSON.parse(await run('tar', ['-xOf', archive, 'manifest.json'])) as { RepoTags: string[]; Config: string }[];
  return manifest.map((image) => ({ tag: image.RepoTags[0] ?? '', config: image.Config.replace(/\.json$/, '').replace(/^blobs\/sha256\//, '') }));
}

/** containerd's store outlives the cluster; an archive whose images it holds already is not unpacked again. */
export async function loadImages(archivePaths: readonly string[], state = stateDirectory(), cache: Cache = cacheLayout()): Promise<void> {
  const ctr = (...args: string[]) => run(join(cache.bin, 'ctr'), ['-a', join(state, 'containerd.sock'), '-n', 'k8s.io', ...args]);
  const held = new Set((await ctr('images', 'ls', '-q')).split('\n'));
  await mkdir(cache.containerd, { recursive: true });
  for (const archive of archivePaths) {
    if (!existsSync(archive)) throw new Error(`no such file: ${archive}`);
    const images = await imagesIn(archive);
    const note = (image: ArchivedImage) => join(cache.containerd, `config-of-${image.tag.replaceAll('/', '_')}`);
    const isHeld = async (image: ArchivedImage) =>
      held.has(image.tag) && held.has(`sha256:${image.config}`) && (await readFile(note(image), 'utf8').catch(() => '')).trim() === image.config;
    if ((await Promise.all(images.map(isHeld))).every(Boolean)) continue;
    await ctr('images', 'import', archive);
    for (const image of images) await writeFile(note(image), image.config);
  }
}

if (import.meta.main) await loadImages(process.argv.slice(2));
