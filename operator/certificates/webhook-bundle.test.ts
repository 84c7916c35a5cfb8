import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { ApiError } from '../watch/api-errors.ts';
import type { KubernetesApi } from './kubernetes-api.ts';
import { bundlePatch, createWebhookBundle } from './webhook-bundle.ts';

describe('caBundle', () => {
  const configuration = (...bundles: (string | undefined)[]) => ({
    metadata: { resourceVersion: '7' },
    webhooks: bundles.map((caBundle, index) => ({
      name: `hook-${index}`,
      clientConfig: caBundle === undefined ? {} : { caBundle },
    })),
  });

  test('is written where it is missing or another, and nowhere else', () => {
    expect(bundlePatch(configuration('ours', undefined, 'theirs'), 'ours')).toEqual([
      { op: 'test', path: '/metadata/resourceVersion', value: '7' },
      { op: 'add', path: '/webhooks/1/clientConfig/caBundle', value: 'ours' },
      { op: 'add', path: '/webhooks/2/clientConfig/caBundle', value: 'ours' },
    ]);
    expect(bundlePatch(configuration('ours', 'ours'), 'ours')).toEqual([]);
  });

  test('a check that is answered late says nothing of what became of it since', async () => {
    const clock = new ManualClock();
    const ours = Buffer.from('bundle').toString('base64');
    let asked = 0;
    const waiting: (() => void)[] = [];
    const api: KubernetesApi = {
      request: <T>() => {
        asked += 1;
        const held = configuration(asked === 1 ? undefined : ours) as T;
        return new Promise<T>((resolve) => waiting.push(() => resolve(held)));
      },
    };
    let changed = (): void => undefined;
    const certificates = {
      trustBundle: () => 'bundle',
      anchors: () => ['bundle'],
      onChange: (listener: () => void) => {
        changed = listener;
        return () => {};
      },
    };
    const leadership = { role: 'Following' as const, onChange: () => () => {} };
    const bundle = createWebhookBundle({ api, name: 'breakwater', certificates, leadership, clock, log: silentLogger });
    bundle.start();
    await clock.advance(0);
    changed();
    await clock.advance(0);
    // The newest question is answered first, where there are two.
    for (let answer = waiting.pop(); answer !== undefined; answer = waiting.pop()) {
      answer();
      await clock.advance(0);
    }
    expect(asked).toBe(2);
    expect(bundle.live()).toBe(true);
    bundle.stop();
    expect(clock.timers).toBe(0);
  });

  test('live means that the API server said so; silence afterwards changes nothing, a deletion does', async () => {
    const clock = new ManualClock();
    const ours = Buffer.from('bundle').toString('base64');
    let answer: () => Promise<unknown> = () => Promise.reject(new Error('connect ECONNREFUSED'));
    const patches: unknown[] = [];
    const api: KubernetesApi = {
      request: async <T>(method: string, _path: string, options?: { body?: unknown }) => {
        if (method === 'PATCH') {
          patches.push(options?.body);
          return configuration(ours) as T;
        }
        return (await answer()) as T;
      },
    };
    const certificates = { trustBundle: () => 'bundle', anchors: () => ['bundle'], onChange: () => () => {} };
    const bundle = createWebhookBundle({
      api,
      name: 'breakwater',
      certificates,
      leadership: ALWAYS_LEADING,
      clock,
      log: silentLogger,
    });
    bundle.start();
    await clock.advance(0);
    expect(bundle.live()).toBe(false);
    answer = () => Promise.resolve(configuration(undefined));
    await clock.advance(2_000);
    expect(bundle.live()).toBe(true);
    expect(patches).toHaveLength(1);
    answer = () => Promise.reject(new Error('connect ECONNREFUSED'));
    await clock.advance(60_000);
    expect(bundle.live()).toBe(true);
    // Nor does an API server that does not know us, or a page of what stands in between.
    for (const status of [400, 401, 403, 404, 429, 500]) {
      answer = () => Promise.reject(new ApiError(status, 'Unknown', 'no message', []));
      await clock.advance(2_000);
      expect([status, bundle.live()]).toEqual([status, true]);
    }
    answer = () => Promise.reject(new ApiError(404, 'NotFound', 'not found', []));
    await clock.advance(2_000);
    expect(bundle.live()).toBe(false);
    expect(bundle.problem()).toBe('404 NotFound: not found');
    bundle.stop();
    await clock.advance(0);
    expect(clock.timers).toBe(0);
  });

  test('a caBundle that may not be written is live for as long as what stands there leads to what is served', async () => {
    const clock = new ManualClock();
    let held = 'old';
    const api: KubernetesApi = {
      request: async <T>(method: string) => {
        if (method === 'PATCH') throw new ApiError(403, 'Forbidden', 'may not patch', []);
        return configuration(Buffer.from(held).toString('base64')) as T;
      },
    };
    const bundle = createWebhookBundle({
      api,
      name: 'breakwater',
      certificates: { trustBundle: () => 'new\nold', anchors: () => ['new', 'old'], onChange: () => () => {} },
      leadership: ALWAYS_LEADING,
      clock,
      log: silentLogger,
    });
    bundle.start();
    await clock.advance(0);
    expect([bundle.live(), bundle.problem()]).toEqual([false, '403 Forbidden: may not patch']);
    held = 'new\nold';
    await clock.advance(2_000);
    expect(bundle.live()).toBe(true);
    held = 'old';
    await clock.advance(60_000);
    expect(bundle.live()).toBe(true);
    held = 'foreign';
    await clock.advance(2_000);
    expect(bundle.live()).toBe(false);
    expect(bundle.problem()).toContain('may not patch');
    bundle.stop();
  });
});

test('a replica that does not lead leaves the caBundle alone, and is live where it makes what is served trusted', async () => {
  const clock = new ManualClock();
  let caBundle = '';
  const api: KubernetesApi = {
    request: <T>(method: string) => {
      expect(method).toBe('GET');
      const clientConfig = { caBundle: Buffer.from(caBundle).toString('base64') };
      return Promise.resolve({ webhooks: [{ name: 'hook', clientConfig }] } as T);
    },
  };
  const bundle = createWebhookBundle({
    api,
    name: 'breakwater',
    // One of them is only announced: nothing that is served leads to it.
    certificates: { trustBundle: () => 'new\nnow\nold', anchors: () => ['now', 'old'], onChange: () => () => {} },
    leadership: { role: 'Following', onChange: () => () => {} },
    clock,
    log: silentLogger,
  });
  bundle.start();
  const live = async (held: string) => {
    caBundle = held;
    await clock.advance(60_000);
    return bundle.live();
  };
  expect(await live('')).toBe(false);
  expect(bundle.problem()).toContain('the replica that leads');
  expect(await live('old')).toBe(true);
  expect(await live('new')).toBe(false);
  expect(await live('now\nold')).toBe(true);
  bundle.stop();
});
