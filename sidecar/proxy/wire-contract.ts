// What every policy must keep on the wire, with a whole data path between real connections, whatever becomes of the calls.
//
// TO JOIN: add a row to POLICIES with the blocks of a plan that switch your policy on. Its numbers must be such that it lets a call pass now and
// then; `refuses` has the reasons of its refusals, and `before` brings it into the situation that the row is about. Each row is run through all of ENDINGS, and held to this:
//  1. nothing stays taken: every count of `held()` is zero (a new kind of thing that can be taken belongs into Holdings of holdings.ts);
//  2. nothing counts twice: each request once in the requests, each attempt once in the attempts and once, or not at all, in the window of its circuit;
//  3. an equal plan that comes in between changes nothing, and takes nothing from a request in progress;
//  4. the next call is served, or refused for a reason of the row.
// The machines alone are asked the same in sidecar/policies/contract.test.ts. The endings are those of a protocol: contract.test.ts is HTTP/1.1,
// http2-contract.test.ts is HTTP/2.
import { expect, vi } from 'vitest';
import type { Endpoint } from '../../plan/endpoints.ts';
import type { DependencyPlan, PolicyPlan, WorkloadPlan } from '../../plan/plan.ts';
import { SHADOW_BLOCKS, type ShadowBlock } from '../../plan/policies/blocks.ts';
import type { FallbackPlan } from '../../plan/policies/fallback.ts';
import type { LoadBalancingPlan } from '../../plan/policies/load-balancing.ts';
import type { OutlierDetectionPlan } from '../../plan/policies/outlier-detection.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { CertificateSource } from '../tls/certificate-files.ts';
import {
  type Bench,
  BREAKER,
  dependencyPlan,
  HEDGING,
  NO_POLICY,
  RETRIES,
  startBench,
  workloadPlan,
} from './fixtures.ts';
import type { Holdings } from './holdings.ts';

/** A dependency that does what the path of each request says. */
export interface Scripted {
  endpoint: Endpoint;
  /** Heads of requests that it has read. */
  heads: number;
  close(): unknown;
}

/** A protocol that the contract is kept in. */
export interface Wire<Upstream extends Scripted = Scripted> {
  /** What the legs are made of; absent: plain TCP. */
  legs?: { changes: Pick<DependencyPlan, 'host'>; certificates: CertificateSource };
  start(): Promise<Upstream>;
  call(port: number, path: string): Promise<{ status: number; reason: string }>;
}

/** Sends requests, sees them to their end, and says how many they were. What it adds to `open` is closed after it. */
export type Run<Upstream> = (bench: Bench, upstream: Upstream, open: { close(): unknown }[]) => Promise<number>;

export interface Ending<Upstream> {
  name: string;
  run: Run<Upstream>;
  /** Bounds each call by the time of an attempt, where the row has one. */
  needsTimeouts?: true;
  /** Nothing is known of requests and attempts but that none counts twice: some callers are gone before anybody has read them. */
  uncertain?: true;
}

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

const TIMEOUTS = { requestMs: 250, attemptMs: 100, connectMs: 100, idleMs: 0, opaqueIdleMs: 0 };
/** For calls that no time has to end: nothing is cut by them because the machine is busy. */
const PATIENT_TIMEOUTS = { ...TIMEOUTS, requestMs: 20_000, attemptMs: 10_000, connectMs: 10_000 };
const BULKHEAD = { stateKey: 'bulkhead:base', maxConcurrent: 2, maxQueued: 1, queueTimeoutMs: 40, adaptive: null };
/** Counts, and does not open. */
const COUNTING = { ...BREAKER, consecutiveFailures: 0, failureRate: { percent: 100, minimumCalls: 1000 } };
const COUNTING_IN_SHADOW = { ...COUNTING, stateKey: 'shadow.circuitBreaker:base' };
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
    // Asked where nobody listens, so that what arrives at the upstream is the requests alone; all are unhealthy then, and used.
    name: 'healthCheck',
    policy: {
      timeouts: TIMEOUTS,
      healthCheck: {
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
      },
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
    before: async (bench: Bench, wire: Wire) => {
      for (let calls = 0; calls < 20; calls++) await wire.call(bench.port, '/answer');
      const delaySeconds = () => bench.metric('breakwater_hedging_delay_seconds');
      await vi.waitFor(async () => expect(await delaySeconds()).toBeGreaterThan(0), { interval: 10, timeout: 5_000 });
    },
  })),
  {
    name: 'all of them',
    policy: { timeouts: TIMEOUTS, retries: RETRIES, circuitBreaker: COUNTING, bulkhead: BULKHEAD },
    refuses: ['bulkhead-full', 'queue-timeout'],
  },
];

/** What differs between legs shows in these; what does not is shown by all. */
export const OVER_TLS: readonly Row[] = POLICIES.filter(({ name }) =>
  ['no policy', 'retries', 'hedging', 'all of them'].includes(name),
);

const NOTHING: Holdings = {
  requests: 0,
  tunnels: 0,
  clientConnections: 0,
  timers: 0,
  replayBytes: 0,
  attempts: 0,
  bulkheadPlaces: 0,
  bulkheadQueued: 0,
  probes: 0,
  recordingBytes: 0,
  healthChecks: 0,
};

async function counted(bench: Bench, upstream: Scripted) {
  const attempts = await bench.metric('breakwater_attempts_total');
  return {
    requests: await bench.metric('breakwater_requests_total'),
    attempts,
    /** Attempts that say something about the dependency. */
    results:
      attempts -
      (await bench.metric('breakwater_attempts_total', { result: 'cancelled' })) -
      (await bench.metric('breakwater_attempts_total', { result: 'refused' })),
    /** What attempts came to, seen from outside: heads that arrived, and connections that were not made. */
    reached:
      upstream.heads +
      (await bench.metric('breakwater_upstream_connects_total')) -
      (await bench.metric('breakwater_upstream_connects_total', { result: 'success' })),
    calls: bench.plane.circuits()[0]?.counts.calls ?? 0,
  };
}

