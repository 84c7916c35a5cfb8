// The rows of the contract on the wire: each switches one policy on, or several together. See wire-contract.ts for what each is held to, and how to
// join.
import { expect, vi } from 'vitest';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { SHADOW_BLOCKS, type ShadowBlock } from '../../../plan/policies/blocks.ts';
import type { FallbackPlan } from '../../../plan/policies/fallback.ts';
import type { HealthCheckPlan } from '../../../plan/policies/health-check.ts';
import type { LoadBalancingPlan } from '../../../plan/policies/load-balancing.ts';
import type { OutlierDetectionPlan } from '../../../plan/policies/outlier-detection.ts';
import { type Bench, BREAKER, HEDGING, RETRIES } from './fixtures.ts';
import type { Wire } from './wire-contract.ts';

export interface Row {
  name: string;
  policy: Partial<PolicyPlan>;
  /** Of another dependency, named replica, at the same upstream; absent: there is none. */
  replica?: Partial<PolicyPlan>;
  /** There are two upstreams. */
  another?: true;
  /** A call may be sent more than once, and copies of it be given up before they arrive. */
  hedged?: true;
  refuses?: readonly string[];
  before?: (bench: Bench, wire: Wire) => Promise<void>;
}

export const TIMEOUTS = { requestMs: 250, attemptMs: 100, connectMs: 100, idleMs: 0, opaqueIdleMs: 0 };
const BULKHEAD = { stateKey: 'bulkhead:base', maxConcurrent: 2, maxQueued: 1, queueTimeoutMs: 40, adaptive: null };
/** Counts, and does not open. */
export const COUNTING = { ...BREAKER, consecutiveFailures: 0, failureRate: { percent: 100, minimumCalls: 1000 } };
export const COUNTING_IN_SHADOW = { ...COUNTING, stateKey: 'shadow.circuitBreaker:base' };
const PROBING = { ...BREAKER, consecutiveFailures: 1, openForMs: 100, maxOpenForMs: 100, halfOpenProbeTimeoutMs: 40 };
const FALLBACK: FallbackPlan = {
  stateKey: 'fallback:base',
  fallbackOn: [
    'BulkheadFull',
    'QueueTimeout',
    'NoEndpoints',
    'ConnectFailure',
    'Reset',
    'InvalidResponse',
    'AttemptTimeout',
    'Deadline',
    'ServerError',
  ],
  methods: 'All',
  response: null,
  lastGood: null,
  dependency: null,
};
const LAST_GOOD: NonNullable<FallbackPlan['lastGood']> = {
  maxAgeMs: 60_000,
  maxBytes: 10_000,
  maxAnswerBytes: 5_000,
  audience: 'Anonymous',
  keyHeaders: [],
};
const BALANCING: LoadBalancingPlan = {
  stateKey: 'loadBalancing:base',
  algorithm: 'PeakEwma',
  consistentHash: null,
  slowStart: { windowMs: 10_000 },
  zoneAware: 'Hints',
};
const OUTLIER: OutlierDetectionPlan = {
  stateKey: 'outlierDetection:base',
  failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
  consecutiveFailures: 1,
  consecutiveLocalOriginFailures: 1,
  successRate: null,
  intervalMs: 10_000,
  maxEjectionPercent: 100,
  ejectForMs: 30_000,
  maxEjectForMs: 30_000,
  panicThresholdPercent: 0,
};
/** Asked where nobody listens, so that what arrives at the upstream is the requests alone; all are unhealthy then, and used. */
const HEALTH_CHECK: HealthCheckPlan = {
  stateKey: 'healthCheck:base',
  path: '/',
  host: null,
  port: 1,
  intervalMs: 100,
  timeoutMs: 100,
  unhealthyThreshold: 1,
  healthyThreshold: 1,
  expectedStatuses: [200],
  grpc: null,
};
const NO_SHADOW = Object.fromEntries(SHADOW_BLOCKS.map((block) => [block, null])) as Record<ShadowBlock, null>;

