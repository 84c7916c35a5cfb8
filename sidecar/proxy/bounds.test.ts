// Bounds of connections and heads on the wire, each one below, at and beyond; docs/overload.md lists them all.
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { MAX_HEAD_BYTES } from '../http1/limits.ts';
import { HEAD_TIMEOUT_MS } from './application/client-connection.ts';
import { STALLED_LIMIT_MS } from './application/lingering.ts';
import { AcceptedSocket } from './sockets/listen.ts';
import { type Network, systemNetwork } from './sockets/network.ts';
import { type Bench, type Client, connect, dependencyPlan, get, startBench } from './testing/fixtures.ts';
import { opened } from './testing/opened.ts';
import { answering, OK, startUpstream } from './testing/upstreams.ts';

const { open } = opened();

type Options = NonNullable<Parameters<typeof startBench>[2]>;

async function bench(options: Options, script: (received: string, socket: Socket) => void = answering(OK)) {
  const upstream = await startUpstream(script);
  const started = await startBench(dependencyPlan({}), [upstream.endpoint], options);
  open.push(started, upstream);
  return { ...started, upstream };
}

function client(port: number): Client {
  const connected = connect(port);
  connected.socket.on('error', () => {});
  open.push({ close: () => connected.socket.destroy() });
  return connected;
}

async function answered(port: number): Promise<Client & { received: string }> {
  const one = client(port);
  one.send(get('/'));
  return Object.assign(one, { received: await one.until((text) => text.endsWith('ok')) });
}

describe('connections of the application', () => {
  it('are taken up to the limit, and one beyond it is reset and counted', async () => {
    const { metric, plane, port } = await bench({ maxConnections: 3 });
    expect(await metric('breakwater_connection_limit')).toBe(3);
    // None of them has said anything yet: what counts are connections, not requests.
    const silent = [client(port), client(port)];
    const third = client(port);
    third.send('GET / HTTP/1.1\r\n');
    await expect.poll(() => plane.held().clientConnections).toBe(1);
    expect(await client(port).closed()).toBe('ECONNRESET');
    expect(await metric('breakwater_shed_connections_total', { reason: 'open-files' })).toBe(1);
    expect(await metric('breakwater_shed_connections_total', { reason: 'memory' })).toBe(0);
    third.send('Host: a\r\n\r\n');
    await third.until((text) => text.endsWith('ok'));
    third.socket.destroy();
    await expect.poll(() => plane.held().clientConnections).toBe(0);
    await answered(port);
    expect(silent).toHaveLength(2);
  });

  it('are not kept while they are almost as many as there may be', async () => {
    const { plane, port } = await bench({ maxConnections: 2 });
    const first = await answered(port);
    expect(first.received).not.toContain('Connection: close');
    const second = await answered(port);
    expect(second.received).toContain('Connection: close');
    second.socket.destroy();
    await expect.poll(() => plane.held().clientConnections).toBe(1);
    first.send(get('/'));
    const both = await first.until((text) => text.split('HTTP/1.1 200').length === 3);
    expect(both).not.toContain('Connection: close');
  });

  it('count as tunnels too, and a kill switch makes no more of them', async () => {
    const { metric, plane, port } = await bench({ maxConnections: 1 });
    plane.setLocallyDisabled(true);
    await answered(port);
    expect(await client(port).closed()).toBe('ECONNRESET');
    expect(await metric('breakwater_shed_connections_total', { reason: 'open-files' })).toBe(1);
  });
});

describe('a head', () => {
  const headOf = (bytes: number): string => {
    const start = 'GET / HTTP/1.1\r\nHost: a\r\nX: ';
    return `${start}${'x'.repeat(bytes - start.length - 4)}\r\n\r\n`;
  };

  it.each([
    [MAX_HEAD_BYTES - 1, 200],
    [MAX_HEAD_BYTES, 200],
    [MAX_HEAD_BYTES + 1, 431],
  ])('of %d bytes, in two parts, is answered %d', async (bytes, status) => {
    const { port, upstream } = await bench({});
    const sender = client(port);
    sender.send(headOf(bytes).slice(0, 9_000));
    await expect.poll(() => sender.socket.bytesWritten).toBe(9_000);
    sender.send(headOf(bytes).slice(9_000));
    await sender.until((text) => text.startsWith(`HTTP/1.1 ${status} `));
    expect(upstream.connections).toBe(status === 200 ? 1 : 0);
  });

  it('has an absolute deadline, however steadily its bytes come', async () => {
    const clock = new ManualClock();
    const { plane, port } = await bench({ clock });
    const sender = client(port);
    sender.send('GET / HTTP/1.1\r\n');
    await expect.poll(() => plane.held().clientConnections).toBe(1);
    for (let second = 1; second < HEAD_TIMEOUT_MS / 1_000; second += 1) {
      sender.send('X: a\r\n');
      await expect.poll(() => sender.socket.writableLength).toBe(0);
      await clock.advance(1_000);
    }
    expect(await sender.until(() => true)).toBe('');
    await clock.advance(1_100);
    expect(await sender.ended()).toMatch(/^HTTP\/1\.1 400 [^]*not complete within 10 s/);
    sender.socket.end();
    await expect.poll(() => plane.held()).toMatchObject({ clientConnections: 0, timers: 0 });
  });
});

describe('the last answer of a connection', () => {
  /** A connection whose peer reads nothing but what it is told to. */
  class Unread extends Duplex {
    readonly #written: (() => void)[] = [];

    override _read(): void {}

    override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
      this.#written.push(done);
    }

    takeOne(): void {
      this.#written.shift()?.();
    }
  }

  async function refusedOn(socket: Unread, clock: ManualClock): Promise<Bench> {
    let accept = (_socket: Socket): void => {};
    const network: Network = {
      ...systemNetwork,
      listen: async (_host, _port, _log, onConnection) => {
        accept = (socket) => onConnection(new AcceptedSocket(socket));
        return { address: () => ({ address: '127.0.0.1', family: 'IPv4', port: 1 }), close: () => accept } as never;
      },
    };
    const started = await bench({ clock, network });
    accept(socket as unknown as Socket);
    socket.push('GET / HTTP/9.9\r\n\r\n');
    await expect.poll(() => socket.writableLength).toBeGreaterThan(0);
    return started;
  }

  it('is not waited for for ever where nothing of it is read', async () => {
    const clock = new ManualClock();
    const socket = new Unread();
    const { plane } = await refusedOn(socket, clock);
    await clock.advance(STALLED_LIMIT_MS - 1_000);
    expect([socket.destroyed, plane.held().clientConnections]).toEqual([false, 1]);
    await clock.advance(3_000);
    expect(socket.destroyed).toBe(true);
    expect(plane.held()).toMatchObject({ clientConnections: 0, timers: 0 });
  });

  it('ends its connection once it was read', async () => {
    const clock = new ManualClock();
    const socket = new Unread();
    const { plane } = await refusedOn(socket, clock);
    await clock.advance(STALLED_LIMIT_MS / 2);
    socket.takeOne();
    await expect.poll(() => socket.writableLength).toBe(0);
    await clock.advance(1_100);
    expect(plane.held()).toMatchObject({ clientConnections: 0, timers: 0 });
  });
});
