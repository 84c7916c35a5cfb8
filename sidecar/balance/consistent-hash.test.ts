import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { NO_KEY } from './balancer.ts';
import type { BalancedEndpoint } from './candidates.ts';
import { ConsistentHash } from './consistent-hash.ts';
import { hashText } from './hash.ts';
import { HashRing } from './hash-ring.ts';
import { candidatesOf, endpointsOf, excluding, type GivenEndpoint, tally } from './testing/endpoints.ts';
import { TwoChoices } from './two-choices.ts';

function hashing(given: readonly GivenEndpoint[], { maxLoadPercent = 150, slowStartMs = 0 } = {}) {
  const endpoints = endpointsOf(given);
  const excluded = new Set<BalancedEndpoint>();
  const candidates = candidatesOf(endpoints, excluded);
  const keyless = new TwoChoices(candidates, 'InFlight', slowStartMs, seededRandom(1));
  const balancer = new ConsistentHash({ candidates, maxLoadPercent, slowStartMs, keyless });
  const pick = (key: string, avoid: readonly BalancedEndpoint[] = [], nowMs = 0) =>
    balancer.pick(avoid, hashText(key), nowMs);
  return { endpoints, excluded, candidates, balancer, pick };
}

const some = (count: number): GivenEndpoint[] => Array.from({ length: count }, () => ({}));
/** The first endpoint from the point of the key on whose place is `from` or a later one. */
function next(ring: HashRing, endpoints: readonly BalancedEndpoint[], key: string, from: number) {
  let point = ring.pointOf(hashText(key));
  while (ring.ownerOf(point) < from) point = (point + 1) % ring.length;
  return endpoints[ring.ownerOf(point)];
}

/** The lowest key that belongs to this point. */
function keyOf(ring: HashRing, point: number): number {
  let low = 0;
  let high = 2 ** 32 - 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (ring.pointOf(middle) < point) low = middle + 1;
    else high = middle;
  }
  return low;
}

const KEYS = Array.from({ length: 2_000 }, (_, index) => `user-${index}`);

