// A real folder and real time: what is at stake is how files behave. Waiting is for what happens, never for a time.
import { mkdir, mkdtemp, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { FolderSource } from './folder.ts';

let folder: string;
let source: FolderSource;
let worlds: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'breakwater-folder-'));
  source = newSource();
  worlds = 0;
});

afterEach(async () => {
  await source.stop();
  await rm(folder, { recursive: true, force: true });
});

const statuses = new Map<string, object>();

function newSource(path = folder, clock = systemClock) {
  return new FolderSource({ folder: path, clusterDomain: 'cluster.local', statuses, clock, log: silentLogger });
}

async function start(): Promise<void> {
  source.start({
    onWorld: () => {
      worlds += 1;
    },
    onStatus: () => undefined,
  });
  await source.refresh();
}

async function put(name: string, ...documents: (object | string)[]): Promise<void> {
  const text = documents.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join('\n---\n');
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), text);
}

const eventually = (check: () => void) => vi.waitFor(check, { timeout: 5_000, interval: 10 });

function service(name: string, port = 8080) {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'shop' }, spec: { ports: [{ port }] } };
}

function pod(name: string, labels: Record<string, string>, status: object = {}) {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'shop', labels }, spec: {}, status };
}

function dependency(name: string, app: string) {
  return {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ServiceDependency',
    metadata: { name, namespace: 'shop' },
    spec: {
      consumer: { selector: { matchLabels: { app } } },
      dependsOn: [{ name: 'payments', service: { name: 'payments', port: 8080 } }],
    },
  };
}

const names = () => source.world().services.map(({ name }) => name);

