// Bytes through pipes over real sockets: all of them in their order, to whom they were sent, whatever the pieces, the pace of the readers, the
// ends, and what had been read before the pipe came. Many pipes at a time, since all read into one buffer and write from another.
import { createCipheriv } from 'node:crypto';
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import { array, assert, asyncProperty, boolean, constantFrom, integer, nat, record } from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { bulkBuffersTaken, giveBackBulkBuffer, MAX_BULK_BUFFERS, takeBulkBuffer } from '../sockets/bulk-buffers.ts';
import { type ByteStream, NOBODY } from '../sockets/byte-stream.ts';
import { HandleStream } from '../sockets/handle-stream.ts';
import { testedNodeHandles } from '../sockets/handles-check.ts';
import { type Accepted, listenAt } from '../sockets/listen.ts';
import type { NodeHandles } from '../sockets/node-handles.ts';
import { READ_BUFFER_BYTES, testReadShared } from '../sockets/read-buffer.ts';
import { SocketStream } from '../sockets/socket-stream.ts';
import { Ticker } from '../ticker.ts';
import { Pipe, PipeEnd } from './pipe.ts';

const PIECES = [1, 7, 100, 4_096, 4_097, 20_000, 65_536, 81_920, 81_921, 200_000, 700_000] as const;

/** What one side does. */
const side = record({
  pieces: array(constantFrom(...PIECES), { maxLength: 8 }),
  /** Those sent before there is a pipe. */
  early: array(constantFrom(1, 5_000, 20_000, 70_000, 300_000), { maxLength: 6 }),
  /** Turns of the event loop that it rests after each piece, and after each read. */
  restsWriting: nat(3),
  restsReading: nat(4),
});
const connection = record({
  application: side,
  dependency: side,
  ending: constantFrom('InOrder', 'InOrder', 'ApplicationResets', 'DependencyResets'),
  /** What was read of the application first is handed over beside its socket, not put back into it. */
  handsOver: boolean(),
  /** Turns for which writes of the sidecar do not finish, again and again, as on a network that takes its time. */
  stalls: constantFrom(0, 0, 1, 6),
  content: integer({ min: 1, max: 0xffff }),
});
type Side = Parameters<Parameters<typeof side.map>[0]>[0];
type Connection = Parameters<Parameters<typeof connection.map>[0]>[0];

/** Bytes that are no others' and look like nothing. */
function contentOf({ early, pieces }: Pick<Side, 'early' | 'pieces'>, seed: number): Buffer {
  const key = Buffer.alloc(16);
  key.writeUInt32BE(seed);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(sum(early) + sum(pieces)));
}

function sum(pieces: readonly number[]): number {
  return pieces.reduce((total, piece) => total + piece, 0);
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** One end of a connection: what it has got, and how that ended. */
class Peer {
  readonly socket: Socket;
  readonly gone: Promise<string>;
  #received: Buffer[] = [];

  constructor(socket: Socket, rests: number) {
    this.socket = socket;
    let end = '';
    socket.on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      if (rests === 0) return;
      socket.pause();
      void turns(rests).then(() => socket.resume());
    });
    socket.on('end', () => (end = 'end'));
    socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => (end = code));
    this.gone = new Promise((resolve) => socket.on('close', () => resolve(end)));
    socket.resume();
  }

  get received(): Buffer {
    return Buffer.concat(this.#received);
  }

  async send(script: Side, content: Buffer, ending: 'End' | 'Reset' | 'None'): Promise<void> {
    let at = sum(script.early);
    for (const bytes of script.pieces) {
      await this.#write(content.subarray(at, at + bytes));
      at += bytes;
      await turns(script.restsWriting);
    }
    if (ending === 'Reset') this.socket.resetAndDestroy();
    else if (ending === 'End') this.socket.end();
  }

  /** At the pace of whoever reads; false where nobody does any more. */
  #write(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.destroyed) resolve();
      else this.socket.write(bytes, () => resolve());
    });
  }
}

/** A connection between somebody far away and the near end that a pipe gets. */
interface Wire {
  readonly far: Socket;
  readonly near: ByteStream;
  /** What the near end is made of; null: of a handle. */
  readonly socket: Socket | null;
}

async function stall(socket: Socket | null, count: number): Promise<void> {
  if (count === 0 || !socket) return;
  while (!socket.destroyed) {
    socket.cork();
    await turns(count);
    socket.uncork();
    await turns(1);
  }
}

