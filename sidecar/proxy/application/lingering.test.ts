import { array, assert, nat, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LINGER_MS, Lingering, STALLED_LIMIT_MS } from './lingering.ts';

describe('a connection behind its last answer', () => {
  it('is over when all of it was read', () => {
    expect(new Lingering().goesOn(0)).toBe(false);
    const slow = new Lingering();
    expect([slow.goesOn(5), slow.goesOn(5), slow.goesOn(0)]).toEqual([true, true, false]);
  });

  it('goes on for whoever reads slowly, and for the limit where nothing is read', () => {
    const limit = STALLED_LIMIT_MS / LINGER_MS;
    let [over, slow] = [0, 0];
    assert(
      // Looks at which nothing was read, before each at which something was.
      property(array(nat({ max: 2 * limit }), { minLength: 1, maxLength: 8 }), (pauses) => {
        const lingering = new Lingering();
        let leftBytes = 1_000;
        for (const pause of pauses) {
          leftBytes -= 1;
          expect(lingering.goesOn(leftBytes)).toBe(true);
          for (let look = 1; look <= pause; look += 1) {
            expect(lingering.goesOn(leftBytes)).toBe(look < limit);
            if (look < limit) continue;
            over += 1;
            return;
          }
        }
        slow += 1;
      }),
    );
    expect(over).toBeGreaterThan(0);
    expect(slow).toBeGreaterThan(0);
  });
});
