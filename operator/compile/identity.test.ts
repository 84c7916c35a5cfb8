import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, versionOf } from './identity.ts';

describe('canonicalJson', () => {
  it('is JSON of the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const read: unknown = JSON.parse(canonicalJson(value));
        expect(read).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('does not depend on the order of members, and does on that of lists', () => {
    expect(canonicalJson({ b: 1, a: { d: [1, 2], c: null } })).toBe('{"a":{"c":null,"d":[1,2]},"b":1}');
    expect(versionOf({ a: 1, b: 2 })).toBe(versionOf({ b: 2, a: 1 }));
    expect(versionOf([1, 2])).not.toBe(versionOf([2, 1]));
  });

  it('leaves out what is undefined', () => {
    expect(versionOf({ a: 1, b: undefined })).toBe(versionOf({ a: 1 }));
  });

  it('refuses what JSON would change silently', () => {
    expect(() => canonicalJson({ a: Number.NaN })).toThrow(TypeError);
    expect(() => canonicalJson([() => 1])).toThrow(TypeError);
    expect(() => canonicalJson([undefined])).toThrow(TypeError);
  });
});

describe('versionOf', () => {
  it('is the SHA-256 of the canonical form', () => {
    // printf '{"a":1}' | sha256sum
    expect(versionOf({ a: 1 })).toBe('015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862');
  });
});
