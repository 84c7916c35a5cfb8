import { expect, it } from 'vitest';
import { SessionCache } from './session-cache.ts';

const MINUTE_MS = 60_000;
const ticket = (text: string) => Buffer.from(text);
const taken = (cache: SessionCache, endpoint: string, nowMs = 0) => cache.take(endpoint, nowMs)?.ticket.toString();

it('gives the newest session of an endpoint, and of no other', () => {
  const cache = new SessionCache();
  cache.give('a', ticket('1'), true, 0);
  cache.give('a', ticket('2'), true, 0);
  cache.give('b', ticket('3'), true, 0);
  expect([taken(cache, 'a'), taken(cache, 'a'), taken(cache, 'a'), taken(cache, 'c')]).toEqual([
    '2',
    '1',
    undefined,
    undefined,
  ]);
  expect(taken(cache, 'b')).toBe('3');
});

it('gives one that may be used again again', () => {
  const cache = new SessionCache();
  cache.give('a', ticket('1'), false, 0);
  expect([taken(cache, 'a'), taken(cache, 'a')]).toEqual(['1', '1']);
});

it('gives none whose certificate was looked at ten minutes ago, nor one of the future', () => {
  const cache = new SessionCache();
  cache.give('a', ticket('1'), false, 0);
  expect(taken(cache, 'a', 10 * MINUTE_MS - 1)).toBe('1');
  expect(taken(cache, 'a', 10 * MINUTE_MS)).toBeUndefined();
  expect(taken(cache, 'a', 0)).toBeUndefined();
  cache.give('a', ticket('2'), false, MINUTE_MS);
  expect(taken(cache, 'a', 0)).toBeUndefined();
});

it('keeps a bounded number, of each endpoint and of all', () => {
  const cache = new SessionCache();
  for (let n = 0; n < 10; n++) cache.give('a', ticket(String(n)), true, 0);
  expect(Array.from({ length: 5 }, () => taken(cache, 'a'))).toEqual(['9', '8', '7', '6', undefined]);
  for (let n = 0; n < 300; n++) cache.give(`host ${n}`, ticket('x'), true, 0);
  expect([taken(cache, 'host 0'), taken(cache, 'host 299')]).toEqual([undefined, 'x']);
});

it('forgets all at once', () => {
  const cache = new SessionCache();
  cache.give('a', ticket('1'), false, 0);
  cache.clear();
  expect(taken(cache, 'a')).toBeUndefined();
});
