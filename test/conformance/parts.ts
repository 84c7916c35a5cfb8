// Programs of others that these tests need, and where each comes from. What is on the machine is used; what is missing is installed where we
// may (Debian, as root), or built (Go) or unpacked (Python 2.7) into a folder of the user's cache. None of them is ever started but by a test, on 127.0.0.0/8.
//
// TO ADD ONE: a row in PARTS. A test file asks for its path by `partPath`, and skips by `isMissing` what it cannot do without it: the runner says
// so loudly, and with CI=true that is a failure.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, globSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

export interface Part {
  /** Debian package that has it. */
  readonly package?: string;
  /** MODULE@VERSION of a command to build. */
  readonly module?: string;
  /** NAME==VERSION of a package that runs with Python 2.7 alone. Without any of the three it is here, or it is missing. */
  readonly python2?: string;
  /** What makes it say its version. */
  readonly versionArguments: readonly string[];
  /** What it says then, where that is no version; the exit code means nothing either. */
  readonly says?: RegExp;
}

/** By the name of the command. */
export const PARTS = {
  nginx: { package: 'nginx-light', versionArguments: ['-v'] },
  haproxy: { package: 'haproxy', versionArguments: ['-v'] },
  apache2: { package: 'apache2-bin', versionArguments: ['-v'] },
  python3: { package: 'python3', versionArguments: ['--version'] },
  go: { versionArguments: ['version'] },
  h2spec: { module: 'github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible', versionArguments: ['--version'] },
  toxiproxy: {
    module: 'github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0',
    versionArguments: ['-version'],
    says: /toxiproxy/,
  },
  'grpc-interop-client': {
    module: 'google.golang.org/grpc/interop/client@v1.85.0',
    versionArguments: ['-help'],
    says: /-test_case/,
  },
  'grpc-interop-server': {
    module: 'google.golang.org/grpc/interop/server@v1.85.0',
    versionArguments: ['-help'],
    says: /-port/,
  },
  wstest: { python2: 'autobahntestsuite==0.8.2', versionArguments: ['--version'], says: /Twisted version/ },
  postgres: { package: 'postgresql-15', versionArguments: ['--version'] },
  initdb: { package: 'postgresql-15', versionArguments: ['--version'] },
  psql: { package: 'postgresql-client-15', versionArguments: ['--version'] },
  'redis-server': { package: 'redis-server', versionArguments: ['--version'] },
  'redis-cli': { package: 'redis-tools', versionArguments: ['--version'] },
  slowhttptest: { package: 'slowhttptest', versionArguments: ['-h'], says: /slowhttptest/ },
  faketime: { package: 'faketime', versionArguments: ['--version'] },
  wrk: { package: 'wrk', versionArguments: ['-v'], says: /wrk/ },
} as const satisfies Readonly<Record<string, Part>>;

export type PartName = keyof typeof PARTS;

const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'breakwater-conformance');
const BUILT = join(CACHE, 'bin');
/** The last that makes environments of Python 2.7. */
const VIRTUALENV = 'virtualenv<20.22';

/** Debian puts servers where only root looks. */
const folders = (): string[] => [
  BUILT,
  ...(process.env['PATH'] ?? '').split(delimiter),
  '/usr/local/go/bin',
  '/usr/sbin',
  '/usr/lib/postgresql/15/bin',
];

/** Null: it is not here. */
export function findPart(name: PartName): string | null {
  for (const folder of folders()) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this one.
    }
  }
  return null;
}

export const isMissing = (...names: PartName[]): boolean => names.some((name) => findPart(name) === null);

/** Throws where it is missing. */
export function partPath(name: PartName): string {
  const path = findPart(name);
  if (path === null) throw new Error(`${name} is not on this machine: npm run test:conformance gets it`);
  return path;
}

let listsRead = false;

function aptGet(...args: string[]): string {
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return tried('apt-get', ['-qq', ...args], environment);
}

function installDebian(name: string): string {
  if (process.getuid?.() !== 0) return `it is the Debian package ${name}, and only root can install that`;
  if (!listsRead) {
    const problem = aptGet('update');
    if (problem !== '') return problem;
    listsRead = true;
  }
  return aptGet('install', '-y', '--no-install-recommends', name);
}

/** Runs to its end; empty, or what was wrong. */
function tried(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = process.env): string {
  const { status, error, stderr } = spawnSync(command, args, { env: environment, encoding: 'utf8' });
  if (status === 0) return '';
  return `${command} ${args.join(' ')}: ${error?.message ?? stderr.trim().split('\n').at(-1) ?? status}`;
}

/** Go calls a command as the last part of its path, and several are called `server`: it is built beside its place, and moved there. */
function buildGo(name: string, module: string): string {
  const go = findPart('go');
  if (go === null) return `it is built from ${module}, and Go is not here`;
  const beside = join(CACHE, `${name}.partial`);
  rmSync(beside, { recursive: true, force: true });
  mkdirSync(beside, { recursive: true });
  mkdirSync(BUILT, { recursive: true });
  const environment = { ...process.env, GOBIN: beside, GOFLAGS: '-mod=mod', CGO_ENABLED: '0' };
  const problem = tried(go, ['install', module], environment);
  const [built] = readdirSync(beside);
  if (built !== undefined) renameSync(join(beside, built), join(BUILT, name));
  rmSync(beside, { recursive: true, force: true });
  return problem;
}

/** An environment cannot be moved: its scripts name its folder. So the command is linked to last. */
function installPython2(name: string, requirement: string): string {
  const python2 = globSync(join(homedir(), '.pyenv/versions/2.7*/bin/python2.7')).at(-1) ?? 'python2.7';
  if (tried(python2, ['--version']) !== '') return `it needs Python 2.7, which is not here`;
  const [maker, home] = [join(CACHE, `${name}.virtualenv`), join(CACHE, name)];
  for (const folder of [maker, home]) rmSync(folder, { recursive: true, force: true });
  mkdirSync(BUILT, { recursive: true });
  const problem =
    tried('python3', ['-m', 'venv', maker]) ||
    tried(join(maker, 'bin/pip'), ['install', '--quiet', VIRTUALENV]) ||
    tried(join(maker, 'bin/virtualenv'), ['--quiet', '--python', python2, home]) ||
    tried(join(home, 'bin/pip'), ['install', '--quiet', requirement]);
  if (problem === '') symlinkSync(join(home, 'bin', name), join(BUILT, name));
  return problem;
}

/** Gets it where it is missing; empty, or why it could not. */
export function preparePart(name: PartName): string {
  if (findPart(name) !== null) return '';
  const part: Part = PARTS[name];
  if (part.package !== undefined) return installDebian(part.package);
  if (part.python2 !== undefined) return installPython2(name, part.python2);
  return part.module !== undefined ? buildGo(name, part.module) : 'it is not on this machine';
}
