// The whole process, from the script that its image holds: real sockets, signals and files. From its sources it starts in test/standalone.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { endpointsKey } from '../plan/endpoints.ts';
import type { DependencyPlan, WorkloadPlan } from '../plan/plan.ts';
import { NO_BLOCKS } from '../plan/policies/blocks.ts';
import type { ReadyMessage } from './control/announcer.ts';
import { bundleSidecar } from './image/bundle.ts';
import { planOf } from './subscribe/recording-data-plane.ts';
import { createIdentity, type TestIdentity, TestOperator } from './subscribe/test-operator.ts';

/** Whole processes start in the time that the machine has for them. */
const PATIENCE = { timeout: 30_000 };
vi.setConfig({ testTimeout: 90_000 });

/** Holds the script, which starts in less than half of the time of the sources. */
let image = '';
let directory = '';
let identity: TestIdentity;
let operator: TestOperator;
let upstream: Server;
/** What the upstream does with a request; by default it answers at once. */
let onRequest: (response: ServerResponse) => void;
let children: ChildProcess[] = [];

beforeAll(async () => {
  image = await mkdtemp(join(tmpdir(), 'breakwater-sidecar-image-'));
  await bundleSidecar(image);
  identity = await createIdentity();
});
afterAll(() => rm(image, { recursive: true, force: true }));
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'breakwater-sidecar-'));
  await writeFile(join(directory, 'token'), 'token');
  operator = await TestOperator.start(identity);
  onRequest = (response) => response.end('from upstream');
  upstream = createServer((_request, response) => onRequest(response)).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  upstream.closeAllConnections();
  upstream.close();
  await operator.stop();
  await rm(directory, { recursive: true, force: true });
});

function environment(changes: Record<string, string> = {}): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'],
    NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
    BREAKWATER_CAPTURE: 'explicit',
    BREAKWATER_OPERATOR_URL: operator.url.href,
    BREAKWATER_TOKEN_FILE: join(directory, 'token'),
    BREAKWATER_CA_BUNDLE: identity.ca,
    BREAKWATER_STATE_DIRECTORY: join(directory, 'state'),
    BREAKWATER_ADMIN_HOST: '127.0.0.1',
    BREAKWATER_ADMIN_PORT: '0',
    BREAKWATER_CONTROL_PORT: '0',
    ...changes,
  };
}

