import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HpackDecoder } from './decoder.ts';
import { HpackError, hpackErrorMessage } from './errors.ts';
import { STATIC_ENTRIES, STATIC_NAMES, STATIC_VALUES } from './static-table.ts';
import { type Field, fromHex, indexed, integer, Literal, literal, read, sizeUpdate } from './testing/blocks.ts';

const BOUNDS = { maxTableBytes: 4_096, maxListBytes: 65_536, maxFields: 200 };
const newDecoder = (bounds: Partial<typeof BOUNDS> = {}) => new HpackDecoder({ ...BOUNDS, ...bounds });
const GET: Field = [':method', 'GET'];

describe('representations', () => {
  it.each([
    [
      'with indexing (RFC 7541, C.2.1)',
      '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
      ['custom-key', 'custom-header'],
      55,
    ],
    ['without indexing (C.2.2)', '040c 2f73 616d 706c 652f 7061 7468', [':path', '/sample/path'], 0],
    ['never indexed (C.2.3)', '1008 7061 7373 776f 7264 0673 6563 7265 74', ['password', 'secret', true], 0],
    ['indexed (C.2.4)', '82', [':method', 'GET'], 0],
    ['an empty name and an empty value', '0000 00', ['', ''], 0],
    ['an empty value with Huffman code', '0481 ff', HpackError.HuffmanPadding, 0],
    ['Huffman code of nothing', '0480', [':path', ''], 0],
  ] as const)('reads a field %s', (_, hex, expected, tableBytes) => {
    const decoder = newDecoder();
    const { fields, error } = read(decoder, fromHex(hex));
    expect(error === 0 ? fields[0] : error).toEqual(expected);
    expect(decoder.tableBytes).toBe(tableBytes);
  });

  it('reads the whole static table', () => {
    for (let index = 1; index <= STATIC_ENTRIES; index += 1)
      expect(read(newDecoder(), indexed(index)).fields).toEqual([[STATIC_NAMES[index], STATIC_VALUES[index]]]);
  });

  it.each([
    [10, '2a', 0x20],
    [1_337, '3f9a0a', 0x20],
  ])('reads the integer %i as RFC 7541, C.1 has it', (value, hex, first) => {
    expect(integer(first, 0x1f, value)).toEqual(fromHex(hex));
    const decoder = newDecoder();
    expect(read(decoder, Buffer.concat([fromHex(hex), literal(Literal.withIndexing, 'a', 'b')])).error).toBe(0);
    expect(decoder.tableBytes).toBe(value < 34 ? 0 : 34);
  });

  it('hands out the strings of the table, and no copies', () => {
    const decoder = newDecoder();
    const long = 'v'.repeat(2_000);
    const first = read(decoder, literal(Literal.withIndexing, 'name', long));
    const again = read(decoder, Buffer.concat([indexed(62), literal(Literal.withoutIndexing, 62, 'other')]));
    expect([...first.fields, ...again.fields]).toEqual([
      ['name', long],
      ['name', long],
      ['name', 'other'],
    ]);
  });
});

