// Frames that no well-meaning peer sends, from either side: nothing of a malformed request reaches the dependency, no flood costs more than
// the connection that it comes on, and others are served meanwhile.
import { execFile } from 'node:child_process';
import { constants } from 'node:http2';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { type Bench, connect, dependencyPlan } from './testing/fixtures.ts';
import { answerOf, application, type Http2Dependency, scriptedDependency } from './testing/http2-calls.ts';
import { Flag, FrameType, fieldBlock, frame, framesOf, PREFACE, uint32 } from './testing/http2-frames.ts';
import { head, instead, type RawClient, REQUEST, rawClient as raw, without } from './testing/http2-raw-client.ts';
import { opened } from './testing/opened.ts';
import { startUpstream } from './testing/upstreams.ts';

const { bench: startBench, open } = opened();

async function opening(): Promise<{ server: Http2Dependency; bench: Bench }> {
  const server = await scriptedDependency();
  open.push(server);
  return { server, bench: await startBench(dependencyPlan({}), server.endpoint) };
}

function rawClient(port: number): RawClient {
  const client = raw(port);
  open.push(client);
  return client;
}

describe('a preface that breaks', () => {
  it.each(['PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n', 'PRI * HTTP/2.0\n\nSM\n\n', 'PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n'])(
    'is HTTP/2 with an error, and not HTTP/1.1: %j',
    async (preface) => {
      const { server, bench } = await opening();
      const client = connect(bench.port);
      open.push({ close: () => client.socket.destroy() });
      client.send(preface);
      const received = Buffer.from(await client.ended(10_000), 'latin1');
      // Its SETTINGS may be on their way already; nothing is said in a protocol that the application does not speak.
      expect(framesOf(received).map(({ type }) => type)).not.toContain(FrameType.headers);
      expect(received.toString('latin1')).not.toContain('HTTP/1.1');
      expect(server.heads).toBe(0);
      await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, clientConnections: 0 });
    },
  );
});

