import { expect, test } from 'vitest';
import { createOperatorMetrics } from '../metrics.ts';
import { ApiError, ApiUnreachable } from '../watch/api-errors.ts';
import type { OwnObject } from '../watch/world-source.ts';
import { isSameStatus, StatusWriter } from './writer.ts';

const signal = new AbortController().signal;

interface Call {
  method: string;
  path: string;
  options: { query?: object; body?: unknown; contentType?: string };
}

/** The API server's part, which a test of this size can know: it keeps what it is given. */
class Api {
  readonly calls: Call[] = [];
  fails: Error | undefined;
  adds: object = {};
  resourceVersion = '';

  request<T>(method: string, path: string, options: Call['options'] = {}): Promise<T> {
    this.calls.push({ method, path, options });
    if (this.fails !== undefined) return Promise.reject(this.fails);
    const { status } = options.body as { status: object };
    const metadata = { resourceVersion: this.resourceVersion };
    return Promise.resolve({ metadata, status: { ...status, ...this.adds } } as T);
  }
}

function object(status: unknown, uid = 'uid-1'): OwnObject {
  const invalid = { kind: 'ResiliencePolicy' as const, namespace: 'shop', name: 'p', generation: 3, problems: [] };
  return { kind: 'ResiliencePolicy', namespace: 'shop', name: 'p', uid, generation: 3, content: { invalid }, status };
}

const wanted = { summary: 'fine', conditions: [{ type: 'A' }, { type: 'B' }] };

test('applies the status subresource, by force, of the object that was meant, as it was when it was looked at', async () => {
  const api = new Api();
  const looked = { ...object(undefined), resourceVersion: '7' };
  expect(await new StatusWriter(api, createOperatorMetrics()).write(looked, wanted, signal)).toBe('Written');
  expect(api.calls).toEqual([
    {
      method: 'PATCH',
      path: '/apis/breakwater.dev/v1alpha1/namespaces/shop/resiliencepolicies/p/status',
      options: {
        query: { fieldManager: 'breakwater-operator', force: true },
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: 'breakwater.dev/v1alpha1',
          kind: 'ResiliencePolicy',
          metadata: { name: 'p', namespace: 'shop', uid: 'uid-1', resourceVersion: '7' },
          status: wanted,
        },
        signal,
      },
    },
  ]);
});

test('does not write what stands there already, in whatever order', async () => {
  const api = new Api();
  const writer = new StatusWriter(api, createOperatorMetrics());
  const stands = { conditions: [{ type: 'B' }, { type: 'A' }], summary: 'fine' };
  expect(await writer.write(object(stands), wanted, signal)).toBe('Unchanged');
  expect(api.calls).toEqual([]);
});

test('does not fight over fields that another writer put there', async () => {
  const api = new Api();
  api.adds = { theirs: 1 };
  const writer = new StatusWriter(api, createOperatorMetrics());
  await writer.write(object({ theirs: 1 }), wanted, signal);
  expect(await writer.write(object({ ...wanted, theirs: 1 }), wanted, signal)).toBe('Unchanged');
  expect(api.calls).toHaveLength(1);
  // But ours are mended.
  expect(await writer.write(object({ summary: 'forged', theirs: 1 }), wanted, signal)).toBe('Written');
  // And an object of the same name that was made anew has not been written yet.
  expect(await writer.write(object({ ...wanted, theirs: 1 }, 'uid-2'), wanted, signal)).toBe('Written');
});

test('does not write again while the watch is behind what was written, and mends what came after', async () => {
  const api = new Api();
  const writer = new StatusWriter(api, createOperatorMetrics());
  const at = (resourceVersion: string, status: unknown) => ({ ...object(status), resourceVersion });
  api.resourceVersion = '12';
  expect(await writer.write(at('9', undefined), wanted, signal)).toBe('Written');
  expect(await writer.write(at('9', undefined), wanted, signal)).toBe('Unchanged');
  expect(await writer.write(at('11', { summary: 'old' }), wanted, signal)).toBe('Unchanged');
  expect(await writer.write(at('13', { summary: 'forged' }), wanted, signal)).toBe('Written');
  expect(await writer.write(at('11', { summary: 'old' }), { summary: 'news' }, signal)).toBe('Written');
});

test('is decided from the newest version that is known: of the watch, or of what it wrote itself', async () => {
  const api = new Api();
  const writer = new StatusWriter(api, createOperatorMetrics());
  const versions = () =>
    api.calls.map(
      ({ options }) => (options.body as { metadata: { resourceVersion?: string } }).metadata.resourceVersion,
    );
  const write = (resourceVersion: string, summary: string, uid = 'uid-1') =>
    writer.write({ ...object(undefined, uid), resourceVersion }, { summary }, signal);
  api.resourceVersion = '12';
  await write('9', 'first');
  await write('9', 'the watch is behind');
  await write('13', 'somebody changed it since');
  await write('3', 'made anew', 'uid-2');
  expect(versions()).toEqual(['9', '12', '13', '3']);
  // What was refused says nothing of what stands there now.
  api.fails = new ApiError(409, 'Conflict', '', []);
  expect(await write('3', 'refused', 'uid-2')).toBe('Missed');
  await write('3', 'again', 'uid-2');
  expect(versions().slice(4)).toEqual(['12', '3']);
});

test.each([404, 409])('an object that is gone or another (%d) is no failure', async (status) => {
  const api = new Api();
  api.fails = new ApiError(status, 'Gone', '', []);
  expect(await new StatusWriter(api, createOperatorMetrics()).write(object(undefined), wanted, signal)).toBe('Missed');
});

test('every other failure is the caller’s to repeat, and counted', async () => {
  const api = new Api();
  const metrics = createOperatorMetrics();
  const writer = new StatusWriter(api, metrics);
  api.fails = new ApiUnreachable('no network');
  await expect(writer.write(object(undefined), wanted, signal)).rejects.toThrow('no network');
  const text = await metrics.registry.metrics();
  expect(text).toContain('breakwater_status_writes_total{kind="ResiliencePolicy",result="error"} 1');
  api.fails = undefined;
  expect(await writer.write(object(undefined), wanted, signal)).toBe('Written');
});

test.each([
  [{ a: 1, b: undefined }, { a: 1 }, true],
  [{ a: [{ x: 1 }, { x: 2 }] }, { a: [{ x: 2 }, { x: 1 }] }, true],
  [{ a: [{ x: 1 }] }, { a: [{ x: 1 }, { x: 1 }] }, false],
  [{ a: 1 }, { a: '1' }, false],
  [{}, undefined, false],
  [undefined, undefined, true],
])('%j and %j are the same: %s', (a, b, same) => {
  expect(isSameStatus(a, b)).toBe(same);
});
