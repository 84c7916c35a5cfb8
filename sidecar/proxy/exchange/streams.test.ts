// What lives longer than a request: server-sent events and upgraded connections, how they end, and how they are counted.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { type Bench, BREAKER, connect, dependencyPlan, get, startBench } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { startUpstream } from '../testing/upstreams.ts';

const { open } = opened();

const EVENTS = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n';
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello';
const UPGRADE = get('/', 'Connection: Upgrade\r\nUpgrade: echo\r\n');
const BULKHEAD = { stateKey: 'bulkhead:base', maxConcurrent: 1, maxQueued: 0, queueTimeoutMs: 0, adaptive: null };

async function serving(response: string, policy: Partial<PolicyPlan> = {}): Promise<Bench & { gone: () => number }> {
  let gone = 0;
  const upstream = await startUpstream(
    (received, socket) => {
      if (received.endsWith('\r\n\r\n')) socket.write(response);
    },
    (socket) => socket.on('close', () => gone++),
  );
  const bench = await startBench(dependencyPlan(policy), [upstream.endpoint]);
  open.push(upstream, bench);
  return { ...bench, gone: () => gone };
}

const idle = (idleMs: number) => ({
  timeouts: { requestMs: 1_000, attemptMs: 1_000, connectMs: 500, idleMs, opaqueIdleMs: 0 },
});

describe('a stream that falls silent', () => {
  it.each([
    ['events', EVENTS, get('/'), '2xx'],
    ['an upgraded connection', SWITCH, UPGRADE, '1xx'],
  ])('is ended by the idle timeout and counted once: %s', async (_name, response, request, code) => {
    const { port, metric, plane } = await serving(response, idle(60));
    const client = connect(port);
    client.socket.on('error', () => {});
    client.send(request);
    await client.ended();
    if (code === '1xx') expect(await client.closed()).toBe('ECONNRESET');
    await expect.poll(() => plane.inFlight()).toBe(0);
    expect(await metric('breakwater_requests_total')).toBe(1);
    expect(await metric('breakwater_requests_total', { code })).toBe(1);
    expect(await metric('breakwater_attempts_total')).toBe(1);
    expect(await metric('breakwater_attempts_total', { result: 'success' })).toBe(1);
  });
});

describe('a stream that the application ends', () => {
  it('gives its place back at once, although nothing more comes from the upstream', async () => {
    const { port, metric, gone } = await serving(EVENTS, { bulkhead: BULKHEAD });
    const client = connect(port);
    client.send(get('/'));
    await client.until((text) => text.includes('data: 1'));
    expect(await metric('breakwater_bulkhead_in_flight')).toBe(1);
    client.socket.end();
    await expect.poll(() => metric('breakwater_bulkhead_in_flight'), { timeout: 500 }).toBe(0);
    await expect.poll(gone).toBe(1);
  });

  it.each([
    ['events', EVENTS, get('/'), '2xx'],
    ['an upgraded connection', SWITCH, UPGRADE, '1xx'],
  ])('is an answer that was given, and a success: %s', async (_name, response, request, code) => {
    const { port, metric, plane } = await serving(response, { circuitBreaker: BREAKER });
    const client = connect(port);
    client.send(request);
    await client.until((text) => text.includes('data: 1') || text.endsWith('hello'));
    client.socket.end();
    await client.ended();
    await expect.poll(() => plane.inFlight()).toBe(0);
    expect(await metric('breakwater_requests_total', { code })).toBe(1);
    expect(await metric('breakwater_attempts_total', { result: 'success' })).toBe(1);
    expect(await metric('breakwater_attempts_total', { result: 'cancelled' })).toBe(0);
  });

  it('before it began ends with its first bytes, as if it had been ended then', async () => {
    const { port, metric, gone } = await serving(EVENTS, { bulkhead: BULKHEAD });
    const client = connect(port);
    client.socket.end(get('/'), 'latin1');
    expect(await client.ended()).toContain('text/event-stream');
    await expect.poll(() => metric('breakwater_bulkhead_in_flight'), { timeout: 500 }).toBe(0);
    await expect.poll(gone).toBe(1);
    expect(await metric('breakwater_requests_total', { code: '2xx' })).toBe(1);
  });

  it('is shown among the tunnels while it is one', async () => {
    const { port, metric } = await serving(SWITCH);
    const client = connect(port);
    client.send(UPGRADE);
    await client.until((text) => text.endsWith('hello'));
    expect(await metric('breakwater_tunnels')).toBe(1);
    client.socket.destroy();
    await expect.poll(() => metric('breakwater_tunnels')).toBe(0);
  });
});

it('an answer that ends with its connection is reset where the sidecar ends within it', async () => {
  const { port, plane } = await serving('HTTP/1.1 200 OK\r\n\r\npart of ');
  const cut = connect(port);
  cut.send('GET / HTTP/1.0\r\nHost: payments.billing\r\n\r\n');
  await cut.until((text) => text.endsWith('part of '));
  const chunked = connect(port, false);
  chunked.send(get('/'));
  await chunked.until((text) => text.includes('part of '));
  plane.close();
  expect(await cut.closed()).toBe('ECONNRESET');
  // Its last chunk is missing.
  expect(await chunked.closed()).toBe('end');
  expect(await chunked.ended()).not.toContain('\r\n0\r\n');
});

describe('an upgraded connection that is reset', () => {
  /** Both ends of one: the application, and what the dependency has accepted and how that ended. */
  async function upgraded() {
    const ends: string[] = [];
    const accepted: Socket[] = [];
    const upstream = await startUpstream(
      (received, socket) => {
        if (received.endsWith('\r\n\r\n')) socket.write(SWITCH);
      },
      (socket) => {
        accepted.push(socket);
        socket.on('end', () => ends.push('end'));
        socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => ends.push(code));
      },
    );
    const bench = await startBench(dependencyPlan({}), [upstream.endpoint]);
    open.push(upstream, bench);
    const application = connect(bench.port);
    application.send(UPGRADE);
    await application.until((text) => text.endsWith('hello'));
    return { application, dependency: accepted[0] as Socket, ends, bench };
  }

  it('by the dependency is reset for the application, who would take an end for the end of what was sent', async () => {
    const { application, dependency, bench } = await upgraded();
    dependency.resetAndDestroy();
    expect(await application.closed()).toBe('ECONNRESET');
    await expect.poll(() => bench.plane.inFlight()).toBe(0);
    expect(await bench.metric('breakwater_requests_total', { code: '1xx' })).toBe(1);
  });

  it('by the application is reset for the dependency', async () => {
    const { application, ends } = await upgraded();
    application.socket.resetAndDestroy();
    await expect.poll(() => ends).toEqual(['ECONNRESET']);
  });

  it('by the end of the sidecar is reset on both sides', async () => {
    const { application, bench, ends } = await upgraded();
    bench.plane.close();
    expect(await application.closed()).toBe('ECONNRESET');
    await expect.poll(() => ends).toEqual(['ECONNRESET']);
  });

  it('but by nobody ends in order, one direction after the other', async () => {
    const { application, dependency, ends } = await upgraded();
    dependency.removeAllListeners('end').on('end', () => dependency.end('bye'));
    application.socket.end();
    expect(await application.ended()).toMatch(/hellobye$/);
    expect(await application.closed()).toBe('end');
    expect(ends).toEqual([]);
  });
});
