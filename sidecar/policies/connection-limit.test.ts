import { expect, it } from 'vitest';
import { ConnectionLimit } from './connection-limit.ts';

it('keeps connections up to 92 %, and takes them up to the limit', () => {
  let count = 0;
  const limit = new ConnectionLimit(100, () => count);
  const seen = [0, 92, 93, 99, 100, 101].map((now) => {
    count = now;
    return [now, limit.crowded, limit.full];
  });
  expect(seen).toEqual([
    [0, false, false],
    [92, false, false],
    [93, true, false],
    [99, true, false],
    [100, true, true],
    [101, true, true],
  ]);
});

it('never acts where there is none', () => {
  const limit = new ConnectionLimit(Number.POSITIVE_INFINITY, () => 1_000_000);
  expect([limit.crowded, limit.full]).toEqual([false, false]);
});
