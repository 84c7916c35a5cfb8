// Long-running processes that outlive the command which started them. Each leaves `<name>.process` in the state directory: its id and the
// moment of its start, so that only the very process that was started is ever ended, and no later one that got the same id.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '../shell.ts';

interface ProcessRecord {
  pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  startTime: string;
}

interface ProcessStat {
  parent: number;
  startTime: string;
  state: string;
}

/** What /proc says about a process; undefined where there is none. */
export function processStat(pid: number): ProcessStat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces: fields are counted from behind it, where the third one stands.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', parent: Number(fields[1]), startTime: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}

/**
 * For a few minutes on a machine with memory enough: Go collects when the heap is five times what was left of it, not twice. Two clusters share the
 * processors with what is tested.
 */
const COLLECT_SELDOM = { GOGC: '400' };

/** Starts a daemon in its own session; its output goes to `<name>.log`. `inside` is put before the command, as in `nsenter … COMMAND`. */
export function startDaemon(
  state: string,
  name: string,
  inside: readonly string[],
  command: string,
  args: readonly string[],
  path: string,
): void {
  const log = openSync(join(state, `${name}.log`), 'a');
  const [executable = command, ...rest] = [...inside, command, ...args];
  const child = spawn(executable, rest, {
    cwd: state,
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, ...COLLECT_SELDOM, PATH: `${path}:${process.env['PATH'] ?? ''}` },
  });
  closeSync(log);
  child.on('error', (error) => {
    throw new Error(`${name} did not start`, { cause: error });
  });
  child.unref();
  const pid = child.pid;
  if (pid === undefined) return;
  const record: ProcessRecord = { pid, startTime: processStat(pid)?.startTime ?? '' };
  writeFileSync(join(state, `${name}.process`), JSON.stringify(record));
}

function recorded(state: string, name: string): ProcessRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(state, `${name}.process`), 'utf8')) as ProcessRecord;
  } catch {
    return undefined;
  }
}

const isAlive = (record: ProcessRecord): boolean => {
  const stat = processStat(record.pid);
  return stat !== undefined && stat.startTime === record.startTime && stat.state !== 'Z';
};

/** Whether the daemon recorded under that name still runs. */
export function daemonRuns(state: string, name: string): boolean {
  const record = recorded(state, name);
  return record !== undefined && isAlive(record);
}

/** Ends a daemon: politely, and after five seconds for good. */
export async function endDaemon(state: string, name: string): Promise<void> {
  const record = recorded(state, name);
  if (record === undefined || !isAlive(record)) return;
  process.kill(record.pid, 'SIGTERM');
  try {
    await eventually(`${name} ends`, 5_000, () => (isAlive(record) ? undefined : true), 50);
  } catch {
    if (isAlive(record)) process.kill(record.pid, 'SIGKILL');
  }
}

/** Ids of the processes whose command line the test accepts. */
export async function findProcesses(
  accept: (commandLine: readonly string[], pid: number) => boolean,
): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const commandLine = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0');
      if (accept(commandLine, Number(entry))) found.push(Number(entry));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}
