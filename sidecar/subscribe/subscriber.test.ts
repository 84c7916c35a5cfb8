import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { PLAN_LIMITS } from '../../plan/plan.ts';
import { systemClock } from '../../runtime/clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import type { CircuitView } from '../data-plane.ts';
import { MetricRegistry } from '../metrics/registry.ts';
import { createSubscribeMetrics } from './metrics.ts';
import { planOf, RecordingDataPlane, setOf } from './recording-data-plane.ts';
import type { StreamSettings } from './stream-machine.ts';
import { Subscriber, type SubscriberOptions } from './subscriber.ts';
import { createIdentity, type TestIdentity, TestOperator } from './test-operator.ts';

/** As in production, but faster: a test waits for silence in earnest. */
const FAST: StreamSettings = { initialMs: 5, maxMs: 50, connectTimeoutMs: 400, silenceMs: 600, stableAfterMs: 60_000 };

interface LogLine {
  level: string;
  message: string;
  [field: string]: unknown;
}

interface Bench {
  dataPlane: RecordingDataPlane;
  subscriber: Subscriber;
  registry: MetricRegistry;
  logs: LogLine[];
}

let directory = '';
let identity: TestIdentity;
let operator: TestOperator;
let closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  identity = await createIdentity();
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'breakwater-subscribe-'));
  await writeFile(join(directory, 'token'), 'first-token\n');
  operator = await TestOperator.start(identity);
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
  await operator.stop();
  await rm(directory, { recursive: true, force: true });
});

async function start(changes: Partial<SubscriberOptions> = {}): Promise<Bench> {
  const dataPlane = new RecordingDataPlane();
  const registry = new MetricRegistry();
  const logs: LogLine[] = [];
  const write = (level: string) => (fields: object, message: string) => void logs.push({ ...fields, level, message });
  const log = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    fatal: write('fatal'),
  };
  const subscriber = new Subscriber({
    operatorUrl: operator.url,
    tokenFile: join(directory, 'token'),
    caBundle: identity.ca,
    caFile: null,
    stateDirectory: join(directory, 'state'),
    dataPlane,
    lookup: (_name, _options, done) => done(new Error('the operator of this test has an address'), ''),
    locallyDisabled: () => false,
    onPlanApplied: () => {},
    metrics: createSubscribeMetrics(registry, () => systemClock.monotonicMs()),
    clock: systemClock,
    random: seededRandom(1),
    log: { ...log, child: () => log } as unknown as SubscriberOptions['log'],
    streamSettings: FAST,
    ...changes,
  });
  await subscriber.restore();
  subscriber.start();
  closing.push(() => subscriber.stop());
  return { dataPlane, subscriber, registry, logs };
}

const until = (check: () => void) => vi.waitFor(check, { timeout: 5_000, interval: 2 });
const plan = (name: string, version: string) => ({ kind: 'plan', version, plan: planOf(name) }) as const;
const snapshot = (version: string, ...sets: ReturnType<typeof setOf>[]) =>
  ({ kind: 'snapshot', version, sets }) as const;
const unchanged = (version: string) => ({ kind: 'unchanged', version }) as const;

async function metric(registry: MetricRegistry, line: RegExp): Promise<number> {
  return Number(line.exec(registry.metrics())?.[1]);
}

