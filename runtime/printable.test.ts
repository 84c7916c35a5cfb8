import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutToBytes, quoted } from './printable.ts';

/** Any code point, and halves of surrogate pairs: fast-check's own "binary" takes a second and a half to be made. */
const character = fc.integer({ min: 0, max: 0x10_ff_ff }).map((point) => String.fromCodePoint(point));

describe('quoted', () => {
  it.each([
    ['off', '"off"'],
    ['say "no"', '"say \\"no\\""'],
    ['\u001b[31m\r\n\u0000', '"\\u001b[31m\\r\\n\\u0000"'],
    ['\u007f\u009b1m\u2028\u202eevil\ufeff', '"\\u007f\\u009b1m\\u2028\\u202eevil\\ufeff"'],
    ['\ud83d', '"\\ud83d"'],
    ['größe', '"größe"'],
    ['x'.repeat(65_536), `"${'x'.repeat(16)}…"`],
  ])('%j', (text, expected) => {
    expect(quoted(text, 16)).toBe(expected);
  });

  it('is one line that JSON reads, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 50, size: 'max' }), (text) => {
        const shown = quoted(text, 100);
        expect(JSON.parse(shown)).toBe(text);
        // oxlint-disable-next-line no-control-regex -- these must not be there
        expect(shown).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/);
      }),
    );
  });
});

describe('cutToBytes', () => {
  it('cuts between characters', () => {
    expect(cutToBytes('aü', 2)).toBe('a');
    expect(cutToBytes('a😀b', 4)).toBe('a');
    expect(cutToBytes('a😀b', 5)).toBe('a😀');
    expect(cutToBytes('abc', 3)).toBe('abc');
  });

  it('never gives more bytes, nor any that are no UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 40, size: 'max' }), fc.nat(40), (text, max) => {
        const cut = cutToBytes(text, max);
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(max);
        expect(cut.isWellFormed()).toBe(true);
      }),
    );
  });
});
