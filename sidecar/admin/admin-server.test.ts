import { connect, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { MetricRegistry } from '../metrics/registry.ts';
import { startAdminServer } from './admin-server.ts';
import type { Readiness } from './readiness.ts';
import { MAX_CONNECTIONS, type RunningServer } from './server.ts';

let server: RunningServer | null = null;
afterEach(() => server?.close());

it('bounds what it reads, and answers a failure by saying so', async () => {
  const registry = {
    contentType: 'text/plain',
    metrics: () => {
      throw new Error('no samples');
    },
  };
  const readiness = () => ({ ready: true, reason: 'it is' });
  server = await startAdminServer({ host: '127.0.0.1', port: 0, readiness, registry });
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
  server = await startAdminServer({ host: '127.0.0.1', port: 0, readiness: () => readiness, registry });
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

it('has a bound of its own for connections, beyond which it closes them, and answers those that it has', async () => {
  const registry = new MetricRegistry();
  const readiness = () => ({ ready: true, reason: 'it is' });
  server = await startAdminServer({ host: '127.0.0.1', port: 0, readiness, registry });
  const { port } = server;
  const open = () =>
    new Promise<Socket>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => resolve(socket));
      socket.on('error', () => undefined);
    });
  const sockets: Socket[] = [];
  for (let nth = 0; nth < MAX_CONNECTIONS; nth += 1) sockets.push(await open());
  const beyond = await open();
  await new Promise((closed) => beyond.once('close', closed));
  const [first] = sockets;
  const answer = new Promise((resolve) => first?.once('data', (chunk: Buffer) => resolve(chunk.toString())));
  first?.write('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n');
  expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
  for (const socket of sockets) socket.destroy();
});
