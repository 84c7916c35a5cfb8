// One object stands for all requests of a connection, one after the other. Whatever came before, the shadows count of a request what they count
// of one with an object of its own: the model is the same route with a new object each time.
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import { BalancedEndpoint } from '../../balance/candidates.ts';
import { LoadBalancer } from '../../balance/load-balancer.ts';
import { CircuitBreaker, Outcome } from '../circuit-breaker.ts';
import { FailureBit } from '../failures.ts';
import { FallbackBit } from '../fallback.ts';
import { OutlierDetection } from '../outlier-detection.ts';
import { RateLimit } from '../rate-limit.ts';
import { RetryBudget } from '../retry-budget.ts';
import { BalancingShadow } from './balancing-shadow.ts';
import { MEAN_CHANCE, NO_HEAD, ShadowCall } from './block-shadow.ts';
import { BulkheadShadow, ShadowPlaces } from './bulkhead-shadow.ts';
import { CircuitShadow, ShadowCircuit } from './circuit-shadow.ts';
import { FallbackShadow } from './fallback-shadow.ts';
import { FaultsShadow } from './faults-shadow.ts';
import { HedgingShadow, ShadowHedges } from './hedging-shadow.ts';
import { OutlierShadow } from './outlier-shadow.ts';
import { RateLimitShadow } from './rate-limit-shadow.ts';
import { RetriesShadow } from './retries-shadow.ts';
import { Route } from './testing.ts';
import { TimeoutsShadow } from './timeouts-shadow.ts';

const RETRIES = {
  stateKey: '',
  maxAttempts: 3,
  retryOn: ['ServerError' as const, 'Reset' as const, 'AttemptTimeout' as const],
  retryOnStatusCodes: [409],
  retryOnGrpcStatusCodes: ['Unavailable' as const],
  maxRetryAfterMs: 500,
  methods: 'Idempotent' as const,
  backoffInitialMs: 10,
  backoffMaxMs: 20,
  budgetPercent: 50,
  budgetMinPerSecond: 5,
};
const CIRCUIT = {
  failureOn: ['ServerError' as const, 'AttemptTimeout' as const, 'Reset' as const],
  consecutiveFailures: 4,
  failureRate: null,
  slowCalls: null,
  windowMs: 1_000,
  openForMs: 300,
  maxOpenForMs: 900,
  halfOpenMaxProbes: 1,
  halfOpenSuccesses: 1,
  halfOpenProbeTimeoutMs: 100,
  force: null,
};
const OUTLIER = {
  failureOn: ['ServerError' as const],
  consecutiveFailures: 1,
  consecutiveLocalOriginFailures: 1,
  successRate: null,
  intervalMs: 1_000,
  maxEjectionPercent: 50,
  ejectForMs: 1_000,
  maxEjectForMs: 1_000,
  panicThresholdPercent: 0,
};
const NAMES = ['a', 'b', 'c'];

function everything() {
  const endpoints = NAMES.map((name) => new BalancedEndpoint(name));
  const balancer = new LoadBalancer<BalancedEndpoint>(
    { algorithm: 'RoundRobin', consistentHash: null, slowStart: null, zoneAware: 'Hints' },
    null,
    MEAN_CHANCE,
  );
  balancer.setEndpoints(endpoints);
  const detection = new OutlierDetection(OUTLIER, MEAN_CHANCE, 0);
  detection.setEndpoints(NAMES, 0);
  const budget = new RetryBudget(RETRIES, 0);
  const breaker = new CircuitBreaker(CIRCUIT, MEAN_CHANCE);
  const circuits = new ShadowCircuit(breaker, CIRCUIT);
  const places = new ShadowPlaces(
    { stateKey: '', maxConcurrent: 1, maxQueued: 0, queueTimeoutMs: 0, adaptive: null },
    0,
  );
  const hedges = new ShadowHedges(
    { stateKey: '', afterPercentile: 90, minDelayMs: 30, maxDelayMs: 30, maxHedges: 2 },
    0,
  );
  for (let call = 0; call < 20; call += 1) hedges.hedging.record(20, 0);
  const layers = {
    maxHedges: 2,
    retries: RETRIES,
    budget,
    keepsBudget: false,
    circuitClosed: () => breaker.isClosed,
    hasPlace: () => true,
    otherEndpoints: () => 2,
  };
  const route = new Route(
    new FaultsShadow({ delay: null, abort: { statusCode: 503, percent: 10 } }, seededRandom(1)),
    new RateLimitShadow(new RateLimit({ requestsPerSecond: 4, burst: 2, perHeader: null }, 0)),
    new TimeoutsShadow({ requestMs: 400, attemptMs: 150, connectMs: 20, idleMs: 200, opaqueIdleMs: 0 }),
    new HedgingShadow(hedges, layers, 1),
    new RetriesShadow(RETRIES, budget),
    new CircuitShadow(circuits),
    new BulkheadShadow(places),
    new OutlierShadow(detection, () => false),
    new BalancingShadow({ balancer, has: () => true }, () => 0),
    new FallbackShadow({
      mask: FallbackBit.ServerError | FallbackBit.Reset | FallbackBit.AttemptTimeout | FallbackBit.RateLimited,
      allMethods: false,
      hasResponse: false,
      lastGood: null,
      asksAnother: () => true,
      floorMs: 1,
    }),
  );
  const held = (): number => places.inFlight + places.queued + breaker.probesInFlight + hedges.watched;
  return { route, endpoints, held };
}

