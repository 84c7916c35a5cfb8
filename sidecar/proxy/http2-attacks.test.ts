// Attacks on HTTP/2 that are known by a number, beside the floods of http2-hostile.test.ts: none costs more than the connection it comes on, and
// another application is served meanwhile. docs/wire.md has the list.
import { constants } from 'node:http2';
import { describe, expect, it } from 'vitest';
import { type Bench, dependencyPlan } from './testing/fixtures.ts';
import {
  answerOf,
  application,
  dependency,
  type Fields,
  type Http2Application,
  scriptedDependency,
} from './testing/http2-calls.ts';
import { Flag, FrameType, fieldBlock, frame, uint32 } from './testing/http2-frames.ts';
import { head, instead, type RawClient, REQUEST, rawClient } from './testing/http2-raw-client.ts';
import { opened } from './testing/opened.ts';

const { bench: startBench, open } = opened();

async function attacked(settings?: Buffer): Promise<{ bench: Bench; attacker: RawClient; other: Http2Application }> {
  const server = await scriptedDependency();
  open.push(server);
  const bench = await startBench(dependencyPlan({}), server.endpoint);
  const other = application(bench.port);
  const attacker = rawClient(bench.port, settings);
  open.push(other, attacker);
  expect((await other.call('/answer')).status).toBe(200);
  return { bench, attacker, other };
}

/** Others are served, and of the attack nothing is left. */
async function unharmed({ bench, attacker, other }: { bench: Bench; attacker: RawClient; other: Http2Application }) {
  expect((await other.call('/answer')).status).toBe(200);
  attacker.socket.destroy();
  await expect
    .poll(() => bench.plane.held(), { timeout: 5_000 })
    .toMatchObject({ requests: 0, attempts: 0, replayBytes: 0, clientConnections: 1 });
}

/** Sends until the connection is over, or it was `rounds` times. */
async function flood(attacker: RawClient, bytes: Buffer, rounds: number): Promise<void> {
  const hundred = Array.from({ length: 100 }, () => bytes);
  for (let round = 0; round < rounds && !attacker.socket.destroyed; round++) {
    attacker.send(...hundred);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('frames that want an answer', () => {
  it.each([
    ['CVE-2019-9512 ping flood', frame(FrameType.ping, 0, 0, Buffer.alloc(8))],
    [
      'CVE-2019-9515 settings flood',
      frame(FrameType.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(65_535)])),
    ],
  ])(
    '%s: ends the connection, with a GOAWAY that says why',
    async (_name, bytes) => {
      const all = await attacked();
      const { attacker } = all;
      await flood(attacker, bytes, 2_000);
      await attacker.ended();
      const goaway = attacker.frames().find(({ type }) => type === FrameType.goaway);
      expect(goaway?.payload.subarray(4, 8)).toEqual(uint32(constants.NGHTTP2_ENHANCE_YOUR_CALM));
      await unharmed(all);
    },
    30_000,
  );

  it('are not counted against a caller whose data move', async () => {
    const { bench, other } = await attacked();
    const ping = () =>
      new Promise<boolean>((resolve) => other.session.ping((error) => resolve(error === null)) || resolve(false));
    for (let nth = 0; nth < 1_500; nth++) {
      expect(await ping()).toBe(true);
      if (nth % 2 === 0) expect((await other.call('/answer')).status).toBe(200);
    }
    expect(bench.plane.held().clientConnections).toBe(2);
  }, 30_000);
});

describe('frames that want none', () => {
  it.each([
    ['CVE-2019-9518 empty frames of data', frame(FrameType.data, 0, 1)],
    ['CVE-2019-9513 changes of priority', frame(2, 0, 1, Buffer.alloc(5))],
    ['windows that grow by one byte', frame(FrameType.windowUpdate, 0, 0, uint32(1))],
    ['frames of no known type', frame(0xfa, 0, 1, Buffer.alloc(8))],
  ])(
    '%s: keep nothing, and others are served',
    async (_name, bytes) => {
      const all = await attacked();
      all.attacker.send(head(instead(':method', 'POST'), Flag.endHeaders));
      await flood(all.attacker, bytes, 200);
      await unharmed(all);
    },
    30_000,
  );
});

