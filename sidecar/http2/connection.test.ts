// What a connection makes of what its peer does, frame by frame (RFC 9113).
import { describe, expect, it } from 'vitest';
import { Flag, FrameType, fieldBlock, frame, framesOf, PREFACE, uint32 } from '../proxy/testing/http2-frames.ts';
import { ErrorCode } from './error-code.ts';
import { connected, OneSide, Recorder } from './testing/one-side.ts';

const SETTINGS = frame(FrameType.settings, 0, 0);
const REQUEST = [':method', 'GET', ':scheme', 'http', ':authority', 'shop', ':path', '/'];
const REQUEST_BLOCK = fieldBlock([
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'shop'],
  [':path', '/'],
]);
const ANSWER_BLOCK = fieldBlock([[':status', '200']]);

const request = (stream: number, flags = Flag.endHeaders | Flag.endStream) =>
  frame(FrameType.headers, flags, stream, REQUEST_BLOCK);
const answer = (stream: number, flags = Flag.endHeaders | Flag.endStream) =>
  frame(FrameType.headers, flags, stream, ANSWER_BLOCK);
const data = (stream: number, content: string, flags = 0) =>
  frame(FrameType.data, flags, stream, Buffer.from(content, 'latin1'));
const reset = (stream: number, code: number) => frame(FrameType.rstStream, 0, stream, uint32(code));
const windowUpdate = (stream: number, bytes: number) => frame(FrameType.windowUpdate, 0, stream, uint32(bytes));
const settings = (...pairs: [number, number][]) =>
  frame(
    FrameType.settings,
    0,
    0,
    Buffer.concat(pairs.map(([setting, value]) => Buffer.concat([Buffer.from([0, setting]), uint32(value)]))),
  );
const goAway = (last: number, code = 0) => frame(FrameType.goaway, 0, 0, Buffer.concat([uint32(last), uint32(code)]));
const INITIAL_WINDOW = 4;

function aServer(): OneSide {
  const server = new OneSide(true);
  server.receive(PREFACE, SETTINGS);
  server.take();
  return server;
}

function aClient(): OneSide {
  const client = new OneSide(false);
  client.receive(SETTINGS);
  client.take();
  return client;
}

function ask(client: OneSide, ended = true): { owner: Recorder; stream: ReturnType<OneSide['connection']['open']> } {
  const stream = client.connection.open();
  const owner = new Recorder();
  stream.owner = owner;
  stream.sendFields(REQUEST, ended);
  return { owner, stream };
}

const said = (side: OneSide, type: number) => framesOf(side.take()).filter((each) => each.type === type);

describe('the end of a connection', () => {
  it('is told to each stream once, and takes no stream that is opened while it is told', () => {
    const client = aClient();
    const owner = new Recorder();
    const first = client.connection.open();
    const second = new Recorder();
    first.owner = Object.assign(owner, {
      resetCame(code: number) {
        owner.resets.push(code);
        expect(client.connection.isOver).toBe(true);
      },
    });
    first.sendFields(REQUEST, true);
    client.connection.open().owner = second;
    client.receive(frame(FrameType.settings, 0, 1));
    expect(owner.resets).toHaveLength(1);
    expect(second.resets).toHaveLength(1);
    expect(client.failures).toEqual([ErrorCode.ProtocolError]);
    expect(client.connection.streamCount).toBe(0);
  });

  it('says no higher last stream than it said before (RFC 9113, 6.8)', () => {
    const server = aServer();
    server.receive(request(1));
    server.connection.close();
    server.receive(request(3), frame(FrameType.data, 0, 0));
    const lasts = said(server, FrameType.goaway).map(({ payload }) => payload.readUInt32BE(0));
    expect(lasts).toEqual([1, 1]);
  });
});

