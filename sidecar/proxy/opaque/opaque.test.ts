// Opaque connections under the policies of connections: connecting, circuit, bulkhead.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { BREAKER, RETRIES } from '../testing/fixtures.ts';
import { answered, BULKHEAD, nothingHeld, opaqueBench, pass, ROUND_ROBIN, until } from '../testing/opaque-bench.ts';
import { DEAD_ENDPOINT, OK, startSwallowing } from '../testing/upstreams.ts';

const { cutting, echo, open, tcp, upstream } = opaqueBench();

describe('connecting', () => {
  it('goes to another endpoint, once, where no policy says how often', async () => {
    const server = await echo();
    const bench = await tcp({ loadBalancing: ROUND_ROBIN }, [DEAD_ENDPOINT, server.endpoint]);
    for (let i = 0; i < 4; i++) await answered(bench.client());
    expect(server.connections).toBe(4);
    expect(await bench.metric('breakwater_upstream_connects_total', { result: 'refused' })).toBeGreaterThan(0);
    const nobody = await tcp({}, [DEAD_ENDPOINT]);
    const client = nobody.client();
    expect(await client.closed()).toBe('ECONNRESET');
    expect(await nobody.metric('breakwater_upstream_connects_total', { result: 'refused' })).toBe(2);
    expect(await nobody.result('connect-failed')).toBe(1);
    await nothingHeld(nobody);
  });

  it('is tried as often as retries say, and no more than their budget pays', async () => {
    const retries = { ...RETRIES, maxAttempts: 4, budgetPercent: 0, budgetMinPerSecond: 2 };
    const bench = await tcp({ retries }, [DEAD_ENDPOINT]);
    const first = bench.client();
    await until(async () => {
      await bench.clock.advance(10);
      return bench.result('connect-failed');
    }).toBe(1);
    expect(await first.closed()).toBe('ECONNRESET');
    expect(await bench.metric('breakwater_attempts_total', { result: 'connect-failure' })).toBe(4);
    expect(await bench.metric('breakwater_retries_total', { cause: 'connect-failure' })).toBe(3);
    expect(await bench.metric('breakwater_retries_suppressed_total', { cause: 'attempts' })).toBe(1);
    bench.client();
    await until(async () => {
      await bench.clock.advance(10);
      return bench.result('connect-failed');
    }).toBe(2);
    expect(await bench.metric('breakwater_retries_suppressed_total', { cause: 'budget' })).toBe(1);
    await nothingHeld(bench);
  });

  it('is given up in time, and tried elsewhere', async () => {
    const swallowing = await startSwallowing();
    open.push(swallowing);
    const server = await echo();
    const bench = await tcp({ loadBalancing: ROUND_ROBIN }, [swallowing.endpoint]);
    const client = bench.client();
    client.send('x');
    await until(() => bench.plane.held().attempts).toBe(1);
    bench.setEndpoints(server.endpoint);
    await pass(bench.clock, 490);
    expect(await bench.metric('breakwater_upstream_connects_total', { result: 'timeout' })).toBe(0);
    await pass(bench.clock, 30);
    await client.until((text) => text === 'x');
    expect(await bench.metric('breakwater_upstream_connects_total', { result: 'timeout' })).toBe(1);
  });

  it('is tried elsewhere where the dependency takes the connection and cuts it before a byte', async () => {
    const cut = await cutting();
    const server = await echo();
    const bench = await tcp({ loadBalancing: ROUND_ROBIN, circuitBreaker: BREAKER }, [cut.endpoint, server.endpoint]);
    const clients = [bench.client(), bench.client()];
    await until(() => server.connections).toBe(2);
    for (const client of clients) await answered(client);
    expect(cut.connections).toBeGreaterThan(0);
    expect(bench.plane.circuits()[0]?.counts.failures).toBe(cut.connections);
  });

  it('goes to the ClusterIP while nobody would tell that an endpoint is gone, and blames nobody', async () => {
    const server = await echo();
    const { address, port } = server.endpoint;
    const bench = await tcp({ circuitBreaker: { ...BREAKER, consecutiveFailures: 1 } }, [DEAD_ENDPOINT], {
      destinations: [{ address, port }],
    });
    bench.plane.setEndpointsStreamUp(false);
    await answered(bench.client());
    expect(await bench.metric('breakwater_cluster_ip_fallback')).toBe(1);
    expect(bench.plane.circuits()[0]).toMatchObject({ state: 'Closed', counts: { failures: 0 } });
  });

  it('leaves out endpoints that are ejected for connects that failed', async () => {
    const server = await echo();
    const outlierDetection = {
      stateKey: 'outlierDetection:base',
      failureOn: ['ConnectFailure' as const],
      consecutiveFailures: 5,
      consecutiveLocalOriginFailures: 2,
      successRate: null,
      intervalMs: 10_000,
      maxEjectionPercent: 50,
      ejectForMs: 30_000,
      maxEjectForMs: 30_000,
      panicThresholdPercent: 0,
    };
    const bench = await tcp({ outlierDetection, loadBalancing: ROUND_ROBIN }, [DEAD_ENDPOINT, server.endpoint]);
    for (let i = 0; i < 10; i++) await answered(bench.client());
    expect(await bench.metric('breakwater_upstream_connects_total', { result: 'refused' })).toBe(2);
    expect(await bench.metric('breakwater_outlier_ejected_endpoints')).toBe(1);
    expect(server.connections).toBe(10);
  });

  it('says that there is nobody, where there is', async () => {
    const bench = await tcp({}, []);
    expect(await bench.client().closed()).toBe('ECONNRESET');
    expect(await bench.result('no-endpoints')).toBe(1);
    await nothingHeld(bench);
  });
});

