// Images that a cluster cannot do without and that no registry is asked for: the pause container, CoreDNS, and the base of the project's
// own images. As in docker.io/library/node:26-bookworm-slim, user `node` has uid 1000, and there is nothing beside Node and npm: what an
// image needs more, its Dockerfile installs.
import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, succeeds } from '../shell.ts';
import type { Cache } from './layout.ts';

export const BASE_IMAGE = 'docker.io/library/node:26-bookworm-slim';
export const PAUSE_IMAGE = 'docker.io/breakwater-test/pause:local';
export const COREDNS_IMAGE = 'docker.io/breakwater-test/coredns:local';

const NODE_VERSION = '26.10.0';
const BUILDAH = { BUILDAH_ISOLATION: 'chroot' };
const PAUSE_SOURCE = 'package main\n\nimport "syscall"\n\nfunc main() {\n\tfor {\n\t\tsyscall.Pause()\n\t}\n}\n';
const CERTIFICATES = 'etc/ssl/certs/ca-certificates.crt';

type Log = (line: string) => void;
type CompileGo = (directory: string, source: string, output: string) => Promise<void>;

const archives = (cache: Cache): readonly (readonly [image: string, file: string])[] => [
  [PAUSE_IMAGE, join(cache.images, 'pause.tar')],
  [COREDNS_IMAGE, join(cache.images, 'coredns.tar')],
  [BASE_IMAGE, join(cache.images, 'base.tar')],
];

/** Files of the images that every cluster loads. */
export const baseArchives = (cache: Cache): string[] => archives(cache).map(([, file]) => file);

/** Builds the images that the cache does not hold, and gives buildah back those that its store has lost. */
export async function buildImages(cache: Cache, log: Log, compileGo: CompileGo): Promise<void> {
  if (archives(cache).every(([, file]) => existsSync(file))) {
    if (!(await succeeds('buildah', ['inspect', '--type', 'image', BASE_IMAGE]))) {
      await run('buildah', ['pull', '-q', `docker-archive:${join(cache.images, 'base.tar')}`], { env: BUILDAH });
    }
    return;
  }
  log('building the base images');
  const directory = join(cache.build, 'image');
  await mkdir(directory, { recursive: true });
  await mkdir(cache.images, { recursive: true });
  await buildRootFilesystem(directory);
  await copyFile(join(cache.bin, 'coredns'), join(directory, 'coredns'));
  await writeFile(join(directory, 'pause.go'), PAUSE_SOURCE);
  await compileGo(directory, 'pause.go', 'pause');
  const dockerfiles: readonly (readonly [image: string, dockerfile: string])[] = [
    [
      BASE_IMAGE,
      `FROM scratch\nCOPY rootfs/ /\nCOPY node /usr/local/bin/node\nENV NODE_EXTRA_CA_CERTS=/${CERTIFICATES}\nCMD ["node"]\n`,
    ],
    [PAUSE_IMAGE, 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n'],
    [COREDNS_IMAGE, 'FROM scratch\nCOPY coredns /coredns\nENTRYPOINT ["/coredns"]\n'],
  ];
  for (const [index, [image, dockerfile]] of dockerfiles.entries()) {
    const file = join(directory, `${index}.Dockerfile`);
    await writeFile(file, dockerfile);
    await run('buildah', ['bud', '-q', '--pull=never', '-t', image, '-f', file, directory], { env: BUILDAH });
  }
  for (const [image, file] of archives(cache)) {
    await rm(file, { force: true });
    await run('buildah', ['push', '-q', image, `docker-archive:${file}:${image}`], { env: BUILDAH });
  }
}

/** A minimal Debian with Node 26 and npm. Node 26 needs libatomic1. */
async function buildRootFilesystem(directory: string): Promise<void> {
  const root = join(directory, 'rootfs');
  if (!existsSync(join(root, 'usr', 'bin', 'apt-get'))) {
    await rm(root, { recursive: true, force: true });
    await run('debootstrap', [
      '--variant=minbase',
      '--include=ca-certificates,libatomic1',
      'bookworm',
      root,
      await debianMirror(),
    ]);
  }
  await run('sh', ['-c', 'rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*', 'sh', root]);
  const npm = join(directory, 'npm');
  const platformPackage = `node-linux-${process.arch}`;
  await run('npm', ['install', '--silent', '--prefix', npm, `${platformPackage}@${NODE_VERSION}`, 'npm@11']);
  const modules = join(root, 'usr/local/lib/node_modules');
  await rm(modules, { recursive: true, force: true });
  await mkdir(modules, { recursive: true });
  await cp(join(npm, 'node_modules/npm'), join(modules, 'npm'), { recursive: true });
  for (const command of ['npm', 'npx']) {
    const link = join(root, 'usr/local/bin', command);
    await rm(link, { force: true });
    await symlink(`../lib/node_modules/npm/bin/${command}-cli.js`, link);
  }
  await copyFile(join(npm, 'node_modules', platformPackage, 'bin/node'), join(directory, 'node'));
  if (!(await succeeds('grep', ['-q', '^node:', join(root, 'etc/passwd')]))) {
    await run('chroot', [root, 'useradd', '--uid', '1000', '--create-home', 'node']);
  }
  // What this machine trusts, so that `RUN npm ci` works behind a proxy of one's own.
  await copyFile(`/${CERTIFICATES}`, join(root, CERTIFICATES));
}

/** The mirror this machine's own packages come from. */
async function debianMirror(): Promise<string> {
  const targets = await run('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages']);
  const mirror = targets.split('\n').find((line) => line !== '' && !line.includes('security'));
  if (mirror === undefined) throw new Error('apt knows no mirror: is /etc/apt/sources.list empty?');
  return mirror;
}