describe('what comes of a stream that was reset', () => {
  it('is no error, however many were reset since', () => {
    const client = aClient();
    const RESETS = 3_000;
    for (let nth = 0; nth < RESETS; nth++) ask(client).stream.reset(ErrorCode.Cancel);
    for (let nth = 0; nth < RESETS; nth++)
      client.receive(answer(2 * nth + 1, Flag.endHeaders), data(2 * nth + 1, 'a', Flag.endStream));
    expect(client.failures).toEqual([]);
  });

  it('is no flood, where it is what a server answers that has not read of the resets', () => {
    const client = aClient();
    client.controlFrames = 10;
    for (let nth = 0; nth < 100; nth++) ask(client).stream.reset(ErrorCode.Cancel);
    for (let nth = 0; nth < 100; nth++) client.receive(answer(2 * nth + 1, Flag.endHeaders), answer(2 * nth + 1));
    expect(client.failures).toEqual([]);
  });

  it('may be a reset as well, as of two sides with the same deadline', () => {
    const client = aClient();
    client.controlFrames = 10;
    for (let nth = 0; nth < 100; nth++) ask(client).stream.reset(ErrorCode.Cancel);
    for (let nth = 0; nth < 100; nth++) client.receive(reset(2 * nth + 1, ErrorCode.Cancel));
    expect(client.failures).toEqual([]);
  });

  it('is a flood, where it is more than a server has to say', () => {
    const client = aClient();
    client.controlFrames = 10;
    ask(client).stream.reset(ErrorCode.Cancel);
    for (let nth = 0; nth < 100; nth++) client.receive(answer(1, Flag.endHeaders));
    expect(client.failures).toEqual([ErrorCode.EnhanceYourCalm]);
  });
});

describe('a stream that both sides have ended, and that is still read', () => {
  it('is not reset on the wire when its reader leaves it', () => {
    const client = aClient();
    const { stream, owner } = ask(client);
    stream.pause();
    client.receive(answer(1, Flag.endHeaders), data(1, 'content', Flag.endStream));
    expect(client.connection.streamCount).toBe(0);
    client.take();
    stream.reset(ErrorCode.Cancel);
    expect(said(client, FrameType.rstStream)).toEqual([]);
    stream.resume();
    expect(owner.content).toBe('');
    expect(owner.ends).toBe(0);
    expect(client.over).toBe(1);
  });
});

describe('a flood of WINDOW_UPDATE', () => {
  it.each([
    ['of the connection', 0],
    ['of one of the streams', 1],
  ])('%s costs nothing for each stream that waits for a window of its own', (_of, id) => {
    const server = new OneSide(true);
    server.receive(PREFACE, settings([INITIAL_WINDOW, 0]));
    const STREAMS = 1_000;
    for (let nth = 0; nth < STREAMS; nth++) server.receive(request(2 * nth + 1));
    let asked = 0;
    for (const { stream } of server.began) {
      stream.sendFields([':status', '200'], false);
      stream.sendData(Buffer.from('content'), 0, 7);
      const send = stream.sendWaiting.bind(stream);
      stream.sendWaiting = () => {
        asked++;
        return send();
      };
    }
    for (let nth = 0; nth < 100; nth++) server.receive(windowUpdate(id, 1));
    expect(asked).toBeLessThanOrEqual(100);
    const content = said(server, FrameType.data).map(({ payload }) => payload.toString('latin1'));
    expect(content.join('')).toBe(id === 0 ? '' : 'content');
  });
});

describe('an answer that its application does not take', () => {
  it('is bounded with all others of the connection: no stream begins until some of it has left', () => {
    const server = new OneSide(true);
    server.receive(PREFACE, settings([INITIAL_WINDOW, 0]));
    const content = Buffer.alloc(1_048_576, 'a');
    const MEBIBYTES = 17;
    for (let nth = 0; nth < MEBIBYTES; nth++) {
      server.receive(request(2 * nth + 1));
      const { stream } = server.began[nth] ?? expect.unreachable();
      stream.sendFields([':status', '200'], false);
      stream.sendData(content, 0, content.length);
      expect(stream.blocked).toBe(true);
    }
    server.take();
    server.receive(request(101));
    expect(said(server, FrameType.rstStream)).toEqual([
      { type: FrameType.rstStream, flags: 0, stream: 101, payload: uint32(ErrorCode.RefusedStream) },
    ]);
    server.receive(reset(1, ErrorCode.Cancel), reset(3, ErrorCode.Cancel), request(103));
    expect(server.began).toHaveLength(MEBIBYTES + 1);
  });
});

