import { afterEach, describe, expect, it } from 'vitest';
import {
  BULK_BUFFER_BYTES,
  type BulkReader,
  bulkBuffersTaken,
  giveBackBulkBuffer,
  isBulkBuffer,
  isBulkBufferLent,
  lendBulkBuffer,
  MAX_BULK_BUFFERS,
  returnBulkBuffer,
  takeBulkBuffer,
} from './bulk-buffers.ts';

const taken = new Set<Buffer>();

class Reader implements BulkReader {
  losses = 0;

  loseBulkBuffer(): void {
    this.losses++;
  }
}

function take(reader: BulkReader = new Reader()): Buffer {
  const buffer = takeBulkBuffer(reader);
  if (buffer === null) throw new Error('there is none left');
  taken.add(buffer);
  return buffer;
}

afterEach(() => {
  for (const buffer of taken) {
    while (isBulkBufferLent(buffer)) returnBulkBuffer(buffer);
    giveBackBulkBuffer(buffer);
  }
  taken.clear();
  expect(bulkBuffersTaken()).toBe(0);
});

describe('a bulk buffer', () => {
  it('is one stream’s alone until it is given back', () => {
    const [first, second] = [take(), take()];
    expect([first === second, first.length, isBulkBuffer(first)]).toEqual([false, BULK_BUFFER_BYTES, true]);
    giveBackBulkBuffer(first);
    expect(isBulkBuffer(first)).toBe(false);
    expect(take()).toBe(first);
  });

  it('is nobody’s while bytes in it are still to be written, although its stream has given it back', () => {
    const buffer = take();
    lendBulkBuffer(buffer);
    lendBulkBuffer(buffer);
    expect(isBulkBufferLent(buffer)).toBe(true);
    giveBackBulkBuffer(buffer);
    returnBulkBuffer(buffer);
    expect([isBulkBuffer(buffer), isBulkBufferLent(buffer), take() === buffer]).toEqual([true, true, false]);
    returnBulkBuffer(buffer);
    expect([isBulkBuffer(buffer), take() === buffer]).toEqual([false, true]);
  });

  it('stays with its stream when what was written from it is over', () => {
    const buffer = take();
    lendBulkBuffer(buffer);
    returnBulkBuffer(buffer);
    expect([isBulkBuffer(buffer), take() === buffer]).toEqual([true, false]);
  });

  it('is not to be had beyond a number of them, until one is given back', () => {
    const all = Array.from({ length: MAX_BULK_BUFFERS }, () => take());
    expect(new Set(all).size).toBe(MAX_BULK_BUFFERS);
    expect(takeBulkBuffer(new Reader())).toBeNull();
    giveBackBulkBuffer(all[7] as Buffer);
    expect(isBulkBuffer(take())).toBe(true);
    expect(takeBulkBuffer(new Reader())).toBeNull();
  });

  it('is taken from a stream that fell silent, and from none that still writes from it or reads into it', () => {
    const [writing, left, silent, reading] = [new Reader(), new Reader(), new Reader(), new Reader()];
    lendBulkBuffer(take(writing));
    const givenUp = take(left);
    lendBulkBuffer(givenUp);
    giveBackBulkBuffer(givenUp);
    const lost = take(silent);
    for (let others = 3; others < MAX_BULK_BUFFERS - 1; others++) take();
    let busy = take(reading);
    for (let turn = 0; turn < 900; turn++) {
      giveBackBulkBuffer(busy);
      busy = take(reading);
    }
    expect(takeBulkBuffer(new Reader())).toBeNull();
    for (let turn = 0; turn < 110; turn++) {
      giveBackBulkBuffer(busy);
      busy = take(reading);
    }
    expect(take()).toBe(lost);
    expect([writing, left, silent, reading].map(({ losses }) => losses)).toEqual([0, 0, 1, 0]);
  });

  it('is not another buffer of that size', () => {
    expect(isBulkBuffer(Buffer.alloc(BULK_BUFFER_BYTES))).toBe(false);
  });
});
