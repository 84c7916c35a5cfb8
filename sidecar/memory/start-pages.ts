// Gives back what only the start needed: of the Node binary about 48 MB are mapped when a sidecar serves, read once for the snapshot, for
// ICU, for OpenSSL and to set everything up, and less than 10 MB of it are used from then on. The kernel would take the others one day, where
// memory is short; until then each sidecar counts them as its own.
//
// Nothing is lost: these are pages of a file that nobody has written to, and the next look at one of them reads it from the cache of files. It
// is done again, ever more rarely, for the compiler of V8 is needed for some minutes and then hardly ever.
//
// The call is madvise by way of `node:ffi`, which is experimental: where it cannot be had, the pages stay, and that is all.
import { readFileSync, readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Clock } from '../../runtime/clock.ts';
import type { Part } from '../../runtime/lifecycle.ts';
import type { Logger } from '../../runtime/log.ts';

const MADV_DONTNEED = 4;
const FIRST_AFTER_MS = 10_000;
const LONGEST_PAUSE_MS = 3_600_000;

export interface Pages {
  start: bigint;
  bytes: bigint;
}

/** Returns 0, or another number where the kernel refuses. */
export type GiveBack = (start: bigint, bytes: bigint, advice: number) => number;

/**
 * /proc/PID/smaps → mappings of `file` that may not be written to and of which no page was ever changed. A page that was, by the loader for
 * example, exists nowhere else and would be lost: it is anonymous, or it was and is swapped out now.
 */
export function untouchedPages(smaps: string, file: string): Pages[] {
  const found: Pages[] = [];
  let candidate: Pages | null = null;
  let isUnchanged = false;
  for (const line of smaps.split('\n')) {
    const mapping = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)$/.exec(line);
    if (mapping !== null) {
      const [, from = '', to = '', permissions = '', path = ''] = mapping;
      const start = BigInt(`0x${from}`);
      const isConstant = path === file && (permissions === 'r-xp' || permissions === 'r--p');
      candidate = isConstant ? { start, bytes: BigInt(`0x${to}`) - start } : null;
      isUnchanged = false;
    } else if (/^Anonymous: +0 kB$/.test(line)) {
      isUnchanged = true;
    } else if (candidate !== null && isUnchanged && /^Swap: +0 kB$/.test(line)) {
      found.push(candidate);
      candidate = null;
    }
  }
  return found;
}

/** Null: it cannot be called here. */
export function loadGiveBack(): GiveBack | null {
  try {
    // By name, so that nothing of it is loaded where it is not wanted, and that a Node without it is no error.
    const { dlopen } = createRequire(import.meta.url)('node:ffi') as typeof import('node:ffi');
    const { functions } = dlopen(null, { madvise: { return: 'int32', arguments: ['uint64', 'uint64', 'int32'] } });
    return functions.madvise;
  } catch {
    return null;
  }
}

/** Bytes that were mapped, used or not. Throws where /proc cannot be read. */
export function giveBackStartPages(giveBack: GiveBack): bigint {
  const file = readlinkSync('/proc/self/exe');
  let total = 0n;
  for (const { start, bytes } of untouchedPages(readFileSync('/proc/self/smaps', 'latin1'), file)) {
    if (giveBack(start, bytes, MADV_DONTNEED) === 0) total += bytes;
  }
  return total;
}

/** The part of the sidecar that does it: 10 s after the start, and then after twice the time each, up to an hour. */
export function startPages(clock: Clock, log: Logger, load: () => GiveBack | null = loadGiveBack): Part {
  let cancel = (): void => {};
  let giveBack: GiveBack | null = null;
  const giveBackAfter = (delayMs: number): void => {
    cancel = clock.after(delayMs, () => {
      try {
        // Not before: loading it would make the start longer.
        giveBack ??= load();
        if (giveBack === null) return;
        giveBackStartPages(giveBack);
        giveBackAfter(Math.min(LONGEST_PAUSE_MS, delayMs * 2));
      } catch (error) {
        log.debug({ err: error }, 'the pages of the start are not given back');
      }
    });
  };
  return { name: 'pages of the start', start: () => giveBackAfter(FIRST_AFTER_MS), stop: () => cancel() };
}
