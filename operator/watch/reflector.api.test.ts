// The reflector against a real API server: that its pages, watches and events are what the scripted one of the unit tests plays.
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import type { UsedControlPlane } from '../../test/harness/control-plane.ts';
import { useControlPlane } from '../../test/harness/shared-control-plane.ts';
import { ApiClient, CONTENT_TYPES, type Query } from './api-client.ts';
import { ApiError } from './api-errors.ts';
import { loadKubeConfig } from './kube-config.ts';
import { Reflector } from './reflector.ts';
import type { RawObject } from './store.ts';

/** More than a page holds. */
const OBJECTS = 620;
const PATH = '/api/v1/namespaces/default/configmaps';

let plane: UsedControlPlane;
let client: ApiClient;
let requests: string[];
/** The next watch is refused as if its version were too old. */
let expireNextWatch = false;

beforeAll(async () => {
  plane = await useControlPlane();
  requests = [];
  client = new ApiClient({ kubeConfig: loadKubeConfig(plane.kubeconfigPath), clock: systemClock, random: () => 0 });
  const numbers = [...Array(OBJECTS).keys()];
  for (const start of numbers.filter((number) => number % 20 === 0)) {
    await Promise.all(numbers.slice(start, start + 20).map((number) => create(`bulk-${number}`)));
  }
});

afterAll(async () => {
  await client?.close();
  await plane?.stop();
});

function create(name: string): Promise<unknown> {
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value: '1' } };
  return client.request('POST', PATH, { body });
}

function newReflector(): Reflector<string> {
  return new Reflector<string>({
    api: {
      request: (method, path, options) => {
        requests.push(describe(options?.query));
        return client.request(method, path, options);
      },
      stream: (path, options) => {
        requests.push(describe(options.query));
        if (expireNextWatch) {
          expireNextWatch = false;
          return Promise.reject(new ApiError(410, 'Expired', 'as if compacted', []));
        }
        return client.stream(path, options);
      },
    },
    path: PATH,
    resource: 'configmaps',
    transform: (raw: RawObject) => (raw['data'] as { value: string } | undefined)?.value ?? '',
    clock: systemClock,
    random: () => 0,
    log: silentLogger,
    onChange: () => undefined,
  });
}

function describe(query: Query = {}): string {
  if (query['watch'] === 1) return 'watch';
  return `list at "${query['resourceVersion']}"${query['continue'] === undefined ? '' : ', next page'}`;
}

const eventually = (check: () => void) => vi.waitFor(check, { timeout: 10_000, interval: 20 });

test('follows a resource of more objects than a page holds, through everything', async () => {
  expireNextWatch = true;
  const reflector = newReflector();
  reflector.start();
  try {
    // The list after the 410 comes from etcd, and so in pages.
    await eventually(() => expect(requests).toHaveLength(5));
    expect(requests).toEqual(['list at "0"', 'watch', 'list at ""', 'list at "undefined", next page', 'watch']);
    const before = reflector.store.size;
    expect(before).toBeGreaterThanOrEqual(OBJECTS);

    await create('new');
    await eventually(() => expect(reflector.store.get('default/new')).toBe('1'));
    await client.request('PATCH', `${PATH}/new`, {
      body: { data: { value: '2' } },
      contentType: CONTENT_TYPES.mergePatch,
    });
    await eventually(() => expect(reflector.store.get('default/new')).toBe('2'));
    await client.request('DELETE', `${PATH}/bulk-7`);
    await eventually(() => expect(reflector.store.get('default/bulk-7')).toBeUndefined());
    expect(reflector.store.size).toBe(before);
    expect(reflector.lastFailure).toBe('');
  } finally {
    await reflector.stop();
  }
});

test('a version that the server does not have yet is told as the reason to list again', async () => {
  const call = client.request('GET', PATH, { query: { resourceVersion: '999999999' }, repeatable: false });
  await expect(call).rejects.toMatchObject({ status: 504, causes: ['ResourceVersionTooLarge'] });
});

test('a kubeconfig that names another authority is refused, and says so', async () => {
  const kubeConfig = loadKubeConfig(plane.kubeconfigPath);
  for (const cluster of kubeConfig.clusters) Object.assign(cluster, { caFile: undefined, caData: undefined });
  const stranger = new ApiClient({ kubeConfig, clock: systemClock, random: () => 0 });
  await expect(stranger.request('GET', '/version', { repeatable: false })).rejects.toThrow(
    /self.signed certificate|unable to/,
  );
  await stranger.close();
});
