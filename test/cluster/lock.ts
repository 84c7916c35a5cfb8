// One cluster and one run of its tests on a machine at a time: both take fixed names and most of two cores.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { processStat } from './kubernetes/daemons.ts';

const LOCK_FILE = process.env['BREAKWATER_CLUSTER_LOCK'] ?? '/run/breakwater-cluster.lock';

function holder(): { pid: number; startTime: string } | undefined {
  try {
    const record = JSON.parse(readFileSync(LOCK_FILE, 'utf8')) as { pid: number; startTime: string };
    return processStat(record.pid)?.startTime === record.startTime ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Throws where another process that is still alive holds the lock. The returned function gives it back; so does the end of the process. */
export function takeLock(): () => void {
  const other = holder();
  if (other !== undefined) {
    throw new Error(
      `process ${other.pid} works with the test cluster of this machine already (${LOCK_FILE}): wait for it or end it`,
    );
  }
  rmSync(LOCK_FILE, { force: true });
  // wx fails where somebody was faster between our look and this line.
  writeFileSync(LOCK_FILE, JSON.stringify({ pid: process.pid, startTime: processStat(process.pid)?.startTime ?? '' }), {
    flag: 'wx',
  });
  const release = () => rmSync(LOCK_FILE, { force: true });
  process.once('exit', release);
  return () => {
    process.off('exit', release);
    release();
  };
}
