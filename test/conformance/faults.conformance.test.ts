// Faults of real connections on either leg, by Toxiproxy: each request ends in exactly one way, a whole right answer, an answer of the
// sidecar's own or a broken connection; nothing runs twice that may not; and no place stays taken.
import { createServer, request, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../bench/loopback.ts';
import { isMissing } from './parts.ts';
import { ConformanceSidecar } from './sidecar.ts';
import { type Toxic, Toxiproxy } from './toxiproxy.ts';

const TOXICS: readonly Toxic[] = [
  { type: 'latency', attributes: { latency: 100, jitter: 80 } },
  { type: 'bandwidth', attributes: { rate: 64 } },
  { type: 'slow_close', attributes: { delay: 300 } },
  { type: 'timeout', attributes: { timeout: 200 } },
  { type: 'reset_peer', attributes: { timeout: 20 } },
  { type: 'slicer', attributes: { average_size: 40, size_variation: 30, delay: 200 } },
  { type: 'limit_data', attributes: { bytes: 6_000 } },
];
const REQUESTS = 16;
const BODY = 'b'.repeat(10_000);
const MAX_ATTEMPTS = 2;

let sidecar: ConformanceSidecar;
let toxiproxy: Toxiproxy;
let server: Server;
let clientPort = 0;
/** Executions by id. */
const executed = new Map<string, number>();

const answerOf = (id: string): string => `${id}:${'a'.repeat(9_000)}`;

beforeAll(async () => {
  if (isMissing('toxiproxy')) return;
  const [forClients = 0, forSidecar = 0] = await freePorts(2);
  clientPort = forClients;
  server = createServer((incoming, response) => {
    let bytes = 0;
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    incoming.on('end', () => {
      const id = incoming.url?.slice(1) ?? '';
      // What is told of a request whose body did not come whole would be a right answer to a wrong one.
      if (incoming.method === 'POST' && bytes !== BODY.length) {
        response.writeHead(400).end();
        return;
      }
      executed.set(id, (executed.get(id) ?? 0) + 1);
      response.end(answerOf(id));
    });
    incoming.on('error', () => {});
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as { port: number };
  toxiproxy = await Toxiproxy.start();
  await toxiproxy.proxy('dependency', forSidecar, port);
  sidecar = await ConformanceSidecar.start({
    service: {
      ports: [forSidecar],
      appProtocol: 'http',
      policy: {
        timeouts: { request: '2s', attempt: '1s', connect: '500ms' },
        retries: { maxAttempts: MAX_ATTEMPTS, backoff: { initial: '10ms', max: '50ms' } },
        bulkhead: { maxConcurrent: 50 },
      },
    },
  });
  await toxiproxy.proxy('application', forClients, sidecar.port('service'));
});

afterAll(async () => {
  await sidecar?.stop();
  await toxiproxy?.stop();
  server?.close();
  server?.closeAllConnections();
});

/** "200 right", "504 deadline", "ECONNRESET" and the like. Rejects where an answer is whole and wrong. */
function outcomeOf(id: string, method: 'GET' | 'POST'): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: '127.0.0.1', port: clientPort, path: `/${id}`, method, agent: false, timeout: 10_000 },
      (incoming) => {
        let text = '';
        incoming.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        incoming.on('error', () => resolve('broken off'));
        incoming.on('end', () => {
          const { complete, headers, statusCode } = incoming;
          const reason = headers['breakwater-reason'];
          if (!complete) resolve('broken off');
          else if (reason !== undefined) resolve(`${statusCode} ${String(reason)}`);
          else if (statusCode === 200 && text === answerOf(id)) resolve('200 right');
          else reject(new Error(`${id}: ${statusCode} with ${text.length} bytes is whole, and not its answer`));
        });
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('no end')));
    outgoing.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    if (method === 'POST') outgoing.end(BODY);
    else outgoing.end();
  });
}

describe.skipIf(isMissing('toxiproxy'))('faults by Toxiproxy', () => {
  const legs = ['application', 'dependency'] as const;
  const streams = ['upstream', 'downstream'] as const;
  const all = TOXICS.flatMap((toxic) =>
    legs.flatMap((leg) => streams.map((stream) => [toxic.type, leg, stream, toxic] as const)),
  );

  it.each(all)('%s between the sidecar and the %s, %s', async (type, leg, stream, toxic) => {
    await toxiproxy.poison(leg, stream, toxic);
    const begin = `${type}-${leg}-${stream}`;
    const asked = Array.from({ length: REQUESTS }, (_, nth) => {
      const method = nth % 2 === 0 ? 'GET' : 'POST';
      return { id: `${begin}-${nth}`, method, outcome: outcomeOf(`${begin}-${nth}`, method) };
    });
    const outcomes = await Promise.all(asked.map(({ outcome }) => outcome));
    await toxiproxy.cure(leg);
    expect(outcomes.filter((outcome) => outcome === 'no end')).toEqual([]);
    for (const { id, method } of asked) {
      const times = executed.get(id) ?? 0;
      expect(times, id).toBeLessThanOrEqual(method === 'POST' ? 1 : MAX_ATTEMPTS);
    }
    asked.forEach(({ id }, nth) => {
      if (outcomes[nth] === '200 right') expect(executed.get(id), id).toBeGreaterThan(0);
    });
    // What only delays, or cuts bytes into pieces, is seen by nobody.
    if (type === 'latency' || type === 'slicer' || type === 'slow_close')
      expect(new Set(outcomes)).toEqual(new Set(['200 right']));
    await sidecar.untilIdle();
    expect(await outcomeOf(`${begin}-after`, 'GET')).toBe('200 right');
  });
});
