// For the tests of this folder: upstreams that follow a script on raw sockets, and ports where nobody is.
import net, { type AddressInfo, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import type { Endpoint } from '../../../plan/endpoints.ts';
import { systemClock } from '../../../runtime/clock.ts';

export interface Upstream {
  port: number;
  endpoint: Endpoint;
  /** Connections accepted so far. */
  connections: number;
  /** Everything received, per connection, latin1. */
  received: string[];
  close(): void;
}

/** `onData` is called with all that a connection has received so far whenever more comes. */
export async function startUpstream(
  onData: (received: string, socket: Socket, connection: number) => void,
  onConnection?: (socket: Socket, connection: number) => void,
  /** What a connection that was accepted becomes before anything is read of it. */
  wrap: (accepted: Socket) => Socket = (accepted) => accepted,
): Promise<Upstream> {
  const sockets = new Set<Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true });
  const upstream: Upstream = {
    port: 0,
    endpoint: { address: '127.0.0.1', port: 0 },
    connections: 0,
    received: [],
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
  server.on('connection', (accepted) => {
    const socket = wrap(accepted);
    const connection = upstream.connections++;
    upstream.received[connection] = '';
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    onConnection?.(socket, connection);
    socket.on('end', () => socket.end());
    socket.on('data', (chunk) => {
      upstream.received[connection] += chunk.toString('latin1');
      onData(upstream.received[connection] ?? '', socket, connection);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  upstream.port = (server.address() as AddressInfo).port;
  upstream.endpoint = { address: '127.0.0.1', port: upstream.port };
  return upstream;
}

/** Where nothing listens: a port that was free a moment ago may be another test's by now, this one is never handed out. */
export const DEAD_ENDPOINT: Endpoint = { address: '127.0.0.1', port: 1 };

/** An address where connections are neither made nor refused, as where a node is gone: its listener is full, and never accepts. */
export async function startSwallowing(): Promise<{ endpoint: Endpoint; close(): Promise<void> }> {
  const listener = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer();
     server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  const port = await new Promise<number>((resolve) => listener.once('message', resolve));
  const fillers: Socket[] = [];
  for (let full = false; !full; ) {
    const socket = net.connect(port, '127.0.0.1').on('error', () => {});
    fillers.push(socket);
    full = await new Promise<boolean>((resolve) => {
      const cancel = systemClock.after(200, () => resolve(true));
      socket.once('connect', () => {
        cancel();
        resolve(false);
      });
    });
  }
  return {
    endpoint: { address: '127.0.0.1', port },
    close: async () => {
      for (const socket of fillers) socket.destroy();
      await listener.terminate();
    },
  };
}

/** Answers every request without content by the same bytes. */
export function answering(
  response: string | ((request: string, nth: number) => string),
): (received: string, socket: Socket) => void {
  const answered = new WeakMap<Socket, number>();
  return (received, socket) => {
    const requests = received.split('\r\n\r\n').slice(0, -1);
    for (let nth = answered.get(socket) ?? 0; nth < requests.length; nth++) {
      answered.set(socket, nth + 1);
      socket.write(typeof response === 'string' ? response : response(requests[nth] ?? '', nth), 'latin1');
    }
  };
}

export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Ports of 127.0.0.1 that nobody uses, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = net.createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}
