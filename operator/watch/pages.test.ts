import { expect, test } from 'vitest';
import { ApiError } from './api-errors.ts';
import { listAll } from './pages.ts';

const items = (count: number) => Array.from({ length: count }, (_, at) => ({ metadata: { name: `pod-${at}` } }));
const page = (count: number, next = '') => ({
  kind: 'PodList',
  metadata: { resourceVersion: '7', continue: next },
  items: items(count),
});

function listOf(...answers: (object | Error)[]) {
  const api = {
    request: <T>() => {
      const answer = answers.shift();
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer as T);
    },
  };
  const { signal } = new AbortController();
  return listAll({ api, path: '/api/v1/pods', resourceVersion: '0', timeoutMs: 1_000, signal });
}

// From its cache an API server gives all in one page, whatever limit was asked for.
test('a page of as many objects as the largest clusters have pods is taken', async () => {
  const list = await listOf(page(200_000));
  expect(list.items).toHaveLength(200_000);
  expect(list.items.at(-1)).toEqual({ metadata: { name: 'pod-199999' } });
});

test('pages keep their order, and those before an expired one do not count', async () => {
  const names = async (...answers: (object | Error)[]) =>
    (await listOf(...answers)).items.map((it) => it.metadata.name);
  expect(await names(page(2, 'more'), page(1))).toEqual(['pod-0', 'pod-1', 'pod-0']);
  const expired = new ApiError(410, 'Expired', 'the page is gone', []);
  expect(await names(page(2, 'more'), expired, page(3))).toEqual(['pod-0', 'pod-1', 'pod-2']);
});
