// What the policies do to real requests: counted at the upstream, which is the only place that cannot be fooled.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { call, UNAVAILABLE } from '../testing/calls.ts';
import {
  BREAKER,
  connect,
  dependencyPlan,
  get,
  NO_POLICY,
  RETRIES,
  startBench,
  workloadPlan,
} from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, DEAD_ENDPOINT, OK } from '../testing/upstreams.ts';

const { open, bench, upstream } = opened();

describe('circuit breaker', () => {
  it('opens after five failures, lets nothing through, probes with two at most, and closes by itself', async () => {
    let healthy = false;
    let count = 0;
    /** Those that are answered when the test says so; null: each at once. */
    let waiting: (() => void)[] | null = null;
    const server = await upstream((received, socket) => {
      if (!received.endsWith('\r\n\r\n')) return;
      count++;
      const finish = () => socket.end((healthy ? OK : UNAVAILABLE).replace('\r\n', '\r\nConnection: close\r\n'));
      if (waiting) waiting.push(finish);
      else finish();
    });
    const { port, plane } = await bench(dependencyPlan({ circuitBreaker: BREAKER }), server.endpoint);
    for (let i = 0; i < 5; i++) expect((await call(port)).status).toBe(503);
    expect(count).toBe(5);
    const refused = await call(port);
    expect(refused.reason).toBe('circuit-open');
    expect(refused.text).toMatch(/Retry-After: 1/);
    expect(count).toBe(5);
    const [circuit] = plane.circuits();
    expect(circuit).toMatchObject({
      state: 'Open',
      reason: '5 consecutive failures (last: ServerError)',
      reopenings: 0,
      failingSinceUnixMs: circuit?.sinceUnixMs,
      enforced: true,
    });
    const openTimeMs = (circuit?.nextProbeUnixMs ?? 0) - (circuit?.sinceUnixMs ?? 0);
    expect(openTimeMs).toBeGreaterThanOrEqual(BREAKER.openForMs);
    expect(openTimeMs).toBeLessThanOrEqual(BREAKER.openForMs * 1.1 + 1);
    // Half-open by time: two probes at a time, the others refused at once; they fail, so it opens again, for longer.
    await expect.poll(() => plane.circuits()[0]?.state, { timeout: 2_000 }).toBe('HalfOpen');
    waiting = [];
    const answered: string[] = [];
    const wave = Array.from({ length: 10 }, () => call(port).then(({ reason }) => answered.push(reason)));
    await expect.poll(() => answered, { timeout: 4_000 }).toEqual(Array(8).fill('circuit-open'));
    expect([waiting.length, count]).toEqual([2, 7]);
    for (const finish of waiting) finish();
    waiting = null;
    await Promise.all(wave);
    expect(plane.circuits()[0]).toMatchObject({
      state: 'Open',
      reason: 'a probe failed (ServerError)',
      reopenings: 1,
      failingSinceUnixMs: circuit?.failingSinceUnixMs,
    });
    healthy = true;
    await expect.poll(() => plane.circuits()[0]?.state, { timeout: 3_000 }).toBe('HalfOpen');
    expect((await call(port)).status).toBe(200);
    expect((await call(port)).status).toBe(200);
    expect(plane.circuits()[0]).toMatchObject({
      state: 'Closed',
      reopenings: 0,
      failingSinceUnixMs: null,
      nextProbeUnixMs: null,
    });
  });

  it('keeps its state over a new plan with other numbers, and counts no refusal of our own', async () => {
    const server = await upstream(answering(UNAVAILABLE));
    const { port, plane } = await bench(
      dependencyPlan({ circuitBreaker: { ...BREAKER, openForMs: 60_000 } }),
      server.endpoint,
    );
    for (let i = 0; i < 5; i++) await call(port);
    expect((await call(port)).reason).toBe('circuit-open');
    plane.applyPlan(
      workloadPlan(dependencyPlan({ circuitBreaker: { ...BREAKER, openForMs: 60_000, consecutiveFailures: 50 } })),
    );
    expect((await call(port)).reason).toBe('circuit-open');
  });

  it('is not moved by callers that go away', async () => {
    const server = await upstream(() => {});
    const { port, plane } = await bench(dependencyPlan({ circuitBreaker: BREAKER }), server.endpoint);
    for (let i = 0; i < 10; i++) {
      const client = connect(port);
      client.send(get('/'));
      await expect.poll(() => server.received.filter((text) => text !== '').length).toBe(i + 1);
      client.socket.resetAndDestroy();
    }
    await expect.poll(() => plane.inFlight()).toBe(0);
    expect(plane.circuits()[0]?.state).toBe('Closed');
  });
});

