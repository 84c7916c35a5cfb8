import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Random, seededRandom } from '../../runtime/random.ts';
import { NO_KEY } from './balancer.ts';
import type { BalancedEndpoint } from './candidates.ts';
import { observeFailure, observeSuccess } from './endpoint-cost.ts';
import { candidatesOf, endpointsOf, type GivenEndpoint, tally } from './testing/endpoints.ts';
import { type Cost, TwoChoices } from './two-choices.ts';

interface Given {
  cost?: Cost;
  slowStartMs?: number;
  seed?: number;
}

function balancing(given: readonly GivenEndpoint[], { cost = 'InFlight', slowStartMs = 0, seed = 1 }: Given = {}) {
  const endpoints = endpointsOf(given);
  const balancer = new TwoChoices(candidatesOf(endpoints), cost, slowStartMs, seededRandom(seed));
  const pick = (avoid: readonly BalancedEndpoint[] = [], nowMs = 0) => balancer.pick(avoid, NO_KEY, nowMs);
  return { endpoints, pick };
}

/** Picks once, by chances that are used up one after the other; the place that was picked. */
function placeBy(
  chances: readonly number[],
  given: readonly GivenEndpoint[],
  { cost = 'InFlight', slowStartMs = 0 }: Given = {},
) {
  const left = [...chances];
  const random: Random = () => {
    const chance = left.shift();
    if (chance === undefined) throw new Error('chance is asked once too often');
    return chance;
  };
  const endpoints = endpointsOf(given);
  for (const endpoint of endpoints) observeSuccess(endpoint, 20, 0);
  const chosen = new TwoChoices(candidatesOf(endpoints), cost, slowStartMs, random).pick([], NO_KEY, 0);
  expect(left).toEqual([]);
  return chosen === null ? -1 : endpoints.indexOf(chosen);
}

const busy = (...loads: number[]): GivenEndpoint[] => loads.map((inFlight) => ({ inFlight }));

