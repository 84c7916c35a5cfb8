// The dependencies of a soak: each tells the ledger what it runs, and in one of a hundred requests something goes wrong in it.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocketServer } from 'ws';
import type { Random } from '../../runtime/random.ts';
import type { Ledger } from './ledger.ts';

const FAULTS = ['reset', 'unavailable', 'slow'] as const;
const FAULT_SHARE = 0.01;
const SLOW_MS = 400;

export interface Servers {
  ports: Readonly<Record<'http1' | 'http2' | 'socket' | 'tcp', number>>;
  close(): void;
}

export const bodyOf = (id: string): string => `${id}:${'a'.repeat(1_000)}`;

export async function startServers(ledger: Ledger, random: Random): Promise<Servers> {
  const fault = () => (random() < FAULT_SHARE ? FAULTS[Math.floor(random() * FAULTS.length)] : undefined);
  const http1 = createServer((incoming, response) => void answerHttp1(incoming, response, ledger, fault()));
  const http2 = createHttp2Server();
  http2.on('stream', (stream: ServerHttp2Stream, headers) => {
    const grpc = headers['content-type'] === 'application/grpc';
    void answerHttp2(stream, String(headers[':path']).slice(1).split('/').at(-1) ?? '', grpc, ledger, fault());
  });
  http2.on('sessionError', () => undefined);
  const holder = createServer();
  const sockets = new WebSocketServer({ server: holder });
  sockets.on('connection', (socket, request) => {
    ledger.executed(request.url?.slice(1) ?? '');
    socket.on('error', () => undefined);
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  const tcp = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    let first = true;
    socket.on('data', (chunk: Buffer) => {
      if (first) ledger.executed(chunk.toString('latin1').split(':', 1)[0] ?? '');
      first = false;
      socket.write(chunk);
    });
  });
  const open = new Set<Socket>();
  const all: Record<keyof Servers['ports'], Server> = { http1, http2, socket: holder, tcp };
  const ports = { http1: 0, http2: 0, socket: 0, tcp: 0 };
  for (const name of Object.keys(ports) as (keyof typeof ports)[]) {
    const server = all[name];
    server.on('connection', (socket: Socket) => {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    ports[name] = (server.address() as AddressInfo).port;
  }
  return {
    ports,
    close() {
      for (const server of Object.values(all)) server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

type Fault = (typeof FAULTS)[number] | undefined;

async function answerHttp1(incoming: IncomingMessage, response: ServerResponse, ledger: Ledger, fault: Fault) {
  const id = incoming.url?.slice(1) ?? '';
  incoming.on('error', () => undefined);
  for await (const _chunk of incoming.on('error', () => undefined)) void _chunk;
  ledger.executed(id);
  if (fault === 'reset') {
    incoming.socket.destroy();
    return;
  }
  if (fault === 'slow') await sleep(SLOW_MS);
  response.statusCode = fault === 'unavailable' ? 503 : 200;
  response.end(fault === 'unavailable' ? '' : bodyOf(id));
}

async function answerHttp2(stream: ServerHttp2Stream, id: string, grpc: boolean, ledger: Ledger, fault: Fault) {
  stream.on('error', () => undefined);
  stream.resume();
  ledger.executed(id);
  if (fault === 'reset') {
    stream.close(0x2);
    return;
  }
  if (fault === 'slow') await sleep(SLOW_MS);
  if (stream.destroyed) return;
  if (!grpc) {
    stream.respond({ ':status': fault === 'unavailable' ? 503 : 200 });
    stream.end(fault === 'unavailable' ? '' : bodyOf(id));
    return;
  }
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': fault === 'unavailable' ? '14' : '0' }));
  stream.end(fault === 'unavailable' ? undefined : messageOf(bodyOf(id)));
}

/** A message of gRPC: not compressed, its length, its bytes. */
export function messageOf(text: string): Buffer {
  const message = Buffer.alloc(5 + text.length);
  message.writeUInt32BE(text.length, 1);
  message.write(text, 5, 'latin1');
  return message;
}
