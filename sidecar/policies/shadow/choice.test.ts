// Shadows of what decides where attempts go: outlier detection and load balancing. Each beside the machine that it stands for.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import { BalancedEndpoint } from '../../balance/candidates.ts';
import { costMs, observeSuccess } from '../../balance/endpoint-cost.ts';
import { LoadBalancer, type LoadBalancing } from '../../balance/load-balancer.ts';
import { Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { OutlierDetection, type OutlierSpec } from '../outlier-detection.ts';
import { RateLimit } from '../rate-limit.ts';
import { BalancingShadow } from './balancing-shadow.ts';
import { MEAN_CHANCE } from './block-shadow.ts';
import { ExpectedCost } from './decisions.ts';
import { OutlierShadow } from './outlier-shadow.ts';
import { RateLimitShadow } from './rate-limit-shadow.ts';
import { Route } from './testing.ts';
import { TimeoutsShadow } from './timeouts-shadow.ts';

const OUTLIER: OutlierSpec = {
  failureOn: ['Reset', 'AttemptTimeout', 'ServerError'],
  consecutiveFailures: 2,
  consecutiveLocalOriginFailures: 2,
  successRate: null,
  intervalMs: 1_000,
  maxEjectionPercent: 50,
  ejectForMs: 1_000,
  maxEjectForMs: 4_000,
  panicThresholdPercent: 50,
};
const ENDPOINTS = ['a', 'b', 'c', 'd'].map((name) => new BalancedEndpoint(name));
const names = ENDPOINTS.map(({ name }) => name);

function outliers(spec = OUTLIER, isPanicking = () => false) {
  const detection = new OutlierDetection(spec, MEAN_CHANCE, 0);
  detection.setEndpoints(names, 0);
  return { detection, shadow: new OutlierShadow(detection, isPanicking) };
}

const at = (index: number): BalancedEndpoint => ENDPOINTS[index % ENDPOINTS.length] as BalancedEndpoint;

describe('shadowed outlier detection', () => {
  const failed = { bits: FailureBit.ServerError, answered: true };

  it('ejects by what really happens, counts who is called all the same, and takes nothing of that', () => {
    const { detection, shadow } = outliers();
    const route = new Route(shadow);
    for (const endMs of [10, 20, 30, 40]) route.request({ ...failed, startMs: endMs - 5, endMs, endpoint: at(0) });
    expect(detection.isEjected('a')).toBe(true);
    expect(route.decisions).toEqual({ 'ejected-endpoint': 2 });
    detection.sweep(2_000);
    expect(detection.isEjected('a')).toBe(false);
    route.request({ ...failed, startMs: 2_000, endMs: 2_010, endpoint: at(0) });
    expect(detection.isEjected('a')).toBe(false);
  });

  it('counts nobody where all would be used', () => {
    const { shadow } = outliers(OUTLIER, () => true);
    const route = new Route(shadow);
    for (const endMs of [10, 20, 30]) route.request({ ...failed, startMs: endMs - 5, endMs, endpoint: at(0) });
    expect(route.decisions).toEqual({});
  });

  it('is told nothing of a request that another shadow would have ended, nor of an endpoint that it does not know', () => {
    const { detection, shadow } = outliers();
    const limit = new RateLimit({ requestsPerSecond: 1, burst: 1, perHeader: null }, 0);
    const route = new Route(new RateLimitShadow(limit), shadow);
    for (const endMs of [10, 20, 30]) route.request({ ...failed, startMs: endMs - 5, endMs, endpoint: at(0) });
    expect(detection.member('a')?.failuresInRow).toBe(1);
    new Route(shadow).request({ ...failed, endMs: 40, endpoint: new BalancedEndpoint('stranger') });
    expect(detection.ejected.size).toBe(0);
  });

  it('takes what a shadowed timeout would have ended for a failure, unless its application was slow', () => {
    const { detection, shadow } = outliers();
    const timeouts = new TimeoutsShadow({ requestMs: 0, attemptMs: 100, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 });
    const route = new Route(timeouts, shadow);
    for (const startMs of [0, 300]) {
      route.request({ startMs, endMs: startMs + 200, responseMs: 10, endpoint: at(1) });
      route.request({ startMs, endMs: startMs + 200, endpoint: at(0) });
    }
    expect([detection.isEjected('a'), detection.isEjected('b')]).toEqual([true, false]);
  });

  it('takes a slow application for no success, and a success for one whatever its status', () => {
    const { detection, shadow } = outliers();
    const timeouts = new TimeoutsShadow({ requestMs: 0, attemptMs: 100, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 });
    const route = new Route(timeouts, shadow);
    route.request({ ...failed, endMs: 10, endpoint: at(0) });
    route.request({ startMs: 20, endMs: 220, responseMs: 10, endpoint: at(0) });
    expect(detection.member('a')?.failuresInRow).toBe(1);
    route.request({
      startMs: 300,
      endMs: 310,
      outcome: Outcome.Success,
      bits: FailureBit.ServerError,
      endpoint: at(0),
    });
    expect([detection.member('a')?.failuresInRow, detection.isEjected('a')]).toEqual([0, false]);
  });

  it('with the numbers of the enforced one ejects whom that one does', () => {
    const step = fc.record({
      waitMs: fc.nat({ max: 500 }),
      endpoint: fc.nat({ max: 3 }),
      bits: fc.constantFrom(
        0,
        FailureBit.Reset,
        FailureBit.ServerError,
        FailureBit.ServerError,
        FailureBit.TooManyRequests,
      ),
      outcome: fc.constantFrom(Outcome.Success, Outcome.Failure, Outcome.Failure, Outcome.Ignored),
    });
    const seen = { ejected: 0, spared: 0 };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        const enforced = new OutlierDetection(OUTLIER, MEAN_CHANCE, 0);
        enforced.setEndpoints(names, 0);
        const { detection, shadow } = outliers();
        const route = new Route(shadow);
        let nowMs = 0;
        let called = 0;
        for (const { waitMs, endpoint, bits, outcome } of steps) {
          nowMs += waitMs;
          enforced.sweep(nowMs);
          detection.sweep(nowMs);
          const member = enforced.member(at(endpoint).name);
          const failureBits = outcome === Outcome.Success ? 0 : bits;
          // The enforced one is not asked for whom it ejected; the shadow is called all the same.
          if (member !== null && !member.ejected && outcome !== Outcome.Ignored)
            enforced.record(member, member.generation, failureBits, nowMs + 1);
          if (detection.isEjected(at(endpoint).name)) called += 1;
          route.request({ startMs: nowMs, endMs: nowMs + 1, outcome, bits: failureBits, endpoint: at(endpoint) });
          nowMs += 1;
          const namesOf = ({ ejected }: OutlierDetection) =>
            Array.from(ejected, ({ name, reason }) => `${name} ${reason}`);
          expect(namesOf(detection)).toEqual(namesOf(enforced));
          seen[detection.ejected.size > 0 ? 'ejected' : 'spared'] += 1;
        }
        expect(route.decisions['ejected-endpoint'] ?? 0).toBe(called);
      }),
    );
    expect(Math.min(seen.ejected, seen.spared)).toBeGreaterThan(200);
  });
});

