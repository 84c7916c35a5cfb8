import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { ApiClient } from './api-client.ts';
import { Reflector } from './reflector.ts';
import { type Answer, Feed, failure, json, list, ScriptedApi, thing } from './scripted-api.ts';
import type { Change, RawObject } from './store.ts';

let api: ScriptedApi;
let client: ApiClient;
let clock: ManualClock;
let reflector: Reflector<number>;
let changes: [string, number | undefined, number | undefined][];
let restarts: string[];

beforeEach(async () => {
  api = new ScriptedApi();
  await api.start();
  clock = new ManualClock();
  client = new ApiClient({ kubeConfig: api.kubeConfig(), clock, random: () => 0.5 });
  changes = [];
  restarts = [];
  reflector = new Reflector<number>({
    api: client,
    path: '/apis/test/v1/things',
    resource: 'things',
    transform: (raw: RawObject) => raw['value'] as number,
    clock,
    random: () => 0.5,
    log: silentLogger,
    onChange: (all: readonly Change<number>[]) => {
      for (const { key, before, after } of all) changes.push([key, before, after]);
    },
    onRestart: (reason) => restarts.push(reason),
  });
});

afterEach(async () => {
  await reflector.stop();
  await client.close();
  await api.stop();
  expect(clock.timers).toBe(0);
});

const eventually = (check: () => void) => vi.waitFor(check, { timeout: 5_000, interval: 5 });

/** Lists what is given and opens a watch after it. */
async function startWith(...answers: Answer[]): Promise<Feed> {
  const feed = new Feed();
  api.answer(...answers, feed.answer);
  reflector.start();
  await feed.opened;
  return feed;
}

/** Waits until the reflector waits, and lets that time pass. */
async function passBackoff(): Promise<number> {
  let waitMs = 0;
  await eventually(() => {
    // The watchdogs of a watch are longer than any backoff.
    waitMs = clock.nextMs() ?? Number.POSITIVE_INFINITY;
    expect(clock.timers).toBe(1);
  });
  await clock.advance(waitMs);
  return waitMs;
}

test('lists at "0" from the cache, watches from what it listed, and asks for bookmarks', async () => {
  await startWith(list(10, [thing('a', 5)]));
  expect(reflector.hasSynced).toBe(true);
  expect(reflector.store.values()).toEqual([5]);
  const [first, second] = api.asked;
  expect(first?.query.get('resourceVersion')).toBe('0');
  expect(first?.query.get('limit')).toBe('500');
  expect(first?.headers.authorization).toBe('Bearer secret-token');
  expect(Object.fromEntries(second?.query ?? [])).toEqual({
    watch: '1',
    allowWatchBookmarks: 'true',
    resourceVersion: '10',
    // Half way between 300 and 600 by the random number given.
    timeoutSeconds: '450',
  });
});

test('gathers all pages into one list', async () => {
  await startWith(list(10, [thing('a', 1)], 'more'), list(10, [thing('b', 2)], 'yet more'), list(10, [thing('c', 3)]));
  expect(reflector.store.values()).toEqual([1, 2, 3]);
  expect(api.asked.slice(0, 3).map(({ query }) => query.get('continue'))).toEqual([null, 'more', 'yet more']);
  expect(api.asked[1]?.query.has('resourceVersion')).toBe(false);
  expect(changes).toHaveLength(3);
});

test('asks for everything in one answer where a page has expired', async () => {
  await startWith(list(10, [thing('a', 1)], 'more'), failure(410, 'Expired'), list(12, [thing('b', 2)]));
  expect(api.asked[2]?.query.has('limit')).toBe(false);
  expect(api.asked[2]?.query.has('continue')).toBe(false);
  expect(reflector.store.values()).toEqual([2]);
});

test('applies events, also those that come in pieces', async () => {
  const feed = await startWith(list(10, [thing('a', 5)]));
  feed.send('MODIFIED', thing('a', 11));
  const text = `${JSON.stringify({ type: 'ADDED', object: thing('b', 12) })}\n`;
  feed.write(text.slice(0, 20));
  await eventually(() => expect(changes).toContainEqual(['shop/a', 5, 11]));
  feed.write(text.slice(20));
  feed.send('DELETED', thing('a', 13));
  await eventually(() => expect(reflector.store.values()).toEqual([12]));
  expect(changes).toEqual([
    ['shop/a', undefined, 5],
    ['shop/a', 5, 11],
    ['shop/b', undefined, 12],
    ['shop/a', 11, undefined],
  ]);
});

