// Ten thousand heads that do not end, on a real sidecar: its memory stays within bounds and everybody else is served.
import { spawnSync } from 'node:child_process';
import { afterEach, expect, it } from 'vitest';
import { maxConnections } from '../../sidecar/overload/open-files.ts';
import { startUpstream } from '../standalone/harness.ts';
import { ConformanceSidecar } from './sidecar.ts';
import { underSlowHeads } from './under-slow-heads.ts';

const CONNECTIONS = 10_000;
const MAX_RSS_BYTES = 256 * 1024 * 1024;
/** More than two for each connection. */
const OPEN_FILES = 32_768;

/** For the calls beside them. */
const BESIDE = 32;

/** As many connections as the open files of this machine allow a sidecar, where these are few and nobody may raise them. */
function possible(): number {
  spawnSync('prlimit', ['--pid', String(process.pid), `--nofile=${OPEN_FILES}`]);
  return Math.min(CONNECTIONS, maxConnections() - BESIDE);
}

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

it('10,000 slow connections leave the sidecar small, and others served', { timeout: 240_000 }, async () => {
  const wanted = possible();
  const upstream = await startUpstream((_incoming, response) => response.end('ok'));
  cleanUps.push(() => upstream.close());
  const sidecar = await ConformanceSidecar.start({ service: { ports: [upstream.port], appProtocol: 'http' } });
  cleanUps.push(() => sidecar.stop());
  const { connected, rssBytes, good, admin, answers } = await underSlowHeads(sidecar, 'service', wanted);
  console.info(
    `${connected} slow connections: ${Math.round(rssBytes / 2 ** 20)} MiB resident, ${good.length} calls beside them`,
  );
  expect(connected).toBe(wanted);
  expect(rssBytes).toBeLessThan(MAX_RSS_BYTES);
  expect(good.filter((status) => status !== 200)).toEqual([]);
  expect(admin.filter((status) => status !== 200)).toEqual([]);
  // Whoever was ended was told why: it took more than 10 s.
  expect([...answers.keys()].filter((answer) => answer !== 'HTTP/1.1 400 Bad Request')).toEqual([]);
  await expect.poll(() => sidecar.metric('breakwater_client_connections'), { timeout: 30_000 }).toBe(0);
});
