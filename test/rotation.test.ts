// Two rotations of the authority as sidecars live through them: real subscribers, real streams, two replicas of which one reads late what
// the other wrote. Some streams are held open all the time, some are cut at every moment, and at every moment a pod comes back that knows
// the first bundle and nothing else. Nobody is ever refused.
//
// The clock of the certificates is moved by the test. Everything that it lets them issue is valid today, for TLS looks at the real time.
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Certificates, createCertificates } from '../operator/certificates/certificates.ts';
import type { Lifetimes } from '../operator/certificates/decide.ts';
import { MemoryStore } from '../operator/certificates/memory-store.ts';
import type { PodIdentity } from '../operator/distribute/authenticate.ts';
import { endpoints, result, workload } from '../operator/distribute/fixtures.ts';
import { createStaticAuthenticator } from '../operator/distribute/static-tokens.ts';
import { createDistributor } from '../operator/distribute/stream-server.ts';
import { ALWAYS_LEADING, type Leadership } from '../operator/elect/elector.ts';
import { HttpsServer } from '../operator/https-server.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { type Logger, silentLogger } from '../runtime/log.ts';
import { seededRandom } from '../runtime/random.ts';
import { MetricRegistry } from '../sidecar/metrics/registry.ts';
import { createSubscribeMetrics } from '../sidecar/subscribe/metrics.ts';
import { RecordingDataPlane } from '../sidecar/subscribe/recording-data-plane.ts';
import { readStateFile } from '../sidecar/subscribe/state-file.ts';
import { STREAM_SETTINGS } from '../sidecar/subscribe/stream-client.ts';
import { Subscriber } from '../sidecar/subscribe/subscriber.ts';
import { temporaryFolder } from './harness/temporary-folder.ts';

const YEAR_MS = 365 * 86_400_000;
const LIFETIMES: Lifetimes = {
  authorityMs: 3 * YEAR_MS,
  servingMs: 2.9 * YEAR_MS,
  overlapMs: 7 * 86_400_000,
  backdateMs: 3_600_000,
};
const FOLLOWING: Pick<Leadership, 'role' | 'onChange'> = { role: 'Following', onChange: () => () => undefined };
const STREAMS = ['plan', 'endpoints'] as const;
const STATE_BYTES = 1024 * 1024;

interface LogLine {
  message: string;
  stream?: string;
  reason?: string;
}

interface Sidecar {
  subscriber: Subscriber;
  stateDirectory: string;
  logs: LogLine[];
}

interface Replica {
  certificates: Certificates;
  /** Where streams stay open. */
  stays: HttpsServer;
  /** Where they are cut. */
  breaks: HttpsServer;
  cut(): void;
  publish(version: string): void;
}

let directory = '';
let aheadMs = -2 * YEAR_MS - 3 * LIFETIMES.overlapMs;
const clock: Clock = { ...systemClock, unixMs: () => systemClock.unixMs() + aheadMs };
const store = new MemoryStore();
const pods: (PodIdentity & { token: string })[] = [];
const authenticator = createStaticAuthenticator([]);
const replicas: Replica[] = [];
const running = new Set<Sidecar>();

beforeAll(async () => {
  directory = temporaryFolder('rotation');
  replicas.push(await startReplica(ALWAYS_LEADING), await startReplica(FOLLOWING));
});

afterAll(async () => {
  for (const { subscriber } of running) await subscriber.stop();
  for (const { certificates, stays, breaks } of replicas) {
    certificates.stop();
    await stays.stop();
    await breaks.stop();
  }
  await rm(directory, { recursive: true, force: true });
});

async function startReplica(leadership: Pick<Leadership, 'role' | 'onChange'>): Promise<Replica> {
  const names = ['127.0.0.1'];
  const certificates = createCertificates({ store, names, leadership, lifetimes: LIFETIMES, clock, log: silentLogger });
  await certificates.start();
  let current = workload('v0', ['payments'], []);
  const distributor = createDistributor({
    clock: systemClock,
    log: silentLogger,
    authenticator,
    workloadOfPod: () => Promise.resolve(current),
    trust: certificates,
  });
  let cut = () => {};
  const serve = async (onClose: (closeAll: () => void) => void) => {
    const server = new HttpsServer({
      listen: { host: '127.0.0.1', port: 0 },
      certificates,
      register(fastify) {
        distributor.register(fastify);
        onClose(() => fastify.server.closeAllConnections());
      },
      closeStreams: () => distributor.close(),
      clock: systemClock,
    });
    await server.start();
    return server;
  };
  const stays = await serve(() => undefined);
  const breaks = await serve((closeAll) => {
    cut = closeAll;
  });
  const publish = (version: string) => {
    current = workload(version, ['payments'], pods);
    distributor.publish(result([current], [endpoints('payments', '10.0.0.1')]));
  };
  publish('v0');
  return { certificates, stays, breaks, cut: () => cut(), publish };
}