describe('shadowed load balancing', () => {
  const PLAN: LoadBalancing = { algorithm: 'LeastRequest', consistentHash: null, slowStart: null, zoneAware: 'Hints' };

  function balancing(plan: LoadBalancing, seed = 1) {
    const balancer = new LoadBalancer<BalancedEndpoint>(plan, null, seededRandom(seed));
    balancer.setEndpoints(ENDPOINTS);
    const choice = { balancer, has: (endpoint: BalancedEndpoint) => ENDPOINTS.includes(endpoint) };
    return { balancer, shadow: new BalancingShadow(choice, () => 7) };
  }

  it('agrees with whoever chooses as it does, by the same chance, and with nobody else', () => {
    const algorithms = fc.constantFrom<LoadBalancing['algorithm']>('LeastRequest', 'RoundRobin', 'PeakEwma');
    fc.assert(
      fc.property(algorithms, fc.integer({ min: 1, max: 1e6 }), fc.nat({ max: 40 }), (algorithm, seed, requests) => {
        const made = balancing({ ...PLAN, algorithm }, seed);
        const route = new Route(balancing({ ...PLAN, algorithm }, seed).shadow);
        for (let nth = 0; nth < requests; nth++) {
          const endpoint = made.balancer.pick([], -1, nth);
          if (endpoint !== null) route.request({ startMs: nth, endMs: nth + 1, endpoint });
        }
        expect(route.decisions).toEqual(requests === 0 ? {} : { 'same-endpoint': requests });
      }),
    );
    const route = new Route(balancing({ ...PLAN, algorithm: 'RoundRobin' }).shadow);
    for (let nth = 0; nth < 8; nth++) route.request({ endMs: 1, endpoint: at(0) });
    expect(route.decisions).toEqual({ 'same-endpoint': 2, 'other-endpoint': 6 });
  });

  it('keeps away from where the request failed before', () => {
    const route = new Route(balancing(PLAN).shadow);
    for (let nth = 0; nth < 20; nth++) {
      const call = route.begin(0);
      for (const index of [0, 1, 2, 3]) {
        route.attempt(call, 0, at(index));
        route.endAttempt(call, { endMs: 1, bits: FailureBit.Reset });
        if (index === 3) expect(call.failedEndpoints).toEqual(ENDPOINTS.slice(0, 3));
      }
      route.shadow.end(call, 1);
      expect([call.failedEndpoints.length, call.endpoint]).toEqual([0, null]);
    }
    // Of the last attempts each had one endpoint left.
    expect(route.decisions['same-endpoint']).toBeGreaterThanOrEqual(20);
  });

  it('goes by the key of the request', () => {
    const consistentHash = { key: 'Header' as const, name: 'X-User', maxLoadPercent: 200 };
    const { balancer, shadow } = balancing({ ...PLAN, algorithm: 'ConsistentHash', consistentHash });
    const route = new Route(shadow);
    for (const user of ['1', '2', '3', '4', '5']) {
      const head = { fields: `\r\nx-user: ${user}`, host: 'a' };
      const wanted = balancer.pick([], balancer.keyOf(head, 7), 0);
      const call = route.begin(0, 'GET', Number.POSITIVE_INFINITY, head);
      if (wanted !== null) route.attempt(call, 0, wanted);
    }
    expect(route.decisions).toEqual({ 'same-endpoint': 5 });
  });

  it('adds up what both are expected to cost, and nothing of what was not measured', () => {
    const [slow, fast] = [new BalancedEndpoint('slow'), new BalancedEndpoint('fast')];
    const balancer = new LoadBalancer<BalancedEndpoint>({ ...PLAN, algorithm: 'PeakEwma' }, null, seededRandom(1));
    balancer.setEndpoints([slow, fast]);
    const route = new Route(new BalancingShadow({ balancer, has: () => true }, () => 0));
    route.request({ endMs: 1, endpoint: slow });
    expect([...route.counts.expectedCostMs]).toEqual([0, 0]);
    observeSuccess(slow, 200, 0);
    observeSuccess(fast, 20, 0);
    route.request({ endMs: 1, endpoint: slow });
    expect(route.counts.expectedCostMs[ExpectedCost.Made]).toBe(costMs(slow, 0));
    expect(route.counts.expectedCostMs[ExpectedCost.Shadow]).toBe(costMs(fast, 0));
    route.request({ endMs: 1, endpoint: slow });
    expect([...route.counts.expectedCostMs]).toEqual([2 * costMs(slow, 0), 2 * costMs(fast, 0)]);
  });

  it('adds up nothing where one of both was never measured', () => {
    for (const measured of [0, 1]) {
      const endpoints = [new BalancedEndpoint('a'), new BalancedEndpoint('b')];
      const balancer = new LoadBalancer<BalancedEndpoint>({ ...PLAN, algorithm: 'RoundRobin' }, null, MEAN_CHANCE);
      balancer.setEndpoints(endpoints);
      const [a, b] = endpoints as [BalancedEndpoint, BalancedEndpoint];
      observeSuccess(measured === 0 ? a : b, 20, 0);
      const route = new Route(new BalancingShadow({ balancer, has: () => true }, () => 0));
      // In its turn the shadow goes to both.
      for (let nth = 0; nth < 2; nth += 1) route.request({ endMs: 1, endpoint: a });
      expect(route.decisions).toEqual({ 'same-endpoint': 1, 'other-endpoint': 1 });
      const cost = measured === 0 ? costMs(a, 0) : 0;
      expect([...route.counts.expectedCostMs]).toEqual([cost, cost]);
    }
  });

  it('says nothing where it would have had nowhere to go', () => {
    const balancer = new LoadBalancer<BalancedEndpoint>(PLAN, null, MEAN_CHANCE);
    const route = new Route(new BalancingShadow({ balancer, has: () => true }, () => 0));
    expect(route.request({ endMs: 1 }).over).toBe(false);
    expect(route.decisions).toEqual({});
  });

  it('says nothing of an endpoint that it could not have chosen', () => {
    const route = new Route(balancing(PLAN).shadow);
    route.request({ endMs: 1, endpoint: new BalancedEndpoint('10.96.0.1:80') });
    expect(route.decisions).toEqual({});
  });
});
