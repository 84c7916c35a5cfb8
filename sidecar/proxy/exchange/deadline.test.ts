// No call outlives its deadline by 100 ms, whatever it is waiting for. Measured against a timer of the same process, which a loaded
// machine delays as much, but not always at the same time: so it may be measured again.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../plan/endpoints.ts';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { connect, dependencyPlan, get, RETRIES, startBench } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { startSwallowing, startUpstream } from '../testing/upstreams.ts';

const DEADLINE_MS = 200;
const LATE_MS = 100;
const GET = get('/');
const UPLOAD = 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo';
const timeouts = { requestMs: DEADLINE_MS, attemptMs: 0, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 };
const often = { ...RETRIES, maxAttempts: 10, backoffInitialMs: 60, backoffMaxMs: 60 };
const narrow = { stateKey: 'b', maxConcurrent: 1, maxQueued: 9, queueTimeoutMs: 60_000, adaptive: null };

const { open } = opened();

async function upstream(script: (socket: Socket) => void): Promise<Endpoint> {
  const started = await startUpstream((_received, socket) => script(socket));
  open.push(started);
  return started.endpoint;
}

async function swallowing(): Promise<Endpoint> {
  const started = await startSwallowing();
  open.push(started);
  return started.endpoint;
}

const silent = (): Promise<Endpoint> => upstream(() => {});
const half = (): Promise<Endpoint> =>
  upstream((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf'));
const failing = (): Promise<Endpoint> =>
  upstream((socket) => socket.write('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n'));
const resetting = (): Promise<Endpoint> => upstream((socket) => socket.resetAndDestroy());

describe('a call ends in time', () => {
  it.each<[string, () => Promise<Endpoint>, string, Partial<PolicyPlan>, number]>([
    ['for the connection', swallowing, GET, {}, 1],
    ['for the answer', silent, GET, {}, 1],
    ['for the rest of the answer', half, GET, {}, 1],
    ['for the application', silent, UPLOAD, {}, 1],
    ['for a place in the bulkhead', silent, GET, { bulkhead: narrow }, 4],
    ['for another attempt after a status', failing, GET, { retries: often }, 1],
    ['for another attempt after a reset', resetting, GET, { retries: often }, 1],
    ['for the next attempt to time out', silent, GET, { retries: often, timeouts: { ...timeouts, attemptMs: 50 } }, 1],
  ])('that waits %s', { retry: 2 }, async (_name, endpoint, request, policy, calls) => {
    const bench = await startBench(dependencyPlan({ timeouts, ...policy }), [await endpoint()]);
    open.push(bench);
    const tookMs = Array.from({ length: calls }, async () => {
      const client = connect(bench.port);
      client.socket.on('error', () => {});
      await new Promise((resolve) => client.socket.once('connect', resolve));
      client.send(request);
      let dueMs = Number.POSITIVE_INFINITY;
      setTimeout(() => {
        dueMs = performance.now();
      }, DEADLINE_MS);
      await client.until(
        (text) => client.socket.readableEnded || /HTTP\/1\.1 50[234] [^]*(}\n|: 0\r\n\r\n)$/.test(text),
      );
      client.socket.destroy();
      return performance.now() - dueMs;
    });
    for (const late of await Promise.all(tookMs)) expect(late).toBeLessThan(LATE_MS);
    expect(bench.plane.inFlight()).toBe(0);
  });
});