describe('retries', () => {
  it('repeats a GET on 503 and counts it', async () => {
    let nth = 0;
    const server = await upstream(answering(() => (nth++ < 2 ? UNAVAILABLE : OK)));
    const { port, metric } = await bench(dependencyPlan({ retries: RETRIES }), server.endpoint);
    expect((await call(port)).status).toBe(200);
    expect(nth).toBe(3);
    expect(await metric('breakwater_retries_total')).toBe(2);
  });

  it('passes the last answer on when the attempts are used up', async () => {
    let nth = 0;
    const server = await upstream(answering(() => (nth++, UNAVAILABLE)));
    const { port } = await bench(dependencyPlan({ retries: RETRIES }), server.endpoint);
    const answer = await call(port);
    expect([answer.status, answer.reason, nth]).toEqual([503, '', 3]);
  });

  it('takes another endpoint after a refused connect, without any policy, once', async () => {
    const server = await upstream(answering(OK));
    const { port } = await bench(dependencyPlan({}), DEAD_ENDPOINT, server.endpoint);
    for (let i = 0; i < 20; i++)
      expect((await call(port, `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`)).status).toBe(200);
    const { port: dead } = await bench(dependencyPlan({}), DEAD_ENDPOINT);
    expect((await call(dead)).reason).toBe('connect-failed');
  });

  it('replays a body that it kept, byte for byte, and does not repeat one beyond 64 KiB', async () => {
    const bodies: string[] = [];
    const server = await upstream((received, socket, connection) => {
      const start = received.indexOf('\r\n\r\n') + 4;
      const length = Number(/Content-Length: (\d+)/.exec(received)?.[1] ?? 0);
      if (start < 4 || received.length - start < length) return;
      bodies.push(received.slice(start));
      server.received[connection] = '';
      if (bodies.length % 2 === 1) socket.resetAndDestroy();
      else socket.write(OK);
    });
    const { port, metric } = await bench(dependencyPlan({ retries: RETRIES }), server.endpoint);
    const put = (body: string): string => `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const kept = 'k'.repeat(65_536);
    expect((await call(port, put(kept))).status).toBe(200);
    expect(bodies).toEqual([kept, kept]);
    expect((await call(port, put('x'.repeat(65_537)))).reason).toBe('reset');
    expect(bodies).toHaveLength(3);
    expect(await metric('breakwater_retries_suppressed_total', { cause: 'body' })).toBe(1);
  });

  it('never sends a POST twice that may have been executed, wherever the connection breaks', async () => {
    const executions = new Map<string, number>();
    const body = 'amount=100';
    let cut = 0;
    const server = await upstream((received, socket: Socket, connection) => {
      const head = received.indexOf('\r\n\r\n');
      const id = /x-id: (\d+)/.exec(received)?.[1];
      if (head < 0 || !id) return;
      // The upstream counts as soon as it could have begun, at different points of the request, and dies there or inside its answer.
      const point = cut % 4;
      if (point > 0 && received.length < head + 4 + body.length) return;
      server.received[connection] = '';
      cut++;
      executions.set(id, (executions.get(id) ?? 0) + 1);
      if (point === 3) socket.write(OK);
      else if (point === 2) socket.end('HTTP/1.1 200 O');
      else socket.resetAndDestroy();
    });
    const { port } = await bench(
      dependencyPlan({
        retries: { ...RETRIES, retryOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError', 'ServerError'] },
      }),
      server.endpoint,
    );
    for (let id = 0; id < 400; id++) {
      await call(
        port,
        `POST /charges HTTP/1.1\r\nHost: a\r\nx-id: ${id}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
    }
    expect(Math.max(...executions.values())).toBe(1);
    expect(executions.size).toBe(400);
  });

  it('repeats a POST that carries an Idempotency-Key', async () => {
    let nth = 0;
    const server = await upstream((received, socket) => {
      if (!received.endsWith('{}')) return;
      if (nth++ === 0) socket.resetAndDestroy();
      else socket.write(OK);
    });
    const { port } = await bench(dependencyPlan({ retries: RETRIES }), server.endpoint);
    expect(
      (await call(port, 'POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k1\r\nContent-Length: 2\r\n\r\n{}')).status,
    ).toBe(200);
    expect(nth).toBe(2);
  });

  it('does not put a POST on a connection that was idle for a second', async () => {
    const server = await upstream(answering(OK));
    const { port } = await bench(dependencyPlan({}), server.endpoint);
    const client = connect(port);
    client.send(get('/'));
    await client.until((text) => text.endsWith('ok'));
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n');
    await client.until((text) => text.split('ok').length === 3);
    expect(server.connections).toBe(2);
  });
});

