import { afterEach, describe, expect, it } from 'vitest';
import {
  BULK_BUFFER_BYTES,
  bulkBuffersTaken,
  holdBulkBuffer,
  isBulkBuffer,
  isBulkBufferLent,
  MAX_BULK_BUFFERS,
  releaseBulkBuffer,
  takeBulkBuffer,
} from './bulk-buffers.ts';

const taken: Buffer[] = [];

function take(): Buffer {
  const buffer = takeBulkBuffer();
  if (buffer === null) throw new Error('there is none left');
  taken.push(buffer);
  return buffer;
}

afterEach(() => {
  for (const buffer of taken.splice(0)) while (isBulkBuffer(buffer)) releaseBulkBuffer(buffer);
  expect(bulkBuffersTaken()).toBe(0);
});

describe('a bulk buffer', () => {
  it('is one stream’s alone until it is given back', () => {
    const [first, second] = [take(), take()];
    expect([first === second, first.length, isBulkBuffer(first)]).toEqual([false, BULK_BUFFER_BYTES, true]);
    releaseBulkBuffer(first);
    expect(isBulkBuffer(first)).toBe(false);
    expect(take()).toBe(first);
  });

  it('is nobody’s while bytes in it are still to be written, although its stream has given it back', () => {
    const buffer = take();
    holdBulkBuffer(buffer);
    holdBulkBuffer(buffer);
    expect(isBulkBufferLent(buffer)).toBe(true);
    releaseBulkBuffer(buffer);
    releaseBulkBuffer(buffer);
    expect([isBulkBuffer(buffer), isBulkBufferLent(buffer), take() === buffer]).toEqual([true, false, false]);
    releaseBulkBuffer(buffer);
    expect([isBulkBuffer(buffer), take() === buffer]).toEqual([false, true]);
  });

  it('is not to be had beyond a number of them, until one is given back', () => {
    const all = Array.from({ length: MAX_BULK_BUFFERS }, take);
    expect(new Set(all).size).toBe(MAX_BULK_BUFFERS);
    expect(takeBulkBuffer()).toBeNull();
    releaseBulkBuffer(all[7] as Buffer);
    expect(isBulkBuffer(take())).toBe(true);
    expect(takeBulkBuffer()).toBeNull();
  });

  it('is not another buffer of that size', () => {
    expect(isBulkBuffer(Buffer.alloc(BULK_BUFFER_BYTES))).toBe(false);
  });
});