describe('two choices by what is in progress', () => {
  it('give null where there is none, and the only one even if it is avoided', () => {
    expect(balancing([]).pick()).toBeNull();
    const { endpoints, pick } = balancing([{}]);
    expect(pick()).toBe(endpoints[0]);
    expect(pick(endpoints)).toBe(endpoints[0]);
  });

  it('take the idler of two', () => {
    const { endpoints, pick } = balancing(busy(3, 2));
    for (let at = 0; at < 100; at++) expect(pick()).toBe(endpoints[1]);
  });

  it('take the idler even if it is known to be slow', () => {
    const { endpoints, pick } = balancing(busy(1, 0));
    for (const [index, endpoint] of endpoints.entries()) observeSuccess(endpoint, index === 0 ? 10 : 4_000, 0);
    for (let at = 0; at < 50; at++) expect(pick()).toBe(endpoints[1]);
  });

  it('never take the busiest of three: it always has a rival', () => {
    const { pick } = balancing(busy(1, 9, 1));
    expect(Object.keys(tally(200, () => pick())).sort()).toEqual(['e0', 'e2']);
  });

  it('ignore an avoided endpoint that is gone', () => {
    const { endpoints, pick } = balancing(busy(5, 1));
    expect(pick(endpointsOf([{ name: 'gone' }]))).toBe(endpoints[1]);
  });

  it('spread evenly over equals', () => {
    const { pick } = balancing(busy(0, 0, 0, 0));
    const counts = tally(8000, () => pick());
    expect(Object.keys(counts)).toHaveLength(4);
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(1800);
  });

  it('spread evenly over those that are left when some are avoided', () => {
    const { endpoints, pick } = balancing(busy(0, 0, 0, 0, 0, 0, 0, 0));
    const counts = tally(12_000, () => pick(endpoints.slice(0, 2)));
    expect(Object.keys(counts).sort()).toEqual(['e2', 'e3', 'e4', 'e5', 'e6', 'e7']);
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(1800);
  });

  it('keep the busiest within a few of the mean, where random choice would not', () => {
    const { endpoints, pick } = balancing(Array.from({ length: 100 }, () => ({})));
    for (let at = 0; at < 10_000; at++) pick()?.begin();
    expect(Math.max(...endpoints.map(({ inFlight }) => inFlight))).toBeLessThan(106);
  });

  it('compare two distinct endpoints and none that is avoided, for every set and every draw', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 7 }),
        fc.array(fc.nat({ max: 6 }), { maxLength: 8 }),
        fc.integer({ min: 1, max: 2 ** 31 }),
        (loads, avoidedAt, seed) => {
          const { endpoints, pick } = balancing(busy(...loads), { seed });
          const avoid = avoidedAt.flatMap((index) => endpoints[index] ?? []);
          const left = endpoints.filter((endpoint) => !avoid.includes(endpoint));
          const butLast = endpoints.filter((endpoint) => endpoint !== avoid.at(-1));
          const chosen = pick(avoid);
          const among = [left, butLast, endpoints].find((some) => some.length > 0) ?? [];
          expect(among).toContain(chosen);
          // Of at least two the choice is never busier than all the others.
          const others = among.filter((endpoint) => endpoint !== chosen).map(({ inFlight }) => inFlight);
          if (others.length > 0) expect(chosen?.inFlight).toBeLessThanOrEqual(Math.max(...others));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('chance', () => {
  it('draws the second of two from all but the first, and is asked once for each', () => {
    const drawn: [number, number, number, number][] = [
      [0, 0, 0, 1],
      [0, 0.99, 0, 2],
      [0.5, 0, 1, 0],
      [0.5, 0.99, 1, 2],
      [0.99, 0, 2, 0],
      [0.99, 0.99, 2, 1],
    ];
    for (const [chance, next, first, second] of drawn) {
      const loads = [1, 1, 1];
      expect(placeBy([chance, next], busy(...loads))).toBe(first);
      loads[second] = 0;
      expect(placeBy([chance, next], busy(...loads))).toBe(second);
    }
  });

  it('is not asked where there is nothing to choose', () => {
    expect(placeBy([], [])).toBe(-1);
    expect(placeBy([], [{ joinedAtMs: 0 }], { slowStartMs: 10_000 })).toBe(0);
  });

  it('is asked four times at most for each of two places, and whether it is warm', () => {
    const cold = [{ joinedAtMs: 0 }, { joinedAtMs: 0 }];
    expect(
      placeBy(
        Array.from({ length: 16 }, () => 0.99),
        cold,
        { slowStartMs: 10_000 },
      ),
    ).toBe(1);
  });

  it('decides between two that cost the same', () => {
    for (const cost of ['InFlight', 'PeakEwma'] as const) {
      expect(placeBy([0, 0], busy(3, 3), { cost })).toBe(0);
      expect(placeBy([0.5, 0], busy(3, 3), { cost })).toBe(1);
    }
  });
});

describe('two choices by peak-EWMA', () => {
  it('take the faster of two until it has more in progress than it is faster', () => {
    const { endpoints, pick } = balancing([{}, {}], { cost: 'PeakEwma' });
    const [fast, slow] = endpoints;
    if (!fast || !slow) throw new Error('two endpoints');
    observeSuccess(fast, 10, 0);
    observeSuccess(slow, 44, 0);
    const order: string[] = [];
    for (let at = 0; at < 10; at++) {
      const chosen = pick();
      chosen?.begin();
      order.push(chosen === fast ? 'fast' : 'slow');
    }
    expect(order.join(' ')).toBe('fast fast fast fast slow fast fast fast fast slow');
  });

  it('send nothing to an endpoint that fails fast, for most of a minute', () => {
    const { endpoints, pick } = balancing([{}, {}, {}], { cost: 'PeakEwma' });
    for (const endpoint of endpoints) observeSuccess(endpoint, 5, 0);
    const [broken] = endpoints;
    if (broken) observeFailure(broken, 0.2, 0, 100);
    const counts = tally(3_000, (at) => {
      const chosen = pick([], 101 + at);
      if (chosen) observeSuccess(chosen, 5, 101 + at);
      return chosen;
    });
    expect(Object.keys(counts).sort()).toEqual(['e1', 'e2']);
  });

  it('go by what is in progress as long as one of the two was never measured', () => {
    const { endpoints, pick } = balancing(busy(0, 1), { cost: 'PeakEwma' });
    const [measured, unknown] = endpoints;
    if (measured) observeSuccess(measured, 4_000, 0);
    for (let at = 0; at < 50; at++) expect(pick()).toBe(measured);
    measured?.begin();
    measured?.begin();
    for (let at = 0; at < 50; at++) expect(pick()).toBe(unknown);
  });
});

describe('slow start', () => {
  it('gives a new endpoint a share that only grows, from about a tenth of its own to all of it', () => {
    const shareAt = (nowMs: number) => {
      const { pick } = balancing([{}, {}, {}, { joinedAtMs: 0 }], { slowStartMs: 10_000 });
      return (tally(20_000, () => pick([], nowMs))['e3'] ?? 0) / 20_000;
    };
    const shares = [0, 2_500, 5_000, 7_500, 10_000].map(shareAt);
    const ideal = [0.1, 0.25, 0.5, 0.75, 1].map((weight) => weight / (3 + weight));
    for (const [index, share] of shares.entries()) {
      expect(share).toBeGreaterThan((ideal[index] ?? 0) * 0.85);
      expect(share).toBeLessThan((ideal[index] ?? 0) * 1.15);
    }
    expect(shares).toEqual(shares.toSorted((a, b) => a - b));
  });

  it('is without effect where every endpoint is new', () => {
    const fresh = { joinedAtMs: 0 };
    const { pick } = balancing([fresh, fresh, fresh, fresh], { slowStartMs: 10_000 });
    const counts = tally(8_000, () => pick([], 1));
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(1_800);
  });
});
