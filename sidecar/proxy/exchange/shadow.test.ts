// Policies in shadow on real requests: what they would have done is counted, and nothing of it happens. SEED=n replays one random run.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan, ShadowPlan } from '../../../plan/plan.ts';
import { NO_BLOCKS } from '../../../plan/policies/blocks.ts';
import type { FallbackPlan } from '../../../plan/policies/fallback.ts';
import { type Random, seededRandom } from '../../../runtime/random.ts';
import { shadowDecisions, UNAVAILABLE } from '../testing/calls.ts';
import {
  type Bench,
  BREAKER,
  type Client,
  connect,
  dependencyPlan,
  get,
  RETRIES,
  startBench,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, type Upstream } from '../testing/upstreams.ts';

const NOTHING: ShadowPlan = { timeouts: null, ...NO_BLOCKS };
const SHADOW = {
  timeouts: { requestMs: 60, attemptMs: 20, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 },
  retries: { ...RETRIES, stateKey: 'shadow.retries:base' },
  circuitBreaker: { ...BREAKER, stateKey: 'shadow.circuitBreaker:base' },
  bulkhead: {
    stateKey: 'shadow.bulkhead:base',
    maxConcurrent: 1,
    maxQueued: 1,
    queueTimeoutMs: 60_000,
    adaptive: null,
  },
  outlierDetection: {
    stateKey: 'shadow.outlierDetection:base',
    failureOn: ['Reset', 'AttemptTimeout', 'ServerError'],
    consecutiveFailures: 1,
    consecutiveLocalOriginFailures: 1,
    successRate: null,
    intervalMs: 1_000,
    maxEjectionPercent: 100,
    ejectForMs: 1_000,
    maxEjectForMs: 1_000,
    panicThresholdPercent: 0,
  },
  rateLimit: { stateKey: 'shadow.rateLimit:base', requestsPerSecond: 1, burst: 25, perHeader: null },
  fallback: {
    stateKey: 'shadow.fallback:base',
    fallbackOn: ['CircuitOpen', 'BulkheadFull', 'RateLimited', 'Reset', 'AttemptTimeout', 'Deadline', 'ServerError'],
    methods: 'All',
    response: { statusCode: 200, contentType: 'text/plain', body: 'instead' },
    lastGood: null,
    dependency: null,
  },
  faultInjection: { delay: { fixedMs: 50, percent: 50 }, abort: { statusCode: 503, percent: 3 } },
  loadBalancing: {
    stateKey: 'shadow.loadBalancing:base',
    algorithm: 'RoundRobin',
    consistentHash: null,
    slowStart: null,
    zoneAware: 'Hints',
  },
  hedging: {
    stateKey: 'shadow.hedging:base',
    afterPercentile: 50,
    minDelayMs: 1,
    maxDelayMs: 10,
    maxHedges: 1,
  },
} as const satisfies Partial<ShadowPlan>;
const LAST_GOOD: NonNullable<FallbackPlan['lastGood']> = {
  maxAgeMs: 60_000,
  maxBytes: 100_000,
  maxAnswerBytes: 50_000,
  audience: 'Anonymous',
  keyHeaders: [],
};
const { open, upstream } = opened();

async function bench(shadow: Partial<ShadowPlan>, server: Upstream, policy: Partial<PolicyPlan> = {}): Promise<Bench> {
  const plan = dependencyPlan({ ...policy, shadow: { ...NOTHING, ...shadow } });
  const started = await startBench(plan, [server.endpoint]);
  open.push(started);
  return started;
}

/** Answers each request after so long. */
const slowly = (delayMs: number, response = OK) => {
  return (received: string, socket: Socket) => {
    if (received.endsWith('\r\n\r\n')) setTimeout(() => socket.writable && socket.write(response), delayMs);
  };
};

const status = (text: string) => Number(text.split(' ')[1]);

async function call(port: number, request = get('/')): Promise<number> {
  const client = connect(port);
  client.send(request);
  const text = await client.until((received) => received.includes('\r\n\r\n')).finally(() => client.socket.destroy());
  return status(text);
}

