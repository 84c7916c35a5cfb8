// The images of the tests: Breakwater's own two, from the Dockerfiles of this tree, and the workloads that are put beside them.
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { ImageStore } from './kubernetes/load-image.ts';
import { thisCluster } from './kubernetes/node.ts';
import { run } from './shell.ts';

export const REPOSITORY_ROOT = resolve(import.meta.dirname, '..', '..');

/** Built for the tests under a tag of their own, so that no published image is ever meant. */
export const IMAGE_TAG = 'test';
export const WORKLOADS_IMAGE = 'docker.io/breakwater-test/workloads:local';
export const DEBIAN_IMAGE = 'docker.io/breakwater-test/debian:local';

export interface BuiltImage {
  name: string;
  dockerfile: string;
}

export const OPERATOR_IMAGE: BuiltImage = {
  name: `docker.io/breakwater/operator:${IMAGE_TAG}`,
  dockerfile: 'Dockerfile.operator',
};
export const SIDECAR_IMAGE: BuiltImage = {
  name: `docker.io/breakwater/sidecar:${IMAGE_TAG}`,
  dockerfile: 'Dockerfile.sidecar',
};
const WORKLOADS: BuiltImage = { name: WORKLOADS_IMAGE, dockerfile: 'test/cluster/workloads/Dockerfile' };
const DEBIAN: BuiltImage = { name: DEBIAN_IMAGE, dockerfile: 'test/cluster/workloads/debian.Dockerfile' };
export const ALL_IMAGES: readonly BuiltImage[] = [OPERATOR_IMAGE, SIDECAR_IMAGE, WORKLOADS, DEBIAN];

/** Builds one image with buildah, from layers that are kept; no registry is asked for a newer base. Resolves to the id of the image. */
export async function buildImage(image: BuiltImage): Promise<string> {
  const ignoreFile = join(
    REPOSITORY_ROOT,
    image.dockerfile.startsWith('test/') ? 'test/cluster/workloads/.dockerignore' : '.dockerignore',
  );
  const options = ['--layers', '--pull=never', '--format=docker', '--quiet', `--ignorefile=${ignoreFile}`];
  const args = ['bud', ...options, '-t', image.name, '-f', join(REPOSITORY_ROOT, image.dockerfile), REPOSITORY_ROOT];
  const printed = await run('buildah', args, { env: { BUILDAH_ISOLATION: 'chroot' } });
  return printed.trim().split('\n').at(-1) ?? '';
}

export interface ImageTarget {
  /** Whether the cluster holds this very image already. */
  holds(name: string, id: string): Promise<boolean>;
  load(archive: string): Promise<void>;
}

/** How the cluster with this kubeconfig is given images: our own directly, another by a command from the environment. */
export function imageTarget(kubeconfig: string): ImageTarget {
  if (kubeconfig === thisCluster().kubeconfig) return new ImageStore();
  const [command, ...args] = (process.env['BREAKWATER_LOAD_IMAGE'] ?? '').split(/\s+/).filter(Boolean);
  if (command === undefined) {
    throw new Error(
      'set BREAKWATER_LOAD_IMAGE to the command that loads an image archive, such as "kind load image-archive"',
    );
  }
  return {
    holds: () => Promise.resolve(false),
    load: async (archive) => void (await run(command, [...args, archive])),
  };
}

export interface ImageWithId {
  name: string;
  id: string;
  /** File that it was written to already. */
  archive?: string | undefined;
}

/** Two clusters that are to hold the same images: each is written once, for both, where one of them lacks it. */
export interface Shared {
  /** That the archives go to; they stay there. */
  folder: string;
  stores: readonly ImageStore[];
}

const secondsSince = (started: number) => ((performance.now() - started) / 1000).toFixed(1);

/** Needs no cluster. One after the other: they have layers in common. */
export async function buildImages(
  images: readonly BuiltImage[],
  log: (line: string) => void,
  shared?: Shared,
): Promise<ImageWithId[]> {
  const built: ImageWithId[] = [];
  for (const image of images) {
    const started = performance.now();
    const it = { name: image.name, id: await buildImage(image) };
    built.push(shared === undefined ? it : { ...it, archive: await archiveOf(it, shared) });
    log(`${image.name}: built (${secondsSince(started)} s)`);
  }
  return built;
}

async function archiveOf(image: ImageWithId, { folder, stores }: Shared): Promise<string | undefined> {
  const noted = await Promise.all(stores.map((store) => store.isNoted(image.name, image.id)));
  return noted.every(Boolean) ? undefined : await writeArchive(image, folder);
}

async function writeArchive({ name, id }: ImageWithId, folder: string): Promise<string> {
  const archive = join(folder, `${id.replace(/^sha256:/, '')}.tar`);
  await run('buildah', ['push', '-q', name, `docker-archive:${archive}:${name}`]);
  return archive;
}

/** Gives the cluster those of the images that it does not hold. */
export async function loadImages(
  images: readonly ImageWithId[],
  target: ImageTarget,
  log: (line: string) => void,
): Promise<void> {
  const directory = temporaryFolder('images');
  try {
    for (const image of images) {
      const started = performance.now();
      const isThere = await target.holds(image.name, image.id);
      if (!isThere) {
        const archive = image.archive ?? (await writeArchive(image, directory));
        await target.load(archive);
        if (archive !== image.archive) await rm(archive);
      }
      log(`${image.name}: ${isThere ? 'unchanged' : 'loaded'} (${secondsSince(started)} s)`);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
