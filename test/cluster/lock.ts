// One cluster and one run of its tests on a machine at a time: both take fixed names and most of two cores. And one build of Kubernetes at a
// time: two would write the same files.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { processStat } from './kubernetes/daemons.ts';

const LOCK_FILE = process.env['BREAKWATER_CLUSTER_LOCK'] ?? '/run/breakwater-cluster.lock';
const POLL_MS = 500;

type Log = (line: string) => void;

function holder(file: string): { pid: number; startTime: string } | undefined {
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; startTime: string };
    return processStat(record.pid)?.startTime === record.startTime ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Throws where another process that is still alive holds the lock. The returned function gives it back; so does the end of the process. */
export function takeLock(file = LOCK_FILE): () => void {
  const other = holder(file);
  if (other !== undefined) {
    throw new Error(
      `process ${other.pid} works with the test cluster of this machine already (${file}): wait for it or end it`,
    );
  }
  rmSync(file, { force: true });
  // wx fails where somebody was faster between our look and this line.
  writeFileSync(file, JSON.stringify({ pid: process.pid, startTime: processStat(process.pid)?.startTime ?? '' }), {
    flag: 'wx',
  });
  const release = () => rmSync(file, { force: true });
  process.once('exit', release);
  return () => {
    process.off('exit', release);
    release();
  };
}

/** Does the work while holding the lock; waits for whoever holds it. */
export async function withLock<T>(file: string, what: string, log: Log, work: () => Promise<T>): Promise<T> {
  for (let told = false; holder(file) !== undefined; told = true) {
    if (!told) log(`waiting for process ${holder(file)?.pid ?? ''}: ${what}`);
    await sleep(POLL_MS);
  }
  const release = takeLock(file);
  try {
    return await work();
  } finally {
    release();
  }
}
