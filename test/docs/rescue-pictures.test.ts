import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { expectGolden } from '../harness/golden.ts';
import { fallbackCounts, fallbackPicture } from './fallback-picture.ts';
import { faultsPicture } from './faults-picture.ts';

const at = (name: string): string => fileURLToPath(new URL(`../../docs/pictures/${name}.svg`, import.meta.url));

it('docs/pictures/fallback.svg shows what a last good answer does', () => {
  expectGolden(at('fallback'), fallbackPicture());
  // What the page says of it.
  expect(fallbackCounts()).toEqual({ dependency: 46, 'last-good': 40, failure: 34, sent: 54 });
});

it('docs/pictures/faults.svg shows what injected faults do', () => {
  expectGolden(at('faults'), faultsPicture());
});
