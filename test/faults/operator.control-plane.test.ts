// Two whole replicas of the operator before a real API server, each behind a proxy that does what goes wrong, and a sidecar on each of
// them. While everything changes, faults of all kinds come by chance, and the API server restarts without its history.
// Another mixture by hand: SEED=7 npm test -- test/faults
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { compile } from '../../operator/compile/compile.ts';
import type { CompileResult } from '../../operator/compile/result.ts';
import type { World } from '../../operator/compile/world.ts';
import { statusOf } from '../../operator/status/conditions.ts';
import { installedObjects, OPERATOR, SYSTEM } from '../../operator/testing/installed.ts';
import { ApiClient } from '../../operator/watch/api-client.ts';
import { ChangingShop, sorted } from '../../operator/watch/changing-shop.ts';
import { loadKubeConfig } from '../../operator/watch/kube-config.ts';
import { systemClock as clock } from '../../runtime/clock.ts';
import { readEnvironment } from '../../runtime/environment.ts';
import { seededRandom } from '../../runtime/random.ts';
import { type ControlPlane, startControlPlane } from '../harness/control-plane.ts';
import type { Asked, Fault, FaultProxy, Rule } from '../harness/fault-proxy.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import type { Damage } from '../harness/watch-damage.ts';
import { HASTY, Leads, Replica } from './replica.ts';
import { WatchedSidecar } from './watched-sidecar.ts';

const { SEED } = readEnvironment(z.object({ SEED: z.coerce.number().int().min(1).default(1) }));
/** Of the shop, before and after the restart. */
const CHANGES = 25;
/** Of ours, at most. */
const OBJECTS = 13;
const CONVERGED_WITHIN_MS = 40_000;
const LISTED = [
  'namespaces',
  'services',
  'endpointslices',
  'pods',
  'servicedependencies',
  'resiliencepolicies',
  'events',
];
const OURS = '/apis/breakwater.dev/v1alpha1';

const random = seededRandom(SEED);
const leads = new Leads();
let folder = '';
let plane: ControlPlane;
let direct: ApiClient;
let shop: ChangingShop;
const replicas: Replica[] = [];
const sidecars: WatchedSidecar[] = [];

beforeAll(async () => {
  folder = temporaryFolder('faults');
  plane = await startControlPlane();
  direct = new ApiClient({ kubeConfig: loadKubeConfig(plane.kubeconfigPath), clock, random });
  await plane.kubectl(['apply', '--server-side', '-f', `${import.meta.dirname}/../../crds/manifests`]);
  await plane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
  shop = new ChangingShop(direct, seededRandom(SEED), 'shop');
  await shop.open();
  const objects = { apiVersion: 'v1', kind: 'List', items: [...installedObjects(), ...consumers()] };
  expect(await plane.kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(objects))).toMatchObject({
    code: 0,
  });
  for (const name of ['operator-0', 'operator-1']) {
    replicas.push(await Replica.create(name, { plane, folder, leads, random }));
  }
});

afterAll(async () => {
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  await Promise.all(replicas.map((replica) => replica.stop()));
  await direct?.close();
  await plane?.stop();
  await rm(folder, { recursive: true, force: true });
});

function consumers(): object[] {
  const pod = (name: string) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels: { app: 'consumer' } },
    spec: {
      serviceAccountName: 'default',
      containers: ['app', 'breakwater'].map((container) => ({ name: container, image: 'example/none' })),
    },
  });
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'shop' } };
  return [account, pod('consumer-0'), pod('consumer-1')];
}

/** A sidecar that knows one replica only. */
async function follow(replica: Replica, caBundle: string): Promise<WatchedSidecar> {
  const pod = `consumer-${replicas.indexOf(replica)}`;
  const create = ['create', 'token', 'default', '--namespace', 'shop', '--audience', 'breakwater'];
  const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', pod];
  const { stdout } = await plane.kubectl([...create, ...bound]);
  const operatorUrl = new URL(`https://${OPERATOR}.${SYSTEM}.svc:${replica.httpsPort}`);
  const sidecar = await WatchedSidecar.start({
    pod,
    folder,
    operatorUrl,
    caBundle,
    token: stdout.trim(),
    dependency: shop.steady,
    random,
  });
  sidecars.push(sidecar);
  return sidecar;
}

const soon = (check: () => unknown) => vi.waitFor(check, { timeout: CONVERGED_WITHIN_MS, interval: 50 });

// ---- What goes wrong ----