describe('what would grow in memory', () => {
  it('CVE-2016-6581 HPACK bomb: a field that is named ten thousand times by its index is not kept', async () => {
    const all = await attacked();
    const { attacker } = all;
    const value = Buffer.alloc(4_000, 'a');
    // Put into the table once (RFC 7541, 6.2.1), and then named by one byte each time (6.1): 40 MB in 14 KB.
    const big = Buffer.concat([Buffer.from([0x40, 1]), Buffer.from('x'), Buffer.from([0x7f, 0xa1, 0x1e]), value]);
    const block = Buffer.concat([fieldBlock(REQUEST), big, Buffer.alloc(10_000, 0xbe)]);
    const before = process.memoryUsage();
    for (let stream = 1; stream < 41 && !attacker.socket.destroyed; stream += 2)
      attacker.send(frame(FrameType.headers, Flag.endStream | Flag.endHeaders, stream, block));
    const answer = await attacker.until(({ type, stream }) => stream === 1 && type !== FrameType.windowUpdate);
    expect(answer === null || answer.type === FrameType.rstStream).toBe(true);
    const { heapUsed, external } = process.memoryUsage();
    expect(heapUsed + external - before.heapUsed - before.external).toBeLessThan(200 * 1024 * 1024);
    expect(await all.bench.metric('breakwater_attempts_total')).toBe(1);
    await unharmed(all);
  });

  it('CVE-2019-9517 window stall: answers that nobody takes wait at the dependency', async () => {
    const streams = 50;
    const bytes = 8 * 1024 * 1024;
    let written = 0;
    const server = await dependency((stream, fields) => {
      if (fields[':path'] === '/answer') {
        stream.respond({ ':status': 200 });
        stream.end('ok');
        return;
      }
      stream.respond({ ':status': 200, 'content-length': bytes });
      const chunk = Buffer.alloc(65_536);
      let left = bytes;
      const write = (): void => {
        while (left > 0 && !stream.destroyed) {
          left -= chunk.length;
          written += chunk.length;
          if (stream.write(chunk)) continue;
          stream.once('drain', write);
          return;
        }
      };
      write();
    });
    open.push(server);
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    const other = application(bench.port);
    // A window of nothing for each stream (SETTINGS_INITIAL_WINDOW_SIZE).
    const attacker = rawClient(bench.port, Buffer.concat([Buffer.from([0, 4]), uint32(0)]));
    open.push(other, attacker);
    for (let nth = 0; nth < streams; nth++)
      attacker.send(head(instead(':path', '/big'), Flag.endStream | Flag.endHeaders, 2 * nth + 1));
    await expect.poll(() => attacker.frames().filter(({ type }) => type === FrameType.headers).length).toBe(streams);
    let before = -1;
    const stands = () => {
      const same = written === before;
      before = written;
      return same;
    };
    await expect.poll(stands, { interval: 200, timeout: 10_000 }).toBe(true);
    expect(attacker.frames().filter(({ type, payload }) => type === FrameType.data && payload.length > 0)).toEqual([]);
    // A window of ours and what the dependency itself holds back, for each of them: a twentieth of what there is.
    expect(written).toBeLessThan((streams * bytes) / 16);
    await unharmed({ bench, attacker, other });
  }, 30_000);

  it('CVE-2026-21714: a window that overflows ends its connection, and leaves no session behind', async () => {
    const all = await attacked();
    for (let nth = 0; nth < 3; nth++) all.attacker.send(frame(FrameType.windowUpdate, 0, 0, uint32(0x7fffffff)));
    await all.attacker.ended();
    await unharmed(all);
  });
});

describe('names', () => {
  it('CVE-2026-21710, CVE-2026-21717: that objects and hash tables choke on are names like all others', async () => {
    const { attacker, bench } = await attacked();
    const names = ['__proto__', 'constructor', ...Array.from({ length: 80 }, (_, nth) => String(nth))];
    attacker.send(head([...REQUEST, ...names.map((name) => [name, 'x'] as const)]));
    const answer = await attacker.until(({ stream, type }) => stream === 1 && type !== FrameType.windowUpdate);
    expect(answer?.type).toBe(FrameType.headers);
    expect(await bench.metric('breakwater_requests_total', { code: '2xx' })).toBeGreaterThanOrEqual(1);
  });

  it('CVE-2026-21710: and so they are in a 1xx, and behind the content of either side', async () => {
    // Only JSON makes "__proto__" a field of an object.
    const fields = JSON.parse('{"__proto__":"1","constructor":"2"}') as Fields;
    const got: string[][] = [];
    const server = await dependency((stream) => {
      stream.on('trailers', (_fields, _flags, raw: string[]) => got.push(raw));
      stream.additionalHeaders({ ':status': 103, ...fields });
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers(fields));
      stream.pipe(stream);
    });
    open.push(server);
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    const client = application(bench.port);
    open.push(client);
    const stream = client.request('/', { ':method': 'POST' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(fields));
    stream.on('headers', (_fields, _flags, raw: string[]) => got.push(raw.slice(2)));
    stream.on('trailers', (_fields, _flags, raw: string[]) => got.push(raw));
    stream.end('body');
    expect(await answerOf(stream)).toMatchObject({ status: 200, informational: [103], body: 'body', code: 0 });
    expect(got).toEqual(Array.from({ length: 3 }, () => ['__proto__', '1', 'constructor', '2']));
  });
});
