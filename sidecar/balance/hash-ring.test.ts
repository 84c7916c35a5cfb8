import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hashText, mix } from './hash.ts';
import { HashRing, pointsFor } from './hash-ring.ts';

const address = (index: number) => `10.0.${index >> 8}.${index & 255}:8080`;
const addresses = (count: number) => Array.from({ length: count }, (_, index) => address(index));
const owner = (ring: HashRing, names: readonly string[], key: string) =>
  names[ring.ownerOf(ring.pointOf(hashText(key)))];

describe('the hash', () => {
  it('is the same in every sidecar and every version: these values are a contract', () => {
    expect(['', 'a', 'user-1', '10.0.0.1:8080'].map((text) => hashText(text))).toEqual([
      2_872_998_923, 444_641_715, 2_005_895_916, 3_150_401_971,
    ]);
  });

  it('reads a part of a text as if it were the whole', () => {
    expect(hashText('session=abc; other=1', 8, 11)).toBe(hashText('abc'));
  });

  it('moves about half of the bits with every bit of its input', () => {
    for (let bit = 0; bit < 32; bit++) {
      let moved = 0;
      for (let value = 0; value < 1000; value++) {
        const difference = (mix(value * 7919) ^ mix((value * 7919) ^ (1 << bit))) >>> 0;
        moved += difference.toString(2).replaceAll('0', '').length;
      }
      expect(moved / 1000).toBeGreaterThan(14);
      expect(moved / 1000).toBeLessThan(18);
    }
  });
});

describe('the ring', () => {
  it('gives every endpoint a share of the keys near the mean', () => {
    const names = addresses(10);
    const ring = new HashRing(names);
    const counts = new Map(names.map((name) => [name, 0]));
    for (let key = 0; key < 50_000; key++) {
      const name = owner(ring, names, `user-${key}`) ?? '';
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    // Five standard deviations of a ring with 128 points.
    for (const count of counts.values()) expect(Math.abs(count - 5_000)).toBeLessThan(5_000 * 0.45);
  });

  it('moves keys to an endpoint that joins, and no other, for every set and key', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat({ max: 5_000 }), { minLength: 1, maxLength: 20, size: 'max' }),
        fc.array(fc.string(), { minLength: 20, maxLength: 60, size: 'max' }),
        fc.nat(),
        (numbers, keys, where) => {
          const after = numbers.map(address);
          const joins = after[where % after.length];
          const before = after.filter((name) => name !== joins);
          const [ringBefore, ringAfter] = [new HashRing(before), new HashRing(after)];
          for (const key of keys) {
            const now = owner(ringAfter, after, key);
            if (now !== joins) expect(now).toBe(owner(ringBefore, before, key));
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it('moves about as many keys as are the share of the endpoint that joins', () => {
    const after = addresses(20);
    const before = after.slice(0, 19);
    const [ringBefore, ringAfter] = [new HashRing(before), new HashRing(after)];
    let moved = 0;
    for (let key = 0; key < 20_000; key++)
      if (owner(ringBefore, before, `k${key}`) !== owner(ringAfter, after, `k${key}`)) moved++;
    expect(moved / 20_000).toBeLessThan(1.5 / 20);
    expect(moved / 20_000).toBeGreaterThan(0.5 / 20);
  });

  it('does not depend on the order of the endpoints', () => {
    const names = addresses(50);
    const turned = names.toReversed();
    const [ring, other] = [new HashRing(names), new HashRing(turned)];
    for (let key = 0; key < 2_000; key++) expect(owner(other, turned, `k${key}`)).toBe(owner(ring, names, `k${key}`));
  });

  it('has points for the largest set, and is empty for none', () => {
    expect(new HashRing(addresses(10_000)).length).toBe(160_000);
    expect([1, 1_024, 1_025, 2_049, 10_000].map(pointsFor)).toEqual([128, 128, 64, 32, 16]);
    const empty = new HashRing([]);
    expect([empty.length, empty.pointOf(77)]).toEqual([0, 0]);
  });

  it('finds the owner that a look at all points finds', () => {
    const names = addresses(7);
    const ring = new HashRing(names);
    const points = names.flatMap((name) =>
      Array.from({ length: 128 }, (_, point) => ({ at: mix(hashText(name) + Math.imul(point, 0x9e3779b9)), name })),
    );
    points.sort((a, b) => a.at - b.at);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (key) => {
        const found = points.find(({ at }) => at >= key) ?? points[0];
        expect(names[ring.ownerOf(ring.pointOf(key))]).toBe(found?.name);
      }),
      { numRuns: 1_000 },
    );
    for (const { at, name } of points) expect(names[ring.ownerOf(ring.pointOf(at))]).toBe(name);
    expect(names.map((_, place) => ring.nameHash(place))).toEqual(names.map((name) => hashText(name)));
  });
});