const isListed = ({ resource, path }: Asked) => LISTED.includes(resource) && !path.includes('/namespaces/');
const isWatch = ({ isWatch: watches }: Asked) => watches;
const isList = (asked: Asked) => asked.isList && isListed(asked);
const everything = () => true;
const answer = (status: number, headers: Record<string, string> = {}): Fault => ({
  kind: 'answer',
  status,
  headers,
  body: JSON.stringify({ kind: 'Status', code: status, reason: `Made${status}`, message: 'made by the proxy' }),
});
const damage = (kind: Damage['kind'], afterLines = 0): Fault => ({ kind: 'damage', damage: { kind, afterLines } });

/** Each with the most often that it comes. */
const FAULTS: [matches: Rule['matches'], fault: Fault, probability: number][] = [
  [isWatch, answer(410), 0.5],
  [isWatch, damage('expired', 1), 0.5],
  [isWatch, damage('cutInLine', 1), 0.5],
  [isWatch, damage('truncatedLine', 1), 0.5],
  [isWatch, damage('garbageLine', 1), 0.5],
  [isWatch, damage('replayed'), 0.5],
  [isWatch, damage('end', 1), 0.5],
  [isWatch, { kind: 'silent' }, 0.3],
  [isWatch, damage('silence', 1), 0.3],
  [isList, answer(500), 0.5],
  [isList, answer(410), 0.5],
  [isList, { kind: 'cutBody', bytes: 300 }, 0.5],
  [isList, { kind: 'empty' }, 0.5],
  [everything, answer(429, { 'retry-after': '1' }), 0.15],
  [everything, answer(403), 0.15],
  [everything, answer(404), 0.15],
  [everything, answer(500), 0.25],
  [everything, answer(503), 0.25],
  [everything, { kind: 'cut' }, 0.25],
  [everything, { kind: 'delay', delayMs: 300 }, 0.3],
  [everything, { kind: 'drip', bytes: 97, everyMs: 2 }, 0.3],
];

function pick<T>(values: readonly T[]): T[] {
  const value = values[Math.floor(random() * values.length)];
  return value === undefined ? [] : [value];
}

function mixture({ name }: Replica): Rule[] {
  const seen: Rule = {
    matches: ({ method, resource }) => {
      if (method === 'PATCH' && resource === 'status') leads.wroteStatus(name);
      return false;
    },
    fault: { kind: 'cut' },
  };
  const some = Array.from({ length: 8 }, () => pick(FAULTS)).flat();
  return [
    seen,
    ...some.map(([matches, fault, most]) => ({ matches, fault, probability: most * (0.3 + 0.7 * random()) })),
  ];
}

function shake(proxy: FaultProxy): void {
  proxy.connections = random() < 0.85 ? 'open' : (pick(['refused', 'resetInHandshake'] as const)[0] ?? 'open');
  if (random() < 0.1) proxy.cutAll();
}

async function changes(): Promise<void> {
  for (let number = 0; number < CHANGES; number += 1) {
    await shop.change();
    for (const replica of replicas) {
      shake(replica.proxy);
      await replica.readiness();
    }
    await sleep(random() * 200);
  }
}

async function restartApiServer(): Promise<void> {
  await plane.stopApiServer();
  for (const replica of replicas) await replica.readiness();
  await plane.compact();
  await plane.startApiServer();
}

// ---- What must be true in the end ----

interface Truth {
  world: World;
  result: CompileResult;
}

async function truthNow(): Promise<Truth> {
  const world = sorted(await shop.truth());
  return { world, result: compile(world) };
}

function workloadOf({ pod }: WatchedSidecar, { workloads }: CompileResult) {
  const found = workloads.find(({ pods }) => pods.includes(`shop/${pod}`));
  if (found === undefined) throw new Error(`no workload has the pod ${pod}`);
  return found;
}

function expectFollowed(sidecar: WatchedSidecar, { result }: Truth): void {
  const { plan, endpointKeys } = workloadOf(sidecar, result);
  // A Service without an EndpointSlice has no set.
  const present = endpointKeys.flatMap((key) => result.endpointSets.get(key) ?? []);
  expect(sidecar.isUp).toBe(true);
  expect(sidecar.dataPlane.plan).toEqual(plan);
  expect(sidecar.dataPlane.sets).toEqual(new Map(present.map((set) => [set.key, set])));
}

interface Stored {
  metadata: { name: string; generation: number };
  status?: unknown;
}