describe('timeouts', () => {
  const timeouts = { requestMs: 200, attemptMs: 80, connectMs: 100, idleMs: 0, opaqueIdleMs: 0 };

  it('ends an attempt, tries again, and ends the whole by the deadline', async () => {
    const server = await upstream(() => {});
    const { port, metric } = await bench(
      dependencyPlan({ timeouts, retries: { ...RETRIES, maxAttempts: 10 } }),
      server.endpoint,
    );
    const answer = await call(port);
    expect(answer.reason).toBe('deadline');
    expect(answer.status).toBe(504);
    expect(answer.tookMs).toBeGreaterThan(195);
    // Ten attempts would take longer.
    expect(answer.tookMs).toBeLessThan(10 * timeouts.attemptMs);
    expect(await metric('breakwater_attempts_total', { result: 'attempt-timeout' })).toBeGreaterThanOrEqual(2);
  });

  it('answers attempt-timeout where no other attempt is allowed', async () => {
    const server = await upstream(() => {});
    const { port } = await bench(dependencyPlan({ timeouts }), server.endpoint);
    expect((await call(port)).reason).toBe('attempt-timeout');
  });

  it('cuts an answer that does not end in time', async () => {
    const server = await upstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nslow');
    });
    const { port } = await bench(dependencyPlan({ timeouts }), server.endpoint);
    const client = connect(port);
    const startedMs = performance.now();
    client.send(get('/'));
    await client.ended();
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  it('counts a timeout as a failure of the dependency', async () => {
    const server = await upstream(() => {});
    const { port } = await bench(
      dependencyPlan({ timeouts: { ...timeouts, requestMs: 40, attemptMs: 40 }, circuitBreaker: BREAKER }),
      server.endpoint,
    );
    for (let i = 0; i < 5; i++) expect((await call(port)).status).toBe(504);
    expect((await call(port)).reason).toBe('circuit-open');
  });
});