describe('consistent hashing', () => {
  it('keeps a key with its endpoint, in every sidecar', () => {
    const [one, other] = [hashing(some(7)), hashing(some(7))];
    for (const key of KEYS) {
      const name = one.pick(key)?.name;
      expect(one.pick(key)?.name).toBe(name);
      expect(other.pick(key)?.name).toBe(name);
    }
  });

  it('moves the keys of an ejected endpoint, spread over the others, and gives them back', () => {
    const { endpoints, excluded, candidates, pick } = hashing(some(5));
    const before = KEYS.map((key) => pick(key)?.name);
    const [ejected] = endpoints;
    if (ejected) excluded.add(ejected);
    candidates.refresh();
    const during = KEYS.map((key) => pick(key)?.name);
    const moved = new Set(during.filter((name, index) => name !== before[index]));
    expect(during.every((name, index) => name === before[index] || before[index] === 'e0')).toBe(true);
    expect(moved).toEqual(new Set(['e1', 'e2', 'e3', 'e4']));
    excluded.clear();
    candidates.refresh();
    expect(KEYS.map((key) => pick(key)?.name)).toEqual(before);
  });

  it('sends a retry to the next endpoint of the key, always the same one, and where all were tried not to the last', () => {
    const { endpoints, pick } = hashing(some(4));
    for (const key of KEYS.slice(0, 200)) {
      const first = pick(key);
      const second = pick(key, first ? [first] : []);
      expect(second).not.toBe(first);
      expect(pick(key, first ? [first] : [])).toBe(second);
      const others = endpoints.filter((endpoint) => endpoint !== first);
      expect(pick(key, first ? [...others, first] : [])).toBe(second);
      expect(pick(key, first ? [first, ...others] : [])).toBe(first);
    }
  });

  it('goes round the ring the way in which points grow, so that sidecars of all versions agree on who is next', () => {
    const { endpoints, pick } = hashing(some(5));
    const ring = new HashRing(endpoints.map(({ name }) => name));
    for (const key of KEYS.slice(0, 200)) expect(pick(key, endpoints.slice(0, 2))).toBe(next(ring, endpoints, key, 2));
  });

  it('rather takes who is cold than who was tried, were it the first of the key', () => {
    const { endpoints, pick } = hashing(
      some(3).map(() => ({ joinedAtMs: 0 })),
      { slowStartMs: 10_000 },
    );
    for (const key of KEYS.slice(0, 200)) expect(pick(key, endpoints.slice(0, 2))).toBe(endpoints[2]);
    for (const key of KEYS.slice(0, 200)) expect(pick(key, endpoints.slice(1))).toBe(endpoints[0]);
  });

  it('takes the only one that is left even if it was tried', () => {
    const { endpoints, excluded, candidates, pick } = hashing(some(2));
    for (const excludes of endpoints.slice(1)) excluded.add(excludes);
    candidates.refresh();
    for (const key of KEYS.slice(0, 50)) expect(pick(key, endpoints.slice(0, 1))).toBe(endpoints[0]);
    expect(hashing(some(1)).pick('a')?.name).toBe('e0');
  });

  it('looks at 2,048 points, and then at none: a pick has a bound', () => {
    const endpoints = endpointsOf(some(1_000));
    const [wanted, other] = endpoints;
    const candidates = candidatesOf(endpoints);
    candidates.setOptions({ exclusion: excluding(new Set(endpoints.slice(1)), 0), node: '', zone: '' });
    const keyless = { pick: () => other ?? null };
    const balancer = new ConsistentHash({ candidates, maxLoadPercent: 150, slowStartMs: 0, keyless });
    const ring = new HashRing(endpoints.map(({ name }) => name));
    const points = Array.from({ length: ring.length }, (_, point) => point).filter(
      (point) => ring.ownerOf(point) === 0,
    );
    // One behind more points of others than are looked at.
    const point = points.find((at, index) => index > 0 && at - (points[index - 1] ?? 0) > 2_048) ?? Number.NaN;
    expect(balancer.pick([], keyOf(ring, point - 2_047), 0)).toBe(wanted);
    expect(balancer.pick([], keyOf(ring, point - 2_048), 0)).toBe(other);
  });

  it('builds its ring when endpoints change, and not for a pick', () => {
    const endpoints = endpointsOf(some(3));
    let read = 0;
    for (const endpoint of endpoints) {
      const { name } = endpoint;
      const counted = () => {
        read++;
        return name;
      };
      Object.defineProperty(endpoint, 'name', { get: counted });
    }
    const candidates = candidatesOf(endpoints);
    const keyless = new TwoChoices(candidates, 'InFlight', 0, seededRandom(1));
    const balancer = new ConsistentHash({ candidates, maxLoadPercent: 150, slowStartMs: 0, keyless });
    for (const key of KEYS.slice(0, 50)) balancer.pick([], hashText(key), 0);
    expect(read).toBe(3);
    candidates.setEndpoints(endpoints.slice(1));
    for (const key of KEYS.slice(0, 50)) balancer.pick([], hashText(key), 0);
    expect(read).toBe(5);
  });

  it('balances what has no key, and finds nothing where nothing is', () => {
    const { balancer } = hashing(some(4));
    const counts = tally(4_000, () => balancer.pick([], NO_KEY, 0));
    expect(Object.keys(counts)).toHaveLength(4);
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(850);
    expect(hashing([]).pick('a')).toBeNull();
  });

  it('spreads a key that everybody asks for, over as few endpoints as the bound allows', () => {
    const { endpoints, pick } = hashing(some(10), { maxLoadPercent: 200 });
    for (let request = 0; request < 1_000; request++) pick('hot')?.begin();
    const loads = endpoints.map(({ inFlight }) => inFlight);
    expect(Math.max(...loads)).toBeLessThanOrEqual(200);
    expect(loads.filter((load) => load > 0)).toHaveLength(5);
  });

  it('holds the bound for every mix of keys, sets, factors and exclusions', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 101, max: 400 }),
        fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 60, size: 'max' }),
        fc.nat({ max: 4 }),
        (count, maxLoadPercent, keys, ejections) => {
          const { endpoints, excluded, candidates, pick } = hashing(some(count), { maxLoadPercent });
          for (const ejected of endpoints.slice(0, ejections)) excluded.add(ejected);
          candidates.refresh();
          for (const [request, key] of keys.entries()) {
            const chosen = pick(`k${key}`);
            chosen?.begin();
            expect(candidates.pickable).toContain(chosen);
            const bound = Math.ceil(((maxLoadPercent / 100) * (request + 1)) / candidates.pickable.length);
            expect(chosen?.inFlight).toBeLessThanOrEqual(Math.max(4, bound));
          }
        },
      ),
    );
  });

  it('with slow start hands keys over to a new endpoint one by one, each of them once', () => {
    const { pick } = hashing([{}, {}, { joinedAtMs: 0 }], { slowStartMs: 10_000 });
    const keysOfNew = (nowMs: number) => new Set(KEYS.filter((key) => pick(key, [], nowMs)?.name === 'e2'));
    const warm = keysOfNew(10_000);
    let before = new Set<string>();
    for (const nowMs of [0, 2_000, 4_000, 6_000, 8_000, 10_000]) {
      const keys = keysOfNew(nowMs);
      expect([...before].every((key) => keys.has(key))).toBe(true);
      const share = Math.max(0.1, nowMs / 10_000);
      expect(keys.size).toBeGreaterThan(warm.size * (share - 0.08));
      expect(keys.size).toBeLessThan(warm.size * (share + 0.08));
      before = keys;
    }
    expect(before).toEqual(warm);
  });
});
