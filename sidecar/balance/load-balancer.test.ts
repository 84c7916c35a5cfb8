import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { NO_KEY } from './balancer.ts';
import type { BalancedEndpoint } from './candidates.ts';
import { hashText } from './hash.ts';
import { DEFAULT_LOAD_BALANCING, LoadBalancer, type LoadBalancing } from './load-balancer.ts';
import { endpointsOf, excluding, tally } from './testing/endpoints.ts';

const HASHED: Pick<LoadBalancing, 'algorithm' | 'consistentHash'> = {
  algorithm: 'ConsistentHash',
  consistentHash: { key: 'Header', name: 'X-User', maxLoadPercent: 150 },
};
const plan = (changes: Partial<LoadBalancing> = {}): LoadBalancing => ({ ...DEFAULT_LOAD_BALANCING, ...changes });

function balancing(changes: Partial<LoadBalancing>, count = 3) {
  const balancer = new LoadBalancer<BalancedEndpoint>(plan(changes), null, seededRandom(1));
  const endpoints = endpointsOf(Array.from({ length: count }, () => ({})));
  balancer.setEndpoints(endpoints);
  const next = (picks: number) =>
    Array.from({ length: picks }, () => balancer.pick([], NO_KEY, 0)?.name ?? 'none').join(' ');
  return { balancer, endpoints, next };
}

const request = (user: string) => ({ host: 'a', fields: `\r\nX-User: ${user}` });

