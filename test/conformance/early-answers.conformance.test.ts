// A thousand uploads that are refused in their middle with 413, by dependencies that go on in every way that there is: the refusal arrives each
// time, the connection is not used again, whoever asks next is answered right, and nothing is left.
import { readdirSync, rmSync } from 'node:fs';
import { Agent, createServer as createHttpServer, get } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { Probe } from '../soak/probe.ts';
import { until } from '../standalone/harness.ts';
import { ConformanceSidecar } from './sidecar.ts';

const UPLOADS = 1_000;
const AT_A_TIME = 8;
const CONTENT_BYTES = 150_000_000;
const PIECE = Buffer.alloc(64 * 1024, 'x');
/** So much of it a dependency reads first. */
const READ_BYTES = 64 * 1024;
const ENDS_WITHIN_MS = 30_000;
/** Sockets, timers and tables; each upload that were left would be dozens. */
const MAX_MORE_OBJECTS = 1_000;
const MAX_MORE_FILES = 20;
const MAX_MORE_BYTES = 64 * 1024 * 1024;

const refusal = (path: string, fields = ''): string =>
  `HTTP/1.1 413 Content Too Large\r\nContent-Length: ${path.length}\r\n${fields}\r\n${path}`;

/** What a dependency does with the connection on which it refused. */
const MANNERS: Readonly<Record<string, (socket: Socket, path: string) => void>> = {
  // What it has not read makes the kernel reset the connection, which overtakes the answer where nobody takes care.
  resets(socket, path) {
    socket.end(refusal(path, 'Connection: close\r\n'));
    setTimeout(() => socket.destroy(), 5);
  },
  ignores(socket, path) {
    socket.pause();
    socket.write(refusal(path));
  },
  drains(socket, path) {
    socket.write(refusal(path));
  },
  'drains and closes'(socket, path) {
    socket.end(refusal(path, 'Connection: close\r\n'));
  },
};
const NAMES = Object.keys(MANNERS).map((name) => name.replaceAll(' ', '-'));

const servers: Server[] = [];
const sockets = new Set<Socket>();
let sidecar: ConformanceSidecar;
let probe: Probe;
let folder = '';
/** Heads that a dependency saw which refuses: one for each upload. */
let heads = 0;

function refuse(socket: Socket, manner: (socket: Socket, path: string) => void): void {
  let received = '';
  let isRefused = false;
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    if (isRefused) {
      // A piece of the content, and nothing else.
      if (chunk.includes('HTTP/1.1')) heads += 1;
      return;
    }
    received += chunk.toString('latin1');
    if (received.length < READ_BYTES) return;
    isRefused = true;
    heads += 1;
    manner(socket, received.split(' ', 2)[1] ?? '');
  });
}

async function listen(server: Server): Promise<number> {
  servers.push(server);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  const good = createHttpServer((incoming, response) => response.end(incoming.url));
  const declared = { good: { ports: [await listen(good)], appProtocol: 'http' as const } };
  const refusing = await Promise.all(
    Object.values(MANNERS).map(async (manner, index) => {
      const port = await listen(createServer((socket) => refuse(socket, manner)));
      return [NAMES[index] ?? '', { ports: [port], appProtocol: 'http' as const }] as const;
    }),
  );
  folder = temporaryFolder('early');
  probe = new Probe(folder);
  sidecar = await ConformanceSidecar.start({ ...declared, ...Object.fromEntries(refusing) }, [], probe.environment);
});
afterAll(async () => {
  await sidecar.stop();
  for (const server of servers) server.close();
  for (const socket of sockets) socket.destroy();
  rmSync(folder, { recursive: true, force: true });
});

/** Sends until it is answered, and resolves with all that came when the connection has ended. */
function upload(name: string, path: string): Promise<string> {
  return new Promise((ended, failed) => {
    const socket = connect({ host: '127.0.0.1', port: sidecar.port(name) });
    let received = '';
    const late = setTimeout(
      () => socket.destroy(new Error(`${path} has not ended; it had "${received}"`)),
      ENDS_WITHIN_MS,
    );
    const pump = () => {
      for (let flows = received === ''; flows && socket.writable; ) flows = socket.write(PIECE);
    };
    socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${CONTENT_BYTES}\r\n\r\n`);
    socket.on('connect', pump);
    socket.on('drain', pump);
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
    });
    socket.on('error', (error) => {
      // A reset behind the whole answer is how a connection may end that is closed in the middle of an upload.
      if (!received.endsWith(path)) failed(error);
    });
    socket.on('close', () => {
      clearTimeout(late);
      ended(received);
    });
  });
}

const agent = new Agent({ keepAlive: true });
afterAll(() => agent.destroy());

function ask(path: string): Promise<string> {
  return new Promise((answered, failed) => {
    get(`http://${sidecar.address('good')}${path}`, { agent }, (incoming) => {
      const reason = String(incoming.headers['breakwater-reason'] ?? '');
      text(incoming).then((body) => answered(`${incoming.statusCode} ${reason}${body}`), failed);
    }).on('error', failed);
  });
}

/** Where this machine has no time for the sidecar, it refuses before it does anything; that is not what is tried here. */
async function unlessShed(one: () => Promise<string>): Promise<string> {
  for (;;) {
    const answer = await one();
    if (!/503 .*\bshed\b/s.test(answer)) return answer;
  }
}

it('1,000 of 1,000 uploads that are refused in their middle are told so, and nothing comes of the rest', {
  timeout: 300_000,
}, async () => {
  const look = async () => ({
    objects: (await probe.ask(sidecar.pid)).objects,
    files: readdirSync(`/proc/${sidecar.pid}/fd`).length,
    rssBytes: sidecar.rssBytes,
  });
  const run = async (uploads: number, from: number) => {
    const wrong: string[] = [];
    let next = from;
    const worker = async () => {
      while (next < from + uploads) {
        const nth = next;
        next += 1;
        const path = `/${nth}`;
        const name = NAMES[nth % NAMES.length] ?? '';
        const answer = await unlessShed(() => upload(name, path).catch(({ message }: Error) => message));
        const [head = '', body] = answer.split('\r\n\r\n');
        if (!head.startsWith('HTTP/1.1 413 ') || !/\r\nconnection: close/i.test(head) || body !== path)
          wrong.push(`${path}: ${answer.slice(0, 200)}`);
        const other = await unlessShed(() => ask(path));
        if (other !== `200 ${path}`) wrong.push(`after ${path}: ${other}`);
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, worker));
    expect(wrong).toEqual([]);
    await sidecar.untilIdle();
  };
  await run(100, 0);
  const before = await look();
  heads = 0;
  await run(UPLOADS, 100);
  expect(heads).toBe(UPLOADS);
  let after = before;
  await until(
    async () => {
      after = await look();
      return after.objects - before.objects < MAX_MORE_OBJECTS && after.files - before.files < MAX_MORE_FILES;
    },
    () => `nothing is left: ${JSON.stringify({ before, after })}`,
  );
  expect(after.rssBytes - before.rssBytes).toBeLessThan(MAX_MORE_BYTES);
});
