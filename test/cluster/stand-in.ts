// Stands in for programs that readers of the documentation have and that this machine does without, so that what the pages say is executed
// as it is written: `docker build` by buildah, `kind load docker-image` by what loads images into the cluster at hand.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { buildImage, imageTarget } from './images.ts';
import { run } from './shell.ts';

/** As a container engine completes a short name. */
const completed = (name: string): string => `docker.io/${name}`;

async function docker(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      file: { type: 'string', short: 'f' },
      tag: { type: 'string', short: 't' },
      quiet: { type: 'boolean', short: 'q' },
    },
  });
  const { file, tag } = values;
  if (positionals.join(' ') !== 'build .' || file === undefined || tag === undefined) {
    throw new Error(`only "docker build -f FILE -t NAME ." is known here, not: docker ${args.join(' ')}`);
  }
  console.log(await buildImage({ name: completed(tag), dockerfile: file }));
}

async function kind(args: readonly string[]): Promise<void> {
  const [first, second, ...names] = args;
  if (first !== 'load' || second !== 'docker-image') {
    throw new Error(`only "kind load docker-image NAME…" is known here, not: kind ${args.join(' ')}`);
  }
  const target = imageTarget(process.env['KUBECONFIG'] ?? '');
  const directory = temporaryFolder('images');
  try {
    for (const name of names) {
      const archive = join(directory, 'image.tar');
      await run('buildah', ['push', '-q', completed(name), `docker-archive:${archive}:${completed(name)}`]);
      await target.load(archive);
      await rm(archive);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const [program, ...args] = process.argv.slice(2);
if (program === 'docker') await docker(args);
else if (program === 'kind') await kind(args);
else throw new Error(`nothing stands in for ${program}`);
