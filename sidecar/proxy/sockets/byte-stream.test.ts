// What both kinds of streams are held to, one at a time and over real connections; what a pair of them does is in ../intake/pipe.test.ts.
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import type { ByteStream, ByteStreamOwner } from './byte-stream.ts';
import { HandleStream } from './handle-stream.ts';
import { testedNodeHandles } from './handles-check.ts';
import { type Accepted, listenAt } from './listen.ts';
import { findNodeHandles, type NodeHandles } from './node-handles.ts';
import { SocketStream } from './socket-stream.ts';

const HOST = '127.0.0.1';

/** Writes down what it is told. */
class Told implements ByteStreamOwner {
  readonly told: string[] = [];

  streamConnected(): void {
    this.told.push('connected');
  }

  streamArrived(_stream: ByteStream, buffer: Buffer, bytes: number): void {
    this.told.push(`arrived ${buffer.toString('latin1', 0, bytes)}`);
  }

  streamEnded(): void {
    this.told.push('ended');
  }

  streamDrained(): void {
    this.told.push('drained');
  }

  streamClosed(_stream: ByteStream, code: string | null): void {
    this.told.push(`closed ${code}`);
  }

  until(...told: string[]): Promise<void> {
    return expect.poll(() => this.told, { interval: 2, timeout: 5_000 }).toEqual(told);
  }
}

async function serving(onConnection: (far: Socket) => void): Promise<{ port: number; server: Server }> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, onConnection);
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  return { port: (server.address() as AddressInfo).port, server };
}

