// All shadows of a route under the contract of every policy: they refuse nobody, and what they take in their books comes back however a
// call ends.
import { expect } from 'vitest';
import { BalancedEndpoint } from '../../balance/candidates.ts';
import { DEFAULT_LOAD_BALANCING, LoadBalancer } from '../../balance/load-balancer.ts';
import { CircuitBreaker, Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { FallbackBit } from '../fallback.ts';
import { OutlierDetection } from '../outlier-detection.ts';
import { RateLimit } from '../rate-limit.ts';
import { RetryBudget } from '../retry-budget.ts';
import { BalancingShadow } from '../shadow/balancing-shadow.ts';
import { MEAN_CHANCE, ShadowCall, shadowCounts } from '../shadow/block-shadow.ts';
import { BulkheadShadow, ShadowPlaces } from '../shadow/bulkhead-shadow.ts';
import { CircuitShadow, ShadowCircuit } from '../shadow/circuit-shadow.ts';
import { FallbackShadow } from '../shadow/fallback-shadow.ts';
import { FaultsShadow } from '../shadow/faults-shadow.ts';
import { HedgingShadow, ShadowHedges } from '../shadow/hedging-shadow.ts';
import { OutlierShadow } from '../shadow/outlier-shadow.ts';
import { RateLimitShadow } from '../shadow/rate-limit-shadow.ts';
import { RetriesShadow } from '../shadow/retries-shadow.ts';
import { RouteShadow } from '../shadow/route-shadow.ts';
import { TimeoutsShadow } from '../shadow/timeouts-shadow.ts';
import type { Ending, Subject } from './contract.ts';

const RETRIES = {
  stateKey: '',
  maxAttempts: 2,
  retryOn: ['ServerError' as const],
  retryOnStatusCodes: [],
  retryOnGrpcStatusCodes: [],
  maxRetryAfterMs: 0,
  methods: 'All' as const,
  backoffInitialMs: 1,
  backoffMaxMs: 1,
  budgetPercent: 20,
  budgetMinPerSecond: 1,
};

/** Before hedging says anything. */
const ENOUGH_CALLS = 20;

/** The state behind the shadows, by one configuration. */
function stateOf(number: number) {
  const places = (of: number) => ({
    stateKey: '',
    maxConcurrent: 1 + (of % 3),
    maxQueued: of % 2,
    queueTimeoutMs: 50 + (of % 50),
    adaptive: null,
  });
  const circuit = (of: number) => ({
    failureOn: ['ServerError' as const, 'AttemptTimeout' as const],
    consecutiveFailures: 2 + (of % 3),
    failureRate: null,
    slowCalls: null,
    windowMs: 1000,
    openForMs: 100 + (of % 100),
    maxOpenForMs: 400,
    halfOpenMaxProbes: 1 + (of % 2),
    halfOpenSuccesses: 1,
    halfOpenProbeTimeoutMs: 200,
    force: null,
  });
  const hedging = (of: number) => ({
    stateKey: '',
    afterPercentile: 50 + (of % 50),
    minDelayMs: 1 + (of % 3) * 40,
    maxDelayMs: of % 4 === 0 ? 200 : null,
    maxHedges: 1 + (of % 3),
  });
  const rate = (of: number) => ({ requestsPerSecond: 5 + (of % 20), burst: 3 + (of % 5), perHeader: null });
  const breaker = new CircuitBreaker(circuit(number), MEAN_CHANCE);
  const state = {
    breaker,
    circuits: new ShadowCircuit(breaker, circuit(number)),
    places: new ShadowPlaces(places(number), 0),
    limit: new RateLimit(rate(number), 0),
    hedges: new ShadowHedges(hedging(number), 0),
  };
  const update = (of: number, nowMs: number) => {
    state.circuits.update(circuit(of), nowMs);
    state.places.update(places(of), nowMs);
    state.limit.update(rate(of), nowMs);
    state.hedges.update(hedging(of));
  };
  return { ...state, update };
}

export function shadowSubject(first: number): Subject<ShadowCall> {
  const endpoints = ['a', 'b'].map((name) => new BalancedEndpoint(name));
  const balancer = new LoadBalancer<BalancedEndpoint>(DEFAULT_LOAD_BALANCING, null, MEAN_CHANCE);
  balancer.setEndpoints(endpoints);
  const detection = new OutlierDetection(
    {
      failureOn: ['ServerError'],
      consecutiveFailures: 2,
      consecutiveLocalOriginFailures: 0,
      successRate: null,
      intervalMs: 1000,
      maxEjectionPercent: 50,
      ejectForMs: 1000,
      maxEjectForMs: 1000,
      panicThresholdPercent: 0,
    },
    MEAN_CHANCE,
    0,
  );
  detection.setEndpoints(['a', 'b'], 0);
  const { breaker, circuits, hedges, limit, places, update } = stateOf(first);
  for (let call = 0; call < ENOUGH_CALLS; call += 1) hedges.hedging.record(20, 0);
  const budget = new RetryBudget(RETRIES, 0);
  const layers = {
    maxHedges: 1,
    retries: RETRIES,
    budget,
    keepsBudget: false,
    circuitClosed: () => breaker.isClosed,
    hasPlace: () => places.hasRoom,
    otherEndpoints: () => 1,
  };
  const counts = shadowCounts();
  const route = new RouteShadow(
    [
      new FaultsShadow({ delay: null, abort: { statusCode: 503, percent: 10 } }, () => 0.5),
      new RateLimitShadow(limit),
      new TimeoutsShadow({ requestMs: 0, attemptMs: 150, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 }),
      new HedgingShadow(hedges, layers, 1),
      new RetriesShadow(RETRIES, budget),
      new CircuitShadow(circuits),
      new BulkheadShadow(places),
      new OutlierShadow(detection, () => false),
      new BalancingShadow({ balancer, has: () => true }, () => 0),
      new FallbackShadow({
        mask: FallbackBit.ServerError | FallbackBit.CircuitOpen,
        allMethods: true,
        hasResponse: true,
        lastGood: null,
        asksAnother: null,
        floorMs: 1,
      }),
    ],
    counts,
  );
  let begun = 0;
  const facts = (call: ShadowCall, ending: Ending, nowMs: number) => {
    const failed = ending === 'Failed' || ending === 'TimedOut';
    call.outcome = failed ? Outcome.Failure : ending === 'Answered' ? Outcome.Success : Outcome.Ignored;
    call.failureBits = ending === 'Failed' ? FailureBit.ServerError : failed ? FailureBit.AttemptTimeout : 0;
    call.answered = ending === 'Answered' || ending === 'Failed';
    call.headMs = call.answered ? nowMs : 0;
    call.status = ending === 'Failed' ? 503 : call.answered ? 200 : 0;
    call.responseMs = nowMs - call.attemptStartMs;
    call.left = ending.startsWith('Aborted');
  };
  return {
    begin(nowMs) {
      begun += 1;
      const call = new ShadowCall();
      route.begin(call, Number.POSITIVE_INFINITY, nowMs);
      route.admit(call, nowMs);
      route.attempt(call, endpoints[begun % 2] ?? new BalancedEndpoint('none'), nowMs);
      return call;
    },
    end(call, ending, nowMs) {
      facts(call, ending, nowMs);
      route.attemptEnded(call, nowMs);
      route.end(call, nowMs);
      return [...counts.decisions];
    },
    update,
    held: () => places.inFlight + places.queued + breaker.probesInFlight + hedges.watched,
    situation: (nowMs) => {
      if (breaker.probesInFlight > 0) return 'probing';
      if (!breaker.look(nowMs)) return 'open';
      return places.queued > 0 ? 'queueing' : places.inFlight > 0 ? 'held' : 'free';
    },
    idle(nowMs) {
      const call = new ShadowCall();
      expect(places.enter(call, nowMs)).toBe(true);
      expect(call.holdsPlace).toBe(true);
      // Longer than any open time.
      expect(breaker.admit(nowMs + 1000)).not.toBe(0);
    },
  };
}