describe('a load balancer', () => {
  it('keeps whose turn it is over a new plan, and over new endpoints', () => {
    const { balancer, endpoints, next } = balancing({ algorithm: 'RoundRobin' });
    const first = next(1);
    const after = next(3).split(' ');
    expect(after.at(-1)).toBe(first);
    balancer.update(plan({ algorithm: 'RoundRobin', zoneAware: 'Disabled' }));
    balancer.setEndpoints([...endpoints]);
    expect(next(3)).toBe(after.join(' '));
  });

  it('changes its algorithm with the plan', () => {
    const { balancer, endpoints } = balancing({ algorithm: 'RoundRobin' });
    balancer.update(plan({ algorithm: 'LeastRequest' }));
    endpoints[0]?.begin();
    endpoints[1]?.begin();
    const counts = tally(300, () => balancer.pick([], NO_KEY, 0));
    expect(counts['e2']).toBeGreaterThan(150);
    balancer.update(plan(HASHED));
    const key = hashText('joan');
    expect(Object.keys(tally(100, () => balancer.pick([], key, 0)))).toHaveLength(1);
  });

  it('reads a key only where its algorithm goes by one, and the new one after a change', () => {
    const { balancer } = balancing(HASHED);
    expect(balancer.keyOf(request('joan'), 5)).toBe(hashText('joan'));
    expect(balancer.keyOfConnection(5)).toBe(NO_KEY);
    balancer.update(plan({ ...HASHED, consistentHash: { key: 'SourceAddress', name: null, maxLoadPercent: 150 } }));
    expect(balancer.keyOf(request('joan'), 5)).toBe(5);
    expect(balancer.keyOfConnection(5)).toBe(5);
    balancer.update(plan());
    expect(balancer.keyOf(request('joan'), 5)).toBe(NO_KEY);
    expect(balancer.keyOfConnection(5)).toBe(NO_KEY);
  });

  it('takes this pod for the key where a plan names a header that is none', () => {
    const { balancer } = balancing({ ...HASHED, consistentHash: { key: 'Header', name: null, maxLoadPercent: 150 } });
    expect(balancer.keyOf(request('joan'), 5)).toBe(5);
  });

  it('goes by peak-EWMA and the hints of endpoints, without slow start, where no policy says anything', () => {
    const { algorithm, consistentHash, slowStart, zoneAware } = DEFAULT_LOAD_BALANCING;
    expect([algorithm, consistentHash, slowStart, zoneAware]).toEqual(['PeakEwma', null, null, 'Hints']);
  });

  it('picks nobody who is excluded, before it knows where it runs', () => {
    const endpoints = endpointsOf([{}, {}, {}]);
    const exclusion = excluding(new Set(endpoints.slice(0, 1)));
    const balancer = new LoadBalancer<BalancedEndpoint>(plan(), exclusion, seededRandom(1));
    balancer.setEndpoints(endpoints);
    expect(Object.keys(tally(100, () => balancer.pick([], NO_KEY, 0))).sort()).toEqual(['e1', 'e2']);
  });

  it('stays in its zone once it knows it, unless zones are not to count', () => {
    const { balancer, endpoints } = balancing({});
    for (const [index, endpoint] of endpoints.entries()) endpoint.zones = [index === 1 ? 'west' : 'east'];
    const used = () => Object.keys(tally(100, () => balancer.pick([], NO_KEY, 0))).sort();
    balancer.candidates.refresh();
    expect(used()).toEqual(['e0', 'e1', 'e2']);
    balancer.setPlacement({ node: 'n1', zone: 'west' });
    expect(used()).toEqual(['e1']);
    balancer.update(plan({ zoneAware: 'Disabled' }));
    expect(used()).toEqual(['e0', 'e1', 'e2']);
  });

  it('goes by what its algorithm goes by', () => {
    const ofSlow = (changes: Partial<LoadBalancing>) => {
      const { balancer, endpoints } = balancing(changes);
      for (const [index, endpoint] of endpoints.entries()) {
        endpoint.measuredAtMs = 0;
        endpoint.latencyMs = index === 0 ? 1_000 : 10;
      }
      return tally(300, () => balancer.pick([], hashText('joan'), 0))['e0'] ?? 0;
    };
    expect(ofSlow({ algorithm: 'LeastRequest' })).toBeGreaterThan(70);
    expect(ofSlow({ algorithm: 'PeakEwma' })).toBe(0);
    // Neither half of consistent hashing is enough for it.
    expect(ofSlow({ algorithm: 'PeakEwma', consistentHash: HASHED.consistentHash })).toBe(0);
    expect(ofSlow({ algorithm: 'ConsistentHash', consistentHash: null })).toBe(0);
    const { balancer } = balancing({ algorithm: 'PeakEwma', consistentHash: HASHED.consistentHash });
    expect(Object.keys(tally(100, () => balancer.pick([], hashText('joan'), 0)))).toHaveLength(3);
  });

  it('starts new endpoints slowly where the plan says so, from the plan on that says so', () => {
    const { balancer, endpoints } = balancing({ algorithm: 'RoundRobin' });
    for (const endpoint of endpoints.slice(1)) endpoint.joinedAtMs = 0;
    const ofNew = () => tally(300, () => balancer.pick([], NO_KEY, 0))['e1'] ?? 0;
    expect(ofNew()).toBe(100);
    balancer.update(plan({ algorithm: 'RoundRobin', slowStart: { windowMs: 10_000 } }));
    expect(ofNew()).toBeLessThan(50);
    balancer.update(plan({ algorithm: 'RoundRobin' }));
    expect(ofNew()).toBe(100);
  });

  it('takes another bound of load from a new plan', () => {
    const bounded = (maxLoadPercent: number): Partial<LoadBalancing> => ({
      ...HASHED,
      consistentHash: { key: 'Header', name: 'X-User', maxLoadPercent },
    });
    const { balancer, endpoints } = balancing(bounded(1_000), 10);
    balancer.update(plan(bounded(200)));
    for (let request = 0; request < 1_000; request++) balancer.pick([], hashText('hot'), 0)?.begin();
    expect(endpoints.filter(({ inFlight }) => inFlight > 0)).toHaveLength(5);
  });

  it('keeps the case of a cookie’s name', () => {
    const { balancer } = balancing({
      ...HASHED,
      consistentHash: { key: 'Cookie', name: 'SID', maxLoadPercent: 150 },
    });
    expect(balancer.keyOf({ host: 'a', fields: '\r\nCookie: sid=1; SID=2' }, 5)).toBe(hashText('2'));
  });
});