describe('errors', () => {
  const inTable = literal(Literal.withIndexing, 'a', 'b');
  it.each([
    ['index 0', '80', HpackError.IndexZero],
    ['an index beyond the table', 'be', HpackError.IndexBeyondTable],
    ['an index far beyond it', 'ff ffff ff07', HpackError.IndexBeyondTable],
    ['a name beyond it', '7f00 0161', HpackError.IndexBeyondTable],
    ['a name of a field without indexing beyond it', '0f2f 0161', HpackError.IndexBeyondTable],
    ['an integer of 2^31', 'ff81 ffff ff07', HpackError.IntegerTooLarge],
    ['an integer of 35 bits', 'ffff ffff ff7f', HpackError.IntegerTooLarge],
    ['six octets behind the prefix', 'ff80 8080 8080 00', HpackError.IntegerTooLarge],
    ['six octets behind the prefix of a string', '007f 8080 8080 8000', HpackError.IntegerTooLarge],
    ['an integer without an end', 'ff80', HpackError.Truncated],
    ['a literal without a name', '40', HpackError.Truncated],
    ['a name that goes on', '4003 6162', HpackError.Truncated],
    ['a literal without a value', '4001 61', HpackError.Truncated],
    ['a value that goes on', '4001 6102 62', HpackError.Truncated],
    ['a value of 2^31-1 octets', '4001 617f 80ff ffff 0761', HpackError.Truncated],
    ['EOS', '4001 6184 ffff ffff', HpackError.HuffmanEndOfString],
    ['long padding', '4001 6182 1fff', HpackError.HuffmanPadding],
    ['zeros as padding', '4001 6181 18', HpackError.HuffmanPadding],
    ['a size update behind a field', '8220', HpackError.SizeUpdateLate],
    ['three size updates', '2020 20', HpackError.SizeUpdateRepeated],
    ['a table of 4,097 bytes', '3fe2 1f', HpackError.SizeUpdateTooLarge],
    ['a size update without an end', '3f', HpackError.Truncated],
  ])('refuses %s, and all that comes after it', (_, hex, error) => {
    const decoder = newDecoder();
    expect(read(decoder, fromHex('82'))).toEqual({ fields: [GET], error: 0 });
    expect(read(decoder, fromHex(hex)).error).toBe(error);
    expect(read(decoder, fromHex('82'))).toEqual({ fields: [], error });
    expect(hpackErrorMessage(error)).not.toBe('');
  });

  it('hands out what stands before the error', () => {
    expect(read(newDecoder(), fromHex('82 80'))).toEqual({ fields: [GET], error: HpackError.IndexZero });
  });

  it('takes integers that are longer than they need be, up to five octets', () => {
    expect(read(newDecoder(), fromHex('3f80 8080 8000 82'))).toEqual({ fields: [GET], error: 0 });
  });

  it('refuses to announce less than a peer may use before it knows', () => {
    expect(() => newDecoder({ maxTableBytes: 4_095 })).toThrow('maxTableBytes is 4095; make it 4096 or more');
  });

  it('ends with an error or a list, whatever comes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60, size: 'max' }), { maxLength: 4 }), (blocks) => {
        const decoder = newDecoder({ maxListBytes: 500, maxFields: 8 });
        let failed: number = HpackError.None;
        for (const octets of blocks) {
          const { fields, error } = read(decoder, Buffer.concat([inTable, Buffer.from(octets)]));
          if (failed !== HpackError.None) expect(fields).toEqual([]);
          if (failed !== HpackError.None) expect(error).toBe(failed);
          expect(fields.length).toBeLessThanOrEqual(8);
          failed = error;
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('the table', () => {
  it('takes what SETTINGS_HEADER_TABLE_SIZE allows, and begins with 4,096 bytes', () => {
    const decoder = newDecoder({ maxTableBytes: 65_536 });
    const entry = literal(Literal.withIndexing, 'a', 'x'.repeat(2_000));
    read(decoder, Buffer.concat([entry, entry, entry]));
    expect(decoder.tableBytes).toBe(2_033 * 2);
    read(decoder, Buffer.concat([sizeUpdate(65_536), ...Array.from({ length: 60 }, () => entry)]));
    expect(decoder.tableBytes).toBe(2_033 * 32);
    expect(read(decoder, sizeUpdate(65_537)).error).toBe(HpackError.SizeUpdateTooLarge);
  });

  it('is emptied by an update to nothing, and by an entry that is larger than it', () => {
    for (const emptying of [
      Buffer.concat([sizeUpdate(0), sizeUpdate(4_096)]),
      literal(Literal.withIndexing, 'a', 'x'.repeat(4_064)),
    ]) {
      const decoder = newDecoder();
      read(decoder, literal(Literal.withIndexing, 'a', 'b'));
      expect(read(decoder, emptying).error).toBe(0);
      expect(decoder.tableBytes).toBe(0);
      expect(read(decoder, indexed(62)).error).toBe(HpackError.IndexBeyondTable);
    }
  });

  it('lets a new entry take its name from one that it pushes out (RFC 7541, 4.4)', () => {
    const decoder = newDecoder();
    read(decoder, literal(Literal.withIndexing, 'name', 'x'.repeat(4_000)));
    const { fields } = read(decoder, literal(Literal.withIndexing, 62, 'y'.repeat(4_000)));
    expect(fields).toEqual([['name', 'y'.repeat(4_000)]]);
    expect(read(decoder, indexed(62)).fields).toEqual(fields);
  });
});

describe('bounds', () => {
  const field = literal(Literal.withoutIndexing, 'a', 'b');

  it('counts fields', () => {
    const decoder = newDecoder({ maxFields: 3 });
    expect(read(decoder, Buffer.concat([field, field, field])).fields).toHaveLength(3);
    expect(decoder.tooLarge).toBe(false);
    expect(read(decoder, Buffer.concat([field, field, field, field])).fields).toHaveLength(3);
    expect(decoder.tooLarge).toBe(true);
    read(decoder, field);
    expect(decoder.tooLarge).toBe(false);
  });

  it('weighs the list as RFC 9113, 6.5.2 does', () => {
    const decoder = newDecoder({ maxListBytes: 68 });
    expect(read(decoder, Buffer.concat([field, field])).fields).toHaveLength(2);
    expect(decoder.tooLarge).toBe(false);
    const larger = literal(Literal.withoutIndexing, 'a', 'bc');
    expect(read(decoder, Buffer.concat([field, larger, field])).fields).toHaveLength(1);
    expect(decoder.tooLarge).toBe(true);
  });

  it('keeps the table right behind them, and sees errors there', () => {
    const decoder = newDecoder({ maxFields: 1 });
    const kept = [literal(Literal.withIndexing, 'c', 'd', true), literal(Literal.withIndexing, 62, 'f', true)];
    const left = [literal(Literal.withoutIndexing, 'x', 'y'), literal(Literal.neverIndexed, 'x', 'y', true)];
    expect(read(decoder, Buffer.concat([field, field, ...left, ...kept])).fields).toEqual([['a', 'b']]);
    expect(read(decoder, indexed(63)).fields).toEqual([['c', 'd']]);
    expect(read(decoder, indexed(62)).fields).toEqual([['c', 'f']]);
    expect(read(decoder, Buffer.concat([field, field, fromHex('0001 6181 18')])).error).toBe(HpackError.HuffmanPadding);
  });

  it('hands out no more than them of a bomb: a large entry, and an octet for each reference to it', () => {
    const decoder = newDecoder();
    const bomb = Buffer.concat([
      literal(Literal.withIndexing, 'a', 'x'.repeat(4_000)),
      Buffer.alloc(1_000_000, indexed(62)),
    ]);
    const { fields, error } = read(decoder, bomb);
    expect([fields.length, error, decoder.tooLarge]).toEqual([16, 0, true]);
  });

  it('makes no text of what it neither hands out nor keeps', () => {
    const decoder = newDecoder({ maxFields: 0 });
    const large = literal(Literal.withoutIndexing, 'a', 'x'.repeat(100_000));
    expect(read(decoder, Buffer.concat([large, large]))).toEqual({ fields: [], error: 0 });
    expect([decoder.tooLarge, decoder.tableBytes]).toEqual([true, 0]);
  });
});