/** Every status is what the present world, and the one sidecar of the replica that leads, make of it. */
async function expectStatuses(sidecar: WatchedSidecar, { world, result }: Truth): Promise<void> {
  const applied = { applied: 1, of: 1, nacks: [], appliedPods: [sidecar.pod], locallyDisabled: [] };
  const reports = {
    applied: new Map([[workloadOf(sidecar, result).id, applied]]),
    circuits: [],
    exclusions: [],
    opaque: [],
    tls: [],
  };
  const kinds = { servicedependencies: world.serviceDependencies, resiliencepolicies: world.resiliencePolicies };
  for (const [plural, models] of Object.entries(kinds)) {
    const { items } = await direct.request<{ items: Stored[] }>('GET', `${OURS}/${plural}`);
    expect(items).toHaveLength(models.length);
    for (const { metadata, status } of items) {
      const model = models.find(({ metadata: { name } }) => name === metadata.name);
      if (model === undefined) throw new Error(`${plural}/${metadata.name} is new`);
      const subject = { ...metadata, kind: model.kind, namespace: 'shop', content: { model }, status };
      // A transition that is not written yet would be of this moment.
      const wanted = statusOf(subject, result, reports, '1970-01-01T00:00:00Z');
      expect(status, `${plural}/${metadata.name}`).toEqual(JSON.parse(JSON.stringify(wanted)));
    }
  }
}

function leader(): number {
  const index = replicas.findIndex(({ name }) => leads.now.has(name));
  if (index < 0) throw new Error('nobody leads');
  return index;
}

async function convergence(): Promise<void> {
  await soon(async () => {
    const truth = await truthNow();
    for (const sidecar of sidecars) expectFollowed(sidecar, truth);
    for (const replica of replicas) expect(await replica.readiness()).toBe('200 ok');
    const leading = sidecars[leader()];
    if (leading !== undefined) await expectStatuses(leading, truth);
    expect(isDeepStrictEqual(truth.world, (await truthNow()).world)).toBe(true);
  });
}

test('a replica is not ready, says for what it waits, and has no plan for sidecars until it has seen everything', async () => {
  const [first, second] = replicas as [Replica, Replica];
  await first.start();
  await soon(async () => expect(await first.readiness()).toBe('200 ok'));
  const sidecar = await follow(first, first.trustBundle());
  await soon(() => expect(sidecar.isUp).toBe(true));

  const isSlices = (asked: Asked) => isListed(asked) && asked.resource === 'endpointslices';
  second.proxy.inject({ matches: isSlices, fault: answer(503) });
  await second.start();
  const early = await follow(second, first.trustBundle());
  await soon(async () =>
    expect(await second.readiness()).toMatch(/^503 waiting for:\n- endpointslices \(503 Made503: [^\n]*\)(\n- |$)/),
  );
  await soon(() => expect(second.proxy.asked.map(({ resource }) => resource)).toContain('tokenreviews'));
  expect(early.dataPlane.calls.filter((call) => !call.startsWith('stream'))).toEqual([]);
  second.proxy.heal();
  await convergence();
});

test('sidecars keep endpoints and statuses become true again, whatever happens between replicas and API server', async () => {
  const startedMs = clock.monotonicMs();
  for (const replica of replicas) {
    replica.proxy.asked.length = 0;
    replica.proxy.inject(...mixture(replica));
    replica.proxy.cutAll();
  }
  await changes();
  await restartApiServer();
  await changes();
  const durationMs = clock.monotonicMs() - startedMs;
  const hits = replicas.map(({ proxy }) => proxy.hits().reduce((sum, count) => sum + count, 0));
  const asked = replicas.map(({ proxy }) => [...proxy.asked]);
  for (const { proxy } of replicas) proxy.heal();
  await convergence();
  expect(sidecars.map(({ dataPlane }) => dataPlane.emptied)).toEqual([[], []]);
  expect(leads.violations).toEqual([]);
  expect(replicas.map(({ unready }) => unready)).toEqual([[], []]);
  for (const count of hits) expect(count).toBeGreaterThan(20);
  for (const [index, replica] of replicas.entries()) expectWithinBudget(asked[index] ?? [], replica, durationMs);
});

/** What the waits between attempts allow; whoever asks in a loop asks a thousand times a second. */
function expectWithinBudget(requests: readonly Asked[], { restarts }: Replica, durationMs: number): void {
  const starts = 1 + restarts;
  const listed = requests.filter((one) => isListed(one)).length;
  const leases = requests.filter(({ path }) => path.includes('/leases/')).length;
  const { backoff } = HASTY.reflector;
  expect(listed).toBeLessThan(LISTED.length * (8 * starts + durationMs / (backoff.maxMs / 2)));
  expect(leases).toBeLessThan(8 * starts + (2 * durationMs) / (HASTY.election.retryMs / 2));
  // Statuses most of all, each once a second at most.
  expect(requests.length - listed - leases).toBeLessThan(30 * starts + (OBJECTS * durationMs) / 1_000);
}