describe('bulkhead', () => {
  const bulkhead = {
    stateKey: 'bulkhead:base',
    maxConcurrent: 20,
    maxQueued: 2,
    queueTimeoutMs: 1_000,
    adaptive: null,
  };

  it('lets twenty through, keeps two waiting for their time, and refuses the rest at once', async () => {
    let inFlight = 0;
    let most = 0;
    const release: (() => void)[] = [];
    const server = await upstream((received, socket) => {
      if (!received.endsWith('\r\n\r\n')) return;
      inFlight++;
      most = Math.max(most, inFlight);
      release.push(() => {
        inFlight--;
        socket.end(OK.replace('\r\n', '\r\nConnection: close\r\n'));
      });
    });
    const { port, metric } = await bench(dependencyPlan({ bulkhead }), server.endpoint);
    const first = Array.from({ length: 20 }, () => call(port));
    await expect.poll(() => inFlight).toBe(20);
    const waiting = [call(port), call(port)];
    await expect.poll(() => metric('breakwater_bulkhead_queued')).toBe(2);
    const refused = await call(port);
    expect([refused.reason, refused.tookMs < bulkhead.queueTimeoutMs]).toEqual(['bulkhead-full', true]);
    for (const answer of await Promise.all(waiting)) {
      expect(answer.reason).toBe('queue-timeout');
      expect(answer.tookMs).toBeGreaterThan(bulkhead.queueTimeoutMs - 5);
      expect(answer.tookMs).toBeLessThan(5 * bulkhead.queueTimeoutMs);
    }
    const late = call(port);
    await expect.poll(() => metric('breakwater_bulkhead_queued')).toBe(1);
    release.shift()?.();
    await expect.poll(() => release.length).toBe(20);
    for (const each of release) each();
    expect((await Promise.all([late, ...first])).every(({ status }) => status === 200)).toBe(true);
    expect(most).toBe(20);
    expect(await metric('breakwater_bulkhead_in_flight')).toBe(0);
  });

  it('holds its place to the end of the body, and gives it back when the caller goes', async () => {
    const server = await upstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
    });
    const { port, metric } = await bench(
      dependencyPlan({ bulkhead: { ...bulkhead, maxConcurrent: 1, maxQueued: 0 } }),
      server.endpoint,
    );
    const client = connect(port);
    client.send(get('/'));
    await client.until((text) => text.endsWith('half'));
    expect((await call(port)).reason).toBe('bulkhead-full');
    client.socket.resetAndDestroy();
    await expect.poll(() => metric('breakwater_bulkhead_in_flight')).toBe(0);
  });
});

