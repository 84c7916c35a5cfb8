// Heads that do not end, on a whole sidecar; ten thousand of them are in test/conformance.
import { afterEach, expect, it } from 'vitest';
import { SlowHeads } from '../../bench/slow-heads.ts';
import { ConformanceSidecar } from '../conformance/sidecar.ts';
import { underSlowHeads } from '../conformance/under-slow-heads.ts';
import { startUpstream } from './harness.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function started(before: readonly string[] = []): Promise<ConformanceSidecar> {
  const upstream = await startUpstream((_incoming, response) => response.end('ok'));
  cleanUps.push(() => upstream.close());
  const sidecar = await ConformanceSidecar.start({ service: { ports: [upstream.port], appProtocol: 'http' } }, before);
  cleanUps.push(() => sidecar.stop());
  return sidecar;
}

it('slow connections leave the sidecar small, and others served', { timeout: 120_000 }, async () => {
  const sidecar = await started();
  const before = sidecar.rssBytes;
  const { connected, rssBytes, good, admin } = await underSlowHeads(sidecar, 'service', 500);
  expect(connected).toBe(500);
  expect(rssBytes - before).toBeLessThan(64 * 1024 * 1024);
  expect([...good, ...admin].filter((status) => status !== 200)).toEqual([]);
  await expect.poll(() => sidecar.metric('breakwater_client_connections'), { timeout: 30_000 }).toBe(0);
});

it.runIf(process.platform === 'linux')(
  'a sidecar whose open files are used up refuses connections, and its admin port answers',
  { timeout: 120_000 },
  async () => {
    // 512 files: 128 connections.
    const sidecar = await started(['prlimit', '--nofile=512']);
    expect(await sidecar.metric('breakwater_connection_limit')).toBe(128);
    const slow = new SlowHeads(sidecar.port('service'), 1_000);
    cleanUps.push(async () => slow.stop());
    slow.fill();
    const refused = () => sidecar.metric('breakwater_shed_connections_total', { reason: 'open-files' });
    await expect.poll(refused, { timeout: 20_000 }).toBeGreaterThan(100);
    expect(await sidecar.metric('breakwater_client_connections')).toBeLessThanOrEqual(128);
    slow.stop();
    await expect.poll(() => sidecar.metric('breakwater_client_connections'), { timeout: 30_000 }).toBe(0);
  },
);
