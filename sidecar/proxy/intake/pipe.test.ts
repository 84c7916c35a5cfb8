// Bytes through pipes over real sockets: all of them in their order, to whom they were sent, whatever the pieces, the pace of the readers, the
// ends, and what had been read before the pipe came. Many pipes at a time, since all read into one buffer and write from another.
import { createCipheriv } from 'node:crypto';
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import { array, assert, asyncProperty, boolean, constantFrom, integer, nat, record } from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../runtime/clock.ts';
import { systemNetwork } from '../sockets/network.ts';
import { testReadShared } from '../sockets/read-buffer.ts';
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

interface Wire {
  readonly dialled: Socket;
  readonly accepted: Socket;
}

async function stall(socket: Socket, count: number): Promise<void> {
  if (count === 0) return;
  while (!socket.destroyed) {
    socket.cork();
    await turns(count);
    socket.uncork();
    await turns(1);
  }
}

/** Both ends of connections, made one at a time. */
class Wires {
  readonly #server: Server = net.createServer({ allowHalfOpen: true, noDelay: true });
  #last: Promise<unknown> = Promise.resolve();

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  connect(): Promise<Wire> {
    const next = this.#last.then(() => this.#connect());
    this.#last = next;
    return next;
  }

  async #connect(): Promise<Wire> {
    const accepting = new Promise<Socket>((resolve) => this.#server.once('connection', resolve));
    const dialled = systemNetwork.dial('127.0.0.1', (this.#server.address() as AddressInfo).port);
    await new Promise((resolve) => dialled.once('connect', resolve));
    return { dialled, accepted: await accepting };
  }

  close(): void {
    this.#server.close();
  }
}

const wires = new Wires();
const ticker = new Ticker(systemClock);

beforeAll(() => wires.listen());
afterAll(() => wires.close());

/**
 * Sends what is early, and leaves the other end as detection and what is dialled ahead leave a socket: paused, with what came first handed over
 * (it is returned) or put back, and more in it that nobody has seen.
 */
async function sendEarly(from: Socket, to: Socket, { early }: Side, content: Buffer, handsOver: boolean) {
  const handed: Buffer[] = [];
  if (early.length === 0) to.pause();
  else
    to.once('data', (chunk: Buffer) => {
      to.pause();
      if (handsOver) handed.push(chunk);
      else to.unshift(chunk);
    });
  let at = 0;
  for (const bytes of early) {
    from.write(content.subarray(at, at + bytes));
    at += bytes;
    await turns(2);
  }
  await expect.poll(() => to.isPaused(), { interval: 1 }).toBe(true);
  return handed;
}

interface Watched {
  readonly pipe: Pipe;
  readonly closed: Promise<number>;
  /** From the application, and from the dependency. */
  readonly passed: [number, number];
  readonly ended: boolean[];
}

function watch(client: Socket, upstream: Socket, first: readonly Buffer[]): Watched {
  const passed: [number, number] = [0, 0];
  const ended: boolean[] = [];
  let onClosed: (end: number) => void = () => {};
  const closed = new Promise<number>((resolve) => (onClosed = resolve));
  const pipe = new Pipe(client, upstream, first, 0, ticker, {
    onBytes: (fromClient, bytes) => (passed[fromClient ? 0 : 1] += bytes),
    onEnd: (fromClient) => ended.push(fromClient),
    onClosed,
  });
  return { pipe, closed, passed, ended };
}

async function run({ application, dependency, ending, handsOver, stalls, content }: Connection): Promise<void> {
  const [request, answer] = [contentOf(application, content), contentOf(dependency, content + 0x10000)];
  const [left, right] = [await wires.connect(), await wires.connect()];
  const [client, upstream] = [left.accepted, right.dialled];
  const handed = await sendEarly(left.dialled, client, application, request, handsOver);
  await sendEarly(right.accepted, upstream, dependency, answer, false);
  void stall(client, stalls);
  void stall(upstream, stalls);
  const { closed, ended, passed } = watch(client, upstream, handed);
  const caller = new Peer(left.dialled, application.restsReading);
  const called = new Peer(right.accepted, dependency.restsReading);
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
  const [left, right] = [await wires.connect(), await wires.connect()];
  const [client, upstream] = [left.accepted, right.dialled];
  client.pause();
  upstream.pause();
  let mostWaiting = 0;
  const { closed, passed } = watch(client, upstream, []);
  client.on('pause', () => (mostWaiting = Math.max(mostWaiting, upstream.writableLength)));
  right.accepted.pause();
  left.dialled.end(content);
  await expect.poll(() => client.isPaused() && upstream.writableLength > 0, { interval: 2, timeout: 5_000 }).toBe(true);
  await turns(20);
  expect(passed[0]).toBeLessThan(content.length);
  const called = new Peer(right.accepted, 0);
  right.accepted.end();
  expect(await Promise.all([closed, called.gone])).toEqual([PipeEnd.Ended, 'end']);
  expect(called.received.equals(content)).toBe(true);
  expect(mostWaiting).toBeLessThan(262_144);
}

describe.each([
  ['where sockets read as Node has it', false],
  ['where all sockets read into one buffer', true],
])('a pipe, %s', (_name, shares) => {
  beforeAll(async () => {
    if (shares) expect(await testReadShared(systemClock)).toBe(true);
  });

  it('passes everything on, in order and to whom it was sent, at any pace and to any end', async () => {
    const connections = array(connection, { minLength: 1, maxLength: 8 });
    await assert(
      asyncProperty(connections, async (together) => {
        await Promise.all(together.map(run));
      }),
      { numRuns: 25, interruptAfterTimeLimit: 40_000 },
    );
  }, 60_000);

  it('stops reading where the other side does not read, and loses nothing', heldBack, 20_000);

  it('passes on the end of a side that had ended before it came', async () => {
    const [left, right] = [await wires.connect(), await wires.connect()];
    left.dialled.end('question');
    await new Promise<void>((resolve) => left.accepted.once('data', () => resolve()));
    await new Promise<void>((resolve) => left.accepted.once('end', () => resolve()));
    const called = new Peer(right.accepted, 0);
    right.dialled.pause();
    const { closed, ended } = watch(left.accepted, right.dialled, [Buffer.from('question')]);
    const caller = new Peer(left.dialled, 0);
    await expect.poll(() => called.received.toString(), { interval: 2 }).toBe('question');
    right.accepted.end('answer');
    expect(await Promise.all([closed, caller.gone, called.gone])).toEqual([PipeEnd.Ended, 'end', 'end']);
    expect(ended).toEqual([true, false]);
    expect(caller.received.toString()).toBe('answer');
  });

  it('gives back both sockets where one was destroyed before it came', async () => {
    const [left, right] = [await wires.connect(), await wires.connect()];
    const called = new Peer(right.accepted, 0);
    left.accepted.pause();
    right.dialled.pause();
    left.accepted.destroy();
    const { closed } = watch(left.accepted, right.dialled, [Buffer.from('lost')]);
    left.dialled.on('error', () => {});
    expect(await closed).toBe(PipeEnd.Ended);
    right.accepted.end();
    await called.gone;
    expect([left.accepted.closed, right.dialled.closed]).toEqual([true, true]);
  });
});
