import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { pickEndpoint } from './pick.ts';

interface Backend {
  name: string;
  inFlight: number;
}
const backends = (...loads: number[]): Backend[] =>
  loads.map((inFlight, index) => ({ name: `backend ${index}`, inFlight }));

describe('pickEndpoint', () => {
  it('gives null where there is none, and the only one even if it is to be avoided', () => {
    const random = seededRandom(1);
    expect(pickEndpoint([], [], random)).toBeNull();
    const [only] = backends(7);
    if (only === undefined) throw new Error('one backend');
    expect(pickEndpoint([only], [], random)).toBe(only);
    expect(pickEndpoint([only], [only], random)).toBe(only);
  });

  it('takes the idler of two', () => {
    const both = backends(3, 2);
    const random = seededRandom(2);
    for (let pick = 0; pick < 100; pick += 1) expect(pickEndpoint(both, [], random)).toBe(both[1]);
  });

  it('never takes the busiest of three: it always has a rival', () => {
    const three = backends(1, 9, 1);
    const random = seededRandom(3);
    const picked = new Set(Array.from({ length: 200 }, () => pickEndpoint(three, [], random)?.name));
    expect(picked).toEqual(new Set(['backend 0', 'backend 2']));
  });

  it('ignores an avoided endpoint that is not in the list', () => {
    const two = backends(5, 1);
    expect(pickEndpoint(two, [{ name: 'gone', inFlight: 0 }], seededRandom(4))).toBe(two[1]);
  });

  it('spreads evenly over equals', () => {
    const four = backends(0, 0, 0, 0);
    const random = seededRandom(5);
    const counts = new Map<string, number>();
    for (let pick = 0; pick < 8000; pick += 1) {
      const { name } = pickEndpoint(four, [], random) ?? { name: 'none' };
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(four.map(({ name }) => name));
    for (const count of counts.values()) expect(count).toBeGreaterThan(1800);
  });

  it('keeps the busiest within a few of the mean, where random choice would not', () => {
    const hundred = backends(...Array.from({ length: 100 }, () => 0));
    const random = seededRandom(6);
    for (let pick = 0; pick < 10_000; pick += 1) {
      const chosen = pickEndpoint(hundred, [], random);
      if (chosen !== null) chosen.inFlight += 1;
    }
    expect(Math.max(...hundred.map(({ inFlight }) => inFlight))).toBeLessThan(106);
  });

  it('leaves out all that failed, and where all did, the last of them', () => {
    const three = backends(0, 0, 9);
    const [first, second, third] = three;
    if (!first || !second || !third) throw new Error('three backends');
    const random = seededRandom(7);
    for (let pick = 0; pick < 100; pick += 1) {
      expect(pickEndpoint(three, [first, second], random)).toBe(third);
      expect(pickEndpoint(three, [first, third, second], random)).toBe(first);
      expect(pickEndpoint([first, second], [second, first, second], random)).toBe(first);
    }
  });

  it('compares two distinct endpoints and never an avoided one, for every draw', () => {
    const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 5 }), { minLength: 2, maxLength: 6 }),
        fc.array(fc.nat({ max: 5 }), { maxLength: 7 }),
        draw,
        draw,
        (loads, avoided, first, second) => {
          const list = backends(...loads);
          const avoid = avoided.flatMap((index) => list[index] ?? []);
          const draws = [first, second];
          const chosen = pickEndpoint(list, avoid, () => draws.shift() ?? 0);
          const untried = list.filter((backend) => !avoid.includes(backend));
          const rest = untried.length > 0 ? untried : list.filter((backend) => backend !== avoid.at(-1));
          expect(rest).toContain(chosen);
          // Of at least two candidates the choice is never busier than all the others.
          if (rest.length > 1)
            expect(chosen?.inFlight).toBeLessThanOrEqual(
              Math.max(...rest.filter((backend) => backend !== chosen).map(({ inFlight }) => inFlight)),
            );
        },
      ),
      { numRuns: 1000 },
    );
  });
});
