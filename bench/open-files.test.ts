import { expect, it } from 'vitest';
import { type BenchCase, CASES } from './cases.ts';
import { withConnections } from './open-files.ts';

const slow = CASES.find(({ name }) => name === 'http1-10k-slow') as BenchCase;

it('a case has as many slow connections as it asks for, or as a sidecar may have beside the others', () => {
  expect(withConnections(slow, 524_160)).toEqual(slow);
  expect(withConnections(slow, 10_032)).toEqual(slow);
  expect(withConnections(slow, 9_872).load).toEqual({ ...slow.load, slowHeads: 9_840 });
});

it('other cases stay as they are', () => {
  const [closed] = CASES as [BenchCase, ...BenchCase[]];
  expect(withConnections(closed, 16)).toBe(closed);
});