test('goes on after a bookmark from where the bookmark says', async () => {
  const feed = await startWith(list(10, []));
  feed.send('BOOKMARK', { metadata: { resourceVersion: '99' } });
  await eventually(() => expect(reflector.lastFailure).toBe(''));
  await clock.advance(2_000);
  const next = new Feed();
  api.answer(next.answer);
  feed.end();
  const asked = await api.request(2);
  expect(asked.query.get('resourceVersion')).toBe('99');
  expect(asked.query.get('watch')).toBe('1');
  await next.opened;
});

test('lists anew, at "", after 410 as an event, keeps the store meanwhile, and finds what was deleted', async () => {
  const feed = await startWith(list(10, [thing('a', 1), thing('b', 2)]));
  feed.send('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' });
  await eventually(() => expect(restarts).toEqual(['Expired']));
  expect(reflector.store.values()).toEqual([1, 2]);
  expect(reflector.hasSynced).toBe(true);
  await passBackoff();
  expect((await api.request(2)).query.get('resourceVersion')).toBe('');
  const next = new Feed();
  api.answer(list(20, [thing('b', 2)]), next.answer);
  await next.opened;
  expect(changes.at(-1)).toEqual(['shop/a', 1, undefined]);
  expect((await api.request(3)).query.get('resourceVersion')).toBe('20');
});

test('lists anew after 410 as an answer', async () => {
  const next = new Feed();
  api.answer(list(10, []), failure(410, 'Gone'), list(30, []), next.answer);
  reflector.start();
  await eventually(() => expect(restarts).toEqual(['Gone']));
  await passBackoff();
  await next.opened;
  expect(api.asked.map(({ query }) => query.get('resourceVersion'))).toEqual(['0', '10', '', '30']);
});

test('lists anew where the server is behind what was seen', async () => {
  const next = new Feed();
  const behind = { details: { causes: [{ reason: 'ResourceVersionTooLarge' }] } };
  api.answer(list(10, []), failure(504, 'Timeout', behind), list(8, []), next.answer);
  reflector.start();
  await eventually(() => expect(restarts).toEqual(['Timeout']));
  await passBackoff();
  await next.opened;
  expect(api.asked.at(-2)?.query.get('resourceVersion')).toBe('');
});

test('waits as long as a 429 asks', async () => {
  const next = new Feed();
  api.answer(failure(429, 'TooManyRequests', {}, { 'retry-after': '7' }), list(10, []), next.answer);
  reflector.start();
  expect(await passBackoff()).toBe(7_000);
  await next.opened;
  expect(reflector.hasSynced).toBe(true);
});

test('waits longer and longer while the server fails, and says why it has not synced', async () => {
  reflector.start();
  const waits: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    api.answer(failure(500, 'InternalError'));
    waits.push(await passBackoff());
    expect(reflector.hasSynced).toBe(false);
    expect(reflector.lastFailure).toContain('500 InternalError');
  }
  expect(waits).toEqual([1_200, 2_400, 4_800, 9_600, 19_200, 30_000, 30_000, 30_000]);
  const feed = new Feed();
  api.answer(list(1, []), feed.answer);
  await feed.opened;
  expect(reflector.hasSynced).toBe(true);
  expect(reflector.lastFailure).toBe('');
});