describe('in shadow', () => {
  it('a circuit opens, refuses nobody, and closes by the calls that are made', async () => {
    let healthy = false;
    const server = await upstream(answering(() => (healthy ? OK : UNAVAILABLE)));
    const started = await bench({ circuitBreaker: { ...SHADOW.circuitBreaker, openForMs: 1_500 } }, server);
    for (let nth = 0; nth < 8; nth++) expect(await call(started.port)).toBe(503);
    expect(server.received.join('').match(/GET/g)).toHaveLength(8);
    expect(await shadowDecisions(started)).toEqual({ 'circuitBreaker circuit-open': 3 });
    expect(started.plane.circuits()).toMatchObject([
      { stateKey: 'shadow.circuitBreaker:base', state: 'Open', reason: '5 consecutive failures (last: ServerError)' },
    ]);
    expect(await started.metric('breakwater_shadow_circuit_state', { state: 'Open' })).toBe(1);
    expect(await started.metric('breakwater_circuit_state')).toBe(0);
    healthy = true;
    await expect.poll(() => started.plane.circuits()[0]?.state, { timeout: 4_000 }).toBe('HalfOpen');
    for (let nth = 0; nth < 2; nth++) expect(await call(started.port)).toBe(200);
    expect(started.plane.circuits()[0]?.state).toBe('Closed');
    expect(await started.metric('breakwater_shadow_circuit_transitions_total', { to: 'Open' })).toBe(1);
    expect(await started.metric('breakwater_circuit_transitions_total')).toBe(0);
  });

  it('a circuit that is promoted begins closed', async () => {
    const server = await upstream(answering(UNAVAILABLE));
    const started = await bench({ circuitBreaker: { ...SHADOW.circuitBreaker, openForMs: 60_000 } }, server);
    for (let nth = 0; nth < 6; nth++) await call(started.port);
    expect(started.plane.circuits()[0]?.state).toBe('Open');
    started.plane.applyPlan(workloadPlan(dependencyPlan({ circuitBreaker: BREAKER })));
    expect(started.plane.circuits()).toMatchObject([{ stateKey: 'circuitBreaker:base', state: 'Closed' }]);
    await call(started.port);
    expect(server.received.join('').match(/GET/g)).toHaveLength(7);
  });

  it('a timeout ends nothing', async () => {
    const server = await upstream(slowly(40));
    const started = await bench({ timeouts: SHADOW.timeouts }, server);
    expect(await call(started.port)).toBe(200);
    expect(await shadowDecisions(started)).toEqual({ 'timeouts attempt-timeout': 1 });
  });

  it('retries send nothing again', async () => {
    const server = await upstream(answering(UNAVAILABLE));
    const started = await bench({ retries: SHADOW.retries }, server);
    expect(await call(started.port)).toBe(503);
    expect(await call(started.port, get('/').replace('GET', 'POST'))).toBe(503);
    expect(server.received.join('').match(/HTTP/g)).toHaveLength(2);
    expect(await shadowDecisions(started)).toEqual({ 'retries retry': 1, 'retries suppressed-unsafe': 1 });
  });

  it('retries know of a body that is too large to be kept, though nobody keeps it', async () => {
    const length = 70_000;
    const server = await upstream((received, socket) => {
      if (received.length > length) socket.write(UNAVAILABLE);
    });
    const started = await bench({ retries: SHADOW.retries }, server);
    const put = `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${'x'.repeat(length)}`;
    expect(await call(started.port, put)).toBe(503);
    expect(await shadowDecisions(started)).toEqual({ 'retries suppressed-body': 1 });
  });

  it('a bulkhead lets everybody in, and its books are empty in the end', async () => {
    const server = await upstream((received, socket) => {
      if (!received.includes('/left')) slowly(30)(received, socket);
    });
    const started = await bench({ bulkhead: SHADOW.bulkhead }, server);
    const leaver = connect(started.port);
    leaver.send(get('/left'));
    await expect.poll(() => started.metric('breakwater_shadow_bulkhead_in_flight')).toBe(1);
    const answers = await Promise.all([1, 2, 3].map(() => call(started.port)));
    leaver.socket.resetAndDestroy();
    expect(answers).toEqual([200, 200, 200]);
    expect(await shadowDecisions(started)).toEqual({ 'bulkhead queued': 1, 'bulkhead bulkhead-full': 2 });
    await expect.poll(() => started.metric('breakwater_shadow_bulkhead_in_flight')).toBe(0);
    expect(await started.metric('breakwater_shadow_bulkhead_queued')).toBe(0);
    expect(await started.metric('breakwater_bulkhead_in_flight')).toBe(0);
  });

  it('silence ends no stream', async () => {
    let finish = () => {};
    const server = await upstream((_, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
      finish = () => void socket.write('3\r\nabc\r\n0\r\n\r\n');
    });
    const timeouts = { ...SHADOW.timeouts, requestMs: 60_000, attemptMs: 60_000, idleMs: 20 };
    const started = await bench({ timeouts }, server);
    const client = connect(started.port);
    client.send(get('/'));
    await client.until((received) => received.includes('event-stream'));
    await new Promise((resolve) => setTimeout(resolve, 3 * timeouts.idleMs));
    finish();
    await client.until((received) => received.includes('0\r\n\r\n'));
    client.socket.destroy();
    expect(await shadowDecisions(started)).toEqual({ 'timeouts idle-timeout': 1 });
  });

  it('nothing is judged while the kill switch is thrown', async () => {
    const server = await upstream(answering(UNAVAILABLE));
    const started = await bench({ retries: SHADOW.retries }, server);
    started.plane.setLocallyDisabled(true);
    await call(started.port);
    expect(await shadowDecisions(started)).toEqual({});
  });
});