describe('plan stream', () => {
  it('applies a plan, acknowledges it, and goes on from its version', async () => {
    const { dataPlane, subscriber, registry } = await start();
    const stream = await operator.stream('plan');
    expect(stream.version).toBeNull();
    expect(stream.authorization).toBe('Bearer first-token');
    stream.send(plan('shop', 'v1'));
    expect(await operator.report('acknowledgements')).toEqual({
      stream: 'plan',
      version: 'v1',
      applied: true,
      message: '',
      locallyDisabled: false,
    });
    expect(dataPlane.plan?.namespace).toBe('shop');
    expect(subscriber.status()).toMatchObject({ planVersion: 'v1', planStreamUp: true });
    expect(await metric(registry, /breakwater_stream_up\{stream="plan"\} (\d)/)).toBe(1);
    expect(await metric(registry, /breakwater_plan_info\{version="v1"\} (\d)/)).toBe(1);

    await writeFile(join(directory, 'token'), 'second-token');
    stream.cut();
    const again = await operator.stream('plan');
    expect(again.version).toBe('v1');
    expect(again.authorization).toBe('Bearer second-token');
    again.send(unchanged('v1'));
    expect(await operator.report('acknowledgements')).toMatchObject({ version: 'v1', applied: true });
    expect(dataPlane.calls.filter((call) => call.startsWith('plan'))).toEqual(['plan shop']);
  });

  it('names in its reports the replica that holds the stream they are about', async () => {
    operator.replica = 'operator-a';
    await start();
    const stream = await operator.stream('plan');
    const endpoints = await operator.stream('endpoints');
    stream.send(plan('shop', 'v1'));
    await operator.report('acknowledgements');
    await operator.report('circuits');
    expect(operator.named).toEqual(['operator-a', 'operator-a']);
    operator.replica = 'operator-b';
    stream.cut();
    const again = await operator.stream('plan');
    again.send(plan('shop', 'v2'));
    await operator.report('acknowledgements');
    expect(operator.named.at(-1)).toBe('operator-b');
    endpoints.send(snapshot('e1'));
    for (let named = ''; named !== 'endpoints'; named = String((await operator.report('acknowledgements'))['stream']));
    expect(operator.named.at(-1)).toBe('operator-a');
    // One that does not say who it is gets reports that name nobody, and so does one whose header is no name.
    operator.replica = '-no name-';
    again.cut();
    (await operator.stream('plan')).send(plan('shop', 'v3'));
    expect(await operator.report('acknowledgements')).toMatchObject({ version: 'v3' });
    expect(operator.named.at(-1)).toBe('');
  });

  it('refuses a plan that was cut, whole, and keeps the last good one', async () => {
    const { dataPlane, registry, logs } = await start();
    const stream = await operator.stream('plan');
    stream.send(plan('shop', 'v1'));
    await operator.report('acknowledgements');
    stream.sendRaw(`${JSON.stringify(plan('broken', 'v2')).slice(0, 60)}\n`);
    expect(await operator.report('acknowledgements')).toMatchObject({
      stream: 'plan',
      version: 'v2',
      applied: false,
      message: expect.stringContaining('not JSON'),
    });
    const again = await operator.stream('plan');
    expect(again.version).toBe('v1');
    expect(dataPlane.plan?.namespace).toBe('shop');
    expect(await metric(registry, /breakwater_frames_refused_total\{stream="plan"\} (\d)/)).toBe(1);
    expect(logs.filter(({ level }) => level === 'error')).toEqual([
      expect.objectContaining({ version: 'v2', inForce: 'v1' }),
    ]);
  });

  it('refuses a plan that does not fit, and takes the next one from the same stream', async () => {
    const { dataPlane } = await start();
    const stream = await operator.stream('plan');
    stream.sendRaw('{"kind":"plan","version":"v1","plan":{"formatVersion":99}}\n');
    expect(await operator.report('acknowledgements')).toMatchObject({
      version: 'v1',
      applied: false,
      message: expect.stringContaining('plan.formatVersion'),
    });
    dataPlane.fault = new Error('no room for dependency 3');
    stream.send(plan('shop', 'v2'));
    expect(await operator.report('acknowledgements')).toMatchObject({
      version: 'v2',
      applied: false,
      message: expect.stringContaining('no room for dependency 3'),
    });
    expect(dataPlane.plan).toBeNull();
    stream.send(plan('shop', 'v3'));
    expect(await operator.report('acknowledgements')).toMatchObject({ version: 'v3', applied: true });
    expect(stream.closed).toBe(false);
  });

  it('passes frames of a kind it does not know over', async () => {
    const { logs } = await start();
    const stream = await operator.stream('plan');
    stream.sendRaw('{"kind":"horoscope","version":"v1"}\n\n{"kind":"heartbeat"}\n');
    stream.send(plan('shop', 'v1'));
    expect(await operator.report('acknowledgements')).toMatchObject({ version: 'v1', applied: true });
    expect(logs.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('leaves a stream whose line never ends', async () => {
    const { logs } = await start();
    const stream = await operator.stream('plan');
    stream.sendRaw('{"kind":"plan","version":"v9","plan":"');
    stream.sendRaw(Buffer.alloc(PLAN_LIMITS.frameBytes, 'x'));
    expect(await operator.report('acknowledgements')).toMatchObject({
      version: 'v9',
      applied: false,
      message: expect.stringContaining('longer than'),
    });
    await operator.stream('plan');
    expect(stream.closed).toBe(true);
    expect(logs).toContainEqual(expect.objectContaining({ level: 'warn', reason: 'bad-frame' }));
    // All of a frame of the greatest size goes through TLS.
  }, 60_000);

  it('reads nothing more of a stream that was damaged', async () => {
    const { dataPlane } = await start();
    const stream = await operator.stream('plan');
    stream.sendRaw(`garbage\n${JSON.stringify(plan('behind', 'v1'))}\n`);
    expect((await operator.stream('plan')).version).toBeNull();
    expect(dataPlane.plan).toBeNull();
  });

  it('asks for the whole when "unchanged" names what it does not have', async () => {
    await start();
    const stream = await operator.stream('plan');
    stream.send(plan('shop', 'v1'), unchanged('v7'));
    const again = await operator.stream('plan');
    expect(again.version).toBeNull();
  });

  it('comes back after an announced end', async () => {
    const { logs } = await start();
    const stream = await operator.stream('plan');
    stream.send(plan('shop', 'v1'), { kind: 'end', reason: 'TokenExpired' });
    expect((await operator.stream('plan')).version).toBe('v1');
    expect(logs).toContainEqual(expect.objectContaining({ level: 'info', reason: 'ended', detail: 'TokenExpired' }));
  });
});

describe('endpoints stream', () => {
  it('follows snapshot and updates, and says when it is down', async () => {
    const { dataPlane } = await start();
    expect(dataPlane.streamUp).toBe(false);
    const stream = await operator.stream('endpoints');
    stream.send(snapshot('e1', setOf('a', '10.0.0.1'), setOf('b', '10.0.0.2')));
    await until(() => expect(dataPlane.streamUp).toBe(true));
    stream.send({ kind: 'update', version: 'e2', sets: [setOf('a')], removed: ['b'] });
    await until(() => expect([...dataPlane.sets.values()]).toEqual([setOf('a')]));
    expect(dataPlane.calls).toEqual(['stream down', 'snapshot live', 'stream up', 'update']);
    expect(await operator.report('acknowledgements')).toMatchObject({
      stream: 'endpoints',
      version: 'e2',
      applied: true,
    });
    stream.cut();
    await until(() => expect(dataPlane.streamUp).toBe(false));
    const again = await operator.stream('endpoints');
    expect(again.version).toBe('e2');
    again.send(unchanged('e2'));
    await until(() => expect(dataPlane.streamUp).toBe(true));
    expect([...dataPlane.sets.keys()]).toEqual(['a']);
  });

  it('tells the data path where the pod runs before the endpoints that go by it', async () => {
    const { dataPlane } = await start();
    const stream = await operator.stream('endpoints');
    stream.send({ kind: 'placement', placement: { node: 'n1', zone: 'west' } }, snapshot('v1', setOf('shop/a:80')));
    await until(() => expect(dataPlane.calls).toContain('snapshot live'));
    expect(dataPlane.calls.filter((call) => !call.startsWith('stream'))).toEqual([
      'placement n1 west',
      'snapshot live',
    ]);
    expect(dataPlane.streamUp).toBe(true);
  });

  it('asks for the whole after a frame it could not use', async () => {
    const { dataPlane } = await start();
    const stream = await operator.stream('endpoints');
    stream.send(snapshot('e1', setOf('a', '10.0.0.1')));
    stream.sendRaw(
      '{"kind":"update","version":"e2","sets":[{"key":"a","endpoints":[{"address":"10.0.0.2","port":0}]}],"removed":[]}\n',
    );
    const again = await operator.stream('endpoints');
    expect(again.version).toBeNull();
    expect(dataPlane.sets.get('a')).toEqual(setOf('a', '10.0.0.1'));
    expect(dataPlane.streamUp).toBe(false);
    again.send({ kind: 'update', version: 'e3', sets: [setOf('a')], removed: [] });
    const third = await operator.stream('endpoints');
    expect(dataPlane.sets.get('a')).toEqual(setOf('a', '10.0.0.1'));
    third.send(snapshot('e3', setOf('a', '10.0.0.3')));
    await until(() => expect(dataPlane.sets.get('a')).toEqual(setOf('a', '10.0.0.3')));
  });
});

describe('reports', () => {
  const circuit = (stateKey: string, state: CircuitView['state']): CircuitView => ({
    dependency: 'shop/checkout/payments',
    stateKey,
    state,
    sinceUnixMs: 1_800_000_000_000.4,
    failingSinceUnixMs: 1_799_999_990_000.4,
    nextProbeUnixMs: state === 'Open' ? 1_800_000_030_000 : null,
    reopenings: 1,
    counts: { calls: 0, failures: 0, slow: 0 },
    enforced: true,
    reason: '5 consecutive failures',
  });

  it('tells circuits that change together in one report, and all again to an operator that comes back', async () => {
    const { dataPlane } = await start();
    const stream = await operator.stream('plan');
    stream.send(plan('shop', 'v1'));
    expect(await operator.report('circuits')).toEqual({ circuits: [] });
    await operator.report('acknowledgements');
    const before = operator.reportCount;
    dataPlane.changeCircuit(circuit('a', 'Open'));
    dataPlane.changeCircuit(circuit('b', 'Open'));
    dataPlane.changeCircuit(circuit('c', 'Closed'));
    const report = await operator.report('circuits');
    expect(report).toEqual({
      circuits: ['a', 'b'].map((stateKey) => ({
        dependency: 'shop/checkout/payments',
        stateKey,
        state: 'Open',
        since: 1_800_000_000_000,
        failingSince: 1_799_999_990_000,
        nextProbe: 1_800_000_030_000,
        reopenings: 1,
        reason: '5 consecutive failures',
      })),
    });
    expect(operator.reportCount).toBe(before + 1);
    stream.cut();
    (await operator.stream('plan')).send(unchanged('v1'));
    expect(await operator.report('circuits')).toEqual(report);
  });

  it('repeats what the operator did not take', async () => {
    await start();
    const stream = await operator.stream('plan');
    operator.refuseWith = 503;
    stream.send(plan('shop', 'v1'));
    await systemClock.sleep(30);
    operator.refuseWith = null;
    expect(await operator.report('acknowledgements')).toMatchObject({ version: 'v1', applied: true });
  });

  it('tells that the local switch was thrown', async () => {
    let disabled = false;
    const { subscriber } = await start({ locallyDisabled: () => disabled });
    (await operator.stream('plan')).send(plan('shop', 'v1'));
    await operator.report('acknowledgements');
    disabled = true;
    subscriber.localSwitchChanged();
    expect(await operator.report('acknowledgements')).toMatchObject({
      version: 'v1',
      applied: true,
      locallyDisabled: true,
    });
  });
});

describe('a bad connection', () => {
  it('is given up when nothing is heard any more', async () => {
    const { dataPlane, logs } = await start();
    const stream = await operator.stream('endpoints');
    stream.send(snapshot('e1'));
    await until(() => expect(dataPlane.streamUp).toBe(true));
    stream.mute();
    const again = await operator.stream('endpoints');
    expect(again.version).toBe('e1');
    expect(dataPlane.streamUp).toBe(false);
    expect(logs).toContainEqual(expect.objectContaining({ stream: 'endpoints', reason: 'silent' }));
  });

  it('is given up when the server accepts and never answers', async () => {
    const silent: Server = createServer((socket) => socket.on('error', () => {}).resume()).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    closing.push(() => new Promise((resolve) => silent.close(resolve)));
    const { port } = silent.address() as { port: number };
    const { logs } = await start({ operatorUrl: new URL(`https://127.0.0.1:${port}`) });
    await until(() =>
      expect(logs).toContainEqual(
        expect.objectContaining({ reason: 'unreachable', detail: 'no answer within 400 ms' }),
      ),
    );
  });

  it('says once that nobody is there, and what cannot be trusted', async () => {
    const other = await createIdentity();
    const { logs, subscriber } = await start({ caBundle: other.ca });
    await until(() => expect(logs.filter(({ reason }) => reason === 'untrusted')).toHaveLength(2));
    expect(logs[0]?.['detail']).toMatch(/no trusted TLS connection/);
    await subscriber.stop();
    const wrongName = await createIdentity([{ type: 'dns', value: 'elsewhere.svc' }]);
    operator.useIdentity(wrongName);
    const second = await start({ caBundle: wrongName.ca });
    await until(() =>
      expect(second.logs).toContainEqual(
        expect.objectContaining({ reason: 'untrusted', detail: expect.stringContaining('ALTNAME') }),
      ),
    );
    const port = operator.port;
    await operator.stop();
    await until(() => expect(second.logs.filter(({ reason }) => reason === 'unreachable')).toHaveLength(2));
    operator = await TestOperator.start(identity, port);
  });

  it.each([
    [401, 'unauthorized'],
    [403, 'forbidden'],
    [404, 'not-found'],
    [503, 'unavailable'],
    [500, 'unavailable'],
    [429, 'unavailable'],
    [418, 'unexpected-answer'],
  ])('logs a refusal %i once, and goes on trying', async (status, reason) => {
    operator.refuseWith = status;
    const { logs } = await start();
    await until(() => expect(logs.filter((line) => line['reason'] === reason)).toHaveLength(2));
    await systemClock.sleep(60);
    expect(logs).toHaveLength(2);
    expect(logs[0]?.['detail']).toBe(`the operator answered ${status}: the script says so`);
    operator.refuseWith = null;
    (await operator.stream('plan')).send(plan('shop', 'v1'));
    expect(await operator.report('acknowledgements')).toMatchObject({ applied: true });
  });

  it('tells an operator that failed over a report once more', async () => {
    const { logs } = await start();
    const stream = await operator.stream('plan');
    operator.refuseWith = 500;
    stream.send(plan('shop', 'v1'));
    await until(() =>
      expect(logs).toContainEqual(expect.objectContaining({ message: 'the operator did not take a report' })),
    );
    operator.refuseWith = null;
    expect(await operator.report('acknowledgements')).toMatchObject({ stream: 'plan', version: 'v1', applied: true });
  });

  it('says that there is no token, and takes it when there is', async () => {
    await rm(join(directory, 'token'));
    const { logs } = await start();
    await until(() => expect(logs).toContainEqual(expect.objectContaining({ reason: 'no-token' })));
    await writeFile(join(directory, 'token'), 'late-token');
    expect((await operator.stream('plan')).authorization).toBe('Bearer late-token');
  });
});

describe('trust', () => {
  it('takes a new authority over the old stream, and keeps it over a restart', async () => {
    const next = await createIdentity();
    const { subscriber } = await start();
    const stream = await operator.stream('plan');
    stream.send(
      { kind: 'trust', bundle: 'no certificate at all' },
      { kind: 'trust', bundle: next.ca },
      plan('shop', 'v1'),
    );
    await operator.report('acknowledgements');
    operator.useIdentity(next);
    stream.cut();
    expect((await operator.stream('plan')).version).toBe('v1');
    await subscriber.stop();
    const restarted = await start();
    expect((await operator.stream('plan')).version).toBe('v1');
    expect(restarted.logs.filter(({ level }) => level === 'error')).toEqual([]);
  });
});

describe('last known good', () => {
  async function leaveState(): Promise<void> {
    const { subscriber } = await start();
    (await operator.stream('plan')).send(plan('shop', 'v1'));
    (await operator.stream('endpoints')).send(snapshot('e1', setOf('a', '10.0.0.1')));
    await until(() => expect(subscriber.status()).toMatchObject({ planVersion: 'v1', endpointsVersion: 'e1' }));
    await subscriber.stop();
  }

  it('is in force after a restart without an operator', async () => {
    await leaveState();
    const { port } = operator;
    await operator.stop();
    const { dataPlane, subscriber, registry } = await start();
    expect(dataPlane.calls).toEqual(['stream down', 'plan shop', 'snapshot from disk']);
    expect(dataPlane.sets.get('a')).toEqual(setOf('a', '10.0.0.1'));
    expect(subscriber.status()).toEqual({
      planVersion: 'v1',
      planStreamUp: false,
      endpointsVersion: 'e1',
      endpointsStreamUp: false,
      endpointsConfirmed: false,
    });
    expect(await metric(registry, /breakwater_snapshot_age_seconds\{stream="plan"\} ([\d.]+)/)).toBeLessThan(60);
    expect(await metric(registry, /breakwater_endpoints_confirmed (\d)/)).toBe(0);

    // The operator is back: what came from disk is confirmed, or changed.
    operator = await TestOperator.start(identity, port);
    const stream = await operator.stream('endpoints');
    expect(stream.version).toBe('e1');
    stream.send(unchanged('e1'));
    await until(() => expect(dataPlane.streamUp).toBe(true));
    expect(dataPlane.fromDisk).toBe(false);
    expect(await metric(registry, /breakwater_endpoints_confirmed (\d)/)).toBe(1);
    expect(await metric(registry, /breakwater_snapshot_age_seconds\{stream="endpoints"\} ([\d.]+)/)).toBe(0);
  });

  it('takes an update over what came from disk', async () => {
    await leaveState();
    const { dataPlane } = await start();
    const stream = await operator.stream('endpoints');
    stream.send({ kind: 'update', version: 'e2', sets: [setOf('b', '10.0.0.2')], removed: [] });
    await until(() => expect(dataPlane.streamUp).toBe(true));
    expect(dataPlane.fromDisk).toBe(false);
    expect([...dataPlane.sets.keys()]).toEqual(['a', 'b']);
  });

  it('is ignored where it is damaged', async () => {
    await leaveState();
    const planFile = join(directory, 'state', 'plan.state');
    await truncate(planFile, (await readFile(planFile)).length - 5);
    await writeFile(join(directory, 'state', 'endpoints.state'), '\u0000\u0001\u0002');
    const { dataPlane, logs } = await start();
    expect(dataPlane.calls).toEqual(['stream down']);
    expect(logs.filter(({ level }) => level === 'error').map(({ reason }) => reason)).toEqual([
      expect.stringContaining('it was cut'),
      'it has no header',
    ]);
    expect((await operator.stream('plan')).version).toBeNull();
  });

  it('is left out where the data path refuses it', async () => {
    await leaveState();
    const dataPlane = new RecordingDataPlane();
    dataPlane.fault = new Error('written by a newer version');
    const { logs } = await start({ dataPlane });
    expect(dataPlane.calls).toEqual(['stream down', 'snapshot from disk']);
    expect(logs).toContainEqual(expect.objectContaining({ level: 'error', what: 'plan' }));
    expect((await operator.stream('plan')).version).toBeNull();
  });

  it('is lived without where it cannot be written', async () => {
    await writeFile(join(directory, 'file'), '');
    const { registry } = await start({ stateDirectory: join(directory, 'file', 'state') });
    (await operator.stream('plan')).send(plan('shop', 'v1'));
    expect(await operator.report('acknowledgements')).toMatchObject({ applied: true });
    await vi.waitFor(async () => expect(await metric(registry, /breakwater_state_write_failures_total (\d)/)).toBe(1));
  });
});
