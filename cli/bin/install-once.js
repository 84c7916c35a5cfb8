// Installs what package-lock.json names, if that is not what is installed. Compares the lock file with the one that npm leaves in
// node_modules, not the times of the files: a checkout or a touch would install again for nothing.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from './pinned-node.js';

/** Ends the process with npm's exit code where the installation fails. npm's output goes to standard error; ours stays for answers. */
export function installOnce() {
  if (isInstalled(read('package-lock.json'), read('node_modules/.package-lock.json'))) return;
  process.stderr.write('installing packages (npm ci) …\n');
  const npm = process.env.npm_execpath;
  const [command, first] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
  const result = spawnSync(command, [...first, 'ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: PROJECT,
    stdio: ['ignore', 2, 2],
  });
  if (result.status === 0) return;
  process.stderr.write(`npm ci failed${result.error ? `: ${result.error.message}` : ''}; what it said stands above\n`);
  process.exit(result.status ?? 1);
}

/**
 * For commands that also run from where npm installed them as a package: installs in a clone in which nothing was installed yet, and
 * leaves everything else to whoever installed it.
 */
export function installInFreshClone() {
  if (isFreshClone((path) => existsSync(join(PROJECT, path)))) installOnce();
}

/** A published package has no lock file. */
export function isFreshClone(exists) {
  return exists('package-lock.json') && !exists('node_modules');
}

/** True where every package that is not optional is there, and every one that is there has the version and content of the lock file. */
export function isInstalled(wanted, present) {
  if (present === undefined) return false;
  return Object.entries(wanted.packages).every(([path, entry]) => {
    if (path === '') return true;
    const installed = present.packages[path];
    if (installed === undefined) return entry.optional === true || entry.devOptional === true;
    return installed.version === entry.version && installed.integrity === entry.integrity;
  });
}

function read(name) {
  try {
    return JSON.parse(readFileSync(join(PROJECT, name), 'utf8'));
  } catch {
    return undefined;
  }
}
