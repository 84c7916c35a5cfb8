// A gigabyte through a reader that keeps stopping, and gigabytes for readers of a kilobyte a second: what the sidecar holds of them is bounded,
// whoever writes has to wait, and every byte arrives that is waited for.
import { createServer, get, type IncomingMessage, request } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, type Server } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../standalone/harness.ts';
import { ConformanceSidecar } from './sidecar.ts';

const TOTAL_BYTES = 1024 * 1024 * 1024;
const PIECE = Buffer.alloc(256 * 1024, 'p');
const STOP_EVERY_BYTES = TOTAL_BYTES / 16;
const STOP_MS = 200;
/** Buffers of reads and writes, and what is not collected yet; not what lies in the kernel. */
const MAX_GROWTH_BYTES = 64 * 1024 * 1024;
const SLOW_READERS = 32;
const SLOW_SECONDS = 20;
const SLOW_BYTES_PER_SECOND = 1024;
/** Of each slow reader: what the sidecar may read ahead, its sockets, and room. */
const MAX_GROWTH_OF_ONE_BYTES = 1024 * 1024;
/** What two pairs of sockets hold in the kernel, and buffers of the dependency. */
const MAX_WRITTEN_OF_ONE_BYTES = 64 * 1024 * 1024;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Writes the gigabyte as it is taken. */
function pour(into: Writable, onWritten: (bytes: number) => void = () => undefined): void {
  let left = TOTAL_BYTES;
  const write = () => {
    for (let flows = true; flows && left > 0 && !into.destroyed; left -= PIECE.length) {
      flows = into.write(PIECE);
      onWritten(PIECE.length);
    }
    if (into.destroyed) return;
    if (left > 0) into.once('drain', write);
    else into.end();
  };
  write();
}

/** Reads to the end, with pauses; resolves with how many bytes there were. `pausing` is called in each pause. */
function sip(from: Readable, pausing: () => void): Promise<number> {
  return new Promise((done, failed) => {
    let received = 0;
    let stopAt = STOP_EVERY_BYTES;
    from.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received < stopAt || received === TOTAL_BYTES) return;
      stopAt += STOP_EVERY_BYTES;
      from.pause();
      void sleep(STOP_MS).then(() => {
        pausing();
        from.resume();
      });
    });
    from.on('end', () => done(received));
    from.on('error', failed);
  });
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  cleanUps.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function before(port: number, appProtocol: 'http' | 'kubernetes.io/h2c') {
  const sidecar = await ConformanceSidecar.start({ service: { ports: [port], appProtocol } });
  cleanUps.push(() => sidecar.stop());
  return sidecar;
}

const headersOfAll = { 'content-length': TOTAL_BYTES };
const answerTo = (url: string): Promise<IncomingMessage> =>
  new Promise((answered, failed) => void get(url, answered).on('error', failed));

/** Each sends the gigabyte through, and says how much of it arrived. */
const WAYS: Readonly<
  Record<string, (pausing: () => void) => Promise<{ sidecar: ConformanceSidecar; all(): Promise<number> }>>
> = {
  async 'an answer of HTTP/1.1'(pausing) {
    const port = await listen(createServer((_incoming, response) => pour(response.writeHead(200, headersOfAll))));
    const sidecar = await before(port, 'http');
    return { sidecar, all: async () => sip(await answerTo(`http://${sidecar.address('service')}/`), pausing) };
  },
  async 'an upload of HTTP/1.1'(pausing) {
    const port = await listen(
      createServer((incoming, response) => void sip(incoming, pausing).then((bytes) => response.end(String(bytes)))),
    );
    const sidecar = await before(port, 'http');
    const all = () =>
      new Promise<number>((done, failed) => {
        const options = { method: 'POST', headers: headersOfAll };
        const outgoing = request(`http://${sidecar.address('service')}/`, options, (incoming) => {
          incoming.setEncoding('utf8').on('data', (text: string) => done(Number(text)));
        });
        outgoing.on('error', failed);
        pour(outgoing);
      });
    return { sidecar, all };
  },
  async 'an answer of HTTP/2'(pausing) {
    const server = createHttp2Server();
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200 });
      pour(stream);
    });
    const sidecar = await before(await listen(server), 'kubernetes.io/h2c');
    const session = connectHttp2(`http://${sidecar.address('service')}`);
    cleanUps.push(() => session.destroy());
    return { sidecar, all: () => sip(session.request({ ':path': '/' }), pausing) };
  },
};

describe('a gigabyte for a slow reader is never held', () => {
  it.each(Object.keys(WAYS))('%s', { timeout: 240_000 }, async (name) => {
    const looks: number[] = [];
    const way = await WAYS[name]?.(() => looks.push(sidecar.rssBytes));
    if (way === undefined) throw new Error(name);
    const { sidecar } = way;
    const rssBytes = sidecar.rssBytes;
    expect(await way.all()).toBe(TOTAL_BYTES);
    expect(looks.length).toBeGreaterThan(10);
    const most = Math.max(...looks);
    console.info(`${name}: ${Math.round((most - rssBytes) / 2 ** 20)} MiB more than before it`);
    expect(most - rssBytes).toBeLessThan(MAX_GROWTH_BYTES);
    await sidecar.untilIdle();
  });
});

it('gigabytes for readers of a kilobyte a second wait at the dependency', { timeout: 120_000 }, async () => {
  const written: number[] = [];
  const port = await listen(
    createServer((_incoming, response) => {
      const nth = written.push(0) - 1;
      response.on('error', () => undefined);
      pour(response.writeHead(200, headersOfAll), (bytes) => {
        written[nth] = (written[nth] ?? 0) + bytes;
      });
    }),
  );
  const sidecar = await before(port, 'http');
  // What one request alone makes of a fresh process is not what a slow reader costs.
  const first = await answerTo(`http://${sidecar.address('service')}/`);
  first.destroy();
  await sidecar.untilIdle();
  const rssBytes = sidecar.rssBytes;
  const read = Array.from({ length: SLOW_READERS }, () => 0);
  const readers = read.map((_, nth) => {
    const socket = connect({
      host: '127.0.0.1',
      port: sidecar.port('service'),
      // One read takes as much as is meant for one second.
      onread: {
        buffer: Buffer.alloc(SLOW_BYTES_PER_SECOND),
        callback: (bytes) => {
          read[nth] = (read[nth] ?? 0) + bytes;
          socket.pause();
          return true;
        },
      },
    });
    socket.on('error', () => undefined);
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    return socket;
  });
  cleanUps.push(() => readers.forEach((socket) => void socket.destroy()));
  let most = 0;
  for (let second = 0; second < SLOW_SECONDS; second += 1) {
    for (const socket of readers) socket.resume();
    await sleep(1_000);
    most = Math.max(most, sidecar.rssBytes);
  }
  await until(
    () => Math.min(...read) >= (SLOW_SECONDS / 2) * SLOW_BYTES_PER_SECOND,
    () => `each reader has read something: ${read.join(' ')}`,
  );
  console.info(`${SLOW_READERS} slow readers: ${Math.round((most - rssBytes) / 2 ** 20)} MiB more than before them`);
  expect(most - rssBytes).toBeLessThan(SLOW_READERS * MAX_GROWTH_OF_ONE_BYTES);
  expect(Math.max(...written.slice(1))).toBeLessThan(MAX_WRITTEN_OF_ONE_BYTES);
  for (const socket of readers) socket.destroy();
  await sidecar.untilIdle();
});