/** Makes connections one at a time, of both kinds: those that are accepted, and those that are dialled. `handles` null: near ends are sockets. */
class Wires {
  handles: NodeHandles | null = null;
  #last: Promise<unknown> = Promise.resolve();

  accepted(): Promise<Wire> {
    return this.#after(async () => {
      let arrive: (accepted: Accepted) => void = () => {};
      const arriving = new Promise<Accepted>((resolve) => (arrive = resolve));
      const server = await listenAt(this.handles, '127.0.0.1', 0, silentLogger, (accepted) => arrive(accepted));
      const far = net.connect({ port: portOf(server), host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      const accepted = await arriving;
      server.close();
      if (this.handles) return { far, near: accepted.stream(), socket: null };
      const socket = accepted.socket();
      return { far, near: new SocketStream(socket), socket };
    });
  }

  dialled(): Promise<Wire> {
    return this.#after(async () => {
      const server = net.createServer({ allowHalfOpen: true, noDelay: true });
      const arriving = new Promise<Socket>((resolve) => server.once('connection', resolve));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const port = portOf(server);
      const socket = this.handles ? null : net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      const near = this.handles
        ? HandleStream.dial(this.handles, '127.0.0.1', 4, port)
        : new SocketStream(socket ?? new net.Socket());
      await new Promise<ByteStream>((streamConnected) => (near.owner = { ...NOBODY, streamConnected }));
      const far = await arriving;
      server.close();
      return { far, near, socket };
    });
  }

  #after(make: () => Promise<Wire>): Promise<Wire> {
    const next = this.#last.then(make);
    this.#last = next;
    return next;
  }
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

const wires = new Wires();
const ticker = new Ticker(systemClock);

/**
 * Sends what is early, and leaves the near end as detection and what is dialled ahead leave it: paused, with what came first handed over (it is
 * returned) or, of a socket, put back, and more in it that nobody has seen.
 */
async function sendEarly({ far, near, socket }: Wire, { early }: Side, content: Buffer, handsOver: boolean) {
  const handed: Buffer[] = [];
  let came: () => void = () => {};
  const coming = new Promise<void>((resolve) => (came = resolve));
  if (early.length === 0) {
    came();
  } else if (handsOver || !socket) {
    near.owner = {
      ...NOBODY,
      streamArrived(_near, buffer, bytes) {
        near.pause();
        handed.push(Buffer.from(buffer.subarray(0, bytes)));
        came();
      },
    };
    near.resume();
  } else {
    socket.once('data', (chunk: Buffer) => {
      socket.pause();
      socket.unshift(chunk);
      came();
    });
    socket.resume();
  }
  let at = 0;
  for (const bytes of early) {
    far.write(content.subarray(at, at + bytes));
    at += bytes;
    await turns(2);
  }
  await coming;
  return handed;
}

interface Watched {
  readonly pipe: Pipe;
  readonly closed: Promise<number>;
  /** From the application, and from the dependency. */
  readonly passed: [number, number];
  readonly ended: boolean[];
}

function watch(client: ByteStream, upstream: ByteStream, first: readonly Buffer[], last: readonly Buffer[]): Watched {
  const passed: [number, number] = [0, 0];
  const ended: boolean[] = [];
  let onClosed: (end: number) => void = () => {};
  const closed = new Promise<number>((resolve) => (onClosed = resolve));
  const pipe = new Pipe(client, upstream, first, last, 0, ticker, {
    onBytes: (fromClient, bytes) => (passed[fromClient ? 0 : 1] += bytes),
    onEnd: (fromClient) => ended.push(fromClient),
    onClosed,
  });
  return { pipe, closed, passed, ended };
}

async function run({ application, dependency, ending, handsOver, stalls, content }: Connection): Promise<void> {
  const [request, answer] = [contentOf(application, content), contentOf(dependency, content + 0x10000)];
  const [left, right] = [await wires.accepted(), await wires.dialled()];
  const fromClient = await sendEarly(left, application, request, handsOver);
  const fromUpstream = await sendEarly(right, dependency, answer, handsOver);
  void stall(left.socket, stalls);
  void stall(right.socket, stalls);
  const { closed, ended, passed } = watch(left.near, right.near, fromClient, fromUpstream);
  const caller = new Peer(left.far, application.restsReading);
  const called = new Peer(right.far, dependency.restsReading);
  const endOf = (resets: boolean) => (ending === 'InOrder' ? 'End' : resets ? 'Reset' : 'None');
  void caller.send(application, request, endOf(ending === 'ApplicationResets'));
  void called.send(dependency, answer, endOf(ending === 'DependencyResets'));
  const [end, ...gone] = await Promise.all([closed, caller.gone, called.gone]);
  if (ending === 'InOrder') {
    expect([end, ...gone]).toEqual([PipeEnd.Ended, 'end', 'end']);
    expect([called.received.equals(request), caller.received.equals(answer)]).toEqual([true, true]);
    expect([passed, new Set(ended), ended.length]).toEqual([
      [request.length, answer.length],
      new Set([false, true]),
      2,
    ]);
  } else {
    const isApplication = ending === 'ApplicationResets';
    expect([end, gone[isApplication ? 1 : 0]]).toEqual([
      isApplication ? PipeEnd.ClientReset : PipeEnd.UpstreamReset,
      'ECONNRESET',
    ]);
    expect(request.subarray(0, called.received.length).equals(called.received)).toBe(true);
    expect(answer.subarray(0, caller.received.length).equals(caller.received)).toBe(true);
  }
}

