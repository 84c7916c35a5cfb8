// What the limits do to real requests: the rate limit, the adaptive limit of the bulkhead, and what the sidecar sheds for its own sake.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../plan/endpoints.ts';
import type { DependencyPlan, PolicyPlan } from '../../../plan/plan.ts';
import { ManualClock } from '../../../runtime/manual-clock.ts';
import { LoadShedder } from '../../policies/load-shedder.ts';
import { isWhole } from '../testing/calls.ts';
import {
  type Bench,
  BREAKER,
  connect,
  dependencyPlan,
  get,
  RETRIES,
  startBench,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';

const { open } = opened();

async function bench(plan: DependencyPlan, endpoint: Endpoint, shedder?: LoadShedder): Promise<Bench> {
  const started = await startBench(plan, [endpoint], shedder ? { shedder } : {});
  open.push(started);
  return started;
}

async function upstream(
  script: (received: string, socket: Socket) => void,
): Promise<Upstream & { requests(): number }> {
  const started = await startUpstream(script);
  open.push(started);
  const requests = () => started.received.join('').split('\r\n\r\n').length - 1;
  return Object.assign(started, { requests });
}

interface Answer {
  status: number;
  text: string;
  /** By names in lower case. */
  headers: Record<string, string>;
}

/** On a connection of its own. */
async function call(port: number, extra = ''): Promise<Answer> {
  const client = connect(port);
  client.send(get('/', extra));
  const text = await client.until(isWhole, 5_000).finally(() => client.socket.destroy());
  const lines = text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n').slice(1);
  const headers = Object.fromEntries(
    lines.map((line) => [line.split(': ')[0]?.toLowerCase(), line.replace(/^[^:]*: /, '')]),
  );
  return { status: Number(text.split(' ')[1]), text, headers };
}

async function calls(port: number, count: number, extra = ''): Promise<number[]> {
  const statuses: number[] = [];
  for (let nth = 0; nth < count; nth += 1) statuses.push((await call(port, extra)).status);
  return statuses;
}

const RATE: NonNullable<PolicyPlan['rateLimit']> = {
  stateKey: 'rateLimit:base',
  requestsPerSecond: 1,
  burst: 2,
  perHeader: null,
};
const BY_TENANT = { ...RATE, burst: 1, perHeader: { name: 'X-Tenant', maxValues: 2 } };
const SOURCE = 'ResiliencePolicy shop/payments generation 3';

describe('rate limit', () => {
  it('answers 429 beyond the burst, says when to come back, and sends nothing on', async () => {
    const server = await upstream(answering(OK));
    const plan = dependencyPlan({ rateLimit: RATE, sources: { rateLimit: SOURCE } });
    const { port, metric } = await bench(plan, server.endpoint);
    expect(await calls(port, 2)).toEqual([200, 200]);
    const { status, headers, text } = await call(port);
    expect([status, headers['breakwater-reason'], headers['retry-after']]).toEqual([429, 'rate-limited', '1']);
    expect(headers['ratelimit-policy']).toBe('"base";q=1;w=1;breakwater-burst=2');
    expect(headers['ratelimit']).toBe('"base";r=0;t=1');
    expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).toMatchObject({ policy: SOURCE, retryAfterSeconds: 1 });
    expect(server.requests()).toBe(2);
    expect(await metric('breakwater_requests_total', { code: '4xx', reason: 'rate-limited' })).toBe(1);
  });

  it('leaves answers of the dependency as they are', async () => {
    const server = await upstream(
      answering('HTTP/1.1 200 OK\r\nRateLimit: "theirs";r=9;t=5\r\nContent-Length: 0\r\n\r\n'),
    );
    const { port } = await bench(dependencyPlan({ rateLimit: RATE }), server.endpoint);
    const { headers } = await call(port);
    expect([headers['ratelimit'], headers['ratelimit-policy']]).toEqual(['"theirs";r=9;t=5', undefined]);
  });

  it('keeps the connection for the next request', async () => {
    const server = await upstream(answering(OK));
    const { port, plane } = await bench(dependencyPlan({ rateLimit: { ...RATE, burst: 1 } }), server.endpoint);
    const client = connect(port);
    client.send(get('/1'));
    await client.until((text) => text.endsWith('ok'));
    client.send(get('/2') + get('/3'));
    await client.until((text) => text.split('HTTP/1.1 429').length === 3);
    expect(plane.held()).toMatchObject({ requests: 0, attempts: 0, clientConnections: 1 });
    client.socket.destroy();
  });

  it('counts requests and not attempts', async () => {
    const failing = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';
    let answered = 0;
    const server = await upstream(answering(() => (++answered % 3 === 0 ? OK : failing)));
    const policy = { rateLimit: { ...RATE, burst: 1 }, retries: RETRIES };
    const { port } = await bench(dependencyPlan(policy), server.endpoint);
    expect(await calls(port, 2)).toEqual([200, 429]);
    expect(answered).toBe(3);
  });

  it('is no failure of the dependency', async () => {
    const server = await upstream(answering(OK));
    const failureOn: (typeof BREAKER)['failureOn'] = ['ServerError', 'TooManyRequests'];
    const circuitBreaker = { ...BREAKER, failureOn, consecutiveFailures: 2 };
    const { port, plane } = await bench(dependencyPlan({ rateLimit: RATE, circuitBreaker }), server.endpoint);
    expect(await calls(port, 8)).toEqual([200, 200, 429, 429, 429, 429, 429, 429]);
    expect(plane.circuits()).toMatchObject([{ state: 'Closed' }]);
  });

  it('is one for each value of the header, and none is got around by inventing values', async () => {
    const server = await upstream(answering(OK));
    const { port, metric } = await bench(dependencyPlan({ rateLimit: BY_TENANT }), server.endpoint);
    const by = async (tenant: string) => (await call(port, `x-tenant: ${tenant}\r\n`)).status;
    expect([await by('a'), await by('a'), await by('b'), await by('b')]).toEqual([200, 429, 200, 429]);
    expect([await by('x1'), await by('x2'), await by('x3')]).toEqual([200, 429, 429]);
    expect(await by('a')).toBe(429);
    expect(await metric('breakwater_rate_limit_values', { limit: 'rateLimit:base' })).toBe(2);
    expect(await metric('breakwater_rate_limit_shared_total')).toBe(3);
  });

  it('counts requests without the header, or with an empty one, as one value', async () => {
    const server = await upstream(answering(OK));
    const { port } = await bench(dependencyPlan({ rateLimit: BY_TENANT }), server.endpoint);
    expect([...(await calls(port, 2)), ...(await calls(port, 1, 'X-Tenant:\r\n'))]).toEqual([200, 429, 429]);
  });

  it('remembers over a new plan what was taken, and follows its numbers', async () => {
    const server = await upstream(answering(OK));
    const { port, plane } = await bench(dependencyPlan({ rateLimit: RATE }), server.endpoint);
    expect(await calls(port, 3)).toEqual([200, 200, 429]);
    plane.applyPlan(workloadPlan(dependencyPlan({ rateLimit: { ...RATE, burst: 1000 } })));
    expect(await calls(port, 1)).toEqual([429]);
    plane.applyPlan(workloadPlan(dependencyPlan({ rateLimit: { ...RATE, requestsPerSecond: 1_000_000 } })));
    expect(await calls(port, 3)).toEqual([200, 200, 200]);
  });
});

