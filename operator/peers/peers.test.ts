// Two replicas with real servers, TLS and streams between them; pods are played by the test.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { PATHS, REPLICA_HEADER } from '../../plan/wire.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { type Certificates, createCertificates } from '../certificates/certificates.ts';
import { MemoryStore } from '../certificates/memory-store.ts';
import type { WorldEndpointSlice } from '../compile/world.ts';
import type { PodIdentity } from '../distribute/authenticate.ts';
import { podA, podB, result, workload } from '../distribute/fixtures.ts';
import { createStaticAuthenticator } from '../distribute/static-tokens.ts';
import { createDistributor } from '../distribute/stream-server.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { HttpsServer } from '../https-server.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { PeerServer } from './peer-server.ts';
import { Peers, replicasIn } from './peers.ts';

const CHECKOUT = 'shop/checkout';
const SERVICE = { namespace: 'system', name: 'operator' };
const PEER_TOKEN = 'token-of-a-replica-0123456789';
const tokenOf = (pod: PodIdentity) => `token-of-${pod.uid}-0123456789`;
const soon = <T>(check: () => T | Promise<T>) => vi.waitFor(check, { timeout: 10_000, interval: 20 });

let folder: string;
let certificates: Certificates;
let agent: Agent;
const cleanUps: (() => Promise<void> | void)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'breakwater-peers-'));
  await writeFile(join(folder, 'token'), PEER_TOKEN);
  certificates = createCertificates({
    store: new MemoryStore(),
    names: ['localhost'],
    leadership: ALWAYS_LEADING,
    clock: systemClock,
    log: silentLogger,
  });
  await certificates.start();
  agent = new Agent({ connect: { ca: certificates.trustBundle(), servername: 'localhost' } });
});

afterEach(async () => {
  await agent.destroy();
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  certificates.stop();
  await rm(folder, { recursive: true });
});

async function replica(name: string, tokenFile = join(folder, 'token')) {
  const clock = systemClock;
  const metrics = createOperatorMetrics();
  const peers = new Peers({
    self: name,
    service: SERVICE,
    serverName: 'localhost',
    trustBundle: () => certificates.trustBundle(),
    tokenFile,
    onLocalChange: () => server.changed(),
    onPeerChange: () => distributor.peersChanged(),
    clock,
    random: () => 0.5,
    log: silentLogger,
    metrics,
  });
  const distributor = createDistributor({
    clock,
    log: silentLogger,
    authenticator: createStaticAuthenticator([podA, podB].map((pod) => ({ token: tokenOf(pod), ...pod }))),
    workloadOfPod: () => Promise.resolve(workload('v1', ['payments'], [podA, podB])),
    peers,
  });
  const server = new PeerServer({
    authenticator: createStaticAuthenticator([
      { token: PEER_TOKEN, namespace: 'system', name: 'operator-x', uid: 'x' },
    ]),
    sessions: () => distributor.sessionsHere(),
    clock,
    log: silentLogger,
  });
  const https = new HttpsServer({
    listen: { host: '127.0.0.1', port: 0 },
    certificates,
    register(fastify) {
      distributor.register(fastify);
      server.register(fastify);
    },
    closeStreams() {
      distributor.close();
      server.close();
    },
    clock,
  });
  await https.start();
  peers.start();
  distributor.publish(result([workload('v1', ['payments'], [podA, podB])]));
  let isOver = false;
  const stop = async () => {
    if (isOver) return;
    isOver = true;
    peers.stop();
    await https.stop();
  };
  cleanUps.push(stop);
  const summary = () => distributor.summaries().applied.get(CHECKOUT);
  const connected = async () => {
    peers.observe();
    return (await metrics.peersConnected.get()).values[0]?.value;
  };
  return { name, peers, distributor, port: https.port, stop, summary, connected };
}

type Replica = Awaited<ReturnType<typeof replica>>;

const NOWHERE = { node: undefined, zone: undefined, hints: undefined };

function slices(...replicas: Replica[]): { endpointSlices: WorldEndpointSlice[] } {
  return {
    endpointSlices: replicas.map(({ name, port }) => ({
      ...SERVICE,
      name: `operator-${name}`,
      service: SERVICE.name,
      addressType: 'IPv4',
      ports: [{ name: 'https', port, appProtocol: undefined }],
      endpoints: [
        { addresses: ['127.0.0.1'], ready: true, serving: true, terminating: false, pod: `system/${name}`, ...NOWHERE },
      ],
    })),
  };
}

async function pair(): Promise<[Replica, Replica]> {
  const both: [Replica, Replica] = [await replica('a'), await replica('b')];
  for (const { peers } of both) peers.update(slices(...both));
  for (const one of both) await soon(async () => expect(await one.connected()).toBe(1));
  return both;
}