interface Running {
  child: ChildProcess;
  /** The next line that says where everything is. */
  ready(): Promise<ReadyMessage>;
  log(): string;
  exit(): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

function start(changes: Record<string, string> = {}, ...words: string[]): Running {
  const child = spawn(process.execPath, [join(image, 'main.js'), ...words], {
    env: environment(changes),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  children.push(child);
  let log = '';
  child.stderr.on('data', (bytes) => {
    log += String(bytes);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  return {
    child,
    async ready() {
      const next = await lines.next();
      if (next.done) throw new Error(`the sidecar ended:\n${log}`);
      return JSON.parse(next.value) as ReadyMessage;
    },
    log: () => log,
    async exit() {
      const [code, signal] = await exited;
      return { code, signal };
    },
  };
}

/** Runs one command to its end. */
async function command(
  word: string,
  changes: Record<string, string> = {},
): Promise<{ code: number | null; text: string }> {
  const child = spawn(process.execPath, [join(image, 'main.js'), word], {
    env: environment(changes),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (bytes) => {
    text += String(bytes);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, text };
}

function dependency(name: string): DependencyPlan {
  return {
    id: `shop/checkout/${name}`,
    name,
    namespace: 'shop',
    serviceDependency: 'checkout',
    criticality: 'Required',
    enforcement: 'Enabled',
    circuitReset: '',
    service: { namespace: 'shop', name, port: 80, ports: [80] },
    host: null,
    authority: `${name}.shop.svc`,
    protocol: 'Http',
    destinations: [],
    balancing: 'Endpoints',
    endpointsKey: endpointsKey('shop', name, 80),
    levels: [],
    combinations: [0],
    policies: [
      {
        rule: 'base',
        timeouts: { requestMs: 5000, attemptMs: 5000, connectMs: 1000, idleMs: 300_000, opaqueIdleMs: 3_600_000 },
        ...NO_BLOCKS,
        sources: {},
      },
    ],
  };
}

const planWith = (...names: string[]): WorkloadPlan => ({ ...planOf('shop'), dependencies: names.map(dependency) });

async function serve(version: string, ...names: string[]): Promise<void> {
  (await operator.stream('plan')).send({ kind: 'plan', version, plan: planWith(...names) });
  const { port } = upstream.address() as AddressInfo;
  const sets = names.map((name) => ({
    key: endpointsKey('shop', name, 80),
    endpoints: [{ address: '127.0.0.1', port }],
  }));
  (await operator.stream('endpoints')).send({ kind: 'snapshot', version: `e-${version}`, sets });
}

const call = async (message: ReadyMessage, name: string): Promise<string> =>
  (await fetch(`http://${message.dependencies[name]}/`)).text();

const untilReady = (message: ReadyMessage) =>
  vi.waitFor(async () => expect((await fetch(`${message.admin}/readyz`)).status).toBe(200), PATIENCE);

describe('the sidecar', () => {
  it('is ready with its first plan, says where it listens and again when that changes, and ends with code 0', async () => {
    const sidecar = start();
    const plans = await operator.stream('plan');
    plans.send({ kind: 'plan', version: 'v1', plan: planWith('payments') });
    const endpoint = { address: '127.0.0.1', port: (upstream.address() as AddressInfo).port };
    (await operator.stream('endpoints')).send({
      kind: 'snapshot',
      version: 'e1',
      sets: [{ key: 'shop/payments:80', endpoints: [endpoint] }],
    });
    const first = await sidecar.ready();
    expect(first).toEqual({
      ready: true,
      admin: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      dependencies: { payments: expect.stringMatching(/^127\.0\.0\.1:\d+$/) },
    });
    await untilReady(first);
    await vi.waitFor(async () => expect(await call(first, 'payments')).toBe('from upstream'), PATIENCE);
    const metrics = await (await fetch(`${first.admin}/metrics`)).text();
    for (const name of ['breakwater_requests_total', 'breakwater_stream_up', 'breakwater_plan_info'])
      expect(metrics).toContain(name);

    plans.send({ kind: 'plan', version: 'v2', plan: planWith('payments', 'stock') });
    const second = await sidecar.ready();
    expect(Object.keys(second.dependencies).sort()).toEqual(['payments', 'stock']);
    expect(second.dependencies['payments']).toBe(first.dependencies['payments']);

    sidecar.child.kill('SIGTERM');
    expect(await sidecar.exit()).toEqual({ code: 0, signal: null });
  });

  it('enforces the last plan after a restart without an operator, and stays switched off', async () => {
    const before = start();
    await serve('v1', 'payments');
    await before.ready();
    const disabled = await command('disable');
    expect(disabled).toEqual({ code: 0, text: expect.stringContaining('disabled: this sidecar forwards everything') });
    // Others, of the plan and of the endpoints, may come before it.
    let report = await operator.report('acknowledgements');
    while (report['locallyDisabled'] !== true) report = await operator.report('acknowledgements');
    before.child.kill('SIGTERM');
    await before.exit();
    await operator.stop();

    const after = start({ BREAKWATER_FIRST_PLAN_WAIT_MS: '600000' });
    const message = await after.ready();
    expect(Object.keys(message.dependencies)).toEqual(['payments']);
    const status = await command('status');
    expect(status.text).toContain('DISABLED in this sidecar');
    expect(status.text).toContain('plan:      version v1, stream DOWN');
    expect((await command('enable')).code).toBe(0);
    expect((await command('status')).text).toContain('policies:  enabled');
    operator = await TestOperator.start(identity);
  });

  it('listens where it did before it was killed, and elsewhere only where that is taken', async () => {
    const before = start();
    await serve('v1', 'payments', 'stock');
    const first = await before.ready();
    await vi.waitFor(() => expect(existsSync(join(directory, 'state/plan.state'))).toBe(true), PATIENCE);
    before.child.kill('SIGKILL');
    await before.exit();

    const again = start();
    expect(await again.ready()).toEqual(first);
    again.child.kill('SIGKILL');
    await again.exit();

    const squatter = createServer();
    squatter.listen(Number(first.dependencies['stock']?.split(':')[1]), '127.0.0.1');
    await once(squatter, 'listening');
    try {
      const third = await start().ready();
      expect(third.dependencies['payments']).toBe(first.dependencies['payments']);
      expect(third.dependencies['stock']).not.toBe(first.dependencies['stock']);
    } finally {
      squatter.close();
    }
  });

  it('becomes ready without a plan when the wait is over', async () => {
    const sidecar = start({ BREAKWATER_FIRST_PLAN_WAIT_MS: '1' });
    const message = await sidecar.ready();
    expect(message.dependencies).toEqual({});
    expect(await (await fetch(`${message.admin}/readyz`)).text()).toContain('no plan came within the bounded wait');
  });

  it('finishes what is in progress on SIGTERM, and goes on serving meanwhile', async () => {
    const sidecar = start();
    await serve('v1', 'payments');
    const message = await sidecar.ready();
    const held: ServerResponse[] = [];
    onRequest = (response) => void held.push(response);
    const slow = call(message, 'payments');
    await vi.waitFor(() => expect(held).toHaveLength(1), PATIENCE);
    sidecar.child.kill('SIGTERM');
    await vi.waitFor(() => expect(sidecar.log()).toContain('"draining"'), PATIENCE);
    onRequest = (response) => response.end('meanwhile');
    expect(await call(message, 'payments')).toBe('meanwhile');
    const readiness = await fetch(`${message.admin}/readyz`);
    expect({ status: readiness.status, text: await readiness.text() }).toEqual({
      status: 200,
      text: 'ready: plan v1 is in force, draining\n',
    });
    held[0]?.end('at last');
    expect(await slow).toBe('at last');
    expect(await sidecar.exit()).toEqual({ code: 0, signal: null });
    expect(sidecar.log()).toContain('"empty":true');
  });

  it.each([
    ['the drain timeout is over', { BREAKWATER_DRAIN_TIMEOUT_MS: '50' }, 1],
    ['it is asked a second time', { BREAKWATER_DRAIN_TIMEOUT_MS: '600000' }, 2],
  ])('ends with work in progress when %s', async (_name, changes, signals) => {
    const sidecar = start(changes);
    await serve('v1', 'payments');
    const message = await sidecar.ready();
    const held: ServerResponse[] = [];
    onRequest = (response) => void held.push(response);
    const lost = call(message, 'payments').catch(() => 'lost');
    await vi.waitFor(() => expect(held).toHaveLength(1), PATIENCE);
    for (let signal = 0; signal < signals; signal++) {
      sidecar.child.kill('SIGTERM');
      await vi.waitFor(() => expect(sidecar.log()).toContain('"draining"'), PATIENCE);
    }
    expect(await sidecar.exit()).toEqual({ code: 0, signal: null });
    expect(sidecar.log()).toContain('"empty":false');
    expect(await lost).toBe('lost');
  });

  it('ends with its parent when it is told to watch it', async () => {
    const sidecar = start({ BREAKWATER_PARENT_WATCH: '1', BREAKWATER_FIRST_PLAN_WAIT_MS: '0' });
    await sidecar.ready();
    sidecar.child.stdin?.end();
    expect(await sidecar.exit()).toEqual({ code: 0, signal: null });
  });

  it('speaks by IPC where there is a channel, and ends with it', async () => {
    const changes = { BREAKWATER_PARENT_WATCH: '1', BREAKWATER_FIRST_PLAN_WAIT_MS: '0' };
    const child = spawn(process.execPath, [join(image, 'main.js')], {
      env: environment(changes),
      stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
    });
    children.push(child);
    let printed = '';
    child.stdout?.on('data', (bytes) => {
      printed += String(bytes);
    });
    const [message] = await once(child, 'message');
    expect(message).toEqual({ ready: true, admin: expect.any(String), dependencies: {} });
    const exited = once(child, 'exit');
    child.disconnect();
    expect(await exited).toEqual([0, null]);
    expect(printed).toBe('');
  });

  it('says what is wrong with its environment, with its ports, and with its command', async () => {
    const bad = start({ BREAKWATER_OPERATOR_URL: 'ftp://x' });
    expect((await bad.exit()).code).toBe(1);
    expect(bad.log()).toContain('BREAKWATER_OPERATOR_URL: must be an https:// URL');
    const taken = start({ BREAKWATER_ADMIN_PORT: String((upstream.address() as AddressInfo).port) });
    expect((await taken.exit()).code).toBe(1);
    expect(taken.log()).toContain('EADDRINUSE');
    expect(await command('dance')).toMatchObject({ code: 2, text: expect.stringContaining('breakwater disable') });
  });
});
