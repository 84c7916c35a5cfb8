// The limit of open files: for this process and all that it starts.
import { spawnSync } from 'node:child_process';
import { maxConnections } from '../sidecar/overload/open-files.ts';
import { type BenchCase, slowHeadsOf } from './cases.ts';

/** The sidecar keeps two for each connection, and some for itself: sidecar/overload/open-files.ts. */
const FILES_OF_CONNECTION = 2;
const OTHER_FILES = 1024;
/** Connections of whoever looks whether a proxy serves, and those that are closed and not gone yet. */
const OTHER_CONNECTIONS = 24;

/** The case with as many slow connections as the open files allow that this process may have, where these are fewer. */
export function withinOpenFiles(bench: BenchCase): BenchCase {
  const wanted = slowHeadsOf(bench.load) + bench.load.connections + OTHER_CONNECTIONS;
  if (wanted > maxConnections()) {
    const files = FILES_OF_CONNECTION * wanted + OTHER_FILES;
    // Not everybody may, nor every root.
    spawnSync('prlimit', ['--pid', String(process.pid), `--nofile=${files}`]);
  }
  return withConnections(bench, maxConnections());
}

/** The case with no more connections than a sidecar may have. */
export function withConnections(bench: BenchCase, max: number): BenchCase {
  const { load } = bench;
  if (load.kind !== 'open-loop' || load.slowHeads === undefined) return bench;
  const slowHeads = Math.min(load.slowHeads, max - load.connections - OTHER_CONNECTIONS);
  return { ...bench, load: { ...load, slowHeads } };
}
