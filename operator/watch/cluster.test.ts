import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock, settle } from '../../runtime/manual-clock.ts';
import { INJECTION_DEFAULTS } from '../compile/capture.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { ApiError, ApiUnreachable } from './api-errors.ts';
import { ClusterSource } from './cluster.ts';

/** Each resource: its list, and a watch that the test pushes events into. */
class Cluster {
  readonly lists = new Map<string, object[]>();
  readonly missing = new Set<string>();
  readonly gets = new Map<string, object | Error>();
  readonly #pushes = new Map<string, (line: Uint8Array) => void>();

  request<T>(_method: string, path: string): Promise<T> {
    const one = this.gets.get(path);
    if (one instanceof Error) return Promise.reject(one);
    if (one !== undefined) return Promise.resolve(one as T);
    const resource = path.slice(path.lastIndexOf('/') + 1);
    const items = this.lists.get(resource) ?? [];
    if (this.missing.has(resource) || path.includes('/namespaces/'))
      return Promise.reject(new ApiError(404, 'NotFound', 'no', []));
    return Promise.resolve({ kind: 'List', metadata: { resourceVersion: '1' }, items } as T);
  }

  stream(path: string, { signal }: { signal: AbortSignal }): Promise<AsyncIterable<Uint8Array>> {
    const resource = path.slice(path.lastIndexOf('/') + 1);
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#pushes.set(resource, (line) => controller.enqueue(line));
        signal.addEventListener('abort', () => controller.error(signal.reason));
      },
    });
    return Promise.resolve(stream);
  }

  async push(resource: string, type: string, object: object): Promise<void> {
    const push = await vi.waitFor(() => {
      const found = this.#pushes.get(resource);
      if (found === undefined) throw new Error(`nobody watches ${resource}`);
      return found;
    });
    push(new TextEncoder().encode(`${JSON.stringify({ type, object })}\n`));
    await settle();
  }
}

let cluster: Cluster;
let clock: ManualClock;
let source: ClusterSource;
let worlds: number;
let statuses: string[];

beforeEach(() => {
  cluster = new Cluster();
  clock = new ManualClock();
  worlds = 0;
  statuses = [];
  source = new ClusterSource({
    api: cluster,
    clusterDomain: 'cluster.local',
    systemNamespace: 'breakwater-system',
    injection: INJECTION_DEFAULTS,
    clock,
    random: () => 0,
    log: silentLogger,
    metrics: createOperatorMetrics(),
  });
});

afterEach(async () => {
  await source.stop();
  expect(clock.timers).toBe(0);
});

async function start(): Promise<void> {
  source.start({ onWorld: () => (worlds += 1), onStatus: (key) => statuses.push(key) });
  await clock.advance(200);
}

let version = 10;
function meta(name: string, more: object = {}) {
  version += 1;
  return { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: String(version), ...more };
}

const service = (name: string) => ({ metadata: meta(name), spec: { ports: [{ port: 80 }] } });

function policy(name: string, spec: object, status: object = {}) {
  return {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ResiliencePolicy',
    metadata: meta(name, { generation: 1, creationTimestamp: '2026-01-01T00:00:00Z' }),
    spec: { targetRefs: [{ group: '', kind: 'Service', name: 'payments' }], ...spec },
    status,
  };
}

test('there is no world before every resource was listed, and one as soon as they were', async () => {
  cluster.missing.add('resiliencepolicies');
  await start();
  expect(source.hasSynced).toBe(false);
  expect(source.waitingFor()).toEqual(['resiliencepolicies (404 NotFound: no)']);
  expect(worlds).toBe(0);
  cluster.missing.clear();
  await clock.advance(6_000);
  expect(source.waitingFor()).toEqual([]);
  expect(worlds).toBe(1);
});

test('changes close together make one world, and it is never more than 100 ms late', async () => {
  await start();
  worlds = 0;
  for (let number = 0; number < 3; number += 1) await cluster.push('services', 'ADDED', service(`s${number}`));
  expect(worlds).toBe(0);
  await clock.advance(50);
  expect(worlds).toBe(1);
  expect(source.world().services).toHaveLength(3);
  for (let number = 0; number < 10; number += 1) {
    await cluster.push('services', 'ADDED', service(`t${number}`));
    await clock.advance(20);
  }
  // 200 ms of steady change.
  expect(worlds).toBeGreaterThanOrEqual(2);
  expect(worlds).toBeLessThanOrEqual(4);
});

test('a change that is not kept of an object makes no world', async () => {
  cluster.lists.set('services', [service('payments')]);
  await start();
  worlds = 0;
  const before = source.world();
  await cluster.push('services', 'MODIFIED', { ...service('payments'), status: { loadBalancer: { ingress: [] } } });
  await clock.advance(1_000);
  expect(worlds).toBe(0);
  expect(source.world()).toBe(before);
});

