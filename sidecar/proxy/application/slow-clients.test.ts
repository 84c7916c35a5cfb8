// Applications that are slow, go away, or do not listen: what that costs, and that the dependency is not blamed for it.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { type Bench, BREAKER, connect, dependencyPlan, get, RETRIES, startBench } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, startUpstream, type Upstream } from '../testing/upstreams.ts';

const { open } = opened();

async function through(upstream: Upstream, policy: Partial<PolicyPlan> = {}): Promise<Bench> {
  const bench = await startBench(dependencyPlan(policy), [upstream.endpoint]);
  open.push(upstream, bench);
  return bench;
}

const timeouts = { requestMs: 400, attemptMs: 60, connectMs: 500, idleMs: 0, opaqueIdleMs: 0 };
/** Long enough to fill every buffer on the way. */
const timeToFill = { ...timeouts, requestMs: 1_500, attemptMs: 1_000 };
const ONE_FAILURE = { ...BREAKER, consecutiveFailures: 1, openForMs: 60_000 };
/** More than all buffers between two sockets of this machine. */
const MANY_BYTES = 16 * 1024 * 1024;

describe('who is to blame for a timeout', () => {
  it('is the application where its upload did not end, and then nothing is tried again', async () => {
    const upstream = await startUpstream(() => {});
    const { port, plane, metric } = await through(upstream, {
      timeouts,
      circuitBreaker: ONE_FAILURE,
      retries: RETRIES,
    });
    const client = connect(port);
    client.send('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf');
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 504 [^]*attempt-timeout/);
    expect(plane.circuits()[0]?.state).toBe('Closed');
    expect(await metric('breakwater_attempts_total')).toBe(1);
    expect(await metric('breakwater_retries_total')).toBe(0);
  });

  it('is the dependency where it does not take the upload', async () => {
    const upstream = await startUpstream(
      () => {},
      (socket) => socket.pause(),
    );
    const { port, plane } = await through(upstream, { timeouts: timeToFill, circuitBreaker: ONE_FAILURE });
    const client = connect(port);
    client.socket.on('error', () => {});
    client.send(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${MANY_BYTES}\r\n\r\n`);
    client.socket.write(Buffer.alloc(MANY_BYTES - 1));
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 504 /);
    expect(plane.circuits()[0]?.state).toBe('Open');
  });

  it('is the application where it does not read the answer', async () => {
    const upstream = await startUpstream((received, socket) => {
      if (!received.endsWith('\r\n\r\n')) return;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${MANY_BYTES}\r\n\r\n`);
      socket.write(Buffer.alloc(MANY_BYTES));
    });
    const { port, plane } = await through(upstream, {
      timeouts: timeToFill,
      circuitBreaker: ONE_FAILURE,
    });
    const client = connect(port);
    client.socket.on('error', () => {});
    client.send(get('/'));
    await client.until((text) => text.length > 0);
    client.socket.pause();
    await expect.poll(() => plane.inFlight(), { timeout: 3_000 }).toBe(0);
    expect(plane.circuits()[0]?.state).toBe('Closed');
  });

  it('is nobody where an upload took its time and the answer came at once', async () => {
    const upstream = await startUpstream((received, socket) => {
      if (received.endsWith('body')) socket.write(OK);
    });
    const slowCalls = { percent: 100, minimumCalls: 1, thresholdMs: 80 };
    const { port, plane } = await through(upstream, { circuitBreaker: { ...BREAKER, slowCalls } });
    const client = connect(port);
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo');
    await new Promise((resolve) => setTimeout(resolve, 120));
    client.send('dy');
    await client.until((text) => text.endsWith('ok'));
    expect(plane.circuits()[0]?.state).toBe('Closed');
  });
});

