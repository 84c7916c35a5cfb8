import { array, assert, integer, property, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineSplitter, LineTooLongError } from './line-splitter.ts';

describe('LineSplitter', () => {
  it('gives the same lines however the bytes are cut', () => {
    assert(
      property(
        array(string({ unit: 'grapheme', maxLength: 60, size: 'max' })),
        array(integer({ min: 1, max: 7 }), { minLength: 1 }),
        (texts, cuts) => {
          const lines = texts.map((text) => text.replaceAll('\n', ' ')).filter((line) => line !== '');
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
          const splitter = new LineSplitter(1000);
          const got: string[] = [];
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const size = cuts[turn % cuts.length] ?? 1;
            got.push(...splitter.push(bytes.subarray(at, at + size)));
            at += size;
          }
          expect(got).toEqual(lines.map((line) => Buffer.from(line).toString('utf8')));
          expect(splitter.pendingBytes).toBe(0);
        },
      ),
    );
  });

  it('takes a line of exactly the limit and none longer', () => {
    const splitter = new LineSplitter(8);
    expect(splitter.push(Buffer.from('12345678\n'))).toEqual(['12345678']);
    expect(splitter.push(Buffer.from('1234567'))).toEqual([]);
    expect(splitter.pendingBytes).toBe(7);
    expect(() => splitter.push(Buffer.from('89\n'))).toThrow(LineTooLongError);
  });

  it('shows how a line that is too long began', () => {
    const splitter = new LineSplitter(600);
    splitter.push(Buffer.from('{"kind":"plan",'));
    try {
      splitter.push(Buffer.alloc(600, 'x'));
      expect.unreachable();
    } catch (error) {
      const { head, message } = error as LineTooLongError;
      expect(head).toMatch(/^\{"kind":"plan",x+$/);
      expect(head).toHaveLength(512);
      expect(message).toContain('600 bytes');
    }
  });
});