test('reads YAML and JSON at any depth, and passes over everything else', async () => {
  await put('a.yaml', service('a'), { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd' } });
  await put('deep/er/b.yml', service('b'));
  await put('c.json', service('c'));
  await put('notes.txt', 'no manifest');
  await put('.hidden.yaml', service('hidden'));
  await put('.git/config.yaml', service('hidden too'));
  expect(source.hasSynced).toBe(false);
  await start();
  expect(source.hasSynced).toBe(true);
  expect(names()).toEqual(['a', 'c', 'b']);
});

test('follows changes: a file written, replaced by a rename, removed', async () => {
  await start();
  expect(names()).toEqual([]);
  await put('a.yaml', service('a'));
  await eventually(() => expect(names()).toEqual(['a']));
  await put('.new', service('b'), service('c'));
  await rename(join(folder, '.new'), join(folder, 'a.yaml'));
  await eventually(() => expect(names()).toEqual(['b', 'c']));
  await rm(join(folder, 'a.yaml'));
  await eventually(() => expect(names()).toEqual([]));
});

test('takes a file when it is written, not while it is', async () => {
  await put('a.yaml', service('a'));
  const seen: string[][] = [];
  source.start({ onWorld: () => seen.push(names()), onStatus: () => undefined });
  await source.refresh();

  // What open(2) does for a writer: the old content is gone, the new one is not there yet.
  await put('a.yaml', '');
  const refreshed = source.refresh();
  for (let turn = 0; turn < 20; turn++) await stat(join(folder, 'a.yaml'));
  await put('a.yaml', service('a'), service('b'));
  await refreshed;
  expect(seen).toEqual([['a'], ['a', 'b']]);
});

test.each([
  ['empty', ''],
  ['empty but for a comment', '# to be written'],
])('keeps what was in a file that is %s, until it is so for two seconds', async (_name, nothing) => {
  let unixMs = 0;
  source = newSource(folder, { ...systemClock, unixMs: () => unixMs });
  await put('a.yaml', service('a'));
  await start();
  const nowMs = Date.now();
  unixMs = nowMs;
  await put('a.yaml', nothing);
  await utimes(join(folder, 'a.yaml'), new Date(nowMs), new Date(nowMs));
  for (unixMs = nowMs + 200; unixMs < nowMs + 2_000; unixMs += 600) {
    await source.refresh();
    expect(names()).toEqual(['a']);
  }
  // Its next version acts like any other.
  await put('a.yaml', service('a2'));
  await utimes(join(folder, 'a.yaml'), new Date(nowMs + 1_000), new Date(nowMs + 1_000));
  await source.refresh();
  expect(names()).toEqual(['a2']);
  // And one that somebody emptied on purpose is empty.
  await put('a.yaml', nothing);
  await utimes(join(folder, 'a.yaml'), new Date(nowMs + 2_000), new Date(nowMs + 2_000));
  await source.refresh();
  expect(names()).toEqual(['a2']);
  unixMs = nowMs + 4_000;
  await source.refresh();
  expect(names()).toEqual([]);
});

test('does not lose a file that an editor moves away and writes anew', async () => {
  await put('a.yaml', service('a'));
  const seen: string[][] = [];
  source.start({ onWorld: () => seen.push(names()), onStatus: () => undefined });
  await source.refresh();
  await rename(join(folder, 'a.yaml'), join(folder, 'a.yaml~'));
  const refreshed = source.refresh();
  for (let turn = 0; turn < 20; turn++) await stat(join(folder, 'a.yaml~'));
  await put('a.yaml', service('b'));
  await refreshed;
  expect(seen).toEqual([['a'], ['b']]);
});

test('finds changes by polling, too', async () => {
  const clock = new ManualClock();
  source = newSource(folder, clock);
  await start();
  await put('a.yaml', service('a'));
  // Real reads take real time, the clock is virtual: each look is one second of it.
  await vi.waitFor(
    async () => {
      await clock.advance(1_000);
      await source.refresh();
      expect(names()).toEqual(['a']);
    },
    { timeout: 5_000, interval: 10 },
  );
});

test('makes no new world while no file changes', async () => {
  await put('a.yaml', service('a'));
  await start();
  const world = source.world();
  await source.refresh();
  await source.refresh();
  expect(worlds).toBe(1);
  expect(source.world()).toBe(world);
});

test('keeps the last good version of a file that is broken, and says where', async () => {
  await put('a.yaml', service('a'));
  await put('b.yaml', service('b'));
  await start();
  await put('a.yaml', service('a2'), 'kind: "unclosed');
  await source.refresh();
  expect(source.problems()).toEqual([expect.stringMatching(/^a\.yaml:3: /)]);
  expect(names()).toEqual(['a', 'b']);
  await put('a.yaml', service('a3'));
  await source.refresh();
  expect(source.problems()).toEqual([]);
  expect(names()).toEqual(['a3', 'b']);
});

test('does not take a file whose objects the API server could not hold', async () => {
  await put('a.yaml', service('a'), service('bad', 70_000));
  await start();
  expect(source.problems()).toEqual([expect.stringMatching(/^a\.yaml:3: Service shop\/bad .*port/)]);
  expect(names()).toEqual([]);
});

test('an object of ours that does not fit is invalid, and spoils nothing else', async () => {
  const bad = { ...dependency('bad', 'x'), spec: { consumer: {} } };
  await put('a.yaml', service('a'), bad, dependency('good', 'x'));
  await start();
  expect(source.problems()).toEqual([]);
  expect(source.world().serviceDependencies.map(({ metadata }) => metadata.name)).toEqual(['good']);
  expect(source.world().invalid).toMatchObject([{ kind: 'ServiceDependency', name: 'bad' }]);
  expect(source.own('ServiceDependency/shop/bad')?.content).toHaveProperty('invalid');
});

test('of an object of ours that no longer fits the last version stays, until it fits again or is gone', async () => {
  const good = dependency('checkout', 'checkout');
  const bad = { ...good, spec: { consumer: {} } };
  await put('a.yaml', good);
  await start();
  const consumers = () =>
    source.world().serviceDependencies.map(({ spec }) => spec.consumer.selector.matchLabels?.['app']);
  await put('a.yaml', bad, service('seen'));
  await eventually(() => expect(names()).toEqual(['seen']));
  expect(consumers()).toEqual(['checkout']);
  expect(source.world().invalid).toEqual([]);
  await put('a.yaml', dependency('checkout', 'basket'), service('seen'));
  await eventually(() => expect(consumers()).toEqual(['basket']));
  await put('a.yaml', service('gone'));
  await eventually(() => expect(names()).toEqual(['gone']));
  expect(consumers()).toEqual([]);
  await put('a.yaml', bad, service('again'));
  await eventually(() => expect(names()).toEqual(['again']));
  expect(consumers()).toEqual([]);
  expect(source.world().invalid).toHaveLength(1);
});

test('a folder that is not there is waited for', async () => {
  source = newSource(join(folder, 'later'));
  await start();
  expect(source.hasSynced).toBe(false);
  expect(source.waitingFor()).toEqual([expect.stringContaining('ENOENT')]);
  await put('later/a.yaml', service('a'));
  await eventually(() => expect(names()).toEqual(['a']));
});

test('generations grow with the content of an object, and only with it', async () => {
  await put('a.yaml', dependency('checkout', 'checkout'));
  await start();
  const generation = () => source.world().serviceDependencies[0]?.metadata.generation;
  expect(generation()).toBe(1);
  await put('a.yaml', '# a comment', dependency('checkout', 'checkout'));
  await source.refresh();
  expect(generation()).toBe(1);
  await put('a.yaml', dependency('checkout', 'other'));
  await source.refresh();
  expect(generation()).toBe(2);
});

test('asks for a sidecar for each pod, and for each ServiceDependency that selects none', async () => {
  await put('a.yaml', pod('web-1', { app: 'web' }), pod('done', { app: 'batch' }, { phase: 'Succeeded' }));
  await put('b.yaml', dependency('web', 'web'), dependency('batch', 'batch'), dependency('alone', 'nobody'));
  await start();
  expect(source.sidecars().map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`)).toEqual([
    'Pod shop/web-1',
    'ServiceDependency shop/batch',
    'ServiceDependency shop/alone',
  ]);
  const [web, , alone] = source.sidecars();
  expect(await source.pod('shop', 'web-1', web?.uid ?? '')).toMatchObject({ name: 'web-1', injected: true });
  expect(await source.pod('shop', 'alone', alone?.uid ?? '')).toEqual({ workloadId: 'shop/alone' });
  expect(await source.pod('shop', 'web-1', 'another uid')).toBeUndefined();
  expect(await source.pod('shop', 'web', web?.uid ?? '')).toBeUndefined();
});

test('uids are stable over restarts', async () => {
  await put('a.yaml', pod('web-1', {}));
  await start();
  const again = newSource();
  again.start({ onWorld: () => undefined, onStatus: () => undefined });
  await again.refresh();
  expect(again.sidecars()).toEqual(source.sidecars());
  await again.stop();
});

test('the status of an object is the one that is kept for it', async () => {
  await put('a.yaml', dependency('checkout', 'checkout'));
  await start();
  statuses.set('ServiceDependency/shop/checkout', { summary: 'kept' });
  expect(source.own('ServiceDependency/shop/checkout')).toMatchObject({ generation: 1, status: { summary: 'kept' } });
  expect(source.own('ServiceDependency/shop/other')).toBeUndefined();
});