test('a status alone makes no world, and is told', async () => {
  cluster.lists.set('resiliencepolicies', [policy('p', { timeouts: { request: '1s' } })]);
  await start();
  worlds = 0;
  await cluster.push(
    'resiliencepolicies',
    'MODIFIED',
    policy('p', { timeouts: { request: '1s' } }, { summary: 'fine' }),
  );
  await clock.advance(1_000);
  expect(worlds).toBe(0);
  expect(statuses).toEqual(['ResiliencePolicy/shop/p']);
  expect(source.own('ResiliencePolicy/shop/p')?.status).toEqual({ summary: 'fine' });
  await cluster.push(
    'resiliencepolicies',
    'MODIFIED',
    policy('p', { timeouts: { request: '2s' } }, { summary: 'fine' }),
  );
  await clock.advance(50);
  expect(worlds).toBe(1);
});

test('an object of ours that does not fit is in the world as invalid', async () => {
  cluster.lists.set('resiliencepolicies', [policy('bad', { timeouts: { request: 'soon' } }), policy('good', {})]);
  await start();
  expect(source.world().resiliencePolicies.map(({ metadata }) => metadata.name)).toEqual(['good']);
  expect(source.world().invalid).toMatchObject([{ kind: 'ResiliencePolicy', name: 'bad', generation: 1 }]);
});

test('an object that cannot be read is left as it was, and holds up no other', async () => {
  cluster.lists.set('services', [service('payments')]);
  await start();
  await cluster.push('services', 'MODIFIED', { metadata: meta('payments'), spec: { ports: [{ port: 'eighty' }] } });
  await cluster.push('services', 'ADDED', service('other'));
  await clock.advance(100);
  expect(source.world().services.map(({ name, ports }) => [name, ports[0]?.port])).toEqual([
    ['payments', 80],
    ['other', 80],
  ]);
});

test('slices of no Service are not kept', async () => {
  const slice = { addressType: 'IPv4', ports: [], endpoints: [] };
  const labels = { 'kubernetes.io/service-name': 'payments' };
  cluster.lists.set('endpointslices', [
    { metadata: meta('a'), ...slice },
    { metadata: meta('b', { labels }), ...slice },
  ]);
  await start();
  expect(source.world().endpointSlices.map(({ name }) => name)).toEqual(['b']);
});

test('a namespace is found by its name', async () => {
  cluster.lists.set('namespaces', [{ metadata: { name: 'shop', labels: { a: 'b' } } }]);
  await start();
  expect(source.namespace('shop')).toMatchObject({ labels: { a: 'b' } });
  expect(source.namespace('other')).toBeUndefined();
});

test('a pod that the cache does not hold yet is asked for, and in the world at once', async () => {
  await start();
  worlds = 0;
  cluster.gets.set('/api/v1/namespaces/shop/pods/new', { metadata: meta('new'), spec: { containers: [] } });
  expect(await source.pod('shop', 'new', 'uid-new')).toMatchObject({ name: 'new' });
  expect(worlds).toBe(1);
  expect(source.world().pods).toHaveLength(1);
  cluster.gets.clear();
  expect(await source.pod('shop', 'new', 'uid-new')).toMatchObject({ name: 'new' });
});

test('a pod that was deleted while it was asked for does not come back', async () => {
  cluster.lists.set('pods', [{ metadata: meta('a'), spec: {} }]);
  const read = { metadata: meta('b'), spec: {} };
  await start();
  let answer = (_raw: object) => {};
  cluster.gets.set('/api/v1/namespaces/shop/pods/b', new Promise((resolve) => (answer = resolve)));
  const asked = source.pod('shop', 'b', 'uid-b');
  await cluster.push('pods', 'ADDED', read);
  await cluster.push('pods', 'DELETED', { ...read, metadata: { ...read.metadata, resourceVersion: '9999' } });
  answer(read);
  expect(await asked).toBeUndefined();
  expect(source.world().pods.map(({ name }) => name)).toEqual(['a']);
});

test('a pod that is gone, or is another by now, is none; and an outage is not an answer', async () => {
  cluster.gets.set('/api/v1/namespaces/shop/pods/a', { metadata: meta('a'), spec: {} });
  cluster.gets.set('/api/v1/namespaces/shop/pods/c', new ApiUnreachable('away'));
  await start();
  expect(await source.pod('shop', 'a', 'the one before')).toBeUndefined();
  expect(source.world().pods).toEqual([]);
  expect(await source.pod('shop', 'b', 'uid-b')).toBeUndefined();
  await expect(source.pod('shop', 'c', 'uid-c')).rejects.toThrow('away');
});