/** A sidecar's stream of plans at one replica. */
async function openPlan(at: Replica, pod: PodIdentity, version?: string) {
  const query = version === undefined ? '' : `?version=${version}`;
  const response = await request(`https://127.0.0.1:${at.port}${PATHS.plan}${query}`, {
    dispatcher: agent,
    headers: { authorization: `Bearer ${tokenOf(pod)}` },
  });
  expect(response.statusCode).toBe(200);
  response.body.on('error', () => undefined).resume();
  return { replica: String(response.headers[REPLICA_HEADER]), close: () => response.body.destroy() };
}

async function acknowledge(at: Replica, pod: PodIdentity, holder: string, version: string) {
  const { statusCode, body } = await request(`https://127.0.0.1:${at.port}${PATHS.acknowledgements}`, {
    method: 'POST',
    dispatcher: agent,
    headers: {
      authorization: `Bearer ${tokenOf(pod)}`,
      'content-type': 'application/json',
      [REPLICA_HEADER]: holder,
    },
    body: JSON.stringify({ stream: 'plan', version, applied: true }),
  });
  const text = await body.text();
  return { statusCode, reason: text === '' ? '' : (JSON.parse(text) as { reason: string }).reason };
}

describe('two replicas', () => {
  test('both know of all sidecars, wherever stream and report went', async () => {
    const [a, b] = await pair();
    const stream = await openPlan(a, podA);
    expect(stream.replica).toBe('a');
    expect(await acknowledge(b, podA, 'a', 'v1')).toMatchObject({ statusCode: 204 });
    // It is where the stream is in the moment of the answer, and nowhere else.
    expect(a.summary()).toMatchObject({ applied: 1, of: 1 });
    expect(b.distributor.sessionsHere().size).toBe(0);
    await soon(() => expect(b.summary()).toMatchObject({ applied: 1, of: 1 }));
    await openPlan(b, podB, 'v1');
    for (const one of [a, b]) await soon(() => expect(one.summary()).toMatchObject({ applied: 2, of: 2 }));
  });

  test('a sidecar of a replica that ends is counted all the time, and once', async () => {
    const [a, b] = await pair();
    await openPlan(a, podA, 'v1');
    await openPlan(b, podB, 'v1');
    await soon(() => expect(b.summary()).toMatchObject({ applied: 2, of: 2 }));
    const seen = new Set<string>();
    b.distributor.onChange(() => seen.add(`${b.summary()?.applied}/${b.summary()?.of}`));
    await a.stop();
    b.peers.update(slices(b));
    expect(b.summary()).toMatchObject({ applied: 2, of: 2 });
    await openPlan(b, podA, 'v1');
    expect(b.summary()).toMatchObject({ applied: 2, of: 2 });
    await soon(async () => expect(await b.connected()).toBe(0));
    expect([...seen]).toEqual(['2/2']);
    // A pod that is deleted while nobody can say so is not counted on.
    b.distributor.publish(result([workload('v1', ['payments'], [podB])]));
    expect(b.summary()).toMatchObject({ of: 2 });
  });

  test('a sidecar of a replica that is not listed for a moment is counted all the time', async () => {
    const [a, b] = await pair();
    await openPlan(a, podA, 'v1');
    await openPlan(b, podB, 'v1');
    await soon(() => expect(b.summary()).toMatchObject({ applied: 2, of: 2 }));
    const seen = new Set<string>();
    const look = () => seen.add(`${b.summary()?.applied}/${b.summary()?.of}`);
    b.distributor.onChange(look);
    for (let time = 0; time < 3; time++) {
      b.peers.update(slices(b));
      look();
      b.peers.update(slices(a, b));
      look();
      await soon(async () => expect(await b.connected()).toBe(1));
    }
    // What it says over the new connection holds, whatever the end of the old one still brings.
    await openPlan(a, podB, 'v1');
    const streams = () => new Map(Array.from(b.peers.sessions(), ({ pod, streams: count }) => [pod.uid, count]));
    await soon(() => expect(Object.fromEntries(streams())).toEqual({ [podA.uid]: 1, [podB.uid]: 1 }));
    expect([...seen]).toEqual(['2/2']);
  });

  test('a pod that is gone with its replica does not count any longer', async () => {
    const [a, b] = await pair();
    await openPlan(a, podA, 'v1');
    await soon(() => expect(b.summary()).toMatchObject({ of: 1 }));
    await a.stop();
    await soon(async () => expect(await b.connected()).toBe(0));
    expect(b.summary()).toMatchObject({ of: 1 });
    b.distributor.publish(result([workload('v1', ['payments'], [podB])]));
    expect(b.summary()).toBeUndefined();
  });

  test('a report for a replica that is away is refused, so that it comes again', async () => {
    const [a, b] = await pair();
    await openPlan(a, podA);
    await a.stop();
    expect(await acknowledge(b, podA, 'a', 'v1')).toMatchObject({ statusCode: 503, reason: 'ReplicaUnreachable' });
    expect(await acknowledge(b, podA, 'never-heard-of', 'v1')).toMatchObject({
      statusCode: 503,
      reason: 'ReplicaUnknown',
    });
    expect(await acknowledge(b, podA, '../x', 'v1')).toMatchObject({ statusCode: 400, reason: 'BadReplica' });
  });

  test('a report that names its own replica, or none that is known there, stays', async () => {
    const alone = await replica('alone');
    const stream = await openPlan(alone, podA);
    expect(await acknowledge(alone, podA, stream.replica, 'v1')).toMatchObject({ statusCode: 204 });
    expect(alone.summary()).toMatchObject({ applied: 1, of: 1 });
  });
});

