// Where a stream reads into of which more has come than the buffer of all connections takes (read-buffer.ts): half a megabyte at a time, which is sent
// from where it lies. Each write wakes the peer, and each read tells the sender that there is room again, so that a few large ones take two thirds of the CPU
// of many small ones; and nothing is copied.
//
// There are few, for all streams together, and a stream has one only while its reads fill it. What a slow peer does not take stays in its buffer, which is
// nobody else's until it was written; without one a stream goes on as it always does.

export const BULK_BUFFER_BYTES = 524_288;
/** 8 MiB, if as many peers are slow. */
export const MAX_BULK_BUFFERS = 16;
/** Kept although nobody has them: what flows at the same time is mostly read one after the other. */
const MAX_SPARE = 2;

/** Who holds each: the stream that reads into it, and every write that goes on. */
const holders = new Map<Buffer, number>();
const spare: Buffer[] = [];

/** Null: all are taken. */
export function takeBulkBuffer(): Buffer | null {
  if (holders.size >= MAX_BULK_BUFFERS) return null;
  const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(BULK_BUFFER_BYTES);
  holders.set(buffer, 1);
  return buffer;
}

export function isBulkBuffer(buffer: Buffer): boolean {
  return buffer.length === BULK_BUFFER_BYTES && holders.has(buffer);
}

/** A write goes on from it. */
export function holdBulkBuffer(buffer: Buffer): void {
  holders.set(buffer, holdersOf(buffer) + 1);
}

/** Bytes in it are still to be written. */
export function isBulkBufferLent(buffer: Buffer): boolean {
  return holdersOf(buffer) > 1;
}

/** Of the stream, or of a write that is over. */
export function releaseBulkBuffer(buffer: Buffer): void {
  const others = holdersOf(buffer) - 1;
  if (others > 0) {
    holders.set(buffer, others);
    return;
  }
  holders.delete(buffer);
  if (spare.length < MAX_SPARE) spare.push(buffer);
}

export function bulkBuffersTaken(): number {
  return holders.size;
}

function holdersOf(buffer: Buffer): number {
  return holders.get(buffer) ?? 0;
}