/** A reader that takes nothing stops whoever writes; then everything comes. */
async function heldBack(): Promise<void> {
  const content = contentOf({ early: [], pieces: Array(150).fill(200_000) }, 1);
  const [left, right] = [await wires.accepted(), await wires.dialled()];
  // The kernel takes more for a reader that does not read, in its own time: then it has drained, and one more piece is in order.
  let isHeld = false;
  let passedWhileHeld = 0;
  const pass = right.near.pass.bind(right.near);
  right.near.pass = (buffer, bytes) => {
    if (isHeld) passedWhileHeld++;
    isHeld = !pass(buffer, bytes) || isHeld;
    return !isHeld;
  };
  const { pipe, closed, passed } = watch(left.near, right.near, [], []);
  const drained = pipe.streamDrained.bind(pipe);
  pipe.streamDrained = (to) => {
    if (to === right.near) isHeld = false;
    drained(to);
  };
  right.far.pause();
  left.far.end(content);
  await expect.poll(() => isHeld, { interval: 2, timeout: 10_000 }).toBe(true);
  await turns(50);
  expect(passedWhileHeld).toBe(0);
  expect(passed[0]).toBeLessThan(content.length);
  const called = new Peer(right.far, 0);
  right.far.end();
  left.far.resume();
  expect(await Promise.all([closed, called.gone])).toEqual([PipeEnd.Ended, 'end']);
  expect(called.received.equals(content)).toBe(true);
}

/** More than the kernel keeps for a reader that does not read, in pieces of another size for each pipe. */
const much = (nth: number): Side => ({
  pieces: Array(Math.ceil(40 / (nth + 3))).fill((nth + 3) * 400_000),
  early: [],
  restsWriting: 0,
  restsReading: 0,
});

/** Dependencies send much to applications that have ended, and read nothing before `everyoneWaits`. */
async function bulk(pipes: number, everyoneWaits: () => void): Promise<void> {
  const all = await Promise.all(
    Array.from({ length: pipes }, async (_, nth) => {
      const [left, right] = [await wires.accepted(), await wires.dialled()];
      const script = much(nth);
      const content = contentOf(script, nth + 1);
      const watched = watch(left.near, right.near, [], []);
      left.far.pause();
      left.far.end();
      const called = new Peer(right.far, 0);
      void called.send(script, content, 'End');
      return { left, content, called, watched };
    }),
  );
  const passed = () => all.map(({ watched }) => watched.passed[1]).join();
  for (let before = ''; before !== passed() || before.startsWith('0'); await turns(200)) before = passed();
  everyoneWaits();
  for (const { left, content, called, watched } of all) {
    const caller = new Peer(left.far, 0);
    expect(await Promise.all([watched.closed, caller.gone, called.gone])).toEqual([PipeEnd.Ended, 'end', 'end']);
    expect(caller.received.equals(content)).toBe(true);
  }
}

