// Where bytes wait that are being written, if they do not fit into a string: one buffer for all connections. Those they were read into are read into
// again (read-buffer.ts), and a write may not finish at once. Both stay in the cache of the processor, where a copy costs less than a write from
// two places.

/** What is read at once, with its head and its frame. */
export const WRITE_BUFFER_BYTES = 98_304;
/** Up to here a copy into a string is cheaper than a buffer. */
export const TEXT_LIMIT_BYTES = 4096;

let shared = Buffer.allocUnsafeSlow(WRITE_BUFFER_BYTES);
/** Bytes before it belong to writes that could not finish at once. */
let start = 0;

/** Space for one write, of at most `WRITE_BUFFER_BYTES`. It is the writer's until given back, and for good where it never is. */
export function takeWriteBuffer(bytes: number): Buffer {
  if (start + bytes > WRITE_BUFFER_BYTES) {
    shared = Buffer.allocUnsafeSlow(WRITE_BUFFER_BYTES);
    start = 0;
  }
  const taken = shared.subarray(start, start + bytes);
  // Taken until it is known to be free: another write may happen inside this one.
  start += bytes;
  return taken;
}

/** Its write has finished at once. Where another one has taken space behind it, or gone on to another buffer, it is left. */
export function giveBackWriteBuffer(taken: Buffer): void {
  if (taken.buffer === shared.buffer && taken.byteOffset + taken.length === start) start = taken.byteOffset;
}