const ADAPTIVE: NonNullable<PolicyPlan['bulkhead']> = {
  stateKey: 'bulkhead:base',
  maxConcurrent: 200,
  maxQueued: 0,
  queueTimeoutMs: 0,
  adaptive: { minConcurrent: 3, latencyTolerancePercent: 25, probeIntervalMs: 60_000 },
};

describe('adaptive bulkhead', () => {
  const latency = (of: string) => ['breakwater_bulkhead_latency_seconds', { of }] as const;

  it('learns from what the dependency answers', async () => {
    const server = await upstream(answering(OK));
    const { port, metric, plane } = await bench(dependencyPlan({ bulkhead: ADAPTIVE }), server.endpoint);
    expect(await metric('breakwater_bulkhead_limit', { bulkhead: 'bulkhead:base' })).toBe(20);
    await calls(port, 49);
    expect(await metric(...latency('baseline'))).toBe(0);
    await calls(port, 1);
    const baseline = await metric(...latency('baseline'));
    expect(baseline).toBeGreaterThan(0);
    expect(baseline).toBeLessThan(1);
    expect(await metric(...latency('median'))).toBe(baseline);
    expect(plane.held()).toMatchObject({ bulkheadPlaces: 0, bulkheadQueued: 0 });
  });

  it('learns nothing from failures, which may be fast', async () => {
    const server = await upstream(answering('HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n'));
    const { port, metric } = await bench(dependencyPlan({ bulkhead: ADAPTIVE }), server.endpoint);
    expect(new Set(await calls(port, 60))).toEqual(new Set([500]));
    expect(await metric(...latency('median'))).toBe(0);
  });

  it('learns from attempts that it gave up', async () => {
    const server = await upstream(() => {});
    const timeouts = { requestMs: 0, attemptMs: 20, connectMs: 1_000, idleMs: 0, opaqueIdleMs: 0 };
    const { port, metric } = await bench(dependencyPlan({ bulkhead: ADAPTIVE, timeouts }), server.endpoint);
    await Promise.all(Array.from({ length: 10 }, () => calls(port, 5)));
    expect(await metric(...latency('median'))).toBeGreaterThanOrEqual(0.019);
  });

  it('becomes fixed, and adaptive again, by a plan', async () => {
    const server = await upstream(answering(OK));
    const { port, metric, plane } = await bench(dependencyPlan({ bulkhead: ADAPTIVE }), server.endpoint);
    plane.applyPlan(workloadPlan(dependencyPlan({ bulkhead: { ...ADAPTIVE, maxConcurrent: 7, adaptive: null } })));
    expect(await metric('breakwater_bulkhead_limit')).toBe(7);
    expect(await calls(port, 2)).toEqual([200, 200]);
    plane.applyPlan(workloadPlan(dependencyPlan({ bulkhead: { ...ADAPTIVE, maxConcurrent: 12 } })));
    expect(await metric('breakwater_bulkhead_limit')).toBe(12);
  });
});