describe('GOAWAY of the server', () => {
  it('tells the streams that it has not taken, and no other', () => {
    const client = aClient();
    const asked = [ask(client), ask(client), ask(client)];
    client.receive(goAway(3), answer(3), answer(1));
    expect(asked.map(({ owner }) => owner.resets)).toEqual([[], [], [ErrorCode.RefusedStream]]);
    expect(asked.map(({ owner }) => owner.ends)).toEqual([1, 1, 0]);
    expect(client.goAways).toEqual([3]);
    expect(client.over).toBe(3);
    expect(client.failures).toEqual([]);
  });
});

describe('windows', () => {
  const content = Buffer.alloc(100_000, 'a');
  const sentBytes = (side: OneSide) =>
    said(side, FrameType.data).map(({ stream, payload }) => [stream, payload.length] as const);
  const total = (sent: readonly (readonly [number, number])[]) => sent.reduce((sum, [, bytes]) => sum + bytes, 0);

  it('of the connection bound all streams together, and open for all in turn', () => {
    const server = aServer();
    server.receive(request(1), request(3), windowUpdate(1, 100_000), windowUpdate(3, 100_000));
    for (const { stream } of server.began) {
      stream.sendFields([':status', '200'], false);
      stream.sendData(content, 0, 60_000);
    }
    expect(total(sentBytes(server))).toBe(65_535);
    server.receive(windowUpdate(0, 100));
    expect(sentBytes(server)).toEqual([[3, 100]]);
    server.began[0]?.stream.sendData(content, 0, 40_000);
    server.receive(windowUpdate(0, 60_000));
    const sent = sentBytes(server);
    expect(total(sent)).toBe(60_000);
    expect(sent.slice(0, 4).map(([stream]) => stream)).toEqual([3, 1, 3, 1]);
  });

  it('may be below zero, where the peer makes them smaller after it has let more be sent', () => {
    const server = aServer();
    server.receive(request(1));
    const { stream } = server.began[0] ?? expect.unreachable();
    stream.sendFields([':status', '200'], false);
    stream.sendData(content, 0, 50_000);
    server.receive(settings([INITIAL_WINDOW, 10_000]), windowUpdate(0, 1_000_000));
    expect(total(sentBytes(server))).toBe(50_000);
    stream.sendData(content, 0, 100);
    server.receive(windowUpdate(1, 40_000));
    expect(sentBytes(server)).toEqual([]);
    server.receive(windowUpdate(1, 1));
    expect(sentBytes(server)).toEqual([[1, 1]]);
    server.receive(settings([INITIAL_WINDOW, 10_099]));
    expect(sentBytes(server)).toEqual([[1, 99]]);
  });

  it.each([
    ['the connection', [windowUpdate(0, 2_147_483_647)]],
    ['a stream, by SETTINGS', [windowUpdate(1, 2_147_000_000), settings([INITIAL_WINDOW, 2_147_483_647])]],
  ])('may not be wider than there can be: that ends the connection for %s', (_of, frames) => {
    const server = aServer();
    server.receive(request(1), ...frames);
    expect(server.failures).toEqual([ErrorCode.FlowControlError]);
  });

  it('may not be wider than there can be: that ends the stream alone for one of its own', () => {
    const server = aServer();
    server.receive(request(1), windowUpdate(1, 2_147_483_647), request(3));
    expect(server.began.map(({ owner }) => owner.resets)).toEqual([[ErrorCode.FlowControlError], []]);
    expect(server.failures).toEqual([]);
  });

  it('of the connection stay closed where too much waits for its readers, until some of that is read', () => {
    const client = new OneSide(false, 1_000_000);
    client.receive(SETTINGS);
    const waiting = Array.from({ length: 20 }, () => ask(client));
    let room = 1_048_576;
    const takeRoom = () => {
      for (const { stream, payload } of said(client, FrameType.windowUpdate))
        if (stream === 0) room += payload.readUInt32BE(0);
    };
    client.take();
    const piece = data(0, 'a'.repeat(16_384));
    for (const { stream } of waiting) {
      stream.pause();
      client.receive(answer(stream.id, Flag.endHeaders));
      piece.writeUInt32BE(stream.id, 5);
      for (let nth = 0; nth < 61 && room >= 16_384; nth++) {
        client.receive(piece);
        room -= 16_384;
        takeRoom();
      }
    }
    expect(client.connection.isFull).toBe(true);
    expect(room).toBeLessThan(16_384);
    expect(client.failures).toEqual([]);
    for (const { stream } of waiting.slice(0, 4)) stream.resume();
    expect(client.connection.isFull).toBe(false);
    takeRoom();
    expect(room).toBeGreaterThan(1_000_000);
    for (const { stream } of waiting) stream.resume();
    expect(client.connection.keptBytes).toBe(0);
  });
});

