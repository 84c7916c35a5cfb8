// Autobahn's cases for WebSocket, in both roles, directly and through a sidecar: every case ends in the same way. What is judged is not
// the `ws` of the other side but whether anything on the way changed, held back, joined or lost a byte of it.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import { freePorts } from '../../bench/loopback.ts';
import { Processes } from '../../bench/processes.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { until } from '../standalone/harness.ts';
import { isMissing, partPath } from './parts.ts';
import { ConformanceSidecar } from './sidecar.ts';

const folder = temporaryFolder('autobahn');
const processes = new Processes();
const cleanUps: (() => Promise<void> | void)[] = [() => rmSync(folder, { recursive: true, force: true })];
afterAll(async () => {
  await processes.endAll();
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
}, 60_000);

/**
 * Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, messages up to 256 KiB, and some compressed ones. Left out is what only
 * takes time: larger messages, and a thousand compressed ones for each setting.
 */
const CASES = {
  cases: ['*'],
  'exclude-cases': [
    '9.1.3',
    '9.1.4',
    '9.1.5',
    '9.1.6',
    '9.2.3',
    '9.2.4',
    '9.2.5',
    '9.2.6',
    '9.3.*',
    '9.4.*',
    '9.5.*',
    '9.6.*',
    '9.7.*',
    '9.8.*',
    '12.*',
    '13.*',
  ],
  'exclude-agent-cases': {},
};
const MANY_CASES = 240;

const index = z.record(z.string(), z.record(z.string(), z.object({ behavior: z.string(), behaviorClose: z.string() })));

/** "1.1.1: OK OK" of each case, by agent. */
function readReport(name: string): Record<string, string[]> {
  const report = index.parse(JSON.parse(readFileSync(join(folder, name, 'index.json'), 'utf8')));
  return Object.fromEntries(
    Object.entries(report).map(([agent, cases]) => [
      agent,
      Object.entries(cases)
        .map(([number, { behavior, behaviorClose }]) => `${number}: ${behavior} ${behaviorClose}`)
        .sort(),
    ]),
  );
}

function expectSame({ direct = [], sidecar = [] }: Record<string, string[]>): void {
  expect(direct.length).toBeGreaterThan(MANY_CASES);
  expect(direct.filter((line) => line.includes(' OK ')).length).toBeGreaterThan(MANY_CASES - 10);
  expect(sidecar).toEqual(direct);
}

async function started(port: number): Promise<ConformanceSidecar> {
  const bulkhead = { maxConcurrent: 20 };
  const sidecar = await ConformanceSidecar.start({
    socket: { ports: [port], appProtocol: 'http', policy: { bulkhead } },
  });
  cleanUps.push(() => sidecar.stop());
  return sidecar;
}

describe.skipIf(isMissing('wstest'))('Autobahn', { timeout: 600_000 }, () => {
  it('finds servers as they are through a sidecar', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: true, maxPayload: 2 ** 25 });
    cleanUps.push(() => server.close());
    server.on('connection', (socket) => {
      socket.on('error', () => {});
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const sidecar = await started(port);
    const spec = join(folder, 'fuzzingclient.json');
    const servers = [
      { agent: 'direct', url: `ws://127.0.0.1:${port}` },
      { agent: 'sidecar', url: `ws://${sidecar.address('socket')}` },
    ];
    writeFileSync(spec, JSON.stringify({ outdir: join(folder, 'servers'), servers, ...CASES }));
    await promisify(execFile)(partPath('wstest'), ['-m', 'fuzzingclient', '-s', spec], { maxBuffer: 2 ** 26 });
    expectSame(readReport('servers'));
    await sidecar.untilIdle();
  });

  it('finds clients as they are through a sidecar', async () => {
    const [port = 0] = await freePorts(1);
    const spec = join(folder, 'fuzzingserver.json');
    const url = `ws://127.0.0.1:${port}`;
    writeFileSync(spec, JSON.stringify({ url, outdir: join(folder, 'clients'), ...CASES }));
    processes.start(0, partPath('wstest'), ['-m', 'fuzzingserver', '-s', spec]);
    await until(() => ask(`${url}/getCaseCount`, port).then((count) => count !== null), 'Autobahn serves');
    const sidecar = await started(port);
    for (const [agent, host] of [
      ['direct', `127.0.0.1:${port}`],
      ['sidecar', sidecar.address('socket')],
    ] as const) {
      const count = Number(await ask(`ws://${host}/getCaseCount`, port));
      expect(count).toBeGreaterThan(MANY_CASES);
      for (let nth = 1; nth <= count; nth += 1) await echo(`ws://${host}/runCase?case=${nth}&agent=${agent}`, port);
    }
    await ask(`${url}/updateReports?agent=direct`, port);
    expectSame(readReport('clients'));
    await sidecar.untilIdle();
  });
});

/** Autobahn refuses a Host of another port than its own. */
const hostOf = (port: number) => ({ headers: { host: `autobahn:${port}` } });

/** The last message of a connection that the server ends; null where there is none. */
function ask(url: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    let last: string | null = null;
    const socket = new WebSocket(url, hostOf(port));
    socket.on('message', (data: Buffer) => {
      last = data.toString();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(last));
  });
}

function echo(url: string, port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, { ...hostOf(port), perMessageDeflate: true, maxPayload: 2 ** 25 });
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }, () => {}));
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
}