// ---- the same exchange twice ----------------------------------------------------------------------------------------------------

const RUNS = 30;
const CLIENTS = 3;
const REQUESTS = 12;
const seeds = process.env['SEED'] ? [Number(process.env['SEED'])] : Array.from({ length: RUNS }, (_, run) => run + 1);

interface Run {
  enforced: Partial<PolicyPlan>;
  shadow: ShadowPlan;
  requests: readonly (readonly string[])[];
}

/** What the upstream does to each attempt of a request stands in its path: "/0-3/503,reset,20,200". */
function randomRun(random: Random): Run {
  const pick = <T>(...choices: T[]): T => choices[Math.floor(random() * choices.length)] as T;
  const maybe = <T>(value: T): T | null => (random() < 0.6 ? value : null);
  const request = (client: number, nth: number) => {
    const script = Array.from({ length: 4 }, () => pick('200', '200', '503', '429', 'reset', '25', 'cut')).join(',');
    const path = `/${client}-${nth}/${script}`;
    const body = 'b'.repeat(pick(0, 10, 80_000));
    if (random() < 0.7) return `${pick('GET', 'DELETE')} ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
    return `${pick('PUT', 'POST')} ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  };
  return {
    enforced: {
      // Their state belongs to one client at a time: whose turn it is must make no difference.
      retries: maybe(RETRIES),
      bulkhead: maybe({
        stateKey: 'bulkhead:base',
        maxConcurrent: 2,
        maxQueued: 10,
        queueTimeoutMs: 60_000,
        adaptive: null,
      }),
    },
    shadow: {
      ...NOTHING,
      timeouts: maybe({ ...SHADOW.timeouts, attemptMs: pick(0, 10), requestMs: pick(0, 10) }),
      retries: maybe({ ...SHADOW.retries, maxAttempts: pick(1, 3), budgetMinPerSecond: pick(0, 1) }),
      circuitBreaker: maybe({ ...SHADOW.circuitBreaker, consecutiveFailures: pick(1, 2) }),
      bulkhead: maybe({ ...SHADOW.bulkhead, maxQueued: pick(0, 1), queueTimeoutMs: pick(0, 5) }),
      outlierDetection: maybe(SHADOW.outlierDetection),
      rateLimit: maybe({ ...SHADOW.rateLimit, perHeader: pick(null, { name: 'Host', maxValues: 1 }) }),
      fallback: maybe({ ...SHADOW.fallback, ...pick({}, { response: null, lastGood: LAST_GOOD }) }),
      faultInjection: maybe(SHADOW.faultInjection),
      loadBalancing: maybe(SHADOW.loadBalancing),
      hedging: maybe(SHADOW.hedging),
    },
    requests: Array.from({ length: CLIENTS }, (_, client) =>
      Array.from({ length: REQUESTS }, (__, nth) => request(client, nth)),
    ),
  };
}

