// Which connection of a pool takes a request.
import { expect, it } from 'vitest';
import type { ResponseReceiver, UpstreamLeg } from '../exchange/upstream.ts';
import { dependency } from '../testing/http2-calls.ts';
import { opened } from '../testing/opened.ts';
import { Http1Endpoint } from './http1-endpoint.ts';
import type { Http2Leg } from './http2-leg.ts';
import { Http2Pool } from './http2-pool.ts';

const { open } = opened();

async function poolOf(): Promise<Http2Pool> {
  const server = await dependency((stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const pool = new Http2Pool(new Http1Endpoint(server.endpoint.address, server.port), false);
  open.push({ close: () => pool.remove() }, server);
  return pool;
}

const receiver = (told: Partial<ResponseReceiver>) => told as ResponseReceiver;

/** Rejects where no connection is made. */
function connect(pool: Http2Pool): Promise<Http2Leg> {
  return new Promise((resolve, reject) => {
    const leg = pool.connect(
      receiver({ onConnected: () => resolve(leg), onUpstreamClosed: (failure) => reject(new Error(String(failure))) }),
    );
  });
}

async function connected(): Promise<{ pool: Http2Pool; leg: Http2Leg }> {
  const pool = await poolOf();
  return { pool, leg: await connect(pool) };
}

it('is one that has room', async () => {
  const { pool, leg } = await connected();
  expect(pool.takeIdle()?.session).toBe(leg.session);
});

it.each([
  ['was destroyed', (leg: Http2Leg) => leg.session.node.destroy()],
  ['has failed', (leg: Http2Leg) => leg.session.node.destroy(new Error('a frame that means nothing'))],
  ['is closing', (leg: Http2Leg) => leg.session.node.close()],
])('is none that %s, from that moment on and not only once its socket is gone', async (_how, end) => {
  const { pool, leg } = await connected();
  end(leg);
  expect(pool.takeIdle()).toBeNull();
});

it('is the one that is being made, although who wanted it is gone', async () => {
  const pool = await poolOf();
  const first = pool.connect(receiver({}));
  first.destroy();
  expect((await connect(pool)).session).toBe(first.session);
  expect(pool.sessionCount).toBe(1);
});

it('is none that took too long to be made: what is wanted then waits for another one', async () => {
  const pool = await poolOf();
  const first = pool.connect(receiver({ onUpstreamClosed: () => {} }));
  first.giveUpConnecting();
  expect((await connect(pool)).session).not.toBe(first.session);
  await expect.poll(() => pool.sessionCount).toBe(1);
});

it('is the one that was waited for, although the endpoint went away meanwhile', async () => {
  const pool = await poolOf();
  const leg = connect(pool);
  pool.remove();
  expect((await leg).session.hasRoom).toBe(true);
});

it.each([
  ['before', (pool: Http2Pool, leg: UpstreamLeg) => (leg.destroy(), pool.remove())],
  ['after', (pool: Http2Pool, leg: UpstreamLeg) => (pool.remove(), leg.destroy())],
])('is not made where nobody waits for it, %s the endpoint went away', async (_when, leave) => {
  const pool = await poolOf();
  leave(pool, pool.connect(receiver({})));
  await expect.poll(() => pool.sessionCount).toBe(0);
});
