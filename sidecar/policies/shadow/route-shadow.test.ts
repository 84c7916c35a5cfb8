// What the shadows of a route are to each other: what one of them would have ended is nothing to those after it.
import { describe, expect, it } from 'vitest';
import type { CircuitBreakerPlan } from '../../../plan/policies/circuit-breaker.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { BalancedEndpoint } from '../../balance/candidates.ts';
import { observeSuccess } from '../../balance/endpoint-cost.ts';
import { DEFAULT_LOAD_BALANCING, LoadBalancer } from '../../balance/load-balancer.ts';
import { CircuitBreaker } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { FallbackBit } from '../fallback.ts';
import { HealthChecks } from '../health-check.ts';
import { LastGood } from '../last-good.ts';
import { OutlierDetection } from '../outlier-detection.ts';
import { RateLimit } from '../rate-limit.ts';
import { RetryBudget } from '../retry-budget.ts';
import { BalancingShadow } from './balancing-shadow.ts';
import { BlockShadow, MEAN_CHANCE, NO_HEAD, type ShadowCall, shadowCounts } from './block-shadow.ts';
import { BulkheadShadow, ShadowPlaces } from './bulkhead-shadow.ts';
import { CircuitShadow, ShadowCircuit } from './circuit-shadow.ts';
import { FallbackShadow } from './fallback-shadow.ts';
import { FaultsShadow } from './faults-shadow.ts';
import { HealthShadow } from './health-shadow.ts';
import { HedgingShadow, ShadowHedges } from './hedging-shadow.ts';
import { OutlierShadow } from './outlier-shadow.ts';
import { RateLimitShadow } from './rate-limit-shadow.ts';
import { RetriesShadow } from './retries-shadow.ts';
import { RouteShadow } from './route-shadow.ts';
import { Route } from './testing.ts';
import { TimeoutsShadow } from './timeouts-shadow.ts';

const limiting = (burst: number) =>
  new RateLimitShadow(new RateLimit({ requestsPerSecond: 1, burst, perHeader: null }, 0));
const aborting = (statusCode = 503) =>
  new FaultsShadow({ delay: null, abort: { statusCode, percent: 100 } }, seededRandom(1));
const fallback = (mask: number) =>
  new FallbackShadow({ mask, allMethods: false, hasResponse: true, lastGood: null, asksAnother: null, floorMs: 1 });

const RETRIES = {
  stateKey: '',
  maxAttempts: 3,
  retryOn: [],
  retryOnStatusCodes: [],
  retryOnGrpcStatusCodes: [],
  maxRetryAfterMs: 0,
  methods: 'Idempotent' as const,
  backoffInitialMs: 1,
  backoffMaxMs: 1,
  budgetPercent: 0,
  budgetMinPerSecond: 1,
};
const OPEN: CircuitBreakerPlan = {
  stateKey: '',
  failureOn: [],
  consecutiveFailures: 1,
  failureRate: null,
  slowCalls: null,
  windowMs: 1_000,
  openForMs: 1_000,
  maxOpenForMs: 1_000,
  halfOpenMaxProbes: 1,
  halfOpenSuccesses: 1,
  halfOpenProbeTimeoutMs: 500,
  force: null,
};

/** Those that never refuse. */
function harmless(endpoints = [new BalancedEndpoint('a')]) {
  const balancer = new LoadBalancer<BalancedEndpoint>(DEFAULT_LOAD_BALANCING, null, MEAN_CHANCE);
  balancer.setEndpoints(endpoints);
  const isStranger = ({ name }: BalancedEndpoint) => name === 'stranger';
  const detection = new OutlierDetection(
    {
      failureOn: [],
      consecutiveFailures: 1,
      consecutiveLocalOriginFailures: 0,
      successRate: null,
      intervalMs: 1_000,
      maxEjectionPercent: 50,
      ejectForMs: 1_000,
      maxEjectForMs: 1_000,
      panicThresholdPercent: 0,
    },
    MEAN_CHANCE,
    0,
  );
  const layers = {
    maxHedges: 1,
    retries: RETRIES,
    budget: new RetryBudget(RETRIES, 0),
    keepsBudget: true,
    circuitClosed: () => true,
    hasPlace: () => true,
    otherEndpoints: () => 1,
  };
  const hedges = new ShadowHedges({ stateKey: '', afterPercentile: 95, minDelayMs: 1, maxDelayMs: 1, maxHedges: 1 }, 0);
  const checks = new HealthChecks({ intervalMs: 1_000, unhealthyThreshold: 1, healthyThreshold: 1 }, MEAN_CHANCE);
  return {
    balancing: new BalancingShadow({ balancer, has: (endpoint) => !isStranger(endpoint) }, () => 0),
    health: new HealthShadow(checks, () => false),
    hedging: new HedgingShadow(hedges, layers, 1),
    outliers: new OutlierShadow(detection, () => false),
    retries: new RetriesShadow(RETRIES, new RetryBudget(RETRIES, 0)),
  };
}