describe('both sides', () => {
  it('pass a request and its answer, with trailers', () => {
    const { client, server, pass } = connected();
    const { owner, stream } = ask(client, false);
    stream.sendData(Buffer.from('question'), 0, 8);
    stream.sendEnd(['checksum', 'abc']);
    pass();
    const { stream: asked, owner: asker, fields } = server.began[0] ?? expect.unreachable();
    expect(fields).toEqual(REQUEST);
    expect(asker.content).toBe('question');
    expect(asker.sections).toEqual([{ fields: ['checksum', 'abc'], ended: true }]);
    asked.sendFields([':status', '200'], false);
    asked.sendData(Buffer.from('answer'), 0, 6);
    asked.sendEnd(null);
    pass();
    expect(owner.content).toBe('answer');
    expect(owner.ends).toBe(1);
    expect([client.over, server.over]).toEqual([1, 1]);
    expect([client.connection.streamCount, server.connection.streamCount]).toEqual([0, 0]);
  });
});

describe('a head', () => {
  const PADDED = 8;
  const PRIORITY = 0x20;
  const priority = (on: number) => Buffer.concat([uint32(on), Buffer.from([16])]);
  const head = (flags: number, ...parts: Buffer[]) =>
    frame(FrameType.headers, Flag.endHeaders | Flag.endStream | flags, 1, Buffer.concat(parts));

  it.each([
    ['with padding', head(PADDED, Buffer.from([3]), REQUEST_BLOCK, Buffer.alloc(3))],
    ['with a priority', head(PRIORITY, priority(3), REQUEST_BLOCK)],
    ['with both', head(PADDED | PRIORITY, Buffer.from([3]), priority(3), REQUEST_BLOCK, Buffer.alloc(3))],
  ])('%s is read without it', (_how, bytes) => {
    const server = aServer();
    server.receive(bytes);
    expect(server.began[0]?.fields).toEqual(REQUEST);
  });

  it.each([
    ['whose padding is more than all of it', head(PADDED, Buffer.from([200]), REQUEST_BLOCK), ErrorCode.ProtocolError],
    ['without the length of its padding', head(PADDED), ErrorCode.FrameSizeError],
    ['without all of its priority', head(PRIORITY, Buffer.alloc(4)), ErrorCode.FrameSizeError],
  ])('%s ends the connection', (_what, bytes, code) => {
    const server = aServer();
    server.receive(Buffer.concat([bytes, SETTINGS]));
    expect(server.failures).toEqual([code]);
  });

  it('that depends on itself ends its stream alone', () => {
    const server = aServer();
    server.receive(head(PRIORITY, priority(1), REQUEST_BLOCK), request(3));
    expect(server.began.map(({ stream }) => stream.id)).toEqual([3]);
    expect(said(server, FrameType.rstStream)).toHaveLength(1);
  });

  it('in more parts than it may have ends the connection, whatever they hold', () => {
    const server = aServer();
    server.receive(request(1, Flag.endStream));
    for (let nth = 0; nth < 9; nth++) server.receive(frame(FrameType.continuation, 0, 1));
    expect(server.failures).toEqual([ErrorCode.EnhanceYourCalm]);
  });
});

describe('a reset without an error', () => {
  it('by the server ends an answer in order, and what waits of the request is not sent', () => {
    const client = new OneSide(false);
    client.receive(settings([INITIAL_WINDOW, 0]));
    const { owner, stream } = ask(client, false);
    stream.sendData(Buffer.from('question'), 0, 8);
    client.receive(answer(1, Flag.endHeaders), data(1, 'answer'), reset(1, ErrorCode.NoError));
    client.receive(windowUpdate(1, 100));
    expect(said(client, FrameType.data)).toEqual([]);
    expect(owner.content).toBe('answer');
    expect(owner.ends).toBe(1);
    expect(owner.resets).toEqual([]);
    expect(client.over).toBe(1);
  });
});
