// The end of the server, in virtual time; connections, TLS and requests are real.
import { Agent, request } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../runtime/clock.ts';
import { silentLogger } from '../runtime/log.ts';
import { ManualClock } from '../runtime/manual-clock.ts';
import { type Certificates, createCertificates } from './certificates/certificates.ts';
import { MemoryStore } from './certificates/memory-store.ts';
import { ALWAYS_LEADING } from './elect/elector.ts';
import { HttpsServer } from './https-server.ts';

const DRAIN_MS = 5_000;

let certificates: Certificates;
let clock: ManualClock;
let server: HttpsServer;
let streamsClosed: boolean;
const agents: Agent[] = [];

beforeEach(async () => {
  clock = new ManualClock();
  streamsClosed = false;
  certificates = createCertificates({
    store: new MemoryStore(),
    names: ['localhost'],
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  await certificates.start();
});

afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.destroy();
  certificates.stop();
});

async function start(drainMs: number): Promise<void> {
  server = new HttpsServer({
    listen: { host: '127.0.0.1', port: 0 },
    certificates,
    register: (fastify) => void fastify.post('/inject', () => ({ injected: true })),
    closeStreams: () => {
      streamsClosed = true;
    },
    clock,
    drainMs,
  });
  await server.start();
}

/** A caller with a connection of its own, which it keeps for as long as it is let. */
function caller() {
  const agent = new Agent({ connect: { ca: certificates.trustBundle(), servername: 'localhost' }, connections: 1 });
  agents.push(agent);
  return async () => {
    const { statusCode, headers, body } = await request(`https://127.0.0.1:${server.port}/inject`, {
      method: 'POST',
      dispatcher: agent,
    });
    await body.dump();
    return { statusCode, connection: headers['connection'] };
  };
}

test('callers old and new are answered for as long as they may be led here, and asked to go elsewhere', async () => {
  await start(DRAIN_MS);
  const old = caller();
  expect(await old()).toEqual({ statusCode: 200, connection: 'keep-alive' });
  let isOver = false;
  const stopped = server.stop().then(() => {
    isOver = true;
  });
  await clock.advance(DRAIN_MS - 1);
  expect(await old()).toEqual({ statusCode: 200, connection: 'close' });
  expect(await caller()()).toEqual({ statusCode: 200, connection: 'close' });
  expect([isOver, streamsClosed]).toEqual([false, false]);
  await clock.advance(1);
  await stopped;
  expect(streamsClosed).toBe(true);
  await expect(caller()()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('where nobody is led to it the end comes at once', async () => {
  await start(0);
  expect(await caller()()).toMatchObject({ statusCode: 200 });
  await server.stop();
  expect(streamsClosed).toBe(true);
  await expect(caller()()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});
