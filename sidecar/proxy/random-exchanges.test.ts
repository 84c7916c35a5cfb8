// Random exchanges through the data path: pipelined requests with every kind of framing, cut anywhere, against a server that answers with
// every kind of framing. What arrives on either side must be what was sent, in order. SEED=n replays one run.
import { createHash } from 'node:crypto';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Random, seededRandom } from '../../runtime/random.ts';
import { type Bench, BREAKER, dependencyPlan, RETRIES, startBench } from './testing/fixtures.ts';

const RUNS = 60;
const seeds = process.env['SEED'] ? [Number(process.env['SEED'])] : Array.from({ length: RUNS }, (_, run) => run + 1);
const sha = (body: Buffer): string => createHash('sha256').update(body).digest('hex');

/** A body that a length and a seed name, so that both sides can make it. */
function bodyOf(length: number): Buffer {
  const body = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) body[i] = (i * 31 + length) & 255;
  return body;
}

let server: http.Server;
let bench: Bench;

beforeAll(async () => {
  server = http.createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const url = new URL(request.url ?? '', 'http://a');
      const length = Number(url.searchParams.get('length'));
      response.setHeader('x-request', `${request.method} ${request.url} ${sha(Buffer.concat(parts))}`);
      const body = bodyOf(length);
      if (url.searchParams.has('chunked')) {
        for (let at = 0; at < body.length; at += 7_001) response.write(body.subarray(at, at + 7_001));
        if (request.headers['te'] === 'trailers') response.addTrailers({ 'x-sum': sha(body) });
        response.end();
      } else {
        response.setHeader('content-length', length);
        if (url.searchParams.has('close')) response.setHeader('connection', 'close');
        response.end(body);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  const plan = dependencyPlan({
    retries: RETRIES,
    circuitBreaker: BREAKER,
    bulkhead: { stateKey: 'bulkhead:base', maxConcurrent: 3, maxQueued: 100, queueTimeoutMs: 5_000, adaptive: null },
    timeouts: { requestMs: 20_000, attemptMs: 20_000, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 },
  });
  bench = await startBench(plan, [{ address: '127.0.0.1', port }]);
});
afterAll(async () => {
  await bench.close();
  server.closeAllConnections();
  server.close();
});

interface Sent {
  method: string;
  url: string;
  body: Buffer;
  length: number;
}

function randomRequest(random: Random, last: boolean): { sent: Sent; bytes: Buffer } {
  const pick = <T>(...choices: T[]): T => choices[Math.floor(random() * choices.length)] as T;
  const method = pick('GET', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE');
  const length = pick(0, 1, 1024, 4_096, 4_097, 70_000, Math.floor(random() * 200_000));
  const url = `/r${Math.floor(random() * 1e6)}?length=${length}${pick('', '&chunked')}${pick('', '', '', '&close')}`;
  const withBody = method === 'POST' || method === 'PUT';
  const body = withBody
    ? bodyOf(pick(0, 1, 100, 4_096, 65_536, 65_537, Math.floor(random() * 150_000)))
    : Buffer.alloc(0);
  const head = [`${method} ${url} HTTP/1.1`, 'Host: a'];
  if (random() < 0.3) head.push('TE: trailers', 'Connection: TE');
  else if (last) head.push('Connection: close');
  const parts: Buffer[] = [];
  if (withBody && random() < 0.5) {
    head.push('Transfer-Encoding: chunked');
    for (let at = 0; at < body.length; ) {
      const size = Math.min(body.length - at, 1 + Math.floor(random() * 30_000));
      parts.push(
        Buffer.from(`${size.toString(16)}${pick('', ';ext=1')}\r\n`),
        body.subarray(at, at + size),
        Buffer.from('\r\n'),
      );
      at += size;
    }
    parts.push(Buffer.from(`0\r\n${pick('', 'x-trailer: t\r\n')}\r\n`));
  } else if (withBody) {
    head.push(`Content-Length: ${body.length}`);
    parts.push(body);
  }
  return {
    sent: { method, url, body, length },
    bytes: Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), ...parts]),
  };
}

/** Reads the answers with Node's own parser, so that nothing of ours judges itself. */
function readAnswers(stream: Buffer, requests: readonly Sent[]): { head: string; body: Buffer }[] {
  const answers: { head: string; body: Buffer }[] = [];
  let at = 0;
  for (const { method } of requests) {
    const end = stream.indexOf('\r\n\r\n', at);
    if (end < 0) break;
    const head = stream.toString('latin1', at, end);
    at = end + 4;
    const parts: Buffer[] = [];
    const length = /content-length: (\d+)/i.exec(head)?.[1];
    if (method !== 'HEAD' && /transfer-encoding: chunked/i.test(head)) {
      for (;;) {
        const line = stream.indexOf('\r\n', at);
        const size = Number.parseInt(stream.toString('latin1', at, line), 16);
        at = line + 2;
        if (size === 0) {
          while (stream.toString('latin1', at, at + 2) !== '\r\n') at = stream.indexOf('\r\n', at) + 2;
          at += 2;
          break;
        }
        parts.push(stream.subarray(at, at + size));
        at += size + 2;
      }
    } else if (method !== 'HEAD' && length) {
      parts.push(stream.subarray(at, at + Number(length)));
      at += Number(length);
    }
    answers.push({ head, body: Buffer.concat(parts) });
  }
  return answers;
}

async function converse(seed: number): Promise<void> {
  // Neighbouring seeds would begin alike.
  const random = seededRandom(Math.imul(seed, 0x9e3779b1));
  const count = 1 + Math.floor(random() * 6);
  const requests = Array.from({ length: count }, (_, nth) => randomRequest(random, nth === count - 1));
  const bytes = Buffer.concat(requests.map((request) => request.bytes));
  const socket = net.connect({ port: bench.port, host: '127.0.0.1', allowHalfOpen: true });
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  const ended = new Promise<void>((resolve, reject) => {
    socket.on('end', () => resolve());
    socket.on('error', reject);
  });
  for (let at = 0; at < bytes.length; ) {
    const size = random() < 0.2 ? 1 + Math.floor(random() * 50) : 1 + Math.floor(random() * 80_000);
    if (!socket.write(bytes.subarray(at, at + size))) await new Promise((resolve) => socket.once('drain', resolve));
    if (random() < 0.3) await new Promise((resolve) => setImmediate(resolve));
    at += size;
  }
  socket.end();
  await ended;
  const sent = requests.map((request) => request.sent);
  const answers = readAnswers(Buffer.concat(received), sent);
  expect(answers.length, `seed ${seed}`).toBe(count);
  answers.forEach(({ head, body }, nth) => {
    const request = sent[nth];
    if (!request) return;
    expect(head, `seed ${seed}, answer ${nth}`).toContain(
      `x-request: ${request.method} ${request.url} ${sha(request.body)}`,
    );
    if (request.method !== 'HEAD') expect(sha(body), `seed ${seed}, body ${nth}`).toBe(sha(bodyOf(request.length)));
  });
}

describe('random exchanges', () => {
  it(`arrive as they were sent (${seeds.length} seeds)`, async () => {
    for (let at = 0; at < seeds.length; at += 6) await Promise.all(seeds.slice(at, at + 6).map(converse));
    await expect.poll(() => bench.plane.inFlight()).toBe(0);
  }, 60_000);
});
