// Load balancing under the contract of every policy: it lends load, a call at an endpoint, and at the end no endpoint carries load.
import { expect } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import { NO_KEY } from '../../balance/balancer.ts';
import { BalancedEndpoint } from '../../balance/candidates.ts';
import { observeFailure, observeSuccess } from '../../balance/endpoint-cost.ts';
import { mix } from '../../balance/hash.ts';
import { LoadBalancer, type LoadBalancing } from '../../balance/load-balancer.ts';
import type { Ending, Subject } from './contract.ts';

const ALGORITHMS = ['PeakEwma', 'LeastRequest', 'RoundRobin', 'ConsistentHash'] as const;
const NAMES = ['a', 'b', 'c', 'd'];

const planOf = (number: number): LoadBalancing => {
  const algorithm = ALGORITHMS[number % ALGORITHMS.length] ?? 'PeakEwma';
  return {
    algorithm,
    consistentHash: algorithm === 'ConsistentHash' ? { key: 'SourceAddress', name: null, maxLoadPercent: 150 } : null,
    slowStart: number % 3 === 0 ? null : { windowMs: 100 * (number % 3) },
    zoneAware: 'Hints',
  };
};

/** Of a configuration: none now and then, else some of them. */
const namesOf = (number: number) => (number % 11 === 0 ? [] : NAMES.slice(0, 1 + (number % NAMES.length)));

/** Whoever fails is excluded until an answer of its comes. */
export function loadBalancingSubject(first: number): Subject<BalancedEndpoint> {
  const total = { inFlight: 0 };
  const excluded = new Set<BalancedEndpoint>();
  const exclusion = { isExcluded: (endpoint: BalancedEndpoint) => excluded.has(endpoint), panicThresholdPercent: 40 };
  let plan = planOf(first);
  const balancer = new LoadBalancer<BalancedEndpoint>(plan, exclusion, seededRandom(first));
  let endpoints: BalancedEndpoint[] = [];
  let begun = 0;
  let lastFailed: BalancedEndpoint | null = null;
  const setEndpoints = (names: readonly string[], nowMs: number) => {
    const before = endpoints;
    endpoints = names.map((name) => {
      const known = before.find((endpoint) => endpoint.name === name);
      return known ?? Object.assign(new BalancedEndpoint(name), { total, joinedAtMs: nowMs });
    });
    balancer.setEndpoints(endpoints);
  };
  setEndpoints(namesOf(first), 0);
  return {
    begin(nowMs) {
      begun += 1;
      const avoid = begun % 3 === 0 && lastFailed !== null ? [lastFailed] : [];
      const endpoint = balancer.pick(avoid, begun % 4 === 0 ? NO_KEY : mix(begun), nowMs);
      expect(endpoint === null).toBe(endpoints.length === 0);
      if (endpoint === null) return null;
      expect(endpoints).toContain(endpoint);
      const { panicking, pickable } = balancer.candidates;
      expect(panicking || !excluded.has(endpoint)).toBe(true);
      expect(pickable.every((other) => other === lastFailed) || !avoid.includes(endpoint)).toBe(true);
      endpoint.begin();
      return endpoint;
    },
    end(endpoint, ending: Ending, nowMs) {
      endpoint.end();
      const failed = ending === 'Failed' || ending === 'TimedOut';
      if (failed) observeFailure(endpoint, 10, ending === 'Failed' ? 2_000 : 0, nowMs);
      else if (ending === 'Answered') observeSuccess(endpoint, 1 + (begun % 50), nowMs);
      else return endpoint.name;
      if (failed) excluded.add(endpoint);
      else excluded.delete(endpoint);
      if (failed) lastFailed = endpoint;
      balancer.candidates.refresh();
      return endpoint.name;
    },
    update(number, nowMs) {
      plan = planOf(number);
      balancer.update(plan);
      setEndpoints(namesOf(number), nowMs);
    },
    held: () => total.inFlight,
    situation(nowMs) {
      if (endpoints.length === 0) return 'nobody';
      if (balancer.candidates.panicking) return 'panicking';
      const windowMs = plan.slowStart?.windowMs ?? 0;
      const starting = endpoints.some(({ joinedAtMs }) => nowMs - joinedAtMs < windowMs);
      return `${plan.algorithm}${starting ? ', starting slowly' : ''}${excluded.size > 0 ? ', excluding' : ''}`;
    },
    idle() {
      expect(endpoints.map(({ inFlight }) => inFlight)).toEqual(endpoints.map(() => 0));
    },
  };
}