test('asks steadily for what does not exist yet', async () => {
  reflector.start();
  for (let round = 0; round < 6; round += 1) {
    api.answer((response) => response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n'));
    expect(await passBackoff()).toBeLessThanOrEqual(5_000);
  }
  expect(reflector.lastFailure).toContain('404 page not found');
});

test('goes on where it was after a reset, without a list', async () => {
  const feed = await startWith(list(10, [thing('a', 1)]));
  feed.send('MODIFIED', thing('a', 15));
  await eventually(() => expect(reflector.store.values()).toEqual([15]));
  feed.reset();
  await eventually(() => expect(restarts).toEqual(['ApiUnreachable']));
  expect(reflector.store.values()).toEqual([15]);
  const next = new Feed();
  api.answer(next.answer);
  await passBackoff();
  await next.opened;
  expect(api.asked.at(-1)?.query.get('resourceVersion')).toBe('15');
});

test('drops what a broken connection left of a line, and gets it again', async () => {
  const feed = await startWith(list(10, []));
  await clock.advance(2_000);
  feed.write('{"type":"ADDED","object":{"metadata":{"name":"a"');
  feed.end();
  const next = new Feed();
  api.answer(next.answer);
  await next.opened;
  expect(changes).toEqual([]);
  expect(api.asked.at(-1)?.query.get('resourceVersion')).toBe('10');
});

test('lists anew after a line that is not JSON', async () => {
  const feed = await startWith(list(10, [thing('a', 1)]));
  feed.write('{"type":"ADDED","object":{"meta\n');
  await eventually(() => expect(restarts).toEqual(['MustList']));
  const next = new Feed();
  api.answer(list(11, [thing('a', 1)]), next.answer);
  await passBackoff();
  await next.opened;
  expect(api.asked.at(-2)?.query.get('resourceVersion')).toBe('');
});

test('gives up a watch that falls silent, and goes on where it was', async () => {
  const feed = await startWith(list(10, []));
  feed.send('ADDED', thing('a', 12));
  await eventually(() => expect(changes).toHaveLength(1));
  await clock.advance(149_999);
  expect(restarts).toEqual([]);
  await clock.advance(1);
  await eventually(() => expect(restarts).toEqual(['WatchSilent']));
  const next = new Feed();
  api.answer(next.answer);
  await passBackoff();
  await next.opened;
  expect(api.asked.at(-1)?.query.get('resourceVersion')).toBe('12');
  await eventually(() => expect(feed.isClosed).toBe(true));
});

test('gives up a watch that outlives its timeout, for all its events', async () => {
  const feed = await startWith(list(10, []));
  for (let minute = 0; minute < 7; minute += 1) {
    feed.send('BOOKMARK', { metadata: { resourceVersion: String(20 + minute) } });
    await clock.advance(60_000);
    expect(restarts).toEqual([]);
  }
  feed.send('BOOKMARK', { metadata: { resourceVersion: '40' } });
  await clock.advance(61_000);
  await eventually(() => expect(restarts).toEqual(['WatchSilent']));
});

test('does not wait for ever for the head of an answer', async () => {
  api.answer(list(10, []), () => undefined);
  reflector.start();
  await api.request(1);
  await clock.advance(30_000);
  await eventually(() => expect(restarts).toEqual(['WatchSilent']));
});

test('takes watches that end at once and without an event for a server that does not say 410', async () => {
  const ended: Answer = (response) => response.writeHead(200).end();
  reflector.start();
  api.answer(list(10, []), ended, ended, ended);
  await passBackoff();
  await passBackoff();
  await eventually(() => expect(restarts).toEqual(['MustList']));
  const next = new Feed();
  api.answer(list(20, []), next.answer);
  await passBackoff();
  await next.opened;
  expect(api.asked.map(({ query }) => query.get('resourceVersion'))).toEqual(['0', '10', '10', '10', '', '20']);
});

test('never watches from nowhere', async () => {
  api.answer(json(200, { kind: 'ThingList', metadata: {}, items: [] }));
  reflector.start();
  await eventually(() => expect(reflector.lastFailure).toContain('no resourceVersion'));
  expect(api.asked).toHaveLength(1);
  expect(reflector.hasSynced).toBe(false);
});

test('tells of an empty first list, once', async () => {
  let told = 0;
  const other = new Reflector({
    api: client,
    path: '/others',
    resource: 'others',
    transform: () => 1,
    clock,
    random: () => 0.5,
    log: silentLogger,
    onChange: () => {
      told += 1;
    },
  });
  const feed = new Feed();
  api.answer(list(1, []), feed.answer);
  other.start();
  await feed.opened;
  expect(told).toBe(1);
  await other.stop();
});

test('stops at once in whatever it does', async () => {
  const feed = await startWith(list(10, []));
  await reflector.stop();
  await eventually(() => expect(feed.isClosed).toBe(true));
  expect(api.asked).toHaveLength(2);
});

test('all watches and calls share connections, each watch its own', async () => {
  await startWith(list(10, []));
  expect(api.connections).toBeLessThanOrEqual(2);
  for (let call = 0; call < 20; call += 1) {
    api.answer(json(200, {}));
    await client.request('GET', '/version');
  }
  // The one of the list may still be busy with its last bytes when the next is wanted.
  expect(api.connections).toBeLessThanOrEqual(3);
});
