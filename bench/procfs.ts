// What the kernel says of processes and processors. CPU time comes from schedstat, in nanoseconds; /proc/PID/stat counts ticks of 10 ms.
import { readdirSync, readFileSync } from 'node:fs';

export interface Memory {
  rssBytes: number;
  /** What no file stands behind: heap, stacks. */
  anonymousBytes: number;
}

/** Time of one processor since boot, in ticks. */
export interface ProcessorTime {
  total: number;
  idle: number;
  /** What the hypervisor gave to other machines. */
  steal: number;
}

/** /proc/PID/task/TID/schedstat: nanoseconds on a CPU, nanoseconds of waiting for one, time slices. Returns the first. */
export function parseSchedstat(text: string): number {
  const match = /^(\d+) \d+ \d+\s*$/.exec(text);
  if (!match) throw new Error(`this is no schedstat: ${JSON.stringify(text)}`);
  return Number(match[1]);
}

/** /proc/PID/status. A process that has ended but was not waited for has no memory. */
export function parseMemory(text: string): Memory {
  const kibibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0);
  return { rssBytes: kibibytes('VmRSS') * 1024, anonymousBytes: kibibytes('RssAnon') * 1024 };
}

/** /proc/stat: processor number → its time. */
export function parseProcessors(text: string): Map<number, ProcessorTime> {
  const processors = new Map<number, ProcessorTime>();
  for (const [, number, fields = ''] of text.matchAll(/^cpu(\d+) (.+)$/gm)) {
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time, which follows, is part of user.
    const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = fields
      .split(' ')
      .map(Number);
    const waiting = idle + iowait;
    processors.set(Number(number), {
      total: user + nice + system + waiting + irq + softirq + steal,
      idle: waiting,
      steal,
    });
  }
  return processors;
}

/** /proc/PID/stat → the parent's pid. The name in parentheses may hold anything. */
export function parseParent(text: string): number {
  const parent = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
  if (!Number.isInteger(parent)) throw new Error(`this is no stat of a process: ${JSON.stringify(text)}`);
  return parent;
}

/** Cpus_allowed_list of /proc/PID/status, such as "0-2,5". */
export function parseAllowedCpus(text: string): number[] {
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(text)?.[1] ?? '';
  return Array.from(list.matchAll(/(\d+)(?:-(\d+))?/g)).flatMap(([, first, last = first]) =>
    Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index),
  );
}

export function allowedCpus(): number[] {
  return parseAllowedCpus(readFileSync('/proc/self/status', 'utf8'));
}

/** CPU time of all threads of these processes, in nanoseconds. Throws where one of them is gone: its time would be missing. */
export function cpuNanoseconds(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      sum += parseSchedstat(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8'));
    }
  }
  return sum;
}

export function memoryOf(pids: readonly number[]): Memory {
  const each = pids.map((pid) => parseMemory(readFileSync(`/proc/${pid}/status`, 'utf8')));
  return {
    rssBytes: each.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
    anonymousBytes: each.reduce((sum, { anonymousBytes }) => sum + anonymousBytes, 0),
  };
}

export function processorTimes(): Map<number, ProcessorTime> {
  return parseProcessors(readFileSync('/proc/stat', 'utf8'));
}

/** The process itself and all below it. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const parent = unlessGone(() => parseParent(readFileSync(`/proc/${pid}/stat`, 'utf8')));
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

/** Empty where the process is gone. */
export function commandLine(pid: number): string[] {
  return unlessGone(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')) ?? [];
}

function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
