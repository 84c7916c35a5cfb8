// Many times what the sidecar can take, for a while: part of it is refused in order, the rest is served, the admin port answers, and
// when it is over nothing is left of it.
import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { freePorts, untilServing } from '../../bench/loopback.ts';
import { Processes } from '../../bench/processes.ts';
import { nginxConfig } from '../../bench/proxies/nginx-config.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { call } from '../standalone/harness.ts';
import { isMissing, partPath } from './parts.ts';
import { ConformanceSidecar } from './sidecar.ts';

/** One works on this many without a queue worth speaking of. */
const FEW = 32;
/**
 * All of them ask without a pause, whatever they are answered, and each round of the loop serves all that are ready: on a processor of its own that is
 * longer than the loop may be late, on one that it shares many times that.
 */
const MANY = 2_000;
const SECONDS = 20;
/** In a round of the loop one connection is accepted: all are to be there before the first of them asks. */
const CONNECTING_SECONDS = 4;
const RECOVERED_WITHIN_MS = 5_000;
/** Whoever was refused is held back for longer than this. */
const HELD_BACK_SECONDS = 0.5;

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A dependency that takes more than the sidecar can bring. */
async function startNginx(): Promise<number> {
  const [port = 0] = await freePorts(1);
  const folder = temporaryFolder('overload');
  const processes = new Processes();
  cleanUps.push(
    () => Promise.resolve(rmSync(folder, { recursive: true, force: true })),
    () => processes.endAll(),
  );
  const server = `server { listen 127.0.0.1:${port} backlog=4096; location / { return 200 "ok"; } }`;
  writeFileSync(join(folder, 'nginx.conf'), nginxConfig(server));
  processes.start(0, partPath('nginx'), ['-p', folder, '-c', join(folder, 'nginx.conf')]);
  await untilServing(port, '/');
  return port;
}

/** For wrk: each connection waits before its first request, and never again. */
function waitingScript(): string {
  const folder = temporaryFolder('overload-wrk');
  cleanUps.push(() => Promise.resolve(rmSync(folder, { recursive: true, force: true })));
  const path = join(folder, 'waiting.lua');
  const waitMs = CONNECTING_SECONDS * 1_000;
  writeFileSync(
    path,
    `local begun = 0\nfunction delay()\n  begun = begun + 1\n  return begun <= ${MANY} and ${waitMs} or 0\nend\n`,
  );
  return path;
}

interface Answered {
  good: number;
  refused: number;
}

async function wrk(url: string, connections: number, seconds: number, script: string | null = null): Promise<Answered> {
  const how = script === null ? [] : ['-s', script];
  const args = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, '--timeout', '10s', ...how, url];
  const { stdout } = await promisify(execFile)(partPath('wrk'), args);
  const all = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0);
  return { good: all - refused, refused };
}

describe.skipIf(isMissing('nginx', 'wrk'))('overload', { timeout: 180_000 }, () => {
  it('leaves some served, and the admin port, and passes within seconds', async () => {
    const port = await startNginx();
    const policy = { bulkhead: { maxConcurrent: 10_000 } };
    const sidecar = await ConformanceSidecar.start({
      service: { ports: [port], appProtocol: 'http', policy },
    });
    cleanUps.push(() => sidecar.stop());
    const url = `http://${sidecar.address('service')}/`;
    await wrk(url, FEW, 2);
    const usual = await wrk(url, FEW, 5);
    let probes = 0;
    let share = 0;
    const flood = { over: false };
    const flooded = wrk(url, MANY, CONNECTING_SECONDS + SECONDS, waitingScript()).finally(() => {
      flood.over = true;
    });
    while (!flood.over) {
      expect((await call(sidecar.admin.replace('http://', ''), '/livez')).status).toBe(200);
      share = Math.max(share, await sidecar.metric('breakwater_load_shed_share'));
      probes += 1;
    }
    const { good, refused } = await flooded;
    const ratio = good / SECONDS / (usual.good / 5);
    console.info(
      `goodput ${ratio.toFixed(2)} of the usual one, ${refused} refused, share ${share.toFixed(2)}, ${probes} probes`,
    );
    expect(probes).toBeGreaterThan(3);
    expect(refused).toBeGreaterThan(0);
    expect(await sidecar.metric('breakwater_shed_requests_total', { reason: 'event-loop' })).toBeGreaterThan(0);
    // What is served depends on who else works on this machine. How often the same callers are refused does not, and that is what it costs.
    expect(refused).toBeLessThan(MANY * (SECONDS / HELD_BACK_SECONDS + 1));
    expect(good).toBeGreaterThan(refused / 10);
    await expect
      .poll(() => sidecar.metric('breakwater_load_shed_share'), { timeout: RECOVERED_WITHIN_MS, interval: 100 })
      .toBe(0);
    for (let nth = 0; nth < 50; nth += 1) expect((await call(sidecar.address('service'))).status).toBe(200);
    await sidecar.untilIdle();
  });
});
