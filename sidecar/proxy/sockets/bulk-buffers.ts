// Where a stream reads into of which more has come than the buffer of all connections takes (read-buffer.ts): half a megabyte at a time, which is sent
// from where it lies. Each write wakes the peer, and each read tells the sender that there is room again, so that a few large ones take two thirds of the CPU
// of many small ones; and nothing is copied.
//
// There are few, for all streams together, and a stream has one until a read leaves room in it, or, where it falls silent before, until others need it. What
// a slow peer does not take stays in its buffer, which is nobody else's until it was written; without one a stream goes on as it always does.

export const BULK_BUFFER_BYTES = 524_288;
/** 8 MiB, if as many peers are slow. */
export const MAX_BULK_BUFFERS = 16;
/** Kept although nobody has them: what flows at the same time is mostly read one after the other. */
const MAX_SPARE = 2;
/** A stream that has not read while so many buffers were taken by others has fallen silent. */
const SILENT_AFTER_TAKES = 1_000;

export interface BulkReader {
  /** It reads into another buffer from now on. */
  loseBulkBuffer(): void;
}

interface Taken {
  /** Null: it has given it back. */
  reader: BulkReader | null;
  readonly nth: number;
  /** That go on from it. */
  writes: number;
}

/** In the order in which they were taken. */
const taken = new Map<Buffer, Taken>();
const spare: Buffer[] = [];
let takes = 0;

/** Null: all are taken. */
export function takeBulkBuffer(reader: BulkReader): Buffer | null {
  takes++;
  if (taken.size >= MAX_BULK_BUFFERS && !takeFromSilent()) return null;
  const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(BULK_BUFFER_BYTES);
  taken.set(buffer, { reader, nth: takes, writes: 0 });
  return buffer;
}

/** One that wrote all that it read. */
function takeFromSilent(): boolean {
  for (const [buffer, { nth, reader, writes }] of taken) {
    if (takes - nth < SILENT_AFTER_TAKES) return false;
    if (reader === null || writes > 0) continue;
    reader.loseBulkBuffer();
    giveBackBulkBuffer(buffer);
    return true;
  }
  return false;
}

export function isBulkBuffer(buffer: Buffer): boolean {
  return buffer.length === BULK_BUFFER_BYTES && taken.has(buffer);
}

/** Nothing is read into it any more. */
export function giveBackBulkBuffer(buffer: Buffer): void {
  const held = taken.get(buffer);
  if (!held) return;
  held.reader = null;
  freeUnlessHeld(buffer, held);
}

/** A write goes on from it. */
export function lendBulkBuffer(buffer: Buffer): void {
  const held = taken.get(buffer);
  if (held) held.writes++;
}

/** Such a write is over. */
export function returnBulkBuffer(buffer: Buffer): void {
  const held = taken.get(buffer);
  if (!held) return;
  held.writes--;
  freeUnlessHeld(buffer, held);
}

/** Bytes in it are still to be written. */
export function isBulkBufferLent(buffer: Buffer): boolean {
  return (taken.get(buffer)?.writes ?? 0) > 0;
}

function freeUnlessHeld(buffer: Buffer, { reader, writes }: Taken): void {
  if (reader !== null || writes > 0) return;
  taken.delete(buffer);
  if (spare.length < MAX_SPARE) spare.push(buffer);
}

export function bulkBuffersTaken(): number {
  return taken.size;
}
