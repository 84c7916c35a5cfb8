// The generator on real sockets. Bounds are far from what is expected: what it measures exactly is shown in virtual time, in schedule.test.ts.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock as clock } from '../../runtime/clock.ts';
import { openLoop } from './generator.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function serve(
  answer: (nth: number) => { status?: number; delayMs?: number; drop?: boolean; close?: boolean; silent?: boolean },
): Promise<number> {
  let nth = 0;
  server = createServer((request, response) => {
    const { status = 200, delayMs = 0, drop = false, close = false, silent = false } = answer(nth++);
    if (drop) request.socket.destroy();
    else if (!silent) {
      const headers = { 'content-length': 2, ...(close ? { connection: 'close' } : {}) };
      clock.after(delayMs, () => response.writeHead(status, headers).end('ok'));
    }
  });
  await new Promise<void>((done) => server?.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}
const load = {
  path: '/',
  requestsPerSecond: 200,
  leadInSeconds: 0.1,
  seconds: 0.4,
  timeoutSeconds: 15,
  connections: 4,
};

describe('the open loop', () => {
  it('makes all requests that its rate asks for, over its connections', async () => {
    const sockets = new Set<unknown>();
    const port = await serve(() => ({}));
    server?.on('connection', (socket) => sockets.add(socket));
    const summary = await openLoop({ port, ...load });
    expect(summary).toMatchObject({ requests: 100, socketErrors: 0, timeouts: 0, badStatuses: 0 });
    expect(summary.bytes).toBeGreaterThan(200);
    // The last one is due after 495 ms.
    expect(summary.durationMicros).toBeGreaterThanOrEqual(495_000);
    expect(sockets.size).toBe(4);
  });

  it('counts the wait for a connection: four of them that take 50 ms each cannot carry 200 requests in a second', async () => {
    const port = await serve(() => ({ delayMs: 50 }));
    const { requests, p50Micros, p99Micros, lateP99Micros } = await openLoop({ port, ...load });
    expect(requests).toBe(100);
    // 50 ms for every four: request n ends after 12.5 n + 50 ms at the earliest, and was due after 5 n ms. Each took 50 ms on the wire.
    expect(p50Micros).toBeGreaterThan(450_000);
    expect(p99Micros).toBeGreaterThan(700_000);
    expect(lateP99Micros).toBeLessThan(p50Micros);
  });

  it('counts bad answers, and those that took too long', async () => {
    const port = await serve((nth) => ({ status: nth % 2 ? 503 : 200, silent: nth === 3 }));
    expect(await openLoop({ port, ...load, timeoutSeconds: 3 })).toMatchObject({
      requests: 99,
      badStatuses: 49,
      timeouts: 1,
    });
  });

  it('opens another connection for one that is closed in good order', async () => {
    const sockets = new Set<unknown>();
    const port = await serve((nth) => ({ close: nth % 10 === 0 }));
    server?.on('connection', (socket) => sockets.add(socket));
    expect(await openLoop({ port, ...load })).toMatchObject({ requests: 100, socketErrors: 0, timeouts: 0 });
    // Ten answers close theirs; for the last answer of all none would be opened.
    expect(sockets.size).toBeGreaterThanOrEqual(13);
    expect(sockets.size).toBeLessThanOrEqual(14);
  });

  it('counts a lost connection, and ends', async () => {
    const port = await serve((nth) => ({ drop: nth === 60 }));
    const { socketErrors, requests } = await openLoop({ port, ...load });
    expect(socketErrors).toBeGreaterThan(0);
    expect(requests).toBeLessThan(100);
  });

  it('rejects where nobody listens', async () => {
    const port = await serve(() => ({}));
    await new Promise((done) => server?.close(done));
    await expect(openLoop({ port, ...load })).rejects.toThrow('ECONNREFUSED');
  });
});
