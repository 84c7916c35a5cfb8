// What every policy must keep on the wire, with a whole data path between real connections, whatever becomes of the calls.
//
// TO JOIN: add a row to POLICIES with the blocks of a plan that switch your policy on. Its numbers must be such that it lets a call pass now and
// then; `refuses` has the reasons of its refusals, and `before` brings it into the situation that the row is about. Each row is run through all of ENDINGS, and held to this:
//  1. nothing stays taken: every count of `held()` is zero (a new kind of thing that can be taken belongs into Holdings of data-plane.ts);
//  2. nothing counts twice: each request once in the requests, each attempt once in the attempts and once, or not at all, in the window of its circuit;
//  3. an equal plan that comes in between changes nothing, and takes nothing from a request in progress;
//  4. the next call is served, or refused for a reason of the row.
// The machines alone are asked the same in sidecar/policies/contract.test.ts.
import { describe, expect, it } from 'vitest';
import type { PolicyPlan, WorkloadPlan } from '../../plan/plan.ts';
import { SHADOW_BLOCKS, type ShadowBlock } from '../../plan/policies/blocks.ts';
import type { FallbackPlan } from '../../plan/policies/fallback.ts';
import type { LoadBalancingPlan } from '../../plan/policies/load-balancing.ts';
import { call, isWhole, type ScriptedUpstream, startScripted } from './calls.ts';
import type { Holdings } from './data-plane.ts';
import {
  type Bench,
  BREAKER,
  type Client,
  connect,
  dependencyPlan,
  freePort,
  get,
  NO_POLICY,
  RETRIES,
  startBench,
  workloadPlan,
} from './fixtures.ts';
import { opened } from './opened.ts';

interface Row {
  name: string;
  policy: Partial<PolicyPlan>;
  /** Of another dependency, named replica, at the same upstream; absent: there is none. */
  replica?: Partial<PolicyPlan>;
  refuses?: readonly string[];
  before?: (bench: Bench) => Promise<void>;
}

const TIMEOUTS = { requestMs: 250, attemptMs: 100, connectMs: 100, idleMs: 0, opaqueIdleMs: 0 };
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
const NO_SHADOW = Object.fromEntries(SHADOW_BLOCKS.map((block) => [block, null])) as Record<ShadowBlock, null>;

const POLICIES: readonly Row[] = [
  { name: 'no policy', policy: {} },
  { name: 'timeouts', policy: { timeouts: TIMEOUTS } },
  { name: 'retries', policy: { timeouts: TIMEOUTS, retries: RETRIES } },
  { name: 'circuitBreaker', policy: { timeouts: TIMEOUTS, circuitBreaker: COUNTING } },
  {
    name: 'circuitBreaker, half-open',
    policy: { timeouts: TIMEOUTS, circuitBreaker: PROBING },
    refuses: ['circuit-open'],
    before: async (bench) => {
      await call(bench.port, get('/fail'));
      await expect.poll(() => bench.plane.circuits()[0]?.state, { interval: 5 }).toBe('HalfOpen');
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
      outlierDetection: {
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
      },
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
    before: async (bench) => void (await call(bench.port)),
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
      },
    },
  },
  {
    name: 'all of them',
    policy: { timeouts: TIMEOUTS, retries: RETRIES, circuitBreaker: COUNTING, bulkhead: BULKHEAD },
    refuses: ['bulkhead-full', 'queue-timeout'],
  },
];

/** Sends requests, sees them to their end, and says how many they were. */
type Run = (bench: Bench, upstream: ScriptedUpstream) => Promise<number>;

interface Ending {
  name: string;
  run: Run;
  /** Bounds each call by the time of an attempt, where the row has one. */
  needsTimeouts?: true;
  /** Nothing is known of requests and attempts but that none counts twice: some callers are gone before anybody has read them. */
  uncertain?: true;
}

const POST = 'POST /answer HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n';

/** Until so much of an answer is there, or all of one, or the connection has ended. */
async function sent(bench: Bench, request: string, until: (text: string) => boolean): Promise<Client> {
  const client = connect(bench.port);
  client.socket.on('error', () => {});
  client.send(request);
  await seen(client, until);
  return client;
}

async function seen({ socket }: Client, until: (text: string) => boolean): Promise<void> {
  let text = '';
  let ended = false;
  const end = () => {
    ended = true;
  };
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.on('end', end).on('close', end);
  await expect.poll(() => ended || until(text) || isWhole(text), { interval: 2, timeout: 3_000 }).toBe(true);
}

/** To the end, whatever it is, and then `leave`. */
const ask =
  (request: string, until: (text: string) => boolean, leave: 'destroy' | 'resetAndDestroy' = 'destroy'): Run =>
  async (bench) => {
    const client = await sent(bench, request, until);
    client.socket[leave]();
    return 1;
  };