describe('the circuit', () => {
  it('opens by connects that fail, refuses at once, and closes by probes that are answered', async () => {
    const bench = await tcp({ circuitBreaker: { ...BREAKER, consecutiveFailures: 2 } }, [DEAD_ENDPOINT]);
    // Tried once more each.
    expect(await bench.client().closed()).toBe('ECONNRESET');
    await until(() => bench.plane.circuits()[0]?.state).toBe('Open');
    const failures = await bench.metric('breakwater_upstream_connects_total');
    expect(await bench.client().closed()).toBe('ECONNRESET');
    expect(await bench.metric('breakwater_upstream_connects_total')).toBe(failures);
    expect(await bench.result('circuit-open')).toBe(1);
    const server = await echo();
    bench.setEndpoints(server.endpoint);
    await pass(bench.clock, 230);
    expect(bench.plane.circuits()[0]?.state).toBe('HalfOpen');
    const probes = [bench.client(), bench.client()];
    await until(() => bench.plane.held().probes).toBe(2);
    // No more than so many probes at a time.
    expect(await bench.client().closed()).toBe('ECONNRESET');
    for (const probe of probes) await answered(probe);
    expect(bench.plane.circuits()[0]?.state).toBe('Closed');
    for (const probe of probes) probe.socket.destroy();
    await nothingHeld(bench);
  });

  it('counts what the dependency cuts before it answers, and nothing after', async () => {
    const server = await upstream((received, socket) => {
      if (received.startsWith('cut')) socket.resetAndDestroy();
      else if (received.startsWith('end')) socket.end();
      else if (received.startsWith('late')) socket.write('answer', () => socket.resetAndDestroy());
    });
    const bench = await tcp({ circuitBreaker: { ...BREAKER, consecutiveFailures: 10 } }, [server.endpoint]);
    const counts = () => bench.plane.circuits()[0]?.counts;
    const cut = bench.client();
    cut.send('cut');
    expect(await cut.closed()).toBe('ECONNRESET');
    await until(counts).toMatchObject({ calls: 1, failures: 1 });
    const ended = bench.client();
    ended.send('end');
    await ended.ended();
    await until(counts).toMatchObject({ calls: 2, failures: 2 });
    ended.socket.destroy();
    const late = bench.client();
    late.send('late');
    await late.closed();
    await until(counts).toMatchObject({ calls: 3, failures: 2 });
    // Whoever goes away before an answer decides nothing.
    const gone = bench.client();
    gone.send('hello');
    await until(() => server.received.at(-1)).toBe('hello');
    gone.socket.resetAndDestroy();
    await nothingHeld(bench);
    expect(counts()).toMatchObject({ calls: 3, failures: 2 });
    expect(await bench.result('reset-by-dependency')).toBe(2);
    expect(await bench.result('reset-by-application')).toBe(1);
  });

  it('takes what one endpoint cuts in one moment for one failure in a row', async () => {
    const standing: Socket[] = [];
    const server = await upstream((_received, socket) => standing.push(socket));
    const policy = { circuitBreaker: { ...BREAKER, consecutiveFailures: 3 }, retries: { ...RETRIES, maxAttempts: 1 } };
    const bench = await tcp(policy, [server.endpoint]);
    for (let nth = 0; nth < 6; nth += 1) bench.client().send('x');
    await until(() => standing.length).toBe(6);
    await bench.clock.advance(10);
    for (const socket of standing) socket.resetAndDestroy();
    await until(() => bench.plane.circuits()[0]?.counts.failures).toBe(6);
    expect(bench.plane.circuits()[0]?.state).toBe('Closed');
    await nothingHeld(bench);
  });

  it('takes a probe that stands for its time for one that succeeded: some servers never speak', async () => {
    const silent = await upstream(() => {});
    const circuitBreaker = { ...BREAKER, consecutiveFailures: 1, halfOpenSuccesses: 1, halfOpenProbeTimeoutMs: 300 };
    const bench = await tcp({ circuitBreaker }, [DEAD_ENDPOINT]);
    await bench.client().closed();
    bench.setEndpoints(silent.endpoint);
    await pass(bench.clock, 230);
    const client = bench.client();
    client.send('a line of a log');
    await until(() => silent.received.at(-1)).toBe('a line of a log');
    await pass(bench.clock, 250);
    expect(bench.plane.circuits()[0]?.state).toBe('HalfOpen');
    await pass(bench.clock, 100);
    expect(bench.plane.circuits()[0]?.state).toBe('Closed');
    client.socket.destroy();
  });

  it('keeps its generation: what was opened before it tripped decides nothing later', async () => {
    const server = await upstream((received, socket) => {
      if (received === 'cut') socket.resetAndDestroy();
    });
    const bench = await tcp({ circuitBreaker: { ...BREAKER, consecutiveFailures: 1 } }, [server.endpoint]);
    const early = bench.client();
    early.send('cu');
    await until(() => server.received[0]).toBe('cu');
    const breaking = bench.client();
    breaking.send('cut');
    await breaking.closed();
    await until(() => bench.plane.circuits()[0]?.state).toBe('Open');
    await pass(bench.clock, 230);
    expect(bench.plane.circuits()[0]?.state).toBe('HalfOpen');
    early.send('t');
    await early.closed();
    expect(bench.plane.circuits()[0]).toMatchObject({ state: 'HalfOpen', reopenings: 0 });
  });
});

