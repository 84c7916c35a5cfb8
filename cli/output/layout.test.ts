import { describe, expect, it } from 'vitest';
import { count, indented, printable, table, wrap } from './layout.ts';

describe('wrap', () => {
  it.each([
    ['a b c', undefined, ['a b c']],
    ['aaaa bbbb cccc dddd eeee ffff', 24, ['aaaa bbbb cccc dddd eeee', 'ffff']],
    ['x'.repeat(30), 24, ['x'.repeat(30)]],
    ['', 24, ['']],
  ])('%j at %s', (text, width, lines) => {
    expect(wrap(text, width)).toEqual(lines);
  });
});

it('a table aligns its columns and wraps the last one', () => {
  const rows = [
    ['a', '1', 'some words that go on'],
    ['long name', ['22', '3'], 'x'],
  ];
  expect(table(rows, { indent: 2, columns: 42 })).toEqual([
    '  a          1   some words that go on',
    '  long name  22  x',
    '             3',
  ]);
  expect(table([['a', 'b']], { widths: [4] })).toEqual(['a     b']);
});

it('what steers a terminal is shown and not done', () => {
  expect(printable('a\u001b[31mb\u0000\u202e')).toBe('a\\u001b[31mb\\u0000\\u202e');
  expect(indented('\u001b]0;title\u0007', 1, undefined)).toEqual([' \\u001b]0;title\\u0007']);
});

it('counts are words', () => {
  expect([count(1, 'error'), count(2, 'error'), count(0, 'entry', 'entries')]).toEqual([
    '1 error',
    '2 errors',
    '0 entries',
  ]);
});