test('whoever is no replica is told nothing', async () => {
  const { port } = await replica('a');
  for (const authorization of [undefined, `Bearer ${tokenOf(podA)}`, 'Bearer x']) {
    const { statusCode, body } = await request(`https://127.0.0.1:${port}/v1/peers/sessions`, {
      dispatcher: agent,
      headers: authorization === undefined ? {} : { authorization },
    });
    expect(statusCode).toBe(401);
    await body.dump();
  }
});

test('a replica without its token goes on alone, and listens once it has one', async () => {
  const tokenFile = join(folder, 'later');
  const a = await replica('a');
  const b = await replica('b', tokenFile);
  b.peers.update(slices(a, b));
  await openPlan(a, podA, 'v1');
  await new Promise((resolve) => setImmediate(resolve));
  expect(await b.connected()).toBe(0);
  await writeFile(tokenFile, PEER_TOKEN);
  await soon(() => expect(b.summary()).toMatchObject({ applied: 1, of: 1 }));
});

test('replicas that went do not keep those out that came for them', async () => {
  const b = await replica('b');
  const a = await replica('a');
  await openPlan(a, podA, 'v1');
  // Of each one something is known, so that it is kept for a while.
  for (let n = 0; n < 32; n++) {
    b.peers.update(slices(b, { ...a, name: `gone-${n}` }));
    await soon(async () => expect(await b.connected()).toBe(1));
    await soon(() => expect([...b.peers.sessions()].some(({ streams }) => streams === 1)).toBe(true));
  }
  b.peers.update(slices(a, b));
  await soon(async () => expect(await b.connected()).toBe(1));
});

describe('who is listed', () => {
  const slice = (more: Partial<WorldEndpointSlice>): WorldEndpointSlice => ({
    ...SERVICE,
    name: 'operator-1',
    service: 'operator',
    addressType: 'IPv4',
    ports: [{ name: 'https', port: 8443, appProtocol: undefined }],
    endpoints: ['a', 'b'].map((name, index) => ({
      addresses: [`198.18.0.${index}`],
      ready: name === 'a',
      serving: false,
      terminating: name === 'b',
      pod: `system/${name}`,
      ...NOWHERE,
    })),
    ...more,
  });
  const listed = (...endpointSlices: WorldEndpointSlice[]) => [
    ...replicasIn({ endpointSlices }, { self: 'me', service: SERVICE }).values(),
  ];

  test('is every pod of the Service, ready or not, but oneself', () => {
    expect(listed(slice({}))).toEqual([
      { name: 'a', address: '198.18.0.0', port: 8443 },
      { name: 'b', address: '198.18.0.1', port: 8443 },
    ]);
    expect([...replicasIn({ endpointSlices: [slice({})] }, { self: 'a', service: SERVICE }).keys()]).toEqual(['b']);
  });

  test('is nobody of another Service, and nobody without a port or a pod', () => {
    expect(listed(slice({ service: 'other' }))).toEqual([]);
    expect(listed(slice({ namespace: 'other' }))).toEqual([]);
    expect(listed(slice({ ports: [] }))).toEqual([]);
    expect(listed(slice({ addressType: 'FQDN' }))).toEqual([]);
    expect(
      listed(
        slice({
          endpoints: [
            { addresses: ['198.18.0.9'], ready: true, serving: true, terminating: false, pod: undefined, ...NOWHERE },
          ],
        }),
      ),
    ).toEqual([]);
  });

  test('has one address, also with both families', () => {
    expect(listed(slice({}), slice({ name: 'operator-2', addressType: 'IPv6' }))).toHaveLength(2);
  });
});
