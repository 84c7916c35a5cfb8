// Floods of frames that come from a dependency: each costs its own connection alone and is bounded, what is asked on it ends in one way, and other
// dependencies and other connections are served meanwhile. Those of applications are in http2-hostile.test.ts and http2-attacks.test.ts.
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type Bench, dependencyPlan, workloadPlan } from './testing/fixtures.ts';
import { answerOf, application, type Http2Application, scriptedDependency } from './testing/http2-calls.ts';
import { Flag, FrameType, fieldBlock, frame, framesOf, uint32 } from './testing/http2-frames.ts';
import { opened } from './testing/opened.ts';
import type { Upstream } from './testing/upstreams.ts';

const { bench: startBench, open, upstream: startUpstream } = opened();
/** No machine is so slow; nothing is judged by time. */
const FAR_AWAY = { timeout: 120_000 };
const SETTINGS = frame(FrameType.settings, 0, 0);
const MOST_FRAMES = 50_000;
const AT_ONCE = 500;
const MOST_BYTES = 64 * 1024 * 1024;

const fields = (...list: [string, string][]): Buffer => fieldBlock(list);
const REQUEST = fields([':method', 'GET'], [':scheme', 'http'], [':authority', 'a'], [':path', '/']);
const HEAD = frame(FrameType.headers, Flag.endHeaders, 1, fields([':status', '200']));
const ANSWER = frame(FrameType.headers, Flag.endHeaders | Flag.endStream, 1, fields([':status', '200']));

/** What stands before the flood, and each of its frames; `nth` counts from 0. */
interface Flood {
  first?: Buffer;
  next: (nth: number) => Buffer;
}

/** For each of them something would be done, or kept. */
const ENDED: readonly [string, Flood][] = [
  ['CVE-2019-9512 ping flood', { next: () => frame(FrameType.ping, 0, 0, Buffer.alloc(8)) }],
  ['CVE-2019-9515 settings flood', { next: () => SETTINGS }],
  ['CVE-2019-9518 empty frames of data', { first: HEAD, next: () => frame(FrameType.data, 0, 1) }],
  [
    'CVE-2024-27316 CONTINUATION flood: an answer whose head does not end',
    {
      first: frame(FrameType.headers, 0, 1, fields([':status', '200'])),
      next: (nth) => frame(FrameType.continuation, 0, 1, fields([`x-${nth}`, 'a'.repeat(1_000)])),
    },
  ],
  [
    'GOAWAY again and again',
    {
      next: () =>
        frame(FrameType.goaway, 0, 0, Buffer.concat([uint32(0x7fffffff), uint32(constants.NGHTTP2_NO_ERROR)])),
    },
  ],
  ['1xx storm', { next: () => frame(FrameType.headers, Flag.endHeaders, 1, fields([':status', '103'], ['a', 'b'])) }],
  ['CVE-2019-9513 changes of priority', { next: () => frame(2, 0, 1, Buffer.alloc(5)) }],
  ['frames of no known type', { next: () => frame(0xfa, 0, 1, Buffer.alloc(8)) }],
  [
    'PUSH_PROMISE of a dependency that does not heed our SETTINGS',
    { next: (nth) => frame(5, Flag.endHeaders, 1, Buffer.concat([uint32(2 * nth + 2), REQUEST])) },
  ],
  ['streams that nobody began are reset', { next: (nth) => frame(FrameType.rstStream, 0, 2 * nth + 3, uint32(8)) }],
];
/** Nothing is due for them, nor kept: the answer still comes behind them. */
const HARMLESS: readonly [string, Flood][] = [
  ['windows that grow by one byte', { next: () => frame(FrameType.windowUpdate, 0, 0, uint32(1)) }],
];

interface Attacked {
  bench: Bench;
  hostile: Upstream;
  /** Of the hostile dependency. */
  caller: Http2Application;
  /** Of another one. */
  other: Http2Application;
  /** Frames that were sent. */
  sent: () => number;
  /** Connections of the flood that the sidecar has ended. */
  ended: () => number;
}

/** The first connection floods as soon as it is asked something; those behind it answer at once. */
async function attacked({ first, next }: Flood, last: Buffer | null): Promise<Attacked> {
  const count = { sent: 0, ended: 0 };
  const flooding = new WeakSet<Socket>();
  const flood = async (socket: Socket): Promise<void> => {
    socket.on('close', () => count.ended++);
    if (first) socket.write(first);
    while (count.sent < MOST_FRAMES && !socket.destroyed) {
      const taken = socket.write(Buffer.concat(Array.from({ length: AT_ONCE }, () => next(count.sent++))));
      await new Promise<void>((resolve) =>
        taken || socket.destroyed ? void setImmediate(resolve) : onceFree(socket, resolve),
      );
    }
    if (last !== null) socket.write(last);
  };
  const hostile = await startUpstream(
    (received, socket, connection) => {
      if (flooding.has(socket) || !asked(received)) return;
      flooding.add(socket);
      if (connection === 0) void flood(socket);
      else socket.write(ANSWER);
    },
    (socket) => socket.write(SETTINGS),
  );
  const server = await scriptedDependency();
  open.push(server);
  const bench = await startBench(dependencyPlan({}), hostile.endpoint);
  const names = { id: 'shop/checkout/replica', name: 'replica', endpointsKey: 'billing/replica:80' };
  bench.plane.applyPlan(workloadPlan(dependencyPlan({}), dependencyPlan({}, names)));
  bench.plane.applyEndpointsUpdate([{ key: names.endpointsKey, endpoints: [server.endpoint] }], []);
  await expect.poll(() => bench.plane.addresses()['replica'], FAR_AWAY).toBeDefined();
  const caller = application(bench.port);
  const other = application(Number(bench.plane.addresses()['replica']?.split(':')[1]));
  open.push(caller, other);
  expect(await statusOf(other, '/answer')).toBe(200);
  return { bench, hostile, caller, other, sent: () => count.sent, ended: () => count.ended };
}

