import { describe, expect, it } from 'vitest';
import { maxConnections } from './open-files.ts';

const limits = (files: string) => () =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax processes             unlimited            unlimited            processes \nMax open files            ${files}              1048576              files     \n`;

describe('the connections that open files allow', () => {
  it.each([
    ['1024', 384],
    ['1025', 384],
    ['1026', 385],
    ['1048576', 524_160],
    ['64', 16],
    ['unlimited', Number.POSITIVE_INFINITY],
  ])('are, with %s files, %d', (files, connections) => {
    expect(maxConnections(limits(files))).toBe(connections);
  });

  it('are as many as come where nothing says how many files there may be', () => {
    const missing = () => {
      throw new Error('ENOENT');
    };
    expect([maxConnections(missing), maxConnections(() => '')]).toEqual([
      Number.POSITIVE_INFINITY,
      Number.POSITIVE_INFINITY,
    ]);
  });
});