/** Ids are drawn in the order in which clients come to it, which is nobody's choice. */
const withoutIds = (text: string) => text.replaceAll(/(correlation-?id"?: ?"?)[0-9a-f]{32}/gi, '$1…');

/** One for all runs, so that answers which name it are alike. `attempt` is told of each that arrives whole, and says how many there were. */
async function scripted(attempt: (id: string, text: string) => number): Promise<Upstream> {
  const begun = new WeakMap<Socket, number>();
  return upstream((received, socket) => {
    const from = begun.get(socket) ?? 0;
    const head = received.indexOf('\r\n\r\n', from);
    if (head < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(received.slice(from, head))?.[1] ?? 0);
    if (received.length < head + 4 + length) return;
    begun.set(socket, head + 4 + length);
    const text = received.slice(from, head + 4 + length);
    const [, id = '', script = ''] = /\/(\d+-\d+)\/(\S+)/.exec(text) ?? [];
    perform(socket, script.split(',')[attempt(id, text) - 1] ?? '200');
  });
}

async function converse({ enforced, requests }: Run, shadow: ShadowPlan | undefined, server: Upstream) {
  const answers: string[] = [];
  const plan = dependencyPlan({ ...enforced, ...(shadow === undefined ? {} : { shadow }) });
  const started = await startBench(plan, [server.endpoint]);
  open.push(started);
  await Promise.all(
    requests.map(async (own, index) => {
      let text = '';
      let client = connect(started.port);
      for (const request of own) {
        client.send(request);
        text += `${withoutIds(await answerTo(client))}\n`;
        client.socket.destroy();
        client = connect(started.port);
      }
      client.socket.destroy();
      answers[index] = text;
    }),
  );
  await expect.poll(() => started.plane.inFlight()).toBe(0);
  return { answers, started };
}

function perform(socket: Socket, act: string): void {
  if (act === 'reset') socket.resetAndDestroy();
  else if (act === 'cut') socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
  else if (act === '25') setTimeout(() => socket.writable && socket.write(OK), 25);
  else socket.write(`HTTP/1.1 ${act} Answer\r\nContent-Length: 2\r\n\r\nok`);
}

async function answerTo(client: Client): Promise<string> {
  return client.until((received) => {
    const end = received.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0);
    return client.socket.readableEnded || client.socket.destroyed || received.length >= end + 4 + length;
  }, 5_000);
}

describe('the same requests with and without shadows', () => {
  it(`are sent and answered alike, byte by byte (${seeds.length} seeds)`, async () => {
    const counted: Record<string, number> = {};
    let attempts: Record<string, string[]> = {};
    const server = await scripted((id, text) => (attempts[id] ??= []).push(withoutIds(text)));
    for (const seed of seeds) {
      const run = randomRun(seededRandom(Math.imul(seed, 0x9e3779b1)));
      const plain = { ...(await converse(run, undefined, server)), attempts };
      attempts = {};
      const shadowed = await converse(run, run.shadow, server);
      expect(shadowed.answers, `seed ${seed}`).toEqual(plain.answers);
      expect(attempts, `seed ${seed}`).toEqual(plain.attempts);
      attempts = {};
      expect(await shadowDecisions(plain.started)).toEqual({});
      for (const [decision, count] of Object.entries(await shadowDecisions(shadowed.started)))
        counted[decision] = (counted[decision] ?? 0) + count;
      for (const name of ['in_flight', 'queued'])
        expect(await shadowed.started.metric(`breakwater_shadow_bulkhead_${name}`), `seed ${seed}`).toBe(0);
    }
    if (seeds.length < RUNS) return;
    const wanted = [
      'circuitBreaker circuit-open',
      'retries retry',
      'timeouts attempt-timeout',
      'bulkhead bulkhead-full',
      'rateLimit rate-limited',
      'fallback response',
      'fallback missed',
      'faultInjection delay',
      'loadBalancing same-endpoint',
    ];
    for (const decision of wanted) expect(counted[decision] ?? 0, JSON.stringify(counted)).toBeGreaterThan(5);
  }, 120_000);
});