/** Notes what it is told. */
class Told extends BlockShadow {
  readonly names: string[] = [];
  override begin(): void {
    this.names.push('begin');
  }
  override admit(): boolean {
    this.names.push('admit');
    return true;
  }
  override attempt(): boolean {
    this.names.push('attempt');
    return true;
  }
  override judge(): void {
    this.names.push('judge');
  }
  override giveBack(): void {
    this.names.push('giveBack');
  }
  override active(): void {
    this.names.push('active');
  }
  override end(): void {
    this.names.push('end');
  }
}

describe('the shadows of a route', () => {
  it('are told what happens, in that order', () => {
    const told = new Told();
    new Route(told).request({ endMs: 10 });
    expect(told.names).toEqual(['begin', 'admit', 'attempt', 'judge', 'giveBack', 'end']);
  });

  it('judge a stream by its head, and not by its end', () => {
    const told = new Told();
    const route = new Route(told);
    const call = route.begin(0);
    route.attempt(call, 0);
    route.facts(call, { endMs: 10 });
    route.shadow.streamBegan(call, 10);
    expect([call.stream, call.lastActivityMs]).toEqual([true, 10]);
    route.shadow.active(call, 20);
    expect(call.lastActivityMs).toBe(20);
    route.endAttempt(call, { endMs: 30 });
    route.shadow.end(call, 30);
    expect(told.names).toEqual(['begin', 'admit', 'attempt', 'judge', 'active', 'active', 'giveBack', 'end']);
  });

  it('know of no request that a fault in shadow would have ended, but for the fallback', () => {
    const told = new Told();
    const limit = limiting(1);
    const route = new Route(aborting(), limit, told, fallback(FallbackBit.ServerError));
    for (let nth = 0; nth < 3; nth += 1) route.request({ endMs: 10 });
    expect(route.decisions).toEqual({ abort: 3, response: 3 });
    expect(told.names).not.toContain('admit');
    expect(told.names).not.toContain('attempt');
    const good = new Route(aborting(404), fallback(FallbackBit.ServerError));
    good.request({ endMs: 10, headMs: 10, status: 503 });
    expect(good.decisions).toEqual({ abort: 1 });
  });

  it('know of no request that a limit in shadow would have refused, but for those before it and the fallback', () => {
    const told = new Told();
    const places = new ShadowPlaces(
      { stateKey: '', maxConcurrent: 1, maxQueued: 0, queueTimeoutMs: 0, adaptive: null },
      0,
    );
    const route = new Route(limiting(1), told, new BulkheadShadow(places), fallback(FallbackBit.RateLimited));
    route.request({ endMs: 10 });
    told.names.length = 0;
    const call = route.begin(20);
    route.attempt(call, 20);
    expect(places.inFlight).toBe(0);
    route.endAttempt(call, { endMs: 30 });
    route.shadow.end(call, 30);
    expect(route.decisions).toEqual({ 'rate-limited': 1, response: 1 });
    expect(told.names).toEqual(['begin', 'judge', 'giveBack', 'end']);
  });

  it('after one that would have refused an attempt are not asked, and all give back what they took', () => {
    const [before, after] = [new Told(), new Told()];
    const refusing = new (class extends BlockShadow {
      override attempt(call: ShadowCall): boolean {
        call.end(0, 0);
        return false;
      }
    })();
    const route = new Route(before, refusing, after);
    route.attempt(route.begin(0), 0);
    expect(before.names).toEqual(['begin', 'admit', 'attempt', 'giveBack']);
    expect(after.names).toEqual(['begin', 'admit', 'giveBack']);
  });

  it('that refuse nobody leave the request to those after them', () => {
    const { balancing, health, hedging, outliers, retries } = harmless();
    for (const block of [hedging, retries, outliers, health, balancing]) {
      const told = new Told();
      new Route(block, told).request({ endMs: 10 });
      expect(told.names).toEqual(['begin', 'admit', 'attempt', 'judge', 'giveBack', 'end']);
    }
    const told = new Told();
    new Route(balancing, told).request({ endMs: 10, endpoint: new BalancedEndpoint('stranger') });
    expect(told.names).toContain('attempt');
    const measured = new BalancedEndpoint('a');
    observeSuccess(measured, 10, 0);
    const { balancing: weighing } = harmless([measured]);
    const afterWeighing = new Told();
    new Route(weighing, afterWeighing).request({ endMs: 10, endpoint: measured });
    expect(afterWeighing.names).toContain('attempt');
    const { balancing: nowhere } = harmless([]);
    const afterNowhere = new Told();
    new Route(nowhere, afterNowhere).request({ endMs: 10 });
    expect(afterNowhere.names).toContain('attempt');
  });

  it('that would have refused an attempt leave nothing of it to those after them', () => {
    const breaker = new CircuitBreaker({ ...OPEN, force: 'Open' }, MEAN_CHANCE);
    const circuit = new CircuitShadow(new ShadowCircuit(breaker, { ...OPEN, force: 'Open' }));
    const timeouts = new TimeoutsShadow({ requestMs: 5, attemptMs: 0, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 });
    for (const block of [circuit, timeouts]) {
      const told = new Told();
      const route = new Route(block, told);
      route.attempt(route.begin(0), 6);
      expect(told.names).toEqual(['begin', 'admit', 'giveBack']);
    }
  });

  it('know of a call without a head that it has none', () => {
    const { acceptsEventStream, hasIdempotencyKey, ...texts } = NO_HEAD;
    expect([acceptsEventStream, hasIdempotencyKey]).toEqual([false, false]);
    expect(texts).toEqual({ method: '', target: '', host: '', fields: '', upgrade: '' });
  });

  it('start each attempt with nothing of the one before', () => {
    const route = new Route(new Told());
    const [first, second] = [new BalancedEndpoint('a'), new BalancedEndpoint('b')];
    const call = route.begin(0);
    route.attempt(call, 5, first);
    route.endAttempt(call, {
      endMs: 10,
      headMs: 9,
      connectedMs: 6,
      status: 503,
      retryAfterMs: 100,
      refusesRetry: true,
      bits: FailureBit.ServerError,
      answered: true,
    });
    Object.assign(call, { attemptEndMs: 7, grpcStatus: 14, failedBits: 1, wouldRetry: true, timedOut: true });
    route.attempt(call, 20, second);
    expect(call).toMatchObject({
      attempts: 2,
      endpoint: second,
      failedEndpoints: [first],
      attemptStartMs: 20,
      attemptEndMs: Number.POSITIVE_INFINITY,
      sentMs: 20,
      connectedMs: 0,
      headMs: 0,
      status: 0,
      grpcStatus: -1,
      retryAfterMs: -1,
      refusesRetry: false,
      timedOut: false,
      failedBits: 0,
      wouldRetry: false,
    });
  });

  it('may share one book of answers, or none', () => {
    const spec = { maxAgeMs: 1, maxBytes: 1, maxAnswerBytes: 1, audience: 'Anonymous' as const, keyHeaders: [] };
    const store = new LastGood(spec, { take: () => true, give: () => {} });
    expect(new RouteShadow([], shadowCounts(), store).lastGood).toBe(store);
    expect(new RouteShadow([], shadowCounts()).lastGood).toBeNull();
  });
});

describe('what the sidecar answers itself', () => {
  it('is what the request failed of, where nothing had ended it before', () => {
    const told = (tell: (call: ShadowCall) => void) => {
      const route = new Route(fallback(FallbackBit.Reset));
      const call = route.begin(0);
      tell(call);
      route.shadow.end(call, 1);
      return route.decisions;
    };
    expect(told((call) => call.refuse(FallbackBit.Reset))).toEqual({ response: 1 });
    expect(told((call) => call.refuse(FallbackBit.Deadline))).toEqual({});
    const twice = told((call) => {
      call.refuse(FallbackBit.Deadline);
      call.refuse(FallbackBit.Reset);
    });
    expect(twice).toEqual({});
    const over = told((call) => {
      call.over = true;
      call.refuse(FallbackBit.Reset);
    });
    expect(over).toEqual({});
  });
});
