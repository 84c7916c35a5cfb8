// Which connection of a pool takes a request.
import { expect, it } from 'vitest';
import { RequestHead } from '../../http1/request-head.ts';
import { ErrorCode } from '../../http2/error-code.ts';
import type { OutgoingRequest } from '../exchange/current-request.ts';
import type { ResponseReceiver, UpstreamLeg } from '../exchange/upstream.ts';
import { dependency } from '../testing/http2-calls.ts';
import { FrameType, frame, framesOf } from '../testing/http2-frames.ts';
import { opened } from '../testing/opened.ts';
import { startUpstream } from '../testing/upstreams.ts';
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

const head = new RequestHead();
head.method = 'GET';
head.target = '/';
const OUTGOING: OutgoingRequest = {
  head,
  host: 'shop',
  correlationId: 'a',
  fields: '',
  attempt: 1,
  deadline: '',
  grpcTimeout: '',
  hasBody: false,
};

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
  ['has failed', (leg: Http2Leg) => leg.session.failed(ErrorCode.ProtocolError)],
  ['was told that it is left', (leg: Http2Leg) => leg.session.goAwayCame()],
  ['is closing', (leg: Http2Leg) => leg.session.close()],
])('is none that %s, from that moment on and not only once its socket is gone', async (_how, end) => {
  const { pool, leg } = await connected();
  end(leg);
  expect(pool.takeIdle()).toBeNull();
});

it('is none that breaks the protocol, from inside of what those who asked on it are told', async () => {
  const breaking = await startUpstream(
    (received, socket) => {
      const frames = framesOf(Buffer.from(received, 'latin1'));
      if (frames.filter(({ type }) => type === FrameType.headers).length === 2)
        socket.write(frame(FrameType.data, 0, 0));
    },
    (socket) => socket.write(frame(FrameType.settings, 0, 0)),
  );
  const pool = new Http2Pool(new Http1Endpoint(breaking.endpoint.address, breaking.port), false);
  open.push({ close: () => pool.remove() }, breaking);
  const legs = [await connect(pool), pool.takeIdle() ?? expect.unreachable()];
  const taken = await new Promise<unknown[]>((resolve) => {
    const told: unknown[] = [];
    const each = receiver({
      onUpstreamClosed: () => {
        told.push(pool.takeIdle());
        if (told.length === 2) resolve(told);
      },
    });
    for (const leg of legs) leg.sendHead(each, OUTGOING);
  });
  expect(taken).toEqual([null, null]);
  await expect.poll(() => pool.sessionCount).toBe(0);
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
