// How much of its memory limit this container uses, from its control group (version 1 or 2).
//
// What counts is what the kernel cannot take back: pages of files (the Node binary is 40 MB of them) go before anything is killed, and
// are shared with other pods; buffers of sockets do not, and a process knows nothing of them. So it is neither the resident set of the
// process nor the usage of the group, but that usage without pages of files.
import { readFileSync } from 'node:fs';

export interface MemoryUse {
  usedBytes: number;
  limitBytes: number;
}

/** Content of a file; throws where it cannot be read. */
export type ReadText = (path: string) => string;

interface Layout {
  root: string;
  limit: string;
  usage: string;
  /** Keys of memory.stat: pages of files in use and not. */
  active: string;
  inactive: string;
}

const VERSION_2: Layout = {
  root: '/sys/fs/cgroup',
  limit: 'memory.max',
  usage: 'memory.current',
  active: 'active_file',
  inactive: 'inactive_file',
};
const VERSION_1: Layout = {
  root: '/sys/fs/cgroup/memory',
  limit: 'memory.limit_in_bytes',
  usage: 'memory.usage_in_bytes',
  active: 'total_active_file',
  inactive: 'total_inactive_file',
};
/** Version 1 writes "no limit" as the largest number of pages that fits. */
const NO_LIMIT_BYTES = 2 ** 60;

const readKernelText: ReadText = (path) => readFileSync(path, 'latin1');

/** Reads what is used now; null: there is no limit, or it cannot be read here. */
export type MemoryReader = () => MemoryUse | null;

/** Finds the control group once; null: this system has none that can be read. */
export function createMemoryReader(readText: ReadText = readKernelText): MemoryReader | null {
  const own = attempt(() => readText('/proc/self/cgroup')) ?? '';
  for (const layout of [VERSION_2, VERSION_1]) {
    for (const folder of [`${layout.root}${pathOf(own, layout)}`, layout.root]) {
      const reader = () => readUse(folder, layout, readText);
      if (attempt(() => ({ use: reader() })) !== null) return reader;
    }
  }
  return null;
}

function readUse(folder: string, layout: Layout, readText: ReadText): MemoryUse | null {
  // "max" is no number, and no limit.
  const limitBytes = Number(readText(`${folder}/${layout.limit}`));
  if (!(limitBytes > 0 && limitBytes < NO_LIMIT_BYTES)) return null;
  const usageBytes = Number(readText(`${folder}/${layout.usage}`));
  const stat = readText(`${folder}/memory.stat`);
  const fileBytes = statOf(stat, layout.active) + statOf(stat, layout.inactive);
  return { usedBytes: Math.max(0, usageBytes - fileBytes), limitBytes };
}

/** "12:memory:/kubepods/…" (version 1) or "0::/…" (version 2), without a slash at the end. */
function pathOf(own: string, layout: Layout): string {
  const pattern = layout === VERSION_2 ? /^0::(\/.*)$/m : /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(\/.*)$/m;
  return (pattern.exec(own)?.[1] ?? '').replace(/\/$/, '');
}

function statOf(stat: string, key: string): number {
  const start = stat.startsWith(`${key} `) ? 0 : stat.indexOf(`\n${key} `) + 1;
  if (start === 0 && !stat.startsWith(`${key} `)) return 0;
  return Number.parseInt(stat.slice(start + key.length + 1), 10) || 0;
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