async function freePort(): Promise<number> {
  const { port, server } = await serving(() => {});
  await new Promise((resolve) => server.close(resolve));
  return port;
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** How many bytes come, and how many of them are not "a". */
async function takenToItsEnd(far: Socket): Promise<{ taken: number; strangers: number }> {
  let strangers = 0;
  let taken = 0;
  far.on('data', (chunk: Buffer) => {
    taken += chunk.length;
    for (const byte of chunk) if (byte !== 0x61) strangers++;
  });
  await new Promise((resolve) => far.on('end', resolve));
  return { taken, strangers };
}

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe.each(['handle', 'socket'])('a stream of a %s', (kind) => {
  let handles: NodeHandles | null = null;

  beforeAll(async () => {
    if (kind === 'socket') return;
    handles = await testedNodeHandles(systemClock, silentLogger);
    expect(handles).not.toBeNull();
  });

  const dial = (port: number, host = HOST): ByteStream =>
    handles
      ? HandleStream.dial(handles, host, net.isIPv6(host) ? 6 : 4, port)
      : new SocketStream(net.connect({ port, host, allowHalfOpen: true }));

  /** The near end that is accepted, the far one that dialled it, and what the first is told. */
  async function accepted(): Promise<{ far: Socket; near: ByteStream; owner: Told }> {
    let arrive: (accepted: Accepted) => void = () => {};
    const arriving = new Promise<Accepted>((resolve) => (arrive = resolve));
    const server = await listenAt(handles, HOST, 0, silentLogger, (each) => arrive(each));
    const far = net.connect({ port: (server.address() as AddressInfo).port, host: HOST, allowHalfOpen: true });
    const near = (await arriving).stream();
    server.close();
    const owner = new Told();
    near.owner = owner;
    return { far, near, owner };
  }

  it('tells of a dial that came about, what arrives, and both ends in order', async () => {
    const { port, server } = await serving((far) => {
      far.on('end', () => far.end('answer'));
      far.resume();
    });
    const near = dial(port);
    const owner = new Told();
    near.owner = owner;
    expect([near.connecting, near.isClosed]).toEqual([true, false]);
    await owner.until('connected');
    near.end();
    near.resume();
    await owner.until('connected', 'arrived answer', 'ended', 'closed null');
    expect([near.connecting, near.hasEnded, near.isClosed]).toEqual([false, true, true]);
    server.close();
  });

  it('tells why a dial came to nothing, later', async () => {
    const port = await freePort();
    const near = dial(port);
    const owner = new Told();
    near.owner = owner;
    expect(owner.told).toEqual([]);
    await owner.until('closed ECONNREFUSED');
    expect(near.isClosed).toBe(true);
  });

  it('tells why a dial could not even begin, later', async () => {
    const near = dial(9, '255.255.255.255');
    const owner = new Told();
    near.owner = owner;
    expect(owner.told).toEqual([]);
    await expect.poll(() => owner.told, { interval: 2 }).toHaveLength(1);
    expect(owner.told[0]).toMatch(/^closed E(ACCES|NETUNREACH)$/);
  });

  it('tells nothing of what it was destroyed during', async () => {
    const { port, server } = await serving((far) => far.on('error', () => {}));
    const dialling = dial(port);
    const owner = new Told();
    dialling.owner = owner;
    dialling.destroy();
    const resetting = dial(port);
    resetting.owner = owner;
    resetting.reset();
    for (let turn = 0; turn < 20; turn++) await pause();
    expect([owner.told, dialling.isClosed, resetting.isClosed]).toEqual([[], true, true]);
    server.close();
  });

  it('reads nothing before it is resumed, nor while it is paused', async () => {
    const { far, near, owner } = await accepted();
    far.write('a');
    for (let turn = 0; turn < 20; turn++) await pause();
    expect(owner.told).toEqual([]);
    near.resume();
    await owner.until('arrived a');
    near.pause();
    far.write('b');
    for (let turn = 0; turn < 20; turn++) await pause();
    expect(owner.told).toEqual(['arrived a']);
    near.resume();
    await owner.until('arrived a', 'arrived b');
    near.destroy();
    far.destroy();
  });

  it('tells of a reset as an error', async () => {
    const { far, near, owner } = await accepted();
    near.resume();
    far.resetAndDestroy();
    await owner.until('closed ECONNRESET');
    expect(near.pass(Buffer.from('late'), 4)).toBe(false);
  });

  it('resets: the peer learns that what it sent is lost', async () => {
    const { far, near } = await accepted();
    const code = new Promise((resolve) => far.on('error', (error: NodeJS.ErrnoException) => resolve(error.code)));
    far.resume();
    near.reset();
    expect(await code).toBe('ECONNRESET');
  });

  it('resets behind an end that waits for a slow peer, who must not take what came for all', async () => {
    const { far, near } = await accepted();
    const bytes = Buffer.alloc(60_000, 'x');
    while (near.pass(bytes, bytes.length));
    near.end();
    await pause();
    near.reset();
    const over = new Promise((resolve) => {
      far.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      far.on('end', () => resolve('end'));
    });
    far.resume();
    expect(await over).toBe('ECONNRESET');
  });

  it('hands over all that a slow peer has not taken before its end, and tells when', async () => {
    const { far, near, owner } = await accepted();
    const bytes = Buffer.alloc(60_000, 'x');
    let passed = 0;
    for (let flows = true; flows; passed += bytes.length) flows = near.pass(bytes, bytes.length);
    near.pass(Buffer.from('last'), 4);
    near.end();
    near.resume();
    far.end();
    await owner.until('ended');
    expect(near.isClosed).toBe(false);
    let taken = 0;
    let text = '';
    far.on('data', (chunk: Buffer) => {
      taken += chunk.length;
      text = chunk.toString('latin1');
    });
    await new Promise((resolve) => far.on('end', resolve));
    expect([taken, text.endsWith('last')]).toEqual([passed + 4, true]);
    await expect.poll(() => owner.told.filter((each) => each !== 'drained')).toEqual(['ended', 'closed null']);
  });

  it('tells when a slow peer has taken what waited', async () => {
    const { far, near, owner } = await accepted();
    const bytes = Buffer.alloc(60_000, 'x');
    while (near.pass(bytes, bytes.length));
    expect(owner.told).toEqual([]);
    far.resume();
    await owner.until('drained');
    expect(near.pass(Buffer.from('more'), 4)).toBe(true);
    near.destroy();
    far.destroy();
  });

  it('keeps what it was given, whatever becomes of the buffer', async () => {
    const { far, near } = await accepted();
    const buffer = Buffer.alloc(5_000, 'a');
    let passed = 0;
    for (let flows = true; flows; passed += buffer.length) flows = near.pass(buffer.fill('a'), buffer.length);
    buffer.fill('b');
    near.end();
    const { taken, strangers } = await takenToItsEnd(far);
    expect([taken, strangers]).toEqual([passed, 0]);
    near.destroy();
    far.destroy();
  });

  it('keeps what waits for a slow peer when memory is collected', async () => {
    const { far, near } = await accepted();
    let passed = 0;
    for (let flows = true; flows; passed += 60_000) flows = near.pass(Buffer.alloc(60_000, 'a'), 60_000);
    near.end();
    // Other connections go on, and what they write from takes the place of whatever was given up.
    const other = await accepted();
    other.far.resume();
    const strange = Buffer.alloc(60_000, 'b');
    const kept: Buffer[] = [];
    for (let turn = 0; turn < 5; turn++) {
      other.near.pass(strange, strange.length);
      collect();
      for (let each = 0; each < 40; each++) kept.push(Buffer.from(new ArrayBuffer(98_304)).fill('b'));
      await pause();
    }
    const { taken, strangers } = await takenToItsEnd(far);
    expect([taken, strangers, kept.length]).toEqual([passed, 0, 200]);
    for (const each of [near, far, other.near, other.far]) each.destroy();
  });

  it('can still become a socket, where it is one that came', async () => {
    let arrive: (accepted: Accepted) => void = () => {};
    const arriving = new Promise<Accepted>((resolve) => (arrive = resolve));
    const server = await listenAt(handles, HOST, 0, silentLogger, (each) => arrive(each));
    const far = net.connect({ port: (server.address() as AddressInfo).port, host: HOST });
    const one = await arriving;
    expect(one.fd).toBeGreaterThan(0);
    const socket = one.socket();
    expect([socket instanceof net.Socket, socket.allowHalfOpen]).toEqual([true, true]);
    socket.end('hello');
    far.setEncoding('latin1');
    expect(await new Promise((resolve) => far.once('data', resolve))).toBe('hello');
    far.destroy();
    server.close();
  });
});

describe('the handles of this Node', () => {
  it('are those that are known', () => {
    expect(findNodeHandles()).not.toBeNull();
  });

  it('are not used where they do other than is known', async () => {
    const known = findNodeHandles();
    if (!known) throw new Error('there are none');
    const handle = known.newTcp();
    handle.close();
    const prototype = Object.getPrototypeOf(Object.getPrototypeOf(handle)) as { writeLatin1String: unknown };
    const original = prototype.writeLatin1String;
    try {
      prototype.writeLatin1String = () => 0;
      expect(
        await testedNodeHandles({ ...systemClock, after: (_ms, call) => systemClock.after(50, call) }, silentLogger),
      ).toBeNull();
    } finally {
      prototype.writeLatin1String = original;
    }
    expect(await testedNodeHandles(systemClock, silentLogger)).not.toBeNull();
  });
});