/** With time enough for a call that nothing hinders, on however busy a machine; what is remembered stays. */
function unhurried({ policy, replica, ...row }: Row): Row {
  const patient = (hurried: Partial<PolicyPlan>): Partial<PolicyPlan> => {
    const circuitBreaker = hurried.circuitBreaker && { ...hurried.circuitBreaker, halfOpenProbeTimeoutMs: 5_000 };
    return { ...hurried, timeouts: NO_POLICY.timeouts, ...(circuitBreaker && { circuitBreaker }) };
  };
  return { ...row, policy: patient(policy), ...(replica && { replica: patient(replica) }) };
}

/** The same policies with timeouts, where it has any, that run and do not end. */
function patient({ policy, replica, ...row }: Row): Row {
  const waits = (hurried: Partial<PolicyPlan>): Partial<PolicyPlan> => ({
    ...hurried,
    ...(hurried.timeouts && { timeouts: PATIENT_TIMEOUTS }),
  });
  return { ...row, policy: waits(policy), ...(replica && { replica: waits(replica) }) };
}

/** The plan of a row, in new objects each time. */
function planOf({ policy, replica }: Row, changes: Partial<DependencyPlan> = {}): WorkloadPlan {
  const plan = dependencyPlan(policy, changes);
  if (replica === undefined) return workloadPlan(plan);
  const names = { id: 'shop/checkout/replica', name: 'replica', endpointsKey: 'billing/replica:80' };
  return workloadPlan(plan, dependencyPlan(replica, { ...changes, ...names }));
}

/** Returns what ends it. */
function every(intervalMs: number, act: () => void): () => void {
  const again = (): void => {
    act();
    cancel = systemClock.after(intervalMs, again);
  };
  let cancel = systemClock.after(intervalMs, again);
  return () => cancel();
}

/** The first of them, with the heads that all have read. */
function together<Upstream extends Scripted>(first: Upstream, upstreams: readonly Upstream[]): Upstream {
  const heads = () => upstreams.reduce((sum, each) => sum + each.heads, 0);
  return Object.defineProperty(Object.create(first) as Upstream, 'heads', { get: heads });
}

/** Several may run at a time, for which expect.poll is not made: each has a data path, upstreams and applications of its own. */
export async function keepsContract<Upstream extends Scripted>(
  row: Row,
  ending: Ending<Upstream>,
  wire: Wire<Upstream>,
): Promise<void> {
  const open: { close(): unknown }[] = [];
  try {
    await isKept(ending.needsTimeouts ? row : patient(row), ending, wire, open);
  } finally {
    for (const each of open) await each.close();
  }
}

async function isKept<Upstream extends Scripted>(
  row: Row,
  ending: Ending<Upstream>,
  wire: Wire<Upstream>,
  open: { close(): unknown }[],
): Promise<void> {
  const first = await wire.start();
  const upstreams = row.another ? [first, await wire.start()] : [first];
  const upstream = together(first, upstreams);
  const plan = () => planOf(row, wire.legs?.changes);
  const endpoints = upstreams.map(({ endpoint }) => endpoint);
  const { changes, certificates = null } = wire.legs ?? {};
  const bench = await startBench(dependencyPlan(row.policy, changes), endpoints, { certificates });
  open.push(...upstreams, bench);
  bench.plane.applyPlan(plan());
  bench.plane.applyEndpointsUpdate([{ key: 'billing/replica:80', endpoints: [upstream.endpoint] }], []);
  await row.before?.(bench, wire);
  const before = await counted(bench, upstream);
  const stop = every(3, () => bench.plane.applyPlan(plan()));
  const requests = await ending.run(bench, upstream, open).finally(stop);
  await vi.waitFor(() => expect(bench.plane.held()).toEqual(NOTHING), { timeout: 5_000, interval: 5 });
  const after = await counted(bench, upstream);
  const now = (key: keyof typeof after) => after[key] - before[key];
  const uncertain = ending.uncertain || row.hedged;
  if (uncertain) {
    expect(now('requests')).toBeLessThanOrEqual(requests);
    expect(now('reached')).toBeLessThanOrEqual(now('attempts'));
  } else {
    expect([now('requests'), now('attempts')]).toEqual([requests, now('reached')]);
  }
  // A timeout in shadow ends what it judges earlier than it ends, and how often depends on how busy the machine is.
  if (row.policy.shadow?.circuitBreaker === COUNTING_IN_SHADOW)
    expect(now('calls')).toBeLessThanOrEqual(now('attempts'));
  if (row.policy.circuitBreaker === COUNTING) {
    if (uncertain) expect(now('calls')).toBeLessThanOrEqual(now('results'));
    else expect(now('calls')).toBe(now('results'));
  }
  const state = async () => [bench.plane.circuits(), await bench.metric('breakwater_last_good_answers')];
  const remembered = await state();
  bench.plane.applyPlan(plan());
  expect(await state()).toEqual(remembered);
  bench.plane.applyPlan(planOf(unhurried(row), wire.legs?.changes));
  const { status, reason } = await wire.call(bench.port, '/answer');
  if (status !== 200) expect(row.refuses ?? []).toContain(reason);
  await vi.waitFor(() => expect(bench.plane.held()).toEqual(NOTHING), { timeout: 5_000, interval: 5 });
}
