// The manifests of a folder as files: which there are, and what is in one once nobody writes it any more.
import type { Stats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Clock } from '../../runtime/clock.ts';

/**
 * A file that changed is read when it has rested so long: writing it begins with emptying it, and what is not there for a moment must not
 * take a policy away from those who rely on it.
 */
const REST_MS = 100;
/** One that never rests is read all the same, and so is one that changes while it is read, at last. */
const MAX_REST_MS = 1_000;
const MAX_READS = 3;
export const MAX_FILE_BYTES = 16 * 1024 * 1024;
const MANIFEST_NAME = /\.(ya?ml|json)$/i;

/** Of modification time and size; an equal one is not read again. */
export const stampOf = ({ mtimeMs, size, ino }: Stats): string => `${mtimeMs}:${size}:${ino}`;

/** Clocks differ by a little; a time that is far ahead says nothing. */
export function isAtRest({ mtimeMs }: Stats, restMs: number, clock: Clock): boolean {
  const ageMs = clock.unixMs() - mtimeMs;
  return ageMs < -restMs || ageMs >= restMs;
}

/**
 * As it was before and after it was read; `text` null: it is larger than MAX_FILE_BYTES. Rejects as `stat` does. `isHurried`: at the beginning
 * nothing is in force that could be lost, and then nobody has to wait.
 */
export async function readAtRest(
  path: string,
  clock: Clock,
  isHurried: () => boolean,
): Promise<{ found: Stats; text: string | null }> {
  for (let reads = 1; ; reads++) {
    const found = await rested(path, clock, isHurried);
    if (found.size > MAX_FILE_BYTES) return { found, text: null };
    const text = await readFile(path, 'utf8');
    if (reads === MAX_READS || stampOf(await stat(path)) === stampOf(found)) return { found, text };
  }
}

async function rested(path: string, clock: Clock, isHurried: () => boolean): Promise<Stats> {
  const endMs = clock.monotonicMs() + MAX_REST_MS;
  for (;;) {
    const found = await stat(path);
    if (isAtRest(found, REST_MS, clock) || clock.monotonicMs() >= endMs || isHurried()) return found;
    await clock.sleep(Math.ceil(REST_MS - (clock.unixMs() - found.mtimeMs)));
  }
}

/** Relative paths of the manifests in the folder and below, sorted; hidden files and folders left out, as editors keep theirs there. */
export async function listManifests(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory() && MANIFEST_NAME.test(entry.name))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((name) => !name.split('/').some((part) => part.startsWith('.')))
    .sort();
}
