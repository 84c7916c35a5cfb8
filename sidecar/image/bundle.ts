// Makes of the sidecar what its image holds: `node sidecar/image/bundle.ts FOLDER` writes there main.js, the package.json beside it, and
// `breakwater`, the command that starts it.
//
// One script, minified, in ASCII: V8 keeps the source for as long as it runs, in two bytes a character where one of them is not. CommonJS,
// because the first ES module that imports node:http makes Node load all that it could export: undici with its own HTTP client, 3 MB.
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';
import { SIDECAR_NODE_ENVIRONMENT, SIDECAR_NODE_FLAGS } from '../node-flags.ts';

/** Where the image has it. */
const IMAGE_FOLDER = '/opt/breakwater';

/** Whatever is in the sidecar is memory beside every application: a package more is to be a decision. koffi, a native library, stays outside. */
const PACKAGES: ReadonlySet<string> = new Set([
  'zod',
  'pino',
  '@pinojs/redact',
  'atomic-sleep',
  'on-exit-leak-free',
  'pino-std-serializers',
  'quick-format-unescaped',
  'safe-stable-stringify',
  'sonic-boom',
]);

export interface Bundle {
  /** Of main.js. */
  bytes: number;
  /** Bytes in main.js by name of the package they came from. */
  packages: ReadonlyMap<string, number>;
}

/** Throws where a package that is not meant to be there got into the bundle. */
export async function bundleSidecar(folder: string): Promise<Bundle> {
  await mkdir(folder, { recursive: true });
  const { metafile } = await build({
    absWorkingDir: resolve(import.meta.dirname, '../..'),
    entryPoints: ['sidecar/main.ts'],
    outfile: resolve(folder, 'main.js'),
    bundle: true,
    platform: 'node',
    target: 'node26',
    format: 'cjs',
    minify: true,
    charset: 'ascii',
    legalComments: 'none',
    external: ['koffi'],
    plugins: [lighter],
    banner: { js: 'const breakwaterUrl = require("node:url").pathToFileURL(__filename).href;' },
    define: { 'import.meta.url': 'breakwaterUrl', 'import.meta.main': 'true' },
    metafile: true,
    logLevel: 'warning',
  });
  await writeFile(join(folder, 'package.json'), '{"type":"commonjs"}\n');
  const exports = Object.entries(SIDECAR_NODE_ENVIRONMENT).map(([name, value]) => `export ${name}=${value}`);
  const command = ['exec node', ...SIDECAR_NODE_FLAGS, `${IMAGE_FOLDER}/main.js "$@"`].join(' ');
  await writeFile(join(folder, 'breakwater'), `${['#!/bin/sh', ...exports, command].join('\n')}\n`, { mode: 0o755 });
  const packages = packagesIn(metafile);
  const surplus = [...packages.keys()].filter((name) => !PACKAGES.has(name));
  if (surplus.length > 0) throw new Error(`the sidecar must not contain ${surplus.join(', ')}`);
  return { bytes: Object.values(metafile.outputs)[0]?.bytes ?? 0, packages };
}

/** What the logger loads at every start and the sidecar never uses, by its name there → what stands in its place. */
const LIGHTER: ReadonlyMap<string, string> = new Map([
  // Transports, which nobody asks for: a thread and its streams.
  [
    'thread-stream',
    `module.exports = class { constructor() { throw new Error('this image has no log transports'); } };`,
  ],
  // Called once, with a condition; Node's own comes with differences of objects and takes a twentieth of the start.
  ['assert', 'module.exports = (holds, message) => { if (!holds) throw new Error(message); };'],
]);

const lighter: Plugin = {
  name: 'lighter',
  setup(bundler) {
    bundler.onResolve({ filter: /^(thread-stream|assert)$/ }, ({ path }) => ({ path, namespace: 'lighter' }));
    bundler.onLoad({ filter: /.*/, namespace: 'lighter' }, ({ path }) => ({
      contents: LIGHTER.get(path) ?? '',
      loader: 'js',
    }));
  },
};

function packagesIn({ outputs }: Metafile): Map<string, number> {
  const packages = new Map<string, number>();
  for (const [path, { bytesInOutput }] of Object.entries(Object.values(outputs)[0]?.inputs ?? {})) {
    const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1];
    if (name !== undefined) packages.set(name, (packages.get(name) ?? 0) + bytesInOutput);
  }
  return packages;
}

if (import.meta.main) {
  const folder = process.argv[2];
  if (folder === undefined) throw new Error('usage: node sidecar/image/bundle.ts FOLDER');
  const { bytes, packages } = await bundleSidecar(folder);
  const largest = [...packages].sort(([, a], [, b]) => b - a).slice(0, 3);
  process.stdout.write(`${bytes} bytes; of packages ${largest.map(([name, size]) => `${name} ${size}`).join(', ')}\n`);
}