const statusOf = async (caller: Http2Application, path: string): Promise<number> =>
  (await answerOf(caller.request(path), FAR_AWAY.timeout)).status;

const asked = (received: string): boolean =>
  framesOf(Buffer.from(received, 'latin1')).some(({ type }) => type === FrameType.headers);

function onceFree(socket: Socket, then: () => void): void {
  socket.once('drain', then);
  socket.once('close', then);
}

async function unharmed({ bench, caller, other }: Attacked): Promise<void> {
  expect(await statusOf(other, '/answer')).toBe(200);
  // The same application goes on with the same dependency, on another connection to it.
  expect(await statusOf(caller, '/')).toBe(200);
  await expect
    .poll(() => bench.plane.held(), FAR_AWAY)
    .toMatchObject({ requests: 0, attempts: 0, replayBytes: 0, timers: 0, clientConnections: 2 });
}

const heldBytes = (): number => {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

describe('a flood of a dependency', () => {
  it.each(ENDED)(
    '%s: costs its own connection alone, and ends what was asked on it',
    async (_name, flood) => {
      const all = await attacked(flood, null);
      const before = heldBytes();
      const asking = answerOf(all.caller.request('/'), FAR_AWAY.timeout);
      expect(await statusOf(all.other, '/answer')).toBe(200);
      const { status, reason, code } = await asking;
      if (status === 502) expect(['reset', 'invalid-response']).toContain(reason);
      else expect([status, code]).toEqual([200, constants.NGHTTP2_INTERNAL_ERROR]);
      await expect.poll(all.ended, FAR_AWAY).toBe(1);
      expect(all.sent()).toBeLessThan(MOST_FRAMES);
      expect(heldBytes() - before).toBeLessThan(MOST_BYTES);
      await unharmed(all);
    },
    FAR_AWAY.timeout,
  );

  it.each(HARMLESS)(
    '%s: keeps nothing, and the answer behind it is passed on',
    async (_name, flood) => {
      const all = await attacked(flood, ANSWER);
      const before = heldBytes();
      const asking = answerOf(all.caller.request('/'), FAR_AWAY.timeout);
      expect(await statusOf(all.other, '/answer')).toBe(200);
      expect((await asking).status).toBe(200);
      expect(all.sent()).toBe(MOST_FRAMES);
      expect(heldBytes() - before).toBeLessThan(MOST_BYTES);
    },
    FAR_AWAY.timeout,
  );

  it(
    'that resets every stream: each request ends once, and none is asked without end',
    async () => {
      let streams = 0;
      const seen = new WeakMap<Socket, number>();
      const server = await startUpstream(
        (received, socket) => {
          const heads = framesOf(Buffer.from(received, 'latin1')).filter(({ type }) => type === FrameType.headers);
          for (const { stream } of heads.slice(seen.get(socket) ?? 0)) {
            streams++;
            socket.write(frame(FrameType.rstStream, 0, stream, uint32(constants.NGHTTP2_REFUSED_STREAM)));
          }
          seen.set(socket, heads.length);
        },
        (socket) => socket.write(SETTINGS),
      );
      const bench = await startBench(dependencyPlan({}), server.endpoint);
      const caller = application(bench.port);
      open.push(caller);
      for (let left = 10; left > 0; left--) {
        const calls = Array.from({ length: 20 }, () => answerOf(caller.request('/'), FAR_AWAY.timeout));
        const answers = await Promise.all(calls);
        for (const { status, reason } of answers) expect([status, reason]).toEqual([502, 'reset']);
      }
      // Once more than it was asked, since a stream that is refused was not executed.
      expect(streams).toBe(2 * 200);
      await expect.poll(() => bench.plane.held(), FAR_AWAY).toMatchObject({ requests: 0, attempts: 0, timers: 0 });
    },
    FAR_AWAY.timeout,
  );
});

describe('a dependency that leaves by GOAWAY, and then breaks its connection', () => {
  const LEAVE = frame(FrameType.goaway, 0, 0, Buffer.concat([uint32(0x7fffffff), uint32(0)]));
  it.each<[string, Buffer]>([
    ['a CONTINUATION of nothing', frame(FrameType.continuation, Flag.endHeaders, 3)],
    ['content of the connection', frame(FrameType.data, 0, 0, Buffer.from('data'))],
    ['a head that no table has', frame(FrameType.headers, Flag.endHeaders, 1, Buffer.alloc(12, 0xff))],
    ['a frame that is too long', frame(FrameType.data, 0, 1, Buffer.alloc(17_000))],
  ])(
    'ends what was asked on it: %s',
    async (_name, bytes) => {
      const answered = new WeakSet<Socket>();
      const server = await startUpstream(
        (received, socket) => {
          if (answered.has(socket) || !asked(received)) return;
          answered.add(socket);
          socket.write(Buffer.concat([LEAVE, bytes]));
        },
        (socket) => socket.write(SETTINGS),
      );
      const bench = await startBench(dependencyPlan({}), server.endpoint);
      const caller = application(bench.port);
      open.push(caller);
      expect(await answerOf(caller.request('/'), FAR_AWAY.timeout)).toMatchObject({ status: 502, reason: 'reset' });
      await expect.poll(() => bench.plane.held(), FAR_AWAY).toMatchObject({ requests: 0, attempts: 0, timers: 0 });
    },
    FAR_AWAY.timeout,
  );
});
