// A gigabyte through a reader that keeps stopping: what the sidecar holds of it is bounded, and every byte arrives.
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { ConformanceSidecar } from './sidecar.ts';

const TOTAL_BYTES = 1024 * 1024 * 1024;
const PIECE = Buffer.alloc(256 * 1024, 'p');
const STOP_EVERY_BYTES = TOTAL_BYTES / 16;
const STOP_MS = 200;
/** Buffers of reads and writes, and what is not collected yet; not what lies in the kernel. */
const MAX_GROWTH_BYTES = 64 * 1024 * 1024;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

it('a gigabyte for a slow reader is never held', { timeout: 240_000 }, async () => {
  const server = createServer((_incoming, response) => {
    response.writeHead(200, { 'content-length': TOTAL_BYTES });
    let left = TOTAL_BYTES;
    const write = () => {
      for (let flows = true; flows && left > 0; left -= PIECE.length) flows = response.write(PIECE);
      if (left > 0) response.once('drain', write);
      else response.end();
    };
    write();
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  cleanUps.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  const sidecar = await ConformanceSidecar.start({ service: { ports: [port], appProtocol: 'http' } });
  cleanUps.push(() => sidecar.stop());
  const before = sidecar.rssBytes;
  let most = before;
  let received = 0;
  await new Promise<void>((done, failed) => {
    get(`http://${sidecar.address('service')}/`, (incoming) => {
      let stopAt = STOP_EVERY_BYTES;
      incoming.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (received < stopAt) return;
        stopAt += STOP_EVERY_BYTES;
        incoming.pause();
        void sleep(STOP_MS).then(() => {
          most = Math.max(most, sidecar.rssBytes);
          incoming.resume();
        });
      });
      incoming.on('end', done);
      incoming.on('error', failed);
    }).on('error', failed);
  });
  expect(received).toBe(TOTAL_BYTES);
  console.info(`a gigabyte: ${Math.round((most - before) / 2 ** 20)} MiB more than before it`);
  expect(most - before).toBeLessThan(MAX_GROWTH_BYTES);
});
