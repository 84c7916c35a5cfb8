// When what a connection says is written, and what becomes of it where the peer does not take it.
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { ErrorCode } from '../../http2/error-code.ts';
import { OneSide, Recorder } from '../../http2/testing/one-side.ts';
import { Flag, FrameType, fieldBlock, frame, framesOf, PREFACE, uint32 } from '../testing/http2-frames.ts';
import { Http2Socket } from './http2-socket.ts';

const SETTINGS = frame(FrameType.settings, 0, 0);
const INITIAL_WINDOW = 4;
const WIDE = frame(FrameType.settings, 0, 0, Buffer.concat([Buffer.from([0, INITIAL_WINDOW]), uint32(10_000_000)]));
const REQUEST = fieldBlock([
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'shop'],
  [':path', '/'],
]);
const request = (stream: number) => frame(FrameType.headers, Flag.endHeaders | Flag.endStream, stream, REQUEST);

/** A socket whose peer takes what it is told to take. */
class HeldSocket extends Duplex {
  readonly taken: Buffer[] = [];
  writes = 0;
  #waiting: (() => void) | null = null;
  holds = false;

  constructor() {
    super({ highWaterMark: 16_384 });
  }

  override _read(): void {}

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: () => void): void {
    this.writes++;
    this.taken.push(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk));
    if (this.holds) this.#waiting = done;
    else done();
  }

  /** Takes what it held, and all that follows. */
  release(): void {
    this.holds = false;
    this.releaseOne();
  }

  /** Takes what it held, and holds what follows. */
  releaseOne(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.();
  }

  /** As net.Socket has it. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  get frames(): ReturnType<typeof framesOf> {
    return framesOf(Buffer.concat(this.taken));
  }
}

const asSocket = (socket: HeldSocket) => socket as unknown as Socket;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function serving(): { socket: HeldSocket; framed: Http2Socket; owner: OneSide } {
  const socket = new HeldSocket();
  const owner = new OneSide(true);
  return { socket, owner, framed: new Http2Socket(asSocket(socket), true, 65_535, owner) };
}

function receive(framed: Http2Socket, ...parts: Buffer[]): void {
  const bytes = Buffer.concat(parts);
  framed.receive(bytes, bytes.length);
}

describe('what is said', () => {
  it('in answer to one read leaves in one write', async () => {
    const { socket, framed, owner } = serving();
    await turn();
    owner.onStream = (stream) => {
      stream.sendFields([':status', '200'], false);
      stream.sendData(Buffer.from('answer'), 0, 6);
      stream.sendEnd(null);
    };
    const before = socket.writes;
    receive(framed, PREFACE, SETTINGS, request(1), request(3), request(5));
    expect(socket.writes).toBe(before + 1);
    expect(socket.frames.filter(({ type }) => type === FrameType.data)).toHaveLength(3);
  });

  it('outside of a read leaves before the event loop goes on', async () => {
    const { socket, framed, owner } = serving();
    receive(framed, PREFACE, SETTINGS, request(1));
    const before = socket.writes;
    const { stream } = owner.began[0] ?? expect.unreachable();
    stream.sendFields([':status', '200'], false);
    stream.sendData(Buffer.from('answer'), 0, 6);
    expect(socket.writes).toBe(before);
    await turn();
    expect(socket.writes).toBe(before + 1);
    expect(socket.frames.at(-1)?.payload.toString()).toBe('answer');
  });
});

describe('the end', () => {
  const content = Buffer.alloc(65_000, 'a');

  it('in order waits for what the peer has not read yet', async () => {
    const { socket, framed, owner } = serving();
    receive(framed, PREFACE, WIDE, frame(FrameType.windowUpdate, 0, 0, uint32(10_000_000)), request(1));
    const { stream } = owner.began[0] ?? expect.unreachable();
    socket.holds = true;
    stream.sendFields([':status', '200'], false);
    // A frame that blocks the socket, and one that does so again when it is free.
    stream.sendData(content, 0, 16_384 + 16_376);
    stream.sendEnd(null);
    framed.connection.close();
    while (stream.isWaiting) {
      socket.releaseOne();
      await turn();
    }
    expect(stream.isOver).toBe(true);
    expect(socket.writableNeedDrain).toBe(true);
    framed.finish();
    await turn();
    expect(socket.destroyed).toBe(false);
    socket.release();
    await expect.poll(() => socket.writableFinished).toBe(true);
    const data = socket.frames.filter(({ type }) => type === FrameType.data);
    expect(data.reduce((bytes, { payload }) => bytes + payload.length, 0)).toBe(16_384 + 16_376);
    expect(data.at(-1)?.flags).toBe(Flag.endStream);
    expect(socket.frames.at(-1)?.type).not.toBe(FrameType.rstStream);
  });

  it('is the end: what comes then is neither read nor answered', async () => {
    const { socket, framed, owner } = serving();
    receive(framed, PREFACE, SETTINGS);
    let failed: Error | null = null;
    socket.on('error', (error) => {
      failed = error;
    });
    socket.holds = true;
    framed.connection.close();
    framed.finish();
    receive(framed, request(1), frame(FrameType.ping, 0, 0, Buffer.alloc(8)));
    await turn();
    socket.release();
    await expect.poll(() => socket.writableFinished).toBe(true);
    expect(failed).toBeNull();
    expect(owner.began).toHaveLength(0);
    expect(socket.frames.at(-1)?.type).toBe(FrameType.goaway);
  });

  it('by an error does not wait for a peer that reads nothing', async () => {
    const { socket, framed } = serving();
    socket.holds = true;
    receive(framed, PREFACE, WIDE, request(1));
    await turn();
    socket.write(content);
    receive(framed, frame(FrameType.ping, 0, 1, Buffer.alloc(8)));
    framed.end();
    expect(socket.destroyed).toBe(true);
  });
});

describe('a peer that reads nothing', () => {
  it('is not read either, until it does', async () => {
    const { socket, framed, owner } = serving();
    owner.onStream = (stream) => stream.sendFields([':status', '200', 'field', 'a'.repeat(10_000)], true);
    receive(framed, PREFACE, SETTINGS);
    await turn();
    socket.holds = true;
    expect(socket.isPaused()).toBe(false);
    for (let nth = 0; nth < 200; nth++) receive(framed, request(2 * nth + 1));
    expect(socket.isPaused()).toBe(true);
    socket.release();
    await turn();
    expect(socket.isPaused()).toBe(false);
    expect(socket.frames.filter(({ type }) => type === FrameType.headers)).toHaveLength(200);
  });

  it('holds what waits for it, and gets it in order', async () => {
    const { socket, framed, owner } = serving();
    const told = new Recorder();
    receive(framed, PREFACE, WIDE, frame(FrameType.windowUpdate, 0, 0, uint32(10_000_000)), request(1));
    await turn();
    socket.holds = true;
    const { stream } = owner.began[0] ?? expect.unreachable();
    stream.owner = told;
    stream.sendFields([':status', '200'], false);
    let sent = '';
    for (let nth = 0; nth < 26; nth++) {
      const piece = String.fromCharCode(97 + nth).repeat(10_000);
      sent += piece;
      stream.sendData(Buffer.from(piece), 0, piece.length);
    }
    expect(stream.blocked).toBe(true);
    stream.sendEnd(null);
    for (let nth = 0; nth < 100 && !stream.isOver; nth++) {
      socket.release();
      await turn();
      socket.holds = true;
    }
    socket.release();
    await turn();
    const data = socket.frames.filter(({ type }) => type === FrameType.data);
    expect(Buffer.concat(data.map(({ payload }) => payload)).toString()).toBe(sent);
    expect(told.resets).toEqual([]);
    expect(framed.connection.streamCount).toBe(0);
  });
});

it('takes a read inside of a turn of another connection, and writes both at its end', async () => {
  const [first, second] = [serving(), serving()];
  await turn();
  const before = [first.socket.writes, second.socket.writes];
  first.owner.onStream = (stream) => {
    receive(second.framed, PREFACE, SETTINGS);
    expect(second.socket.writes).toBe(before[1]);
    stream.reset(ErrorCode.Cancel);
  };
  receive(first.framed, PREFACE, SETTINGS, request(1));
  expect([first.socket.writes, second.socket.writes]).toEqual(before.map((writes) => writes + 1));
});
