// What a reflector makes of an API server, or of something in between, that is out of its mind.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { ApiClient } from './api-client.ts';
import { listAll } from './pages.ts';
import { recordingLogger } from './recording-logger.ts';
import { DEFAULT_TIMINGS, Reflector } from './reflector.ts';
import { type Answer, Feed, failure, list, ScriptedApi, thing } from './scripted-api.ts';
import type { RawObject } from './store.ts';

/** Real time, unlike everything else here; short only where it has to pass. */
const SHORT_LIST_TIMEOUT_MS = 400;

let api: ScriptedApi;
let client: ApiClient;
let clock: ManualClock;
let reflector: Reflector<number>;
let restarts: string[];
let logged: string[];

beforeEach(async () => {
  api = new ScriptedApi();
  await api.start();
  clock = new ManualClock();
  client = new ApiClient({ kubeConfig: api.kubeConfig(), clock, random: () => 0.5 });
  restarts = [];
  logged = [];
  reflector = create();
});

function create(timings = DEFAULT_TIMINGS): Reflector<number> {
  return new Reflector<number>({
    api: client,
    path: '/apis/test/v1/things',
    resource: 'things',
    transform: (raw: RawObject) => raw['value'] as number,
    clock,
    random: () => 0.5,
    log: recordingLogger(logged),
    onChange: () => undefined,
    onRestart: (reason) => restarts.push(reason),
    timings,
  });
}

afterEach(async () => {
  await reflector.stop();
  await client.close();
  await api.stop();
  expect(clock.timers).toBe(0);
});

const eventually = (check: () => void) => vi.waitFor(check, { timeout: 5_000, interval: 5 });

async function startWith(...answers: Answer[]): Promise<Feed> {
  const feed = new Feed();
  api.answer(...answers, feed.answer);
  reflector.start();
  await feed.opened;
  return feed;
}

/** Waits for the failure of this number, 1 being the first, and lets the wait after it pass. */
async function passFailure(number: number): Promise<number> {
  let waitMs = 0;
  await eventually(() => {
    expect(restarts.length).toBe(number);
    expect(clock.timers).toBe(1);
    waitMs = clock.nextMs() ?? Number.NaN;
  });
  await clock.advance(waitMs);
  return waitMs;
}

const queries = () =>
  api.asked.map(({ query }) => (query.has('watch') ? 'watch' : `list at "${query.get('resourceVersion')}"`));

describe('a wait that a server asks for', () => {
  test.each([
    ['a year', '31536000'],
    ['more than a timer of Node can hold', '99999999999999999999'],
    ['a date in the next century', 'Fri, 01 Jan 2100 00:00:00 GMT'],
  ])('is two minutes where it is %s', async (_name, retryAfter) => {
    api.answer(failure(429, 'TooManyRequests', {}, { 'retry-after': retryAfter }));
    reflector.start();
    expect(await passFailure(1)).toBe(120_000);
  });

  test.each([
    ['nothing', {}],
    ['zero', { 'retry-after': '0' }],
    ['no number', { 'retry-after': 'soon' }],
    ['negative', { 'retry-after': '-5' }],
    ['a date in the past', { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }],
  ])('is the wait of any failure where it is %s', async (_name, headers: Record<string, string>) => {
    reflector.start();
    for (const [index, waitMs] of [1_200, 2_400, 4_800].entries()) {
      api.answer(failure(429, 'TooManyRequests', {}, headers));
      expect(await passFailure(index + 1)).toBe(waitMs);
    }
  });

  test.each([['"soon"'], ['-1'], ['null'], ['{}'], ['1e999']])(
    'in the body is ignored where it is %s',
    async (text) => {
      const body = `{"kind":"Status","code":"x","reason":7,"message":[],"details":{"causes":3,"retryAfterSeconds":${text}}}`;
      api.answer((response) => response.writeHead(500, { 'content-type': 'application/json' }).end(body));
      reflector.start();
      expect(await passFailure(1)).toBeLessThanOrEqual(120_000);
      expect(reflector.lastFailure).toBe('500 Unknown: no message');
    },
  );
});