describe('a malformed request', () => {
  it.each<[string, readonly (readonly [string, string])[]]>([
    ['without a method', without(':method')],
    ['without a path', without(':path')],
    ['without a scheme', without(':scheme')],
    ['without any authority', without(':authority')],
    ['with two paths', [...REQUEST, [':path', '/other']]],
    ['with an unknown pseudo-header', [...REQUEST, [':protocol', 'websocket']]],
    ['with the pseudo-header of a response', [...REQUEST, [':status', '200']]],
    ['with a pseudo-header behind a field', [...without(':path'), ['a', 'b'], [':path', '/answer']]],
    ['with a field name in capitals', [...REQUEST, ['X-A', 'b']]],
    ['with a line end in the path', instead(':path', '/answer HTTP/1.1\r\nx-a: b\r\n')],
    ['with a space in the path', instead(':path', '/answer HTTP/1.1')],
    ['with a path that is none', instead(':path', 'answer')],
    ['with an absolute path', instead(':path', 'http://other/answer')],
    ['with a fragment', instead(':path', '/answer#a')],
    ['with a space in the method', instead(':method', 'GET /evil')],
    ['with a user in the authority', instead(':authority', 'user@payments.billing')],
    ['with another host than authority', [...REQUEST, ['host', 'other.test']]],
    ['with Connection', [...REQUEST, ['connection', 'close']]],
    ['with Transfer-Encoding', [...REQUEST, ['transfer-encoding', 'chunked']]],
    ['with Upgrade', [...REQUEST, ['upgrade', 'h2c']]],
    ['with Keep-Alive', [...REQUEST, ['keep-alive', 'timeout=5']]],
    ['with Proxy-Connection', [...REQUEST, ['proxy-connection', 'close']]],
    ['with TE that is not "trailers"', [...REQUEST, ['te', 'gzip']]],
    ['with two lengths', [...REQUEST, ['content-length', '0'], ['content-length', '1']]],
    ['with a length and nothing of it', [...REQUEST, ['content-length', '5']]],
    ['with a field that some take for the framing', [...REQUEST, ['content_length', '5']]],
    [
      'that is CONNECT',
      [
        [':method', 'CONNECT'],
        [':authority', 'other.test:25'],
      ],
    ],
  ])('%s reaches nobody', async (_name, fields) => {
    const { server, bench } = await opening();
    const client = rawClient(bench.port);
    client.send(head(fields));
    const answer = await client.until(({ stream, type }) => stream === 1 && type !== FrameType.windowUpdate);
    // Reset by the frame layer, or told by an answer.
    if (answer !== null) expect([FrameType.rstStream, FrameType.headers]).toContain(answer.type);
    expect(server.heads).toBe(0);
    await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, attempts: 0, timers: 0 });
  });

  it.each<[string, [string, string]]>([
    ['with a space in a field name', ['x a', 'b']],
    ['with a colon in a field name', ['x:a', 'b']],
    ['with a line end in a value', ['x-a', 'b\r\nx-c: d']],
    ['with a line feed in a value', ['x-a', 'b\nx-c: d']],
    ['with a zero byte in a value', ['x-a', 'b\0c']],
  ])('%s reaches nobody, and is answered', async (_name, field) => {
    const { server, bench } = await opening();
    const client = rawClient(bench.port);
    client.send(head([...REQUEST, field]));
    const answer = await client.until(({ stream, type }) => stream === 1 && type === FrameType.headers);
    expect(answer).not.toBeNull();
    expect(server.heads).toBe(0);
    client.socket.destroy();
  });

  it.each<[string, readonly (readonly [string, string])[]]>([
    ['without a path', without(':path')],
    ['with an empty path', instead(':path', '')],
    ['with two methods', [[':method', 'GET'], ...REQUEST]],
    ['with a pseudo-header behind a field', [...without(':path'), ['a', 'b'], [':path', '/answer']]],
    ['with a field name in capitals', [...REQUEST, ['X-A', 'b']]],
    ['with a field of a connection of HTTP/1.1', [...REQUEST, ['connection', 'keep-alive']]],
    ['with a length and nothing of it', [...REQUEST, ['content-length', '5']]],
  ])('%s is an error of its stream, as RFC 9113, 8.1.1, has it, and is counted', async (_name, fields) => {
    const { bench } = await opening();
    const client = rawClient(bench.port);
    client.send(head(fields));
    const answer = await client.until(({ stream, type }) => stream === 1 && type !== FrameType.windowUpdate);
    expect(answer).toMatchObject({ type: FrameType.rstStream, payload: uint32(constants.NGHTTP2_PROTOCOL_ERROR) });
    client.send(head(REQUEST, Flag.endStream | Flag.endHeaders, 3));
    expect(await client.until(({ stream, type }) => stream === 3 && type === FrameType.headers)).not.toBeNull();
    expect(await bench.metric('breakwater_requests_total', { reason: 'malformed' })).toBe(1);
    client.close();
  });

  it('whose content is longer or shorter than it says is not taken for a whole one', async () => {
    const { server, bench } = await opening();
    for (const [length, data] of [
      ['3', 'body'],
      ['5', 'body'],
    ] as const) {
      const client = rawClient(bench.port);
      const fields = [...instead(':method', 'POST'), ['content-length', length] as const];
      client.send(head(fields, Flag.endHeaders), frame(FrameType.data, Flag.endStream, 1, Buffer.from(data)));
      const answer = await client.until(({ stream, type }) => stream === 1 && type !== FrameType.windowUpdate);
      if (answer !== null) expect(answer.type).toBe(FrameType.rstStream);
      client.socket.destroy();
    }
    const answered = await bench.metric('breakwater_requests_total', { code: '2xx' });
    expect(answered).toBe(0);
    expect(server.heads).toBeLessThanOrEqual(2);
  });

  it('is told what is wrong with it, where its size is', async () => {
    const { bench } = await opening();
    const client = application(bench.port);
    open.push(client);
    const long = 'a'.repeat(9_000);
    expect(await client.call(`/${long}`)).toMatchObject({ status: 414, reason: 'target-too-long' });
    expect(await client.call('/', { a: long, b: long })).toMatchObject({ status: 431, reason: 'head-too-large' });
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`x-${index}`, 'a']));
    expect(await client.call('/', many)).toMatchObject({ status: 431, reason: 'head-too-large' });
    expect(await client.call('/answer')).toMatchObject({ status: 200 });
    expect(await bench.metric('breakwater_requests_total', { reason: 'head-too-large' })).toBe(2);
  });
});

