// Programs of others that these tests need, and where each comes from. What is on the machine is used; what is missing is installed where we
// may (Debian, as root) or built (Go) into a folder of the user's cache. None of them is ever started but by a test, on 127.0.0.0/8.
//
// TO ADD ONE: a row in PARTS. A test file asks for its path by `partPath`, and skips by `isMissing` what it cannot do without it: the runner says
// so loudly, and with CI=true that is a failure.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

interface Part {
  /** Debian package that has it. */
  readonly package?: string;
  /** MODULE@VERSION of a command to build. Without either it is here, or it is missing. */
  readonly module?: string;
  /** What makes it say its version. */
  readonly versionArguments: readonly string[];
}

/** By the name of the command. */
export const PARTS = {
  nginx: { package: 'nginx-light', versionArguments: ['-v'] },
  haproxy: { package: 'haproxy', versionArguments: ['-v'] },
  apache2: { package: 'apache2-bin', versionArguments: ['-v'] },
  python3: { package: 'python3', versionArguments: ['--version'] },
  go: { versionArguments: ['version'] },
} as const satisfies Readonly<Record<string, Part>>;

export type PartName = keyof typeof PARTS;

const BUILT = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'breakwater-conformance', 'bin');

/** Debian puts servers where only root looks. */
const folders = (): string[] => [
  BUILT,
  ...(process.env['PATH'] ?? '').split(delimiter),
  '/usr/local/go/bin',
  '/usr/sbin',
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
  const { status, error, stderr } = spawnSync('apt-get', ['-qq', ...args], { env: environment, encoding: 'utf8' });
  if (status === 0) return '';
  return `apt-get ${args.join(' ')}: ${error?.message ?? stderr.trim().split('\n').at(-1) ?? status}`;
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

function buildGo(module: string): string {
  const go = findPart('go');
  if (go === null) return `it is built from ${module}, and Go is not here`;
  mkdirSync(BUILT, { recursive: true });
  const environment = { ...process.env, GOBIN: BUILT, GOFLAGS: '-mod=mod', CGO_ENABLED: '0' };
  const { status, stderr } = spawnSync(go, ['install', module], { env: environment, encoding: 'utf8' });
  return status === 0 ? '' : `go install ${module}: ${stderr.trim().split('\n').at(-1) ?? status}`;
}

/** Gets it where it is missing; empty, or why it could not. */
export function preparePart(name: PartName): string {
  if (findPart(name) !== null) return '';
  const part: Part = PARTS[name];
  if (part.package !== undefined) return installDebian(part.package);
  return part.module !== undefined ? buildGo(part.module) : 'it is not on this machine';
}
