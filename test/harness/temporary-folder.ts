// Folders of tests, below that of the system. Whoever makes one removes it; but who is killed removes nothing. So the process stands in the
// name, and whoever makes a folder first removes those of processes that are gone. Processes are told apart within their PID namespace alone:
// the folder of the system may be shared with containers, whose processes nobody here sees.
import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const PREFIX = 'breakwater-';
const made = new Set<string>();
let isFirst = true;

/** This process, in the names of what it leaves if it is killed: "4026531836-1234". */
export const PROCESS_MARK = `${pidNamespace()}-${process.pid}`;

/** Whether the process of a mark is gone: false of one that cannot be known about, and of what is no mark. */
export function isAbandoned(mark: string): boolean {
  const [, namespace = '', pid = ''] = /^(\d+)-(\d+)$/.exec(mark) ?? [];
  return pid !== '' && namespace === pidNamespace() && !isAlive(Number(pid));
}

/** A new folder; `purpose` is for people, in small letters and hyphens. What is left of it goes with this process, where that is not killed. */
export function temporaryFolder(purpose: string): string {
  if (isFirst) {
    isFirst = false;
    removeAbandoned(tmpdir());
    // A thread that ends may have handed its folder to another one.
    if (isMainThread) process.once('exit', () => removeAll(made));
  }
  const folder = mkdtempSync(join(tmpdir(), `${PREFIX}${purpose}-${PROCESS_MARK}-`));
  made.add(folder);
  return folder;
}

/** Removes below that folder what tests of this user made that were killed. */
export function removeAbandoned(directory: string): void {
  const left = readdirSync(directory).filter((name) => {
    const mark = name.startsWith(PREFIX) ? /-(\d+-\d+)-[A-Za-z0-9]{6}$/.exec(name)?.[1] : undefined;
    return mark !== undefined && isAbandoned(mark);
  });
  removeAll(left.map((name) => join(directory, name)).filter(isOurs));
}

function removeAll(folders: Iterable<string>): void {
  for (const folder of folders) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 2 });
    } catch {
      // Somebody still writes into it, or did what only he may undo: no test is to fail of that.
    }
  }
}

function isOurs(folder: string): boolean {
  return statSync(folder, { throwIfNoEntry: false })?.uid === process.getuid?.();
}

/** Its number; 0 where there are none. */
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  } catch {
    return '0';
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