/** What is sent for as long as the connection lasts; `nth` counts from 0. */
const floods: readonly [string, (nth: number) => Buffer][] = [
  [
    'CVE-2023-44487 rapid reset: streams that are reset at once',
    (nth) =>
      Buffer.concat([
        head(REQUEST, Flag.endStream | Flag.endHeaders, 2 * nth + 1),
        frame(FrameType.rstStream, 0, 2 * nth + 1, uint32(constants.NGHTTP2_CANCEL)),
      ]),
  ],
  [
    'CVE-2025-8671 MadeYouReset: streams that it is made to reset',
    (nth) =>
      Buffer.concat([
        head(REQUEST, Flag.endHeaders, 2 * nth + 1),
        frame(FrameType.windowUpdate, 0, 2 * nth + 1, uint32(0)),
      ]),
  ],
  ['malformed requests', (nth) => head(without(':path'), Flag.endStream | Flag.endHeaders, 2 * nth + 1)],
  [
    'CVE-2024-27316, CVE-2024-27983 CONTINUATION flood: a head without end',
    (nth) =>
      nth === 0 ? head(REQUEST, 0) : frame(FrameType.continuation, 0, 1, fieldBlock([[`x-${nth}`, 'a'.repeat(1_000)]])),
  ],
];

describe('a flood', () => {
  it.each(floods)(
    '%s: costs its own connection alone',
    async (_name, next) => {
      const { bench } = await opening();
      const other = application(bench.port);
      open.push(other);
      expect((await other.call('/answer')).status).toBe(200);
      const client = rawClient(bench.port);
      let nth = 0;
      const flooding = (async () => {
        for (let round = 0; round < 800 && !client.socket.destroyed; round++) {
          client.send(...Array.from({ length: 50 }, () => next(nth++)));
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      expect((await other.call('/answer')).status).toBe(200);
      await flooding;
      // Whatever the machine takes for it, it ends, and before all of them were sent: what bounds it are their numbers.
      await client.over;
      expect(nth).toBeLessThan(40_000);
      expect((await other.call('/answer')).status).toBe(200);
      await expect
        .poll(() => bench.plane.held(), { timeout: 5_000 })
        .toMatchObject({ requests: 0, attempts: 0, clientConnections: 1 });
    },
    300_000,
  );

  it('of streams beyond the limit is refused, and those within are served', async () => {
    const { bench } = await opening();
    const client = rawClient(bench.port);
    const heads = Array.from({ length: 1_030 }, (_, nth) =>
      head(instead(':path', '/hang'), Flag.endStream | Flag.endHeaders, 2 * nth + 1),
    );
    client.send(...heads);
    const refused = await client.until(({ type }) => type === FrameType.rstStream);
    expect(refused?.payload).toEqual(uint32(constants.NGHTTP2_REFUSED_STREAM));
    await expect.poll(() => bench.plane.held().requests).toBe(1_024);
    client.socket.destroy();
    await expect.poll(() => bench.plane.held(), { timeout: 5_000 }).toMatchObject({ requests: 0, attempts: 0 });
  }, 15_000);
});

const SETTINGS = frame(FrameType.settings, 0, 0);
const STATUS = (value: string, ...more: [string, string][]): Buffer => fieldBlock([[':status', value], ...more]);
const answerHead = (block: Buffer, flags: number = Flag.endStream | Flag.endHeaders): Buffer =>
  frame(FrameType.headers, flags, 1, block);

describe('a dependency that answers', () => {
  it.each<[string, Buffer]>([
    ['without a status', answerHead(fieldBlock([['a', 'b']]))],
    ['with a status that is none', answerHead(STATUS('2000'))],
    ['with 101', answerHead(STATUS('101'), Flag.endHeaders)],
    ['with a status above 599', answerHead(STATUS('999'))],
    ['with Connection', answerHead(STATUS('200', ['connection', 'close']))],
    ['with a length that it does not keep', answerHead(STATUS('200', ['content-length', '5']))],
    ['with what is no frame', Buffer.alloc(64, 0xff)],
    [
      'with a head of megabytes',
      Buffer.concat([
        answerHead(STATUS('200'), 0),
        ...Array.from({ length: 200 }, (_, n) =>
          frame(FrameType.continuation, 0, 1, fieldBlock([[`x-${n}`, 'a'.repeat(10_000)]])),
        ),
      ]),
    ],
    [
      'with 1xx without end',
      Buffer.concat(Array.from({ length: 1_100 }, () => answerHead(STATUS('103', ['a', 'b']), Flag.endHeaders))),
    ],
    ['with data before its head', frame(FrameType.data, Flag.endStream, 1, Buffer.from('data'))],
  ])('%s is not passed on', async (_name, bytes) => {
    const upstream = await startUpstream((received, socket) => {
      const sent = framesOf(Buffer.from(received, 'latin1')).some(({ type }) => type === FrameType.headers);
      if (received.length <= PREFACE.length) return;
      if (sent) socket.write(bytes);
      else socket.write(SETTINGS);
    });
    open.push(upstream);
    const timeouts = { requestMs: 0, attemptMs: 2_000, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 };
    const bench = await startBench(dependencyPlan({ timeouts }), upstream.endpoint);
    const client = application(bench.port);
    open.push(client);
    const startedMs = systemClock.monotonicMs();
    const got = await client.call('/');
    expect(got.status).toBe(502);
    expect(['invalid-response', 'reset']).toContain(got.reason);
    expect(systemClock.monotonicMs() - startedMs).toBeLessThan(1_900);
    await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, attempts: 0 });
  });
});

describe('a dependency that takes leave in its greeting', () => {
  it.each([
    ['in order', constants.NGHTTP2_NO_ERROR],
    ['for an error', constants.NGHTTP2_ENHANCE_YOUR_CALM],
  ])('%s, has taken nothing, and the next connection serves', async (_how, code) => {
    const server = await startUpstream(
      (received, socket, nth) => {
        if (nth === 0 || !framesOf(Buffer.from(received, 'latin1')).some(({ type }) => type === FrameType.headers))
          return;
        socket.write(answerHead(STATUS('200')));
      },
      (socket, nth) =>
        socket.write(
          nth > 0
            ? SETTINGS
            : Buffer.concat([SETTINGS, frame(FrameType.goaway, 0, 0, Buffer.concat([uint32(0), uint32(code)]))]),
        ),
    );
    open.push(server);
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    const client = application(bench.port);
    open.push(client);
    expect(await client.call('/')).toMatchObject({ status: 200 });
    expect(server.connections).toBe(2);
    await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, attempts: 0 });
  });
});

