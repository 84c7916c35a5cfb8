// Ten thousand callers that go away at any moment, of a whole sidecar: places, sockets, timers and objects are given back, and nobody is blamed.
import { readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { Probe } from '../soak/probe.ts';
import { call, startUpstream, until } from '../standalone/harness.ts';
import { ConformanceSidecar } from './sidecar.ts';

const CALLERS = 10_000;
const WARM_UP = 500;
const AT_A_TIME = 50;
/** Fewer places than callers: some go while they wait. */
const PLACES = 20;
const MOST_MS = 20;
/** Sockets, timers and tables; a caller that were left is dozens of objects, and one file. */
const MAX_MORE = { objects: 1_000, files: 20, timers: 4, handles: 20 } as const;
const REQUESTS = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET / HTTP/1.1\r\nHo',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nnine byte',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nnine',
  'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n',
] as const;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

it('10,000 callers that go away at any moment leave nothing taken', { timeout: 240_000 }, async () => {
  const random = seededRandom(1);
  const upstream = await startUpstream((incoming, response) => {
    incoming.on('error', () => undefined);
    incoming.resume();
    setTimeout(() => response.end('ok'), random() * MOST_MS);
  });
  cleanUps.push(() => upstream.close());
  const folder = temporaryFolder('aborts');
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }));
  const probe = new Probe(folder);
  const policy = {
    bulkhead: { maxConcurrent: PLACES, maxQueued: AT_A_TIME, queueTimeout: '10s' },
    retries: { maxAttempts: 3 },
    circuitBreaker: { consecutiveFailures: 3 },
    timeouts: { request: '20s', attempt: '10s' },
  };
  const declared = { service: { ports: [upstream.port], appProtocol: 'http' as const, policy } };
  const sidecar = await ConformanceSidecar.start(declared, [], probe.environment);
  cleanUps.push(() => sidecar.stop());
  const port = sidecar.port('service');
  const caller = async (nth: number) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => undefined);
    socket.write(REQUESTS[nth % REQUESTS.length] ?? '');
    await sleep(random() * MOST_MS);
    if (random() < 0.5) socket.resetAndDestroy();
    else socket.destroy();
  };
  const run = async (callers: number) => {
    let next = 0;
    const worker = async () => {
      while (next < callers) await caller(next++);
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, worker));
    await sidecar.untilIdle();
    await until(async () => (await sidecar.metric('breakwater_client_connections')) === 0, 'every connection is gone');
  };
  const look = async () => {
    const { objects, timers, handles } = await probe.ask(sidecar.pid);
    return { objects, timers, handles, files: readdirSync(`/proc/${sidecar.pid}/fd`).length };
  };
  await run(WARM_UP);
  const before = await look();
  await run(CALLERS);
  let after = before;
  const names = Object.keys(MAX_MORE) as (keyof typeof MAX_MORE)[];
  await until(
    async () => {
      after = await look();
      return names.every((name) => after[name] - before[name] < MAX_MORE[name]);
    },
    () => `nothing is left: ${JSON.stringify({ before, after })}`,
  );
  expect(upstream.seen.length).toBeGreaterThan(CALLERS / 10);
  expect(await sidecar.metric('breakwater_circuit_transitions_total')).toBe(0);
  await until(async () => (await call(sidecar.address('service'))).body === 'ok', 'a caller that stays is answered');
});