describe('an answer that is no list empties nothing', () => {
  const items = [thing('a', 5)];
  test.each<[string, object | string]>([
    ['has no items', { kind: 'ThingList', metadata: { resourceVersion: '20' } }],
    ['has items that are none', { kind: 'ThingList', metadata: { resourceVersion: '20' }, items: {} }],
    ['is of another kind', { kind: 'Status', metadata: { resourceVersion: '20' }, items: [] }],
    ['has no kind', { metadata: { resourceVersion: '20' }, items: [] }],
    ['has no metadata', { kind: 'ThingList', items: [] }],
    [
      'holds something without a name',
      { kind: 'ThingList', metadata: { resourceVersion: '20' }, items: [items[0], {}] },
    ],
    ['is an array', []],
    ['is a page of a load balancer', '<html>All is well!</html>'],
    ['is cut', '{"kind":"ThingList","metadata":{"resourceVersion":"20"},"items":['],
  ])('that %s', async (_name, body) => {
    const feed = await startWith(list(10, items));
    feed.write('damage\n');
    await passFailure(1);
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    api.answer((response) => response.writeHead(200, { 'content-type': 'application/json' }).end(text));
    await passFailure(2);
    expect(reflector.store.values()).toEqual([5]);
    const next = new Feed();
    api.answer(list(30, [thing('b', 6)]), next.answer);
    await next.opened;
    expect(reflector.store.values()).toEqual([6]);
  });
});

describe('lists anew', () => {
  test.each<[string, string]>([
    ['of an unknown type', '{"type":"RENAMED","object":{"metadata":{"name":"a"}}}'],
    ['without an object', '{"type":"ADDED"}'],
    ['whose object has no name', '{"type":"ADDED","object":{"metadata":{"resourceVersion":"12"}}}'],
    ['that is an array', '[]'],
    ['from before the one before it', JSON.stringify({ type: 'MODIFIED', object: thing('a', 9) })],
  ])('after an event %s', async (_name, line) => {
    const feed = await startWith(list(10, [thing('a', 5)]));
    feed.write(`${line}\n`);
    await passFailure(1);
    expect(restarts).toEqual(['MustList']);
    expect(reflector.store.values()).toEqual([5]);
    expect((await api.request(2)).query.get('resourceVersion')).toBe('');
  });

  test('where a watch is refused again and again at the version where it was', async () => {
    reflector.start();
    api.answer(list(10, []), failure(500, 'InternalError'));
    await passFailure(1);
    for (const number of [2, 3]) {
      api.answer(failure(500, 'InternalError'));
      await passFailure(number);
    }
    const next = new Feed();
    api.answer(list(20, []), next.answer);
    await next.opened;
    expect(queries()).toEqual(['list at "0"', 'watch', 'watch', 'watch', 'list at ""', 'watch']);
  });

  test('where each watch ends with the same error', async () => {
    const poisoned: Answer = (response) =>
      response.writeHead(200).end('{"type":"ERROR","object":{"kind":"Status","code":500,"reason":"InternalError"}}\n');
    reflector.start();
    api.answer(list(10, []), poisoned);
    await passFailure(1);
    for (const number of [2, 3]) {
      api.answer(poisoned);
      await passFailure(number);
    }
    await api.request(4);
    expect(queries().at(-1)).toBe('list at ""');
  });

  test.each([401, 403, 404, 429, 503])('but not after %d, which a list would get as well', async (status) => {
    reflector.start();
    api.answer(list(10, []), failure(status, 'Whatever'));
    // A refused token is tried twice.
    if (status === 401) api.answer(failure(status, 'Whatever'));
    for (let number = 1; number <= 5; number += 1) {
      await passFailure(number);
      api.answer(failure(status, 'Whatever'));
      if (status === 401) api.answer(failure(status, 'Whatever'));
    }
    await eventually(() => expect(restarts).toHaveLength(6));
    expect(new Set(queries().slice(1))).toEqual(new Set(['watch']));
  });
});

test('an old bookmark says nothing, and an event told twice in a row does no harm', async () => {
  const feed = await startWith(list(10, []));
  feed.send('ADDED', thing('a', 12));
  feed.send('ADDED', thing('a', 12));
  feed.send('BOOKMARK', { metadata: { resourceVersion: '11' } });
  feed.send('ADDED', thing('b', 100));
  await eventually(() => expect(reflector.store.values()).toEqual([12, 100]));
  expect(restarts).toEqual([]);
});

