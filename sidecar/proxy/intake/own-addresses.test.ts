import { expect, it } from 'vitest';
import { leadsBack, placeOf } from './own-addresses.ts';

const listening = new Set([placeOf('127.0.0.1', 15_101), placeOf('::1', 15_101)]);

it.each([
  ['127.0.0.1', 15_101, true],
  ['127.0.0.1', 8080, false],
  ['0.0.0.0', 15_101, true],
  ['::', 15_101, true],
  ['::1', 15_101, true],
  ['::ffff:127.0.0.1', 15_101, true],
  ['::ffff:0.0.0.0', 15_101, true],
  ['127.77.0.1', 8080, true],
  ['::ffff:127.77.3.9', 443, true],
  ['10.127.77.1', 443, false],
  ['127.7.7.1', 443, false],
  ['fd00::1', 15_101, false],
])('%s port %i leads back: %s', (address, port, expected) => {
  expect(leadsBack(address, port, listening)).toBe(expected);
});
