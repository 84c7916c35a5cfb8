// slowhttptest in its three modes: heads that do not end, bodies that do not end, answers that are not read. Others are served meanwhile, memory
// stays within bounds, and each connection is gone in time.
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, startUpstream, type Upstream } from '../standalone/harness.ts';
import { isMissing, partPath } from './parts.ts';
import { ConformanceSidecar } from './sidecar.ts';

const CONNECTIONS = 1_000;
const SECONDS = 20;
const MAX_RSS_BYTES = 256 * 1024 * 1024;
const LARGE = Buffer.alloc(1024 * 1024, 'x');

let upstream: Upstream;
let sidecar: ConformanceSidecar;

beforeAll(async () => {
  upstream = await startUpstream((incoming, response) => {
    incoming.resume();
    incoming.once('end', () => response.end(incoming.url === '/large' ? LARGE : 'ok'));
  });
  const policy = { timeouts: { request: '8s', attempt: '8s' }, bulkhead: { maxConcurrent: 2_000 } };
  sidecar = await ConformanceSidecar.start({ service: { ports: [upstream.port], appProtocol: 'http', policy } });
});
afterAll(async () => {
  await sidecar.stop();
  await upstream.close();
});

/** Slow heads, slow bodies, slow readers; each with how slow it is. */
const MODES = [
  ['heads', '/', ['-H', '-i', '2', '-x', '24']],
  ['bodies', '/', ['-B', '-i', '2', '-s', '8192', '-x', '10']],
  ['readers', '/large', ['-X', '-w', '512', '-y', '1024', '-n', '5', '-z', '32', '-k', '3']],
] as const;

describe.skipIf(isMissing('slowhttptest'))('slowhttptest', () => {
  it.each(MODES)('with slow %s', { timeout: 180_000 }, async (_name, path, options) => {
    const url = `http://${sidecar.address('service')}${path}`;
    const args = ['-c', String(CONNECTIONS), '-r', '200', '-l', String(SECONDS), '-u', url, ...options];
    const state = { over: false };
    const slow = promisify(execFile)(partPath('slowhttptest'), args).finally(() => {
      state.over = true;
    });
    slow.catch(() => undefined);
    const statuses: number[] = [];
    let rssBytes = 0;
    let most = 0;
    while (!state.over) {
      statuses.push((await call(sidecar.address('service'))).status);
      most = Math.max(most, await sidecar.metric('breakwater_client_connections'));
      rssBytes = Math.max(rssBytes, sidecar.rssBytes);
      await sleep(100);
    }
    await slow;
    expect(most).toBeGreaterThan(CONNECTIONS / 2);
    expect(statuses.length).toBeGreaterThan(10);
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect(rssBytes).toBeLessThan(MAX_RSS_BYTES);
    await expect.poll(() => sidecar.metric('breakwater_client_connections'), { timeout: 30_000 }).toBe(0);
    await sidecar.untilIdle();
  });
});
