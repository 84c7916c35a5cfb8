import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isBefore } from './resource-version.ts';

test('versions are compared as the numbers that they are, of any size', () => {
  const version = fc.bigInt({ min: 0n, max: 10n ** 30n });
  fc.assert(
    fc.property(version, version, (a, b) => {
      expect(isBefore(String(a), String(b))).toBe(a < b);
    }),
  );
});

test.each([
  ['', '5'],
  ['5', ''],
  ['04', '5'],
  ['-4', '5'],
  ['a', 'b'],
  ['1.5', '2'],
])('%j and %j cannot be compared', (a, b) => {
  expect(isBefore(a, b)).toBe(false);
});
