import { expect, it } from 'vitest';
import { avoidLess, NO_KEY } from './balancer.ts';

it('where all are avoided the last one still is, and where there is only one, nobody', () => {
  expect(avoidLess(['a', 'b', 'c'])).toEqual(['c']);
  expect(avoidLess(['c'])).toEqual([]);
  expect(avoidLess([])).toEqual([]);
});

it('the word for no key is none: keys begin at 0', () => {
  expect(NO_KEY).toBeLessThan(0);
});