describe('an application that goes away', () => {
  it('while its request with a body waits in the bulkhead, is noticed, and nothing is sent for it', async () => {
    const held: Socket[] = [];
    const upstream = await startUpstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) held.push(socket);
    });
    const { port, metric } = await through(upstream, {
      bulkhead: { stateKey: 'b', maxConcurrent: 1, maxQueued: 5, queueTimeoutMs: 60_000, adaptive: null },
    });
    const first = connect(port);
    first.send(get('/'));
    await expect.poll(() => held.length).toBe(1);
    const second = connect(port);
    second.send('POST /charge HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody');
    const third = connect(port);
    third.send('POST /charge HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo');
    await expect.poll(() => metric('breakwater_bulkhead_queued')).toBe(2);
    second.socket.resetAndDestroy();
    third.socket.end();
    await expect.poll(() => metric('breakwater_bulkhead_queued'), { timeout: 500 }).toBe(0);
    held[0]?.write(OK);
    await first.until((text) => text.endsWith('ok'));
    expect(upstream.received.join('')).not.toContain('/charge');
  });

  it('for writing only, after a whole request that waits in the bulkhead, still gets its answer', async () => {
    const held: Socket[] = [];
    const upstream = await startUpstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) held.push(socket);
      if (received.endsWith('body')) socket.write(OK);
    });
    const { port, metric } = await through(upstream, {
      bulkhead: { stateKey: 'b', maxConcurrent: 1, maxQueued: 5, queueTimeoutMs: 60_000, adaptive: null },
    });
    const first = connect(port);
    first.send(get('/'));
    await expect.poll(() => held.length).toBe(1);
    const waiting = ['Content-Length: 4\r\n\r\nbody', 'Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'].map(
      (rest) => {
        const client = connect(port);
        client.socket.end(`PUT / HTTP/1.1\r\nHost: a\r\n${rest}`);
        return client;
      },
    );
    const two = connect(port);
    two.socket.end(get('/') + get('/'));
    await expect.poll(() => metric('breakwater_bulkhead_queued')).toBe(3);
    upstream.received.fill('');
    held[0]?.write(OK);
    expect(await waiting[0]?.ended()).toMatch(/ok$/);
    // The chunked one ends with its last chunk.
    await expect.poll(() => upstream.received.join('')).toContain('0\r\n\r\n');
    for (const socket of held.slice(1)) socket.write(OK);
    held.length = 0;
    expect(await waiting[1]?.ended()).toMatch(/ok$/);
    await expect.poll(() => held.length).toBe(1);
    held[0]?.write(OK);
    await expect.poll(() => held.length).toBe(2);
    held[1]?.write(OK);
    expect((await two.ended()).split('ok')).toHaveLength(3);
  });
});

describe('an application that does not read', () => {
  const flood = Buffer.from(get('/').repeat(2_000));

  it.each([
    ['answers of the upstream', BREAKER, OK.replace('ok', 'x'.repeat(2_000)).replace('2\r\n', '2000\r\n')],
    ['answers of our own', ONE_FAILURE, 'HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n'],
  ])(
    'is read no further than its answers can be written: %s',
    async (_name, circuitBreaker, response) => {
      const upstream = await startUpstream(answering(response));
      const { port, metric } = await through(upstream, { circuitBreaker });
      const client = connect(port);
      client.socket.on('error', () => {});
      client.socket.pause();
      let sent = 0;
      const pump = (): void => {
        while (sent < 100_000 && client.socket.write(flood)) sent += 2_000;
        if (sent < 100_000) client.socket.once('drain', pump);
      };
      pump();
      // It comes to a stop long before all are answered…
      let answered = -1;
      await expect
        .poll(
          async () => {
            const before = answered;
            answered = await metric('breakwater_requests_total');
            return answered > 0 && answered === before;
          },
          { interval: 150, timeout: 8_000 },
        )
        .toBe(true);
      expect(answered).toBeLessThan(50_000);
      // … and goes on where the application reads again.
      client.socket.resume();
      await expect.poll(() => metric('breakwater_requests_total'), { timeout: 8_000 }).toBeGreaterThan(answered);
      client.socket.destroy();
    },
    20_000,
  );
});