/** A sidecar whose pod was born with this bundle, and whose state directory is empty. */
async function startSidecar({ port }: HttpsServer, caBundle: string): Promise<Sidecar> {
  const name = `checkout-${pods.length}`;
  const token = `token-of-${name}-0123456789`;
  pods.push({ namespace: 'shop', name, uid: name, token });
  authenticator.replace(pods);
  const home = join(directory, name);
  const logs: LogLine[] = [];
  const write = (fields: object, message: string) => void logs.push({ ...fields, message });
  const log: object = { debug: write, info: write, warn: write, error: write, fatal: write, child: () => log };
  await writeFile(`${home}.token`, token);
  const subscriber = new Subscriber({
    operatorUrl: new URL(`https://127.0.0.1:${port}`),
    tokenFile: `${home}.token`,
    caBundle,
    caFile: null,
    stateDirectory: home,
    dataPlane: new RecordingDataPlane(),
    lookup: (_name, _options, done) => done(new Error('the operator of this test has an address'), ''),
    locallyDisabled: () => false,
    onPlanApplied: () => undefined,
    metrics: createSubscribeMetrics(new MetricRegistry(), () => systemClock.monotonicMs()),
    clock: systemClock,
    random: seededRandom(pods.length),
    log: log as unknown as Logger,
    streamSettings: { ...STREAM_SETTINGS, initialMs: 5, maxMs: 50 },
  });
  const sidecar = { subscriber, stateDirectory: home, logs };
  running.add(sidecar);
  await subscriber.restore();
  subscriber.start();
  return sidecar;
}

const until = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 10_000, interval: 5 });

const timesUp = ({ logs }: Sidecar, stream: string) =>
  logs.filter((line) => line.message === 'stream is up' && line.stream === stream).length;

const refusals = ({ logs }: Sidecar) => logs.filter(({ reason }) => reason === 'untrusted');

/** It holds both streams, with that plan and that bundle; a refusal ends the wait at once. */
async function untilServed(sidecar: Sidecar, version: string, bundle: string): Promise<void> {
  await until(async () => {
    const known = await readStateFile(join(sidecar.stateDirectory, 'trust.state'), STATE_BYTES);
    const up = { planStreamUp: true, endpointsStreamUp: true, endpointsConfirmed: true };
    expect({ status: sidecar.subscriber.status(), refusals: refusals(sidecar), bundle: known?.text }).toMatchObject({
      status: { ...up, planVersion: version },
      refusals: [],
      bundle,
    });
  });
}

test('streams are held and opened anew across two rotations, and nobody is refused', async () => {
  const [leader, follower] = replicas;
  if (!leader || !follower) throw new Error('there are no replicas');
  const held: { sidecar: Sidecar; replica: Replica }[] = [];
  const broken: typeof held = [];
  const births: string[] = [];
  let turn = 0;

  /** Pods of the day are born, streams are cut, a plan arrives, and pods of the first day come back empty-handed. */
  const live = async () => {
    const version = `v${++turn}`;
    for (const replica of replicas) {
      const bundle = replica.certificates.trustBundle();
      if (births.includes(bundle)) continue;
      births.push(bundle);
      for (const one of replicas) {
        held.push({ replica: one, sidecar: await startSidecar(one.stays, bundle) });
        broken.push({ replica: one, sidecar: await startSidecar(one.breaks, bundle) });
      }
    }
    const opened = () => broken.map(({ sidecar }) => STREAMS.map((stream) => timesUp(sidecar, stream)));
    await until(() =>
      expect(
        opened()
          .flat()
          .every((times) => times > 0),
      ).toBe(true),
    );
    const before = opened();
    for (const replica of replicas) replica.cut();
    await until(() => expect(opened()).toEqual(before.map((times) => times.map((one) => one + 1))));
    for (const replica of replicas) replica.publish(version);
    for (const { sidecar, replica } of [...held, ...broken]) {
      await untilServed(sidecar, version, replica.certificates.trustBundle());
    }
    for (const replica of replicas) {
      const returned = await startSidecar(replica.stays, births[0] ?? '');
      await untilServed(returned, version, replica.certificates.trustBundle());
      await returned.subscriber.stop();
      running.delete(returned);
    }
  };
  /** What changes reaches the other replica last. */
  const step = async (byMs: number) => {
    aheadMs += byMs;
    await leader.certificates.check();
    await live();
    await follower.certificates.check();
    await live();
  };

  const served = new Set<string>();
  await step(0);
  served.add(leader.certificates.serving().certificate);
  for (let rotation = 0; rotation < 2; rotation += 1) {
    await step(YEAR_MS);
    await step(LIFETIMES.overlapMs);
    served.add(leader.certificates.serving().certificate);
  }

  // What was born first knows one authority of three, and the newest of them signs.
  expect(births.map((bundle) => bundle.match(/BEGIN/g)?.length)).toEqual([1, 2, 3]);
  expect(served.size).toBe(3);
  // A stream that was never cut was never opened anew either: the newer bundles came over it.
  for (const { sidecar } of held) expect(STREAMS.map((stream) => timesUp(sidecar, stream))).toEqual([1, 1]);
  for (const { sidecar } of [...held, ...broken]) expect(refusals(sidecar)).toEqual([]);
}, 60_000);

test('a sidecar that knows another authority is refused, and says so', async () => {
  const [leader] = replicas;
  if (!leader) throw new Error('there are no replicas');
  const names = ['127.0.0.1'];
  const others = createCertificates({
    store: new MemoryStore(),
    names,
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  await others.start();
  const stranger = await startSidecar(leader.stays, others.trustBundle());
  others.stop();
  await until(() => expect(refusals(stranger)).not.toEqual([]));
  expect(stranger.subscriber.status()).toMatchObject({ planVersion: null, planStreamUp: false });
});
