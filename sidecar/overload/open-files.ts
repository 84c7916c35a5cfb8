// How many connections the limit of open files of this process allows.
import { readFileSync } from 'node:fs';
import type { ReadText } from './cgroup-memory.ts';

/** For what must go on at the limit: listeners, probes and scrapes, streams of the operator, look-ups, files, connections that lie idle. */
const RESERVED_FILES = 256;
/** That of the application, and the one that is made for it. */
const FILES_OF_CONNECTION = 2;
/** A limit that is too low for anything still lets some through. */
const MIN_CONNECTIONS = 16;

const readKernelText: ReadText = (path) => readFileSync(path, 'latin1');

/** Connections of the application at a time. Infinity: there is no limit, or it cannot be read here. */
export function maxConnections(readText: ReadText = readKernelText): number {
  const files = openFilesLimit(readText);
  return Math.max(MIN_CONNECTIONS, Math.floor((files - RESERVED_FILES) / FILES_OF_CONNECTION));
}

/** The soft limit, which Node raises to the hard one when it starts. */
function openFilesLimit(readText: ReadText): number {
  try {
    const [, soft] = /^Max open files\s+(\d+)\s/m.exec(readText('/proc/self/limits')) ?? [];
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