describe('endpoints', () => {
  it('answers no-endpoints when the Service is known to have none, and serves again when it has', async () => {
    const server = await upstream(answering(OK));
    const started = await bench(dependencyPlan({}));
    expect((await call(started.port)).reason).toBe('no-endpoints');
    started.setEndpoints(server.endpoint);
    expect((await call(started.port)).status).toBe(200);
  });

  it('dials the ClusterIP while the endpoints are unknown', async () => {
    const server = await upstream(answering(OK));
    const started = await startBench(dependencyPlan({}, { destinations: [server.endpoint] }), null);
    open.push(started);
    expect((await call(started.port)).status).toBe(200);
    expect(await started.metric('breakwater_cluster_ip_fallback')).toBe(1);
  });

  it('goes to the ClusterIP after one failed connect while the endpoints stream is down, and counts no failure', async () => {
    const server = await upstream(answering(OK));
    const plan = dependencyPlan(
      { circuitBreaker: { ...BREAKER, consecutiveFailures: 1 }, retries: { ...RETRIES, maxAttempts: 1 } },
      { destinations: [server.endpoint] },
    );
    const started = await bench(plan, DEAD_ENDPOINT);
    started.plane.setEndpointsStreamUp(false);
    expect((await call(started.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')).status).toBe(200);
    expect(await started.metric('breakwater_cluster_ip_fallback')).toBe(1);
    expect(started.plane.circuits()[0]?.state).toBe('Closed');
    started.plane.setEndpointsStreamUp(true);
    expect(await started.metric('breakwater_cluster_ip_fallback')).toBe(0);
  });

  it('puts a snapshot from disk behind the ClusterIP until it is confirmed', async () => {
    const clusterIp = await upstream(answering(OK));
    const stranger = await upstream(answering(OK));
    const plan = dependencyPlan({}, { destinations: [clusterIp.endpoint] });
    const started = await startBench(plan, null);
    open.push(started);
    started.plane.applyEndpointsSnapshot([{ key: plan.endpointsKey, endpoints: [stranger.endpoint] }], true);
    await call(started.port);
    expect([clusterIp.connections, stranger.connections]).toEqual([1, 0]);
    started.plane.applyEndpointsSnapshot([{ key: plan.endpointsKey, endpoints: [stranger.endpoint] }], false);
    await call(started.port);
    expect(stranger.connections).toBe(1);
  });
});

describe('plans', () => {
  it('is swapped under load without losing a request', async () => {
    const server = await upstream(answering(OK));
    const started = await bench(dependencyPlan({ retries: RETRIES }), server.endpoint);
    let swaps = 0;
    const swapping = setInterval(() => {
      const timeouts = { ...NO_POLICY.timeouts, requestMs: 1_000 + (swaps++ % 7) };
      started.plane.applyPlan(workloadPlan(dependencyPlan({ retries: RETRIES, timeouts, circuitBreaker: BREAKER })));
    }, 2);
    const clients = Array.from({ length: 8 }, async () => {
      const client = connect(started.port);
      for (let i = 1; i <= 100; i++) {
        client.send(get('/'));
        await client.until((text) => text.split('ok').length === i + 1);
      }
      client.socket.destroy();
    });
    await Promise.all(clients);
    clearInterval(swapping);
    expect(swaps).toBeGreaterThan(2);
    expect(await started.metric('breakwater_requests_total', { code: '2xx' })).toBe(800);
  });

  it('acts no more once a kill switch is thrown, on connections that are already open too', async () => {
    const server = await upstream(answering(UNAVAILABLE));
    const started = await bench(dependencyPlan({ circuitBreaker: { ...BREAKER, openForMs: 60_000 } }), server.endpoint);
    const client = connect(started.port);
    for (let i = 1; i <= 6; i++) {
      client.send(get('/'));
      await client.until((text) => text.split('HTTP/1.1 ').length === i + 1);
    }
    expect((await call(started.port)).reason).toBe('circuit-open');
    started.plane.setLocallyDisabled(true);
    client.send(get('/'));
    const text = await client.ended();
    expect(text.slice(text.lastIndexOf('HTTP/1.1'))).toMatch(
      /^HTTP\/1\.1 503 Service Unavailable\r\n(?!.*breakwater)[^]*Connection: close/i,
    );
    expect((await call(started.port)).reason).toBe('');
    started.plane.setLocallyDisabled(false);
    expect((await call(started.port)).reason).toBe('circuit-open');
  });

  it('leaks nothing over callers that go away at any moment', async () => {
    const server = await upstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) setTimeout(() => socket.write(OK), received.length % 7);
    });
    const plan = dependencyPlan({
      retries: RETRIES,
      circuitBreaker: BREAKER,
      bulkhead: { stateKey: 'bulkhead:base', maxConcurrent: 5, maxQueued: 50, queueTimeoutMs: 1_000, adaptive: null },
      timeouts: { requestMs: 2_000, attemptMs: 500, connectMs: 500, idleMs: 0, opaqueIdleMs: 0 },
    });
    const started = await bench(plan, server.endpoint);
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const client = connect(started.port);
        client.socket.on('error', () => {});
        client.send(get(`/${'a'.repeat(i % 13)}`));
        await new Promise((resolve) => setTimeout(resolve, i % 17));
        client.socket.resetAndDestroy();
      }),
    );
    await expect.poll(() => started.plane.inFlight(), { timeout: 5_000 }).toBe(0);
    await expect.poll(() => started.metric('breakwater_client_connections'), { timeout: 5_000 }).toBe(0);
    expect(await started.metric('breakwater_bulkhead_in_flight')).toBe(0);
    expect(await started.metric('breakwater_bulkhead_queued')).toBe(0);
    expect((await call(started.port)).status).toBe(200);
  });
});
