import { array, assert, nat, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REPLAY_LIMIT_BYTES, ReplayBody, ReplayPool } from './replay-body.ts';

function kept(pool: ReplayPool, ...sizes: number[]): ReplayBody {
  const body = new ReplayBody(pool);
  body.begin(true);
  for (const size of sizes) body.add(Buffer.alloc(size), 0, size);
  return body;
}

describe('ReplayBody', () => {
  it.each([
    [REPLAY_LIMIT_BYTES - 1, true],
    [REPLAY_LIMIT_BYTES, true],
    [REPLAY_LIMIT_BYTES + 1, false],
  ])('keeps %i bytes: %s', (size, complete) => {
    const pool = new ReplayPool(1_000_000);
    expect(kept(pool, size).complete).toBe(complete);
    expect(kept(pool, size - 1, 1).complete).toBe(complete);
  });

  it('gives all of it back, once, and keeps nothing of what follows', () => {
    const pool = new ReplayPool(1_000_000);
    const body = kept(pool, 1_000, 1_000);
    expect(pool.usedBytes).toBeGreaterThanOrEqual(2_000);
    body.add(Buffer.alloc(REPLAY_LIMIT_BYTES), 0, REPLAY_LIMIT_BYTES);
    expect([pool.usedBytes, body.complete, body.parts.length]).toEqual([0, false, 0]);
    body.add(Buffer.alloc(1), 0, 1);
    body.clear();
    expect(pool.usedBytes).toBe(0);
  });

  it('counts what single bytes cost', () => {
    const pool = new ReplayPool(1_000_000);
    expect(kept(pool, ...Array.from({ length: 20_000 }, () => 1)).complete).toBe(false);
    expect(pool.usedBytes).toBe(0);
  });

  it('keeps nothing beyond the cap of all requests, and does again when there is room', () => {
    const pool = new ReplayPool(100_000);
    const first = kept(pool, 60_000);
    expect(kept(pool, 60_000).complete).toBe(false);
    first.clear();
    expect(kept(pool, 60_000).complete).toBe(true);
  });

  it('keeps each body as it was sent, one after the other, whatever becomes of the buffer it came in', () => {
    const pool = new ReplayPool(1_000_000);
    const body = new ReplayBody(pool);
    const sizes = array(nat({ max: 3_000 }), { maxLength: 4 });
    assert(
      property(array(sizes, { minLength: 2, maxLength: 6 }), (bodies) => {
        for (const [nth, pieces] of bodies.entries()) {
          body.begin(true);
          let sent = '';
          for (const [index, size] of pieces.entries()) {
            const piece = Buffer.alloc(size, 97 + ((nth * 5 + index) % 26));
            sent += piece.toString();
            body.add(piece, 0, size);
            piece.fill(0);
          }
          expect(Buffer.concat(body.parts).toString()).toBe(sent);
          body.clear();
        }
      }),
    );
    expect(pool.usedBytes).toBe(0);
  });

  it('takes no memory of its own for a small body', () => {
    const body = kept(new ReplayPool(1_000_000), 128);
    const [first] = body.parts;
    body.clear();
    body.begin(true);
    body.add(Buffer.alloc(256), 0, 256);
    const [second] = body.parts;
    expect([second?.length, second?.buffer, second?.byteOffset]).toEqual([256, first?.buffer, first?.byteOffset]);
  });
});
