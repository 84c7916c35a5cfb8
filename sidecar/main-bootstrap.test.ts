// The whole process in the capture modes that need no privilege, with real DNS queries and without a cluster.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Bootstrap, BootstrapEntry } from '../plan/bootstrap.ts';
import { hostKey } from '../plan/endpoints.ts';
import { dependencyPlan, workloadPlan } from './proxy/testing/fixtures.ts';
import { freePort } from './proxy/testing/upstreams.ts';
import { TestDns } from './resolve/test-dns.ts';
import { createIdentity, type TestIdentity, TestOperator } from './subscribe/test-operator.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
/** Whole processes start in the time that the machine has for them. */
const PATIENCE = { timeout: 30_000 };
vi.setConfig({ testTimeout: 90_000 });

let directory = '';
let identity: TestIdentity;
let operator: TestOperator;
let dns: TestDns;
let upstream: Server;
let child: ChildProcess | null = null;
let log = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'breakwater-sidecar-'));
  await writeFile(join(directory, 'token'), 'token');
  identity = await createIdentity([{ type: 'dns', value: 'operator.test' }]);
  operator = await TestOperator.start(identity);
  dns = await TestDns.start({ 'operator.test': ['127.0.0.1'] });
  upstream = createServer((request, response) => response.end(`Host: ${request.headers.host}`)).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
});
afterEach(async () => {
  child?.kill('SIGKILL');
  child = null;
  upstream.closeAllConnections();
  upstream.close();
  dns.close();
  await operator.stop();
  await rm(directory, { recursive: true, force: true });
});

function environment(): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'],
    NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
    // By its name: it is found by DNS alone.
    BREAKWATER_OPERATOR_URL: `https://operator.test:${operator.url.port}`,
    BREAKWATER_DNS_SERVERS: dns.server,
    BREAKWATER_TOKEN_FILE: join(directory, 'token'),
    BREAKWATER_CA_BUNDLE: identity.ca,
    BREAKWATER_STATE_DIRECTORY: join(directory, 'state'),
    BREAKWATER_ADMIN_HOST: '127.0.0.1',
    BREAKWATER_ADMIN_PORT: '0',
    BREAKWATER_CONTROL_PORT: '0',
    BREAKWATER_FIRST_PLAN_WAIT_MS: '0',
  };
}

function start(capture: string, bootstrap: Bootstrap | null): ChildProcess {
  log = '';
  const env = {
    ...environment(),
    BREAKWATER_CAPTURE: capture,
    ...(bootstrap ? { BREAKWATER_BOOTSTRAP: JSON.stringify(bootstrap) } : {}),
  };
  child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr?.on('data', (bytes) => {
    log += String(bytes);
  });
  return child;
}

const started = () => vi.waitFor(() => expect(log).toContain('"sidecar started"'), PATIENCE);

async function status(): Promise<string> {
  const asking = spawn(process.execPath, [MAIN, 'status'], {
    env: environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  asking.stdout.on('data', (bytes) => {
    text += String(bytes);
  });
  await once(asking, 'close');
  return text;
}

/** What a request to a listener is answered; a connection of its own each. */
function call(address: string, port: number, host = 'unchanged.test'): Promise<string> {
  return new Promise((resolve) => {
    const request = get({ host: address, port, headers: { host }, agent: false }, (response) => {
      let text = `${response.statusCode} `;
      response.on('data', (bytes) => {
        text += String(bytes);
      });
      response.on('end', () => resolve(text));
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

function bootstrapOf(capture: Bootstrap['capture'], ...entries: BootstrapEntry[]): Bootstrap {
  return { formatVersion: 1, capture, entries, leftOut: [] };
}

it('explicit: a host is reached by DNS before any plan, follows it under one, and outlives it', async () => {
  const { port } = upstream.address() as AddressInfo;
  const listen = await freePort();
  dns.zone = { ...dns.zone, 'api.test': ['127.0.0.1'] };
  const entry = { address: '127.0.0.1', service: null, host: 'api.test', clusterIPs: [], ports: [{ listen, port }] };
  start('explicit', bootstrapOf('explicit', entry));
  await started();
  expect(await call('127.0.0.1', listen)).toBe('200 Host: unchanged.test');

  const host = { name: 'api.test', port };
  const plan = workloadPlan(
    dependencyPlan(
      {},
      { service: null, host, authority: `api.test:${port}`, balancing: 'Dns', endpointsKey: hostKey('api.test', port) },
    ),
  );
  (await operator.stream('plan')).send({ kind: 'plan', version: 'v1', plan });
  await vi.waitFor(
    async () => expect(await call('127.0.0.1', listen, `localhost:${listen}`)).toBe(`200 Host: api.test:${port}`),
    PATIENCE,
  );
  dns.zone = { 'operator.test': 'servfail', 'api.test': 'servfail' };
  await vi.waitFor(() => expect(dns.asked.filter((each) => each === 'api.test A').length).toBeGreaterThan(1), PATIENCE);
  expect(await call('127.0.0.1', listen, 'localhost')).toBe(`200 Host: api.test:${port}`);
  const text = await status();
  expect(text).toContain(
    `capture:   explicit, 1 of 1 listeners open\n  127.0.0.1:${listen} for host:api.test:${port}\n`,
  );
  expect(text).toMatch(/hosts:\n {2}api\.test: 127\.0\.0\.1, \d+ s old/);
});

it.runIf(process.platform === 'linux')(
  'loopback: an alias leads to the Service before any plan, and a port that is taken is told',
  async () => {
    const { port } = upstream.address() as AddressInfo;
    const squatter = createServer().listen(0, '0.0.0.0');
    await once(squatter, 'listening');
    const taken = (squatter.address() as AddressInfo).port;
    const entry: BootstrapEntry = {
      address: '127.77.9.1',
      service: { namespace: 'billing', name: 'payments' },
      host: null,
      clusterIPs: ['127.0.0.1'],
      ports: [
        { listen: taken, port: taken },
        { listen: port, port },
      ],
    };
    const sidecar = start('loopback', bootstrapOf('loopback', entry));
    await started();
    expect(await call('127.77.9.1', port)).toBe('200 Host: unchanged.test');
    expect(log).toContain('another process of this pod listens on this port');
    expect(await status()).toContain(`127.77.9.1:${taken} for billing/payments:${taken}: NOT OPEN, EADDRINUSE`);
    squatter.close();
    sidecar.kill('SIGTERM');
    expect(await once(sidecar, 'exit')).toEqual([0, null]);
  },
);

it('says that it cannot know where to listen', async () => {
  const sidecar = start('loopback', null);
  expect(await once(sidecar, 'exit')).toEqual([1, null]);
  expect(log).toContain('BREAKWATER_BOOTSTRAP');
});
