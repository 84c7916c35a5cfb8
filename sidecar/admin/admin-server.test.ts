import type { Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { nodeHttp } from '../../runtime/node-http.ts';
import { MetricRegistry } from '../metrics/registry.ts';
import { startAdminServer } from './admin-server.ts';
import type { Readiness } from './readiness.ts';
import { ANSWER_TIMEOUT_MS, MAX_CONNECTIONS, type RunningServer } from './server.ts';

let server: RunningServer | null = null;
const clock = new ManualClock();
afterEach(() => server?.close());

const GET_METRICS = 'GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n';

/** A server whose metrics are so long, and how often they were asked for. */
async function withMetricsOf(characters: number) {
  const asked = { times: 0 };
  const metrics = () => {
    asked.times += 1;
    return 'x'.repeat(characters);
  };
  const registry = { contentType: 'text/plain', metrics };
  const readiness = () => ({ ready: true, reason: 'it is' });
  server = await startAdminServer({ host: '127.0.0.1', port: 0, readiness, registry, clock, log: silentLogger });
  const socket = connect({ port: server.port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  return { asked, socket };
}

/** Reads until the connection ends; how much came. */
function bytesUntilClosed(socket: Socket): Promise<number> {
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => (bytes += chunk.length)).resume();
  return new Promise((resolve) => socket.once('close', () => resolve(bytes)));
}

it('bounds what it reads, and answers a failure by saying so', async () => {
  const registry = {
    contentType: 'text/plain',
    metrics: () => {
      throw new Error('no samples');
    },
  };
  const readiness = () => ({ ready: true, reason: 'it is' });
  server = await startAdminServer({ host: '127.0.0.1', port: 0, readiness, registry, clock, log: silentLogger });
  const at = (path: string) => `http://127.0.0.1:${server?.port}${path}`;
  const head = await fetch(at('/readyz?verbose'), { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
  expect((await fetch(at('/livez'), { method: 'POST', body: 'x'.repeat(1024) })).status).toBe(404);
  await expect(fetch(at('/livez'), { method: 'POST', body: 'x'.repeat(1025) })).rejects.toThrow();
  const failed = await fetch(at('/metrics'));
  expect([failed.status, await failed.text()]).toEqual([500, 'this failed, which it should not: Error: no samples\n']);
});

it('serves probes and metrics, and nothing else', async () => {
  let readiness: Readiness = { ready: false, reason: 'waiting for the first plan' };
  const registry = new MetricRegistry();
  registry.register({
    definition: { name: 'calls_total', type: 'counter', help: 'Calls.', labels: [] },
    sample: () => [{ labels: {}, value: 1 }],
  });
  server = await startAdminServer({
    host: '127.0.0.1',
    port: 0,
    readiness: () => readiness,
    registry,
    clock,
    log: silentLogger,
  });
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${server?.port}${path}`, { method });
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
  };
  expect(await get('/livez')).toMatchObject({ status: 200, text: 'ok\n' });
  expect(await get('/readyz')).toMatchObject({ status: 503, text: 'not ready: waiting for the first plan\n' });
  readiness = { ready: true, reason: 'plan v1 is in force' };
  expect(await get('/readyz')).toMatchObject({ status: 200, text: 'ready: plan v1 is in force\n' });
  const metrics = await get('/metrics');
  expect(metrics.type).toContain('text/plain');
  expect(metrics.text).toContain('calls_total 1');
  for (const path of ['/', '/disable', '/enable', '/status', '/plan']) {
    expect((await get(path)).status).toBe(404);
    expect((await get(path, 'POST')).status).toBe(404);
  }
});

it('has a bound of its own for connections, and beyond it closes the oldest: whoever holds them all keeps no probe out', async () => {
  const registry = new MetricRegistry();
  const readiness = () => ({ ready: true, reason: 'it is' });
  server = await startAdminServer({ host: '127.0.0.1', port: 0, readiness, registry, clock, log: silentLogger });
  const { port } = server;
  const closed: number[] = [];
  const open = (nth: number) =>
    new Promise<Socket>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => resolve(socket));
      socket.on('error', () => undefined).on('close', () => closed.push(nth));
    });
  const sockets: Socket[] = [];
  for (let nth = 0; nth < MAX_CONNECTIONS; nth += 1) sockets.push(await open(nth));
  const answerOn = (socket: Socket | undefined) => {
    const answer = new Promise((resolve) => socket?.once('data', (chunk: Buffer) => resolve(chunk.toString())));
    socket?.write('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n');
    return answer;
  };
  expect(await answerOn(await open(MAX_CONNECTIONS))).toMatch(/^HTTP\/1\.1 200 /);
  await vi.waitFor(() => expect(closed).toContain(0));
  expect(await answerOn(sockets[1])).toMatch(/^HTTP\/1\.1 200 /);
  // Many that come at the same time take the places of as many.
  const others = await Promise.all(Array.from({ length: 50 }, (_, at) => open(MAX_CONNECTIONS + 1 + at)));
  await vi.waitFor(() => expect(closed.length).toBeGreaterThanOrEqual(50));
  for (const socket of [...sockets, ...others]) socket.destroy();
});

it('makes one answer for a connection, however often it is asked on it', async () => {
  const { asked, socket } = await withMetricsOf(1_000);
  socket.write(GET_METRICS.repeat(500));
  await bytesUntilClosed(socket);
  expect(asked.times).toBe(1);
});

it('gives an answer that nobody reads up after a time, and the connection with it', async () => {
  // More than the kernel keeps for a connection.
  const characters = 64 * 1024 * 1024;
  const { asked, socket } = await withMetricsOf(characters);
  socket.pause();
  socket.write(GET_METRICS);
  await vi.waitFor(() => expect(asked.times).toBe(1));
  await clock.advance(ANSWER_TIMEOUT_MS);
  expect(await bytesUntilClosed(socket)).toBeLessThan(characters);
  expect(clock.timers).toBe(0);
});

it('goes on where a connection cannot be accepted', async () => {
  const create = vi.spyOn(nodeHttp, 'createServer');
  await withMetricsOf(1).then(({ socket }) => socket.destroy());
  const listening = create.mock.results[0]?.value as Server;
  create.mockRestore();
  expect(() => listening.emit('error', new Error('accept ENOMEM'))).not.toThrow();
  expect((await fetch(`http://127.0.0.1:${server?.port}/livez`)).status).toBe(200);
});