describe.each([
  ['where sockets read as Node has it', false, false],
  ['where all sockets read into one buffer', true, false],
  ['of handles', true, true],
])('a pipe, %s', (_name, shares, byHandles) => {
  beforeAll(async () => {
    if (shares) expect(await testReadShared(systemClock)).toBe(true);
    wires.handles = byHandles ? await testedNodeHandles(systemClock, silentLogger) : null;
    expect(wires.handles !== null).toBe(byHandles);
  });

  it('passes everything on, in order and to whom it was sent, at any pace and to any end', async () => {
    const connections = array(connection, { minLength: 1, maxLength: 8, size: 'max' });
    await assert(
      asyncProperty(connections, async (together) => {
        await Promise.all(together.map(run));
      }),
      { numRuns: 16, interruptAfterTimeLimit: 40_000 },
    );
  }, 60_000);

  it('stops reading where the other side does not read, and loses nothing', heldBack, 20_000);

  it('loses nothing of what comes in bulk for readers that are slow', async () => {
    await bulk(8, () => expect(bulkBuffersTaken() > 0).toBe(byHandles));
    expect(bulkBuffersTaken()).toBe(0);
  }, 20_000);

  it('passes on the end of a side that had ended before it came', async () => {
    const [left, right] = [await wires.accepted(), await wires.dialled()];
    const question: Buffer[] = [];
    const ended = new Promise<ByteStream>((streamEnded) => {
      left.near.owner = {
        ...NOBODY,
        streamArrived: (_near, buffer, bytes) => void question.push(Buffer.from(buffer.subarray(0, bytes))),
        streamEnded,
      };
    });
    left.near.resume();
    left.far.end('question');
    await ended;
    const called = new Peer(right.far, 0);
    const watched = watch(left.near, right.near, question, []);
    const caller = new Peer(left.far, 0);
    await expect.poll(() => called.received.toString(), { interval: 2 }).toBe('question');
    right.far.end('answer');
    expect(await Promise.all([watched.closed, caller.gone, called.gone])).toEqual([PipeEnd.Ended, 'end', 'end']);
    expect(watched.ended).toEqual([true, false]);
    expect(caller.received.toString()).toBe('answer');
  });

  it('gives back both sides where one was destroyed before it came', async () => {
    const [left, right] = [await wires.accepted(), await wires.dialled()];
    const called = new Peer(right.far, 0);
    left.near.destroy();
    const { closed } = watch(left.near, right.near, [Buffer.from('lost')], []);
    left.far.on('error', () => {});
    expect(await closed).toBe(PipeEnd.Destroyed);
    right.far.end();
    await called.gone;
    expect([left.near.isClosed, right.near.isClosed]).toEqual([true, true]);
  });
});

const READER = { loseBulkBuffer() {} };

/** A pipe whose dependency has sent so much that a buffer for bulk is waited in, and falls silent. */
async function silentInBulk(): Promise<{ called: Socket; caller: Peer; watched: Watched }> {
  const [left, right] = [await wires.accepted(), await wires.dialled()];
  const caller = new Peer(left.far, 0);
  right.far.write(Buffer.alloc(READ_BUFFER_BYTES, 'a'));
  await turns(20);
  const watched = watch(left.near, right.near, [], []);
  await expect.poll(() => caller.received.length, { interval: 2 }).toBe(READ_BUFFER_BYTES);
  return { called: right.far, caller, watched };
}

describe('a pipe of handles', () => {
  beforeAll(async () => {
    wires.handles = await testedNodeHandles(systemClock, silentLogger);
  });

  it('does without the buffers for bulk where all are taken', async () => {
    const taken: Buffer[] = [];
    for (let each = takeBulkBuffer(READER); each; each = takeBulkBuffer(READER)) taken.push(each);
    await bulk(2, () => expect(bulkBuffersTaken()).toBe(MAX_BULK_BUFFERS));
    for (const each of taken) giveBackBulkBuffer(each);
    expect(bulkBuffersTaken()).toBe(0);
  }, 20_000);

  it('loses its buffer for bulk to others where it falls silent, and reads on', async () => {
    const { called, caller, watched } = await silentInBulk();
    expect(bulkBuffersTaken()).toBe(1);
    const taken: Buffer[] = [];
    for (let turn = 0; turn < 1_100; turn++) {
      const each = takeBulkBuffer(READER);
      if (each && taken.length < MAX_BULK_BUFFERS - 2) taken.push(each);
      else if (each) giveBackBulkBuffer(each);
    }
    const [last, lost] = [takeBulkBuffer(READER), takeBulkBuffer(READER)];
    for (const each of [last, lost]) each?.fill('x');
    expect([last === null, lost === null]).toEqual([false, false]);
    called.end(Buffer.alloc(300_000, 'b'));
    caller.socket.end();
    expect(await Promise.all([watched.closed, caller.gone])).toEqual([PipeEnd.Ended, 'end']);
    expect(
      caller.received.equals(Buffer.concat([Buffer.alloc(READ_BUFFER_BYTES, 'a'), Buffer.alloc(300_000, 'b')])),
    ).toBe(true);
    for (const each of [...taken, last, lost]) if (each) giveBackBulkBuffer(each);
    expect(bulkBuffersTaken()).toBe(0);
  }, 20_000);
});