export const POLICIES: readonly Row[] = [
  { name: 'no policy', policy: {} },
  { name: 'timeouts', policy: { timeouts: TIMEOUTS } },
  { name: 'retries', policy: { timeouts: TIMEOUTS, retries: RETRIES } },
  { name: 'circuitBreaker', policy: { timeouts: TIMEOUTS, circuitBreaker: COUNTING } },
  {
    name: 'circuitBreaker, half-open',
    policy: { timeouts: TIMEOUTS, circuitBreaker: PROBING },
    refuses: ['circuit-open'],
    before: async (bench, wire) => {
      await wire.call(bench.port, '/fail');
      await vi.waitFor(() => expect(bench.plane.circuits()[0]?.state).toBe('HalfOpen'), { interval: 5 });
    },
  },
  {
    name: 'circuitBreaker, forced open',
    policy: { circuitBreaker: { ...COUNTING, force: 'Open' } },
    refuses: ['circuit-open'],
  },
  {
    name: 'circuitBreaker, forced closed',
    policy: { timeouts: TIMEOUTS, circuitBreaker: { ...COUNTING, force: 'Closed' } },
  },
  {
    name: 'outlierDetection',
    policy: {
      timeouts: TIMEOUTS,
      outlierDetection: OUTLIER,
    },
  },
  {
    name: 'healthCheck',
    policy: {
      timeouts: TIMEOUTS,
      healthCheck: HEALTH_CHECK,
    },
  },
  { name: 'bulkhead', policy: { timeouts: TIMEOUTS, bulkhead: BULKHEAD }, refuses: ['bulkhead-full', 'queue-timeout'] },
  {
    name: 'bulkhead, adaptive',
    policy: {
      timeouts: TIMEOUTS,
      bulkhead: { ...BULKHEAD, adaptive: { minConcurrent: 1, latencyTolerancePercent: 100, probeIntervalMs: 1_000 } },
    },
    refuses: ['bulkhead-full', 'queue-timeout'],
  },
  {
    name: 'rateLimit',
    policy: {
      timeouts: TIMEOUTS,
      rateLimit: { stateKey: 'rateLimit:base', requestsPerSecond: 10, burst: 4, perHeader: null },
    },
    refuses: ['rate-limited'],
  },
  {
    name: 'rateLimit, by header',
    policy: {
      timeouts: TIMEOUTS,
      rateLimit: {
        stateKey: 'rateLimit:base',
        requestsPerSecond: 10,
        burst: 4,
        perHeader: { name: 'Idempotency-Key', maxValues: 1 },
      },
    },
    refuses: ['rate-limited'],
  },
  {
    // Its status is not that of the dependency, so that the next call shows who answered.
    name: 'fallback, a fixed answer',
    policy: {
      timeouts: TIMEOUTS,
      circuitBreaker: COUNTING,
      fallback: { ...FALLBACK, response: { statusCode: 203, contentType: 'text/plain', body: 'instead' } },
    },
  },
  {
    name: 'fallback, the last good answer',
    policy: { timeouts: TIMEOUTS, circuitBreaker: COUNTING, fallback: { ...FALLBACK, lastGood: LAST_GOOD } },
    before: async (bench, wire) => void (await wire.call(bench.port, '/answer')),
  },
  {
    name: 'fallback, another dependency',
    policy: { timeouts: TIMEOUTS, bulkhead: BULKHEAD, fallback: { ...FALLBACK, dependency: 'replica' } },
    replica: { timeouts: TIMEOUTS, retries: RETRIES, bulkhead: { ...BULKHEAD, maxConcurrent: 1 } },
    refuses: ['bulkhead-full', 'queue-timeout'],
  },
  {
    name: 'faultInjection, delay',
    policy: {
      timeouts: TIMEOUTS,
      circuitBreaker: COUNTING,
      faultInjection: { delay: { fixedMs: 20, percent: 100 }, abort: null },
    },
  },
  {
    name: 'faultInjection, delay and abort',
    policy: {
      timeouts: TIMEOUTS,
      bulkhead: BULKHEAD,
      faultInjection: { delay: { fixedMs: 20, percent: 50 }, abort: { statusCode: 500, percent: 50 } },
    },
    refuses: ['fault-injected', 'bulkhead-full', 'queue-timeout'],
  },
  ...(['PeakEwma', 'LeastRequest', 'RoundRobin'] as const).map((algorithm) => ({
    name: `loadBalancing, ${algorithm}`,
    policy: { timeouts: TIMEOUTS, retries: RETRIES, loadBalancing: { ...BALANCING, algorithm } },
  })),
  {
    name: 'loadBalancing, ConsistentHash',
    policy: {
      timeouts: TIMEOUTS,
      retries: RETRIES,
      loadBalancing: {
        ...BALANCING,
        algorithm: 'ConsistentHash',
        consistentHash: { key: 'Header', name: 'Host', maxLoadPercent: 150 },
      },
    },
  },
  {
    name: 'all of them in shadow',
    policy: {
      timeouts: TIMEOUTS,
      shadow: {
        ...NO_SHADOW,
        timeouts: { ...TIMEOUTS, requestMs: 100, attemptMs: 40 },
        retries: { ...RETRIES, stateKey: 'shadow.retries:base' },
        circuitBreaker: COUNTING_IN_SHADOW,
        bulkhead: { ...BULKHEAD, stateKey: 'shadow.bulkhead:base' },
        outlierDetection: { ...OUTLIER, stateKey: 'shadow.outlierDetection:base' },
        rateLimit: { stateKey: 'shadow.rateLimit:base', requestsPerSecond: 10, burst: 4, perHeader: null },
        fallback: { ...FALLBACK, stateKey: 'shadow.fallback:base', lastGood: LAST_GOOD },
        faultInjection: { delay: { fixedMs: 60_000, percent: 50 }, abort: { statusCode: 503, percent: 10 } },
        loadBalancing: { ...BALANCING, stateKey: 'shadow.loadBalancing:base' },
        hedging: { ...HEDGING, stateKey: 'shadow.hedging:base', maxDelayMs: 15, maxHedges: 2 },
      },
    },
  },
  ...(['hedging', 'hedging, three times'] as const).map((name, index) => ({
    name,
    policy: {
      timeouts: TIMEOUTS,
      retries: RETRIES,
      circuitBreaker: COUNTING,
      bulkhead: { ...BULKHEAD, maxConcurrent: 4 + index },
      hedging: { ...HEDGING, maxDelayMs: 15, maxHedges: 1 + 2 * index },
    },
    another: true as const,
    hedged: true as const,
    refuses: ['bulkhead-full', 'queue-timeout'],
    before: knowLatency,
  })),
  {
    name: 'timeouts, retries, circuitBreaker and bulkhead',
    policy: { timeouts: TIMEOUTS, retries: RETRIES, circuitBreaker: COUNTING, bulkhead: BULKHEAD },
    refuses: ['bulkhead-full', 'queue-timeout'],
  },
  {
    name: 'all of them',
    policy: {
      timeouts: TIMEOUTS,
      retries: RETRIES,
      circuitBreaker: COUNTING,
      outlierDetection: OUTLIER,
      bulkhead: { ...BULKHEAD, maxConcurrent: 4 },
      rateLimit: { stateKey: 'rateLimit:base', requestsPerSecond: 1_000, burst: 100, perHeader: null },
      hedging: { ...HEDGING, maxDelayMs: 15 },
      fallback: { ...FALLBACK, lastGood: LAST_GOOD },
      faultInjection: { delay: { fixedMs: 20, percent: 50 }, abort: { statusCode: 418, percent: 10 } },
      loadBalancing: BALANCING,
      healthCheck: HEALTH_CHECK,
    },
    another: true,
    hedged: true,
    refuses: ['fault-injected', 'bulkhead-full', 'queue-timeout'],
    before: knowLatency,
  },
];

/** As many calls as tell when to hedge. */
async function knowLatency(bench: Bench, wire: Wire): Promise<void> {
  for (let calls = 0; calls < 30; calls++) await wire.call(bench.port, '/answer');
  const delaySeconds = () => bench.metric('breakwater_hedging_delay_seconds');
  await vi.waitFor(async () => expect(await delaySeconds()).toBeGreaterThan(0), { interval: 10, timeout: 5_000 });
}

/** What differs between legs shows in these; what does not is shown by all. */
export const OVER_TLS: readonly Row[] = POLICIES.filter(({ name }) =>
  ['no policy', 'retries', 'hedging', 'timeouts, retries, circuitBreaker and bulkhead'].includes(name),
);