/** A shedder that has seen this for long enough to act on it. */
function shedding(sample: { memoryShare?: number; loopDelayMs?: number }): LoadShedder {
  const shedder = new LoadShedder();
  for (let look = 0; look < 8; look += 1)
    shedder.observe({ memoryShare: 0.2, loopDelayMs: 0, loopUtilization: 1, ...sample });
  return shedder;
}

describe('load shedding', () => {
  it('keeps no connection when memory is short', async () => {
    const server = await upstream(answering(OK));
    const { port, metric } = await bench(dependencyPlan({}), server.endpoint, shedding({ memoryShare: 0.93 }));
    const { status, headers } = await call(port);
    expect([status, headers['connection']]).toEqual([200, 'close']);
    expect(await metric('breakwater_load_shed_level')).toBe(1);
  });

  it('refuses requests when it is shorter, but for one at a time', async () => {
    const release: (() => void)[] = [];
    const server = await upstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) release.push(() => socket.write(OK));
    });
    const policy = { circuitBreaker: { ...BREAKER, consecutiveFailures: 1 }, rateLimit: { ...RATE, burst: 2 } };
    const { port, metric, plane } = await bench(
      dependencyPlan(policy),
      server.endpoint,
      shedding({ memoryShare: 0.96 }),
    );
    const first = call(port);
    await expect.poll(() => release.length).toBe(1);
    const { status, headers, text } = await call(port);
    expect([status, headers['breakwater-reason'], headers['retry-after']]).toEqual([503, 'shed', '1']);
    expect(text).toContain('Why: memory.');
    release[0]?.();
    expect((await first).status).toBe(200);
    // It was no failure of the dependency, and took nothing of its rate.
    expect(plane.circuits()).toMatchObject([{ state: 'Closed' }]);
    const second = call(port);
    await expect.poll(() => release.length).toBe(2);
    release[1]?.();
    expect((await second).status).toBe(200);
    expect(server.requests()).toBe(2);
    expect(await metric('breakwater_shed_requests_total', { reason: 'memory' })).toBe(1);
    expect(await metric('breakwater_requests_total', { reason: 'shed' })).toBe(1);
  });

  it('resets new connections when memory is used up', async () => {
    const server = await upstream(answering(OK));
    const { port, metric } = await bench(dependencyPlan({}), server.endpoint, shedding({ memoryShare: 0.99 }));
    expect(await connect(port).closed()).toBe('ECONNRESET');
    expect(await metric('breakwater_shed_connections_total')).toBe(1);
    expect(server.connections).toBe(0);
  });

  it('refuses a share of the requests while the event loop is late, on connections that stay', async () => {
    const server = await upstream(answering(OK));
    const shedder = shedding({ loopDelayMs: 80 });
    const clock = new ManualClock();
    const started = await startBench(dependencyPlan({}), [server.endpoint], { shedder, clock });
    open.push(started);
    const { port, metric } = started;
    const client = connect(port);
    for (let nth = 1; nth <= 20; nth += 1) {
      client.send(get('/'));
      await client.until((text) => text.split('HTTP/1.1 ').length === nth + 1);
      // As a caller does that keeps to Retry-After.
      await clock.advance(shedder.retryAfterMs);
    }
    const text = await client.until((received) => received.split('HTTP/1.1 ').length === 21);
    client.socket.destroy();
    const refused = text.split('HTTP/1.1 503').length - 1;
    expect(Math.abs(refused - 20 * shedder.share)).toBeLessThanOrEqual(1);
    expect(await metric('breakwater_shed_requests_total', { reason: 'event-loop' })).toBe(refused);
    expect(await metric('breakwater_load_shed_share')).toBeCloseTo(shedder.share, 10);
    expect(server.requests()).toBe(20 - refused);
  });

  it('measures by itself, and comes back by itself', async () => {
    const release: (() => void)[] = [];
    const server = await upstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) release.push(() => socket.write(OK));
    });
    let usedBytes = 96;
    const load = {
      readMemory: () => ({ usedBytes, limitBytes: 100 }),
      readLoop: () => ({ utilization: 0.1, roundMs: 0.2 }),
    };
    const started = await startBench(dependencyPlan({}), [server.endpoint], { load });
    open.push(started);
    const { metric, plane, port } = started;
    // While something is in progress it looks often.
    const first = call(port);
    await expect.poll(() => metric('breakwater_load_shed_level'), { timeout: 10_000 }).toBe(2);
    expect((await call(port)).headers['breakwater-reason']).toBe('shed');
    expect(plane.load()).toMatchObject({ level: 'requests', memoryShare: 0.96 });
    expect(await metric('breakwater_memory_share')).toBe(0.96);
    usedBytes = 50;
    await expect.poll(() => metric('breakwater_load_shed_level'), { timeout: 10_000 }).toBe(0);
    release[0]?.();
    expect((await first).status).toBe(200);
  });

  it('does nothing where policies are switched off', async () => {
    const server = await upstream(answering(OK));
    const { port, plane } = await bench(dependencyPlan({}), server.endpoint, shedding({ memoryShare: 1 }));
    plane.setLocallyDisabled(true);
    expect((await call(port)).status).toBe(200);
  });
});
