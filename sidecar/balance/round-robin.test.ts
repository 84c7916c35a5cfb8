import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { NO_KEY } from './balancer.ts';
import type { BalancedEndpoint } from './candidates.ts';
import { RoundRobin } from './round-robin.ts';
import { candidatesOf, endpointsOf, type GivenEndpoint, tally } from './testing/endpoints.ts';

function turns(given: readonly GivenEndpoint[], { slowStartMs = 0, seed = 1 } = {}) {
  const endpoints = endpointsOf(given);
  const excluded = new Set<BalancedEndpoint>();
  const candidates = candidatesOf(endpoints, excluded);
  const balancer = new RoundRobin(candidates, slowStartMs, seededRandom(seed));
  const pick = (avoid: readonly BalancedEndpoint[] = [], nowMs = 0) => balancer.pick(avoid, NO_KEY, nowMs);
  const next = (count: number) => Array.from({ length: count }, () => pick()?.name ?? 'none').join(' ');
  return { endpoints, excluded, candidates, pick, next };
}

const some = (count: number): GivenEndpoint[] => Array.from({ length: count }, () => ({}));

describe('round robin', () => {
  it('takes one after the other, and begins anywhere', () => {
    const begins = new Set(
      Array.from({ length: 40 }, (_, seed) => {
        const order = turns(some(3), { seed: (seed + 1) * 7919 }).next(6);
        expect(order.slice(0, 8)).toBe(order.slice(9));
        return order.slice(0, 8);
      }),
    );
    expect([...begins].sort()).toEqual(['e0 e1 e2', 'e1 e2 e0', 'e2 e0 e1']);
  });

  it('gives null where there is none, and the only one even if it is avoided', () => {
    expect(turns([]).pick()).toBeNull();
    const { endpoints, pick } = turns(some(1));
    expect(pick(endpoints)).toBe(endpoints[0]);
  });

  it('leaves out who is avoided, and nobody else', () => {
    const { endpoints, pick } = turns(some(4));
    const first = pick();
    const avoided = endpoints[((first ? endpoints.indexOf(first) : 0) + 1) % 4];
    expect(pick(avoided ? [avoided] : [])).toBe(endpoints[((first ? endpoints.indexOf(first) : 0) + 2) % 4]);
  });

  it('where all are avoided, takes any but the last of them', () => {
    const { endpoints, pick } = turns(some(3));
    const counts = tally(30, () => pick(endpoints));
    expect(Object.keys(counts).sort()).toEqual(['e0', 'e1']);
  });

  it('where all are avoided, turns go on from where they were', () => {
    const endpoints = endpointsOf(some(3));
    const balancer = new RoundRobin(candidatesOf(endpoints), 0, () => 0);
    const picked = Array.from({ length: 5 }, () => balancer.pick(endpoints, NO_KEY, 0)?.name);
    expect(picked).toEqual(['e0', 'e1', 'e0', 'e1', 'e0']);
  });

  it('asks chance where to begin, once', () => {
    for (const count of [0, 1, 3]) {
      let asked = 0;
      const balancer = new RoundRobin(candidatesOf(endpointsOf(some(count))), 0, () => {
        asked++;
        return 0.5;
      });
      for (let turn = 0; turn < 10; turn++) balancer.pick([], NO_KEY, 0);
      expect(asked).toBe(1);
    }
  });

  it('rather takes who is cold than who is avoided', () => {
    const { endpoints, pick } = turns([{}, { joinedAtMs: 0 }, { joinedAtMs: 0 }], { slowStartMs: 1_000 });
    const counts = tally(100, () => pick(endpoints.slice(0, 1), 1));
    expect(Object.keys(counts).sort()).toEqual(['e1', 'e2']);
  });

  it('goes on with the next in turn when endpoints come and go', () => {
    const { endpoints, excluded, candidates, pick, next } = turns(some(5));
    while (pick() !== endpoints[1]);
    const [fresh] = endpointsOf([{ name: 'fresh' }]);
    const [e0, e1, e2, e3, e4] = endpoints;
    if (!fresh || !e0 || !e1 || !e2 || !e3 || !e4) throw new Error('five endpoints and one');
    candidates.setEndpoints([e0, fresh, e1, e3, e4]);
    expect(next(6)).toBe('e3 e4 e0 fresh e1 e3');
    excluded.add(e4);
    candidates.refresh();
    expect(next(3)).toBe('e0 fresh e1');
  });

  it('gives everybody the same, give or take one, in every stretch of picks', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 2 ** 31 }),
        (count, before, picks, seed) => {
          const { endpoints, pick } = turns(some(count), { seed });
          for (let at = 0; at < before; at++) pick();
          const counts = tally(picks, () => pick());
          const each = endpoints.map(({ name }) => counts[name] ?? 0);
          expect(Math.max(...each) - Math.min(...each)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('gives a new endpoint some of its turns, more and more, and all of them where all are new', () => {
    const turnsOf = (nowMs: number) => {
      const { pick } = turns([{}, {}, { joinedAtMs: 0 }], { slowStartMs: 1_000 });
      return tally(9_000, () => pick([], nowMs))['e2'] ?? 0;
    };
    expect(turnsOf(100)).toBeGreaterThan(300);
    expect(turnsOf(100)).toBeLessThan(600);
    expect(turnsOf(500)).toBeGreaterThan(1_600);
    expect(turnsOf(500)).toBeLessThan(2_000);
    expect(turnsOf(1_000)).toBe(3_000);
    const fresh = turns([{ joinedAtMs: 0 }, { joinedAtMs: 0 }], { slowStartMs: 1_000 });
    const counts = tally(4_000, () => fresh.pick([], 1));
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(1_700);
  });

  it('takes the only one though it is cold, and who was there from the start whatever the time', () => {
    const never = () => 0.99;
    const pickOf = (given: readonly GivenEndpoint[]) => {
      const balancer = new RoundRobin(candidatesOf(endpointsOf(given)), 10_000, never);
      return () => balancer.pick([], NO_KEY, 0)?.name;
    };
    expect(pickOf([{ joinedAtMs: 0 }])()).toBe('e0');
    const pick = pickOf([{ joinedAtMs: 0 }, {}, {}]);
    expect([pick(), pick(), pick()]).toEqual(['e2', 'e1', 'e2']);
  });

  it('goes on with the first in the order where it was its turn', () => {
    let chance = 0;
    const endpoints = endpointsOf(some(3));
    const candidates = candidatesOf(endpoints.slice(0, 2));
    const balancer = new RoundRobin(candidates, 0, () => chance);
    const pick = () => balancer.pick([], NO_KEY, 0)?.name;
    expect([pick(), pick()]).toEqual(['e0', 'e1']);
    chance = 0.99;
    candidates.setEndpoints(endpoints);
    expect(pick()).toBe('e0');
  });
});
