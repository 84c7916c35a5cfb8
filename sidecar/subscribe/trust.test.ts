import { expect, it } from 'vitest';
import { parseBundle } from './trust.ts';

it('a bundle of nothing but beginnings is refused as soon as any other', () => {
  const begin = '-----BEGIN CERTIFICATE-----\n';
  // As long as one frame may bring.
  expect(() => parseBundle(begin.repeat(Math.floor(262_144 / begin.length)))).toThrow('no PEM certificate');
  expect(() => parseBundle(begin.repeat(100_000))).toThrow('no PEM certificate');
});