describe('a dependency that answers an upload in its middle', () => {
  it('by an answer that ends and is none, is cut off alone', async () => {
    const server = await startUpstream(
      (received, socket) => {
        const frames = framesOf(Buffer.from(received, 'latin1'));
        if (frames.filter(({ type }) => type === FrameType.data).length !== 1) return;
        socket.write(
          Buffer.concat([
            answerHead(STATUS('200'), Flag.endHeaders),
            frame(FrameType.data, 0, 1, Buffer.from('data')),
            // Trailers that no answer may have, though the library lets them pass.
            answerHead(fieldBlock([['content_length', '5']])),
          ]),
        );
      },
      (socket) => socket.write(SETTINGS),
    );
    open.push(server);
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    const client = application(bench.port);
    open.push(client);
    const stream = client.request('/', { ':method': 'POST' });
    const answered = answerOf(stream);
    stream.write('the beginning of it');
    expect((await answered).code).toBe(constants.NGHTTP2_INTERNAL_ERROR);
    await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, attempts: 0 });
  });

  it('and never takes the rest of it, has its stream ended all the same', async () => {
    const typesOf = (received: string) => framesOf(Buffer.from(received, 'latin1')).map(({ type }) => type);
    let answered = false;
    const server = await startUpstream(
      (received, socket) => {
        if (answered || !typesOf(received).includes(FrameType.data)) return;
        answered = true;
        socket.write(answerHead(STATUS('200')));
      },
      // A window of ten bytes (SETTINGS_INITIAL_WINDOW_SIZE).
      (socket) => socket.write(frame(FrameType.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(10)]))),
    );
    open.push(server);
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    const client = application(bench.port);
    open.push(client);
    expect((await client.call('/', { ':method': 'POST' }, Buffer.alloc(1_000))).status).toBe(200);
    await expect.poll(() => typesOf(server.received[0] ?? '')).toContain(FrameType.rstStream);
    await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, attempts: 0 });
  });
});

describe('a peer that takes nothing more, and is gone in the middle of a field section', () => {
  it.each(['application', 'dependency'])(
    'is the end of its connection alone, whatever the collector finds first: %s',
    async (side) => {
      const program = `${import.meta.dirname}/testing/http2-cut-fields.ts`;
      const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', program, side]);
      expect(JSON.parse(stdout)).toMatchObject({ requests: 0, attempts: 0, timers: 0 });
    },
    120_000,
  );
});
