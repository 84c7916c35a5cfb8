// Loads images into the cluster's containerd, where `imagePullPolicy: Never` or `IfNotPresent` finds them.
//   npx node test/cluster/kubernetes/load-image.ts FILE…      FILE: what `buildah push NAME docker-archive:FILE:NAME` or `docker save` wrote
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
  const manifest = JSON.parse(await run('tar', ['-xOf', archive, 'manifest.json'])) as {
    RepoTags: string[];
    Config: string;
  }[];
  return manifest.map((image) => ({
    tag: image.RepoTags[0] ?? '',
    config: image.Config.replace(/\.json$/, '').replace(/^blobs\/sha256\//, ''),
  }));
}

/** One cluster's containerd, and what it holds. Its store outlives the cluster, so that an image is unpacked once. */
export class ImageStore {
  readonly #cache: Cache;
  readonly #socket: string;

  constructor(state = stateDirectory(), cache: Cache = cacheLayout()) {
    this.#cache = cache;
    this.#socket = join(state, 'containerd.sock');
  }

  #ctr(...args: string[]): Promise<string> {
    return run(join(this.#cache.bin, 'ctr'), ['-a', this.#socket, '-n', 'k8s.io', ...args]);
  }

  /** containerd names an image by the digest of a manifest that the import made: which configuration was behind it, we note ourselves. */
  #noteOf(tag: string): string {
    return join(this.#cache.containerd, `config-of-${tag.replaceAll('/', '_')}`);
  }

  /** Whether it was given this image last under that tag; asks no containerd. */
  async isNoted(tag: string, config: string): Promise<boolean> {
    const noted = await readFile(this.#noteOf(tag), 'utf8').catch(() => '');
    return noted.trim() === config.replace(/^sha256:/, '');
  }

  async holds(tag: string, config: string): Promise<boolean> {
    if (!(await this.isNoted(tag, config))) return false;
    const digest = config.replace(/^sha256:/, '');
    const held = new Set((await this.#ctr('images', 'ls', '-q')).split('\n'));
    return held.has(tag) && held.has(`sha256:${digest}`);
  }

  async load(archive: string): Promise<void> {
    if (!existsSync(archive)) throw new Error(`no such file: ${archive}`);
    const images = await imagesIn(archive);
    if ((await Promise.all(images.map((image) => this.holds(image.tag, image.config)))).every(Boolean)) return;
    await this.#ctr('images', 'import', archive);
    await mkdir(this.#cache.containerd, { recursive: true });
    for (const image of images) await writeFile(this.#noteOf(image.tag), image.config);
  }
}

if (import.meta.main) {
  const store = new ImageStore();
  for (const archive of process.argv.slice(2)) await store.load(archive);
}
