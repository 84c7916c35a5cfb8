import { expect, it } from 'vitest';
import { parseBundle } from './trust.ts';

// Time that grew with the square of the lines would be minutes here, and no test has so much.
it('a bundle of nothing but beginnings is refused in time', () => {
  const begin = '-----BEGIN CERTIFICATE-----\n';
  // As long as one frame may bring.
  expect(() => parseBundle(begin.repeat(Math.floor(262_144 / begin.length)))).toThrow('no PEM certificate');
  expect(() => parseBundle(begin.repeat(100_000))).toThrow('no PEM certificate');
});
