import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { fieldValue, withoutFields } from './field-value.ts';

const lines = (...fields: [string, string][]): string =>
  fields.map(([name, value]) => `\r\n${name}: ${value}`).join('');

it('finds a field by its name in any case, joins several, and tells an empty one from none', () => {
  const fields = lines(['Accept', 'a'], ['X-Empty', ''], ['ACCEPT', 'b'], ['accepted', 'c']);
  expect(fieldValue(fields, 'accept')).toBe('a, b');
  expect(fieldValue(fields, 'x-empty')).toBe('');
  expect(fieldValue(fields, 'accept-encoding')).toBeNull();
  expect(fieldValue('', 'accept')).toBeNull();
});

it('drops whole lines and leaves the others as they came', () => {
  const fields = lines(['Age', '1'], ['ETag', '"a: b"'], ['AGE', '2'], ['X-Y', ' z']);
  expect(withoutFields(fields, (name) => name === 'age')).toBe(lines(['ETag', '"a: b"'], ['X-Y', ' z']));
});

it('does as a list of pairs does', () => {
  const name = fc.constantFrom('a', 'B', 'aB', 'vary', 'Vary', 'VARY');
  const value = fc.constantFrom('', '1', 'x y', '"q, r"');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(name, value), { maxLength: 12, size: 'max' }),
      fc.constantFrom('a', 'b', 'ab', 'vary'),
      (pairs, asked) => {
        const fields = lines(...pairs);
        const values = pairs.filter(([each]) => each.toLowerCase() === asked).map(([, each]) => each);
        expect(fieldValue(fields, asked)).toBe(values.length === 0 ? null : values.join(', '));
        const others = pairs.filter(([each]) => each.toLowerCase() !== asked);
        expect(withoutFields(fields, (each) => each === asked)).toBe(lines(...others));
      },
    ),
  );
});
