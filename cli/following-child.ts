// Starts processes of this project that end when this one does, however it ends: see bin/follow-parent.js. They stay in the process group.
import { type ChildProcess, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { systemClock as clock } from '../runtime/clock.ts';

export const projectRoot = resolve(import.meta.dirname, '..');
const followParent = pathToFileURL(join(projectRoot, 'cli/bin/follow-parent.js')).href;
const PARENT_FD = 3;

export interface FollowingChildOptions {
  /** Added to the environment of this process. */
  environment?: Record<string, string>;
  /** Standard output: into a pipe, shared, or to this process's standard error (default). Standard error is always shared. */
  output?: 'pipe' | 'inherit' | 'stderr';
  /** Opens an IPC channel. */
  ipc?: boolean;
  nodeFlags?: readonly string[];
  /** False: `script` sees by itself that its parent is gone (default true). */
  preload?: boolean;
}

/** Starts `script`, a path inside the project or an absolute one, with the Node that runs this process. */
export function startFollowingChild(
  script: string,
  args: readonly string[],
  options: FollowingChildOptions = {},
): ChildProcess {
  const output = { pipe: 'pipe', inherit: 'inherit', stderr: 2 } as const;
  const preload = options.preload === false ? [] : ['--import', followParent];
  const nodeArguments = [...(options.nodeFlags ?? []), ...preload, resolve(projectRoot, script), ...args];
  return spawn(process.execPath, nodeArguments, {
    env: { ...process.env, ...options.environment, BREAKWATER_PARENT_FD: String(PARENT_FD) },
    stdio: [
      'ignore',
      output[options.output ?? 'stderr'],
      'inherit',
      'pipe',
      ...(options.ipc ? (['ipc'] as const) : []),
    ],
  });
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Resolves when the child has ended or could not be started. */
export function exitOf(child: ChildProcess): Promise<Exit> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve({ code: child.exitCode, signal: child.signalCode });
  }
  return new Promise((done) => {
    child.once('exit', (code, signal) => done({ code, signal }));
    child.once('error', () => done({ code: null, signal: null }));
  });
}

/** Asks the child to end and kills it if it has not ended after `graceMs`. */
export async function endChild(child: ChildProcess, graceMs: number): Promise<Exit> {
  const exit = exitOf(child);
  child.kill('SIGTERM');
  const cancel = clock.after(graceMs, () => child.kill('SIGKILL'));
  try {
    return await exit;
  } finally {
    cancel();
  }
}