const attempt = fc.record({
  endpoint: fc.nat({ max: 2 }),
  connectMs: fc.constantFrom(0, 0, 10, 30),
  tookMs: fc.constantFrom(1, 20, 40, 100, 160, 450),
  end: fc.constantFrom('ok', 'ok', 'ok', 'failure', 'conflict', 'reset', 'unsent', 'ignored', 'stream'),
});
const request = fc.record({
  waitMs: fc.constantFrom(0, 20, 100, 400),
  method: fc.constantFrom('GET', 'GET', 'POST'),
  attempts: fc.array(attempt, { maxLength: 3 }),
  large: fc.boolean(),
  refused: fc.boolean(),
  left: fc.boolean(),
});
type Request = typeof request extends fc.Arbitrary<infer R> ? R : never;

/** Tells a route of one request; what it has counted after that, and what it holds. */
function told({ route, endpoints, held }: ReturnType<typeof everything>, it: Request, startMs: number) {
  const call = route.begin(startMs, it.method);
  let nowMs = startMs;
  for (const { connectMs, end, endpoint, tookMs } of it.attempts) {
    route.attempt(call, nowMs, endpoints[endpoint]);
    const attemptMs = nowMs;
    nowMs += tookMs;
    const answered = end === 'ok' || end === 'failure' || end === 'conflict' || end === 'stream';
    const bits = end === 'failure' ? FailureBit.ServerError : end === 'reset' ? FailureBit.Reset : 0;
    call.headFailureBits = bits;
    const happens = {
      endMs: nowMs,
      headMs: answered ? nowMs : 0,
      connectedMs: connectMs === 0 ? 0 : attemptMs + connectMs,
      outcome: end === 'ignored' ? Outcome.Ignored : bits === 0 && answered ? Outcome.Success : Outcome.Failure,
      bits: end === 'unsent' ? FailureBit.ConnectFailure : bits,
      unsent: end === 'unsent',
      answered,
      replayable: !it.large,
      status: answered ? { ok: 200, failure: 503, conflict: 409, stream: 200 }[end] : 0,
    };
    if (end === 'stream') {
      route.facts(call, happens);
      route.shadow.streamBegan(call, nowMs);
      nowMs += 100;
      route.shadow.active(call, nowMs);
    }
    route.endAttempt(call, happens);
  }
  if (it.refused) call.refuse(FallbackBit.Reset);
  if (it.left) call.left = true;
  route.shadow.end(call, nowMs);
  return { nowMs, counted: [...route.counts.decisions, ...route.counts.expectedCostMs], held: held() };
}

it('a request is judged alike by an object that stood for others before, and holds nothing after its end', () => {
  const decisions = new Set<string>();
  fc.assert(
    fc.property(fc.array(request, { maxLength: 30, size: 'max' }), (requests) => {
      const [reused, fresh] = [everything(), everything()];
      const only = new ShadowCall();
      reused.route.nextCall = () => only;
      let nowMs = 0;
      for (const each of requests) {
        nowMs += each.waitMs;
        const wanted = told(fresh, each, nowMs);
        expect(told(reused, each, nowMs)).toEqual(wanted);
        expect(wanted.held).toBe(0);
        expect([only.head, only.endpoint, only.member, only.failedEndpoints.length]).toEqual([NO_HEAD, null, null, 0]);
        nowMs = wanted.nowMs;
      }
      for (const decision of Object.keys(fresh.route.decisions)) decisions.add(decision);
    }),
  );
  for (const decision of ['hedge', 'retry', 'attempt-timeout', 'connect-timeout', 'circuit-open', 'ejected-endpoint'])
    expect([...decisions]).toContain(decision);
  for (const decision of ['rate-limited', 'abort', 'dependency', 'missed', 'deadline'])
    expect([...decisions]).toContain(decision);
});