test('a list that is too slow gets more and more time', async () => {
  const slow =
    (afterMs: number): Answer =>
    (response, asked) =>
      void setTimeout(() => list(10, [thing('a', 1)])(response, asked), afterMs);
  const never: Answer = () => undefined;
  const listTimeoutMs = SHORT_LIST_TIMEOUT_MS;
  reflector = create({ ...DEFAULT_TIMINGS, listTimeoutMs, listTimeoutMaxMs: 8 * listTimeoutMs });
  reflector.start();
  api.answer(never);
  await passFailure(1);
  expect(reflector.lastFailure).toContain(`timed out after ${listTimeoutMs}ms`);
  api.answer(never);
  await passFailure(2);
  expect(reflector.lastFailure).toContain(`timed out after ${2 * listTimeoutMs}ms`);
  const feed = new Feed();
  api.answer(slow(2 * listTimeoutMs), feed.answer);
  await feed.opened;
  expect(reflector.store.values()).toEqual([1]);
});

test('a watch that worked for long is opened again at once, however often it was cut before', async () => {
  let feed = await startWith(list(10, []));
  for (let number = 1; number <= 6; number += 1) {
    await clock.advance(60_000);
    feed.reset();
    const next = new Feed();
    api.answer(next.answer);
    expect(await passFailure(number)).toBe(1_200);
    await next.opened;
    feed = next;
  }
});

describe('for those who look', () => {
  test('one kind of failure is one line, its end another, and a reminder comes every ten minutes', async () => {
    reflector.start();
    let number = 0;
    const page =
      (text: string): Answer =>
      (response) =>
        response.writeHead(502).end(text);
    const FAILED = 'warn watch failed; what is known is kept until it is back';
    for (let minutes = 0; minutes < 25; minutes += 0.5) {
      number += 1;
      api.answer(number % 2 === 0 ? page(`request ${number}`) : failure(500, `Made${number}Up`));
      await passFailure(number);
    }
    expect(logged).toEqual([
      FAILED,
      FAILED,
      ...Array(2).fill('warn watch still fails; what is known is kept until it is back'),
    ]);
    expect(new Set(restarts)).toEqual(new Set(['HTTP500', 'HTTP502']));
    expect(reflector.isFailing).toBe(true);
    const feed = new Feed();
    api.answer(list(1, []), feed.answer);
    await feed.opened;
    expect(reflector.isFailing).toBe(true);
    feed.send('BOOKMARK', { metadata: { resourceVersion: '99' } });
    await eventually(() => expect(reflector.isFailing).toBe(false));
    expect(logged.at(-1)).toBe('info watch is back');
    expect(logged).toHaveLength(5);
  });

  test('lists that succeed between watches that fail are no recovery', async () => {
    reflector.start();
    for (let round = 0; round < 5; round += 1) {
      api.answer(list(10, []), (response) => response.writeHead(200).end('damage\n'));
      await passFailure(round + 1);
    }
    expect(logged).toEqual(['warn watch failed; what is known is kept until it is back']);
  });

  test('the last word of the server is known', async () => {
    const feed = await startWith(list(10, []));
    const listedAtMs = clock.monotonicMs();
    expect(reflector.heardAtMs).toBe(listedAtMs);
    await clock.advance(70_000);
    expect(reflector.heardAtMs).toBe(listedAtMs);
    feed.send('BOOKMARK', { metadata: { resourceVersion: '99' } });
    await eventually(() => expect(reflector.heardAtMs).toBe(listedAtMs + 70_000));
  });
});

test('pages without end are given up', async () => {
  let asked = 0;
  const endless = {
    request: <R>() => {
      asked += 1;
      return Promise.resolve({ kind: 'ThingList', metadata: { resourceVersion: '1', continue: 'on' }, items: [] } as R);
    },
  };
  const { signal } = new AbortController();
  const listing = listAll({ api: endless, path: '/things', resourceVersion: '', timeoutMs: 1, signal });
  await expect(listing).rejects.toThrow('the list of /things has no end');
  expect(asked).toBe(10_000);
});
