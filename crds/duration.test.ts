import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatDuration, LONGEST_DURATION_MS, parseDuration } from './duration.ts';

describe('parseDuration', () => {
  test.each([
    ['0s', 0],
    ['0h0m0s0ms', 0],
    ['1ms', 1],
    ['250ms', 250],
    ['5s', 5_000],
    ['1m30s', 90_000],
    ['90s', 90_000],
    ['1h', 3_600_000],
    ['1h2m3s4ms', 3_723_004],
    ['30m1h', 5_400_000],
    ['1s1s', 2_000],
    ['00005s', 5_000],
    ['99999h59m59s999ms', LONGEST_DURATION_MS],
  ])('%s is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

  test.each([
    '',
    '0',
    '5',
    's',
    '1.5s',
    '-1s',
    '+1s',
    '1 s',
    ' 1s',
    '1s ',
    '1s\n',
    '1d',
    '1us',
    '1µs',
    '1S',
    '100000s',
    '1h1m1s1ms1s',
    '1e3s',
    '٣s',
  ])('%j is no duration', (text) => expect(parseDuration(text)).toBeUndefined());
});

describe('formatDuration', () => {
  test.each([
    [0, '0s'],
    [25, '25ms'],
    [5_000, '5s'],
    [75_000, '1m15s'],
    [90_500, '1m30s500ms'],
    [86_400_000, '24h'],
  ])('%d ms is %s', (ms, text) => expect(formatDuration(ms)).toBe(text));

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, LONGEST_DURATION_MS + 1])('%d is none', (ms) =>
    expect(() => formatDuration(ms)).toThrow(RangeError),
  );

  test('whatever it writes is read as the same', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: LONGEST_DURATION_MS }), (ms) => parseDuration(formatDuration(ms)) === ms),
    );
  });
});