const ENDINGS: readonly Ending[] = [
  { name: 'is answered', run: ask(get('/answer'), isWhole) },
  { name: 'fails', run: ask(get('/fail'), isWhole) },
  { name: 'is reset', run: ask(get('/reset'), isWhole) },
  { name: 'is answered by no HTTP', run: ask(get('/nonsense'), isWhole) },
  { name: 'is cut in the middle of its answer', run: ask(get('/half-reset'), isWhole) },
  { name: 'gets no answer in time', run: ask(get('/hang'), isWhole), needsTimeouts: true, uncertain: true },
  { name: 'gets no end of its answer in time', run: ask(get('/half'), isWhole), needsTimeouts: true, uncertain: true },
  {
    name: 'is aborted in the middle of its answer',
    run: ask(get('/half'), (text) => text.endsWith('half-'), 'resetAndDestroy'),
  },
  {
    name: 'streams events until its caller goes away',
    run: ask(get('/events'), (text) => text.includes('data: 1'), 'resetAndDestroy'),
  },
  {
    name: 'changes the protocol, and its caller goes away',
    run: ask(get('/upgrade', 'Connection: Upgrade\r\nUpgrade: echo\r\n'), (text) => text.startsWith('HTTP/1.1 101')),
  },
  { name: 'is aborted after its answer', run: ask(get('/answer'), isWhole, 'resetAndDestroy') },
  {
    name: 'is aborted before its answer',
    run: async (bench, upstream) => {
      const { heads } = upstream;
      const client = connect(bench.port);
      client.socket.on('error', () => {});
      client.send(get('/hang'));
      await seen(client, () => upstream.heads > heads);
      client.socket.resetAndDestroy();
      return 1;
    },
  },
  {
    name: 'finds nobody there',
    run: async (bench, upstream) => {
      bench.setEndpoints({ address: '127.0.0.1', port: await freePort() });
      const requests = await ask(get('/answer'), isWhole)(bench, upstream);
      bench.setEndpoints(upstream.endpoint);
      return requests;
    },
  },
  {
    name: 'has a body that cannot be read',
    run: ask(`${POST}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\nzz\r\n`, isWhole),
    uncertain: true,
  },
  {
    name: 'has half a body, and its caller goes away',
    run: ask(`${POST}Content-Length: 4\r\n\r\nbo`, () => true, 'resetAndDestroy'),
    uncertain: true,
  },
  {
    name: 'comes with others, whose callers go away at any moment',
    run: async (bench) => {
      const paths = ['/answer', '/hang', '/half', '/fail'];
      const clients = await Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          const client = await sent(bench, get(paths[index % 4] ?? ''), () => index % 3 > 0);
          client.socket[index % 3 === 1 ? 'resetAndDestroy' : 'destroy']();
        }),
      );
      return clients.length;
    },
    needsTimeouts: true,
    uncertain: true,
  },
];

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

const { open } = opened();

async function counted(bench: Bench, upstream: ScriptedUpstream) {
  const attempts = await bench.metric('breakwater_attempts_total');
  return {
    requests: await bench.metric('breakwater_requests_total'),
    attempts,
    /** Attempts that say something about the dependency. */
    results: attempts - (await bench.metric('breakwater_attempts_total', { result: 'cancelled' })),
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

/** The plan of a row, in new objects each time. */
function planOf({ policy, replica }: Row): WorkloadPlan {
  const plan = dependencyPlan(policy);
  if (replica === undefined) return workloadPlan(plan);
  const names = { id: 'shop/checkout/replica', name: 'replica', endpointsKey: 'billing/replica:80' };
  return workloadPlan(plan, dependencyPlan(replica, names));
}

async function keepsContract(row: Row, ending: Ending): Promise<void> {
  const upstream = await startScripted();
  const plan = () => planOf(row);
  const bench = await startBench(dependencyPlan(row.policy), [upstream.endpoint]);
  open.push(upstream, bench);
  bench.plane.applyPlan(plan());
  bench.plane.applyEndpointsUpdate([{ key: 'billing/replica:80', endpoints: [upstream.endpoint] }], []);
  await row.before?.(bench);
  const before = await counted(bench, upstream);
  const churn = setInterval(() => bench.plane.applyPlan(plan()), 3);
  const requests = await ending.run(bench, upstream).finally(() => clearInterval(churn));
  await expect.poll(() => bench.plane.held(), { timeout: 5_000, interval: 5 }).toEqual(NOTHING);
  const after = await counted(bench, upstream);
  const now = (key: keyof typeof after) => after[key] - before[key];
  if (ending.uncertain) {
    expect(now('requests')).toBeLessThanOrEqual(requests);
    expect(now('reached')).toBeLessThanOrEqual(now('attempts'));
  } else {
    expect([now('requests'), now('attempts')]).toEqual([requests, now('reached')]);
  }
  if (row.policy.circuitBreaker === COUNTING || row.policy.shadow?.circuitBreaker === COUNTING_IN_SHADOW) {
    if (ending.uncertain) expect(now('calls')).toBeLessThanOrEqual(now('results'));
    else expect(now('calls')).toBe(now('results'));
  }
  const state = async () => [bench.plane.circuits(), await bench.metric('breakwater_last_good_answers')];
  const remembered = await state();
  bench.plane.applyPlan(plan());
  expect(await state()).toEqual(remembered);
  bench.plane.applyPlan(planOf(unhurried(row)));
  const { status, reason } = await call(bench.port);
  if (status !== 200) expect(row.refuses ?? []).toContain(reason);
  await expect.poll(() => bench.plane.held(), { timeout: 5_000, interval: 5 }).toEqual(NOTHING);
}

describe.each(POLICIES)('$name: nothing is left over, and nothing counts twice, of a call that', (row) => {
  const bounded = row.policy.timeouts !== undefined;
  it.each(ENDINGS.filter(({ needsTimeouts }) => bounded || !needsTimeouts))('$name', (ending) =>
    keepsContract(row, ending),
  );
});