describe('the bulkhead', () => {
  it('counts open connections, until both directions have ended', async () => {
    const server = await upstream(
      (received, socket) => socket.write(received.slice(-1), 'latin1'),
      (socket) => queueMicrotask(() => socket.removeAllListeners('end')),
    );
    const bench = await tcp({ bulkhead: BULKHEAD }, [server.endpoint]);
    const first = bench.client();
    await answered(first);
    const second = bench.client();
    second.send('x');
    await until(() => bench.plane.held().bulkheadQueued).toBe(1);
    const third = bench.client();
    expect(await third.closed()).toBe('ECONNRESET');
    expect(await bench.result('bulkhead-full')).toBe(1);
    // Half an end is none.
    first.socket.end();
    await pass(bench.clock, 100);
    expect(bench.plane.held()).toMatchObject({ bulkheadPlaces: 1, bulkheadQueued: 1 });
    expect(server.connections).toBe(1);
    first.socket.destroy();
    await until(() => bench.plane.held().bulkheadQueued).toBe(1);
    server.close();
    await until(() => bench.plane.held().bulkheadQueued).toBe(0);
  });

  it('lets the next one in when one ends, with all that it sent while it waited', async () => {
    const server = await echo();
    const bench = await tcp({ bulkhead: BULKHEAD }, [server.endpoint]);
    const first = bench.client();
    await answered(first);
    const second = bench.client();
    const early = 'y'.repeat(300_000);
    second.send(early);
    await until(() => bench.plane.held().bulkheadQueued).toBe(1);
    first.socket.end();
    await until(() => server.received[1]?.length).toBe(early.length);
    second.socket.destroy();
    await nothingHeld(bench);
    expect(await bench.metric('breakwater_tcp_bytes_total', { direction: 'sent' })).toBe(early.length + 1);
  });

  it('lets nobody wait for longer than its queue timeout', async () => {
    const server = await echo();
    const bench = await tcp({ bulkhead: BULKHEAD }, [server.endpoint]);
    const first = bench.client();
    await answered(first);
    const second = bench.client();
    await until(() => bench.plane.held().bulkheadQueued).toBe(1);
    await pass(bench.clock, 190);
    expect(bench.plane.held().bulkheadQueued).toBe(1);
    await pass(bench.clock, 30);
    expect(await second.closed()).toBe('ECONNRESET');
    expect(await bench.result('queue-timeout')).toBe(1);
    await answered(first);
  });

  it('is one with the requests of the dependency that match no rule', async () => {
    const server = await upstream((received, socket) => {
      if (received.startsWith('GET')) socket.write(OK);
      else socket.write('x');
    });
    const bulkhead = { ...BULKHEAD, maxQueued: 0 };
    const bench = await tcp({ bulkhead }, [server.endpoint], { protocol: 'Detect' });
    const opaque = bench.client();
    opaque.send('\x00');
    await opaque.until((text) => text === 'x');
    const http = bench.client();
    http.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await http.until((text) => text.includes('\r\n\r\n'))).toContain('Breakwater-Reason: bulkhead-full');
    opaque.socket.destroy();
    await until(() => bench.plane.held().bulkheadPlaces).toBe(0);
  });
});
