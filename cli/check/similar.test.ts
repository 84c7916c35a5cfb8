import { describe, expect, it } from 'vitest';
import { nearest, suggestion } from './similar.ts';

describe('nearest', () => {
  it.each([
    ['timeout', ['timeouts', 'retries'], 'timeouts'],
    ['retrys', ['timeouts', 'retries'], 'retries'],
    ['TimeOuts', ['timeouts'], 'timeouts'],
    ['bulkhaed', ['bulkhead', 'rules'], 'bulkhead'],
    ['servicedependency', ['ServiceDependency', 'ResiliencePolicy'], 'ServiceDependency'],
    ['fallback', ['timeouts', 'retries', 'bulkhead'], undefined],
    ['a', ['b', 'ab'], undefined],
    ['', ['a'], undefined],
    ['same', ['same'], undefined],
  ])('of %s among %j is %s', (word, known, meant) => {
    expect(nearest(word, known)).toBe(meant);
  });

  it('is asked for at the end of a message', () => {
    expect(suggestion('spc', ['spec', 'status'])).toBe('; did you mean spec?');
    expect(suggestion('other', ['spec', 'status'])).toBe('');
  });
});
