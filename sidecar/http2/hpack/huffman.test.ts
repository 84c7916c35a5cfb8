import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HpackError } from './errors.ts';
import { decodeHuffman, HUFFMAN_CODE_BITS, huffmanText } from './huffman.ts';
import { fromHex, HUFFMAN_CODES, huffmanCode, ofBits } from './testing/blocks.ts';

function decode(octets: Buffer): string | number {
  const buffer = Buffer.concat([Buffer.from([0x55]), octets, Buffer.from([0x55])]);
  const length = decodeHuffman(buffer, 1, 1 + octets.length);
  return length < 0 ? -length : huffmanText(length);
}

const latin1 = fc.uint8Array({ maxLength: 200, size: 'max' }).map((octets) => Buffer.from(octets).toString('latin1'));

describe('the code (RFC 7541, Appendix B)', () => {
  // As the appendix has them: the code in hexadecimal digits, aligned to its last bit, and its length.
  it.each([
    [0x00, '1ff8', 13],
    [0x01, '7fffd8', 23],
    [0x02, 'fffffe2', 28],
    [0x09, 'ffffea', 24],
    [0x0a, '3ffffffc', 30],
    [0x0d, '3ffffffd', 30],
    [0x16, '3ffffffe', 30],
    [0x1f, 'ffffffb', 28],
    [0x20, '14', 6],
    [0x21, '3f8', 10],
    [0x26, 'f8', 8],
    [0x27, '7fa', 11],
    [0x30, '0', 5],
    [0x3c, '7ffc', 15],
    [0x5a, 'fd', 8],
    [0x5c, '7fff0', 19],
    [0x5e, '3ffc', 14],
  ])('has octet %i as %s in %i bits', (octet, code, bits) => {
    expect(HUFFMAN_CODES[octet]).toBe(Number.parseInt(code, 16).toString(2).padStart(bits, '0'));
  });

  it('leaves one code of 30 bits, which is that of EOS', () => {
    const used = HUFFMAN_CODE_BITS.reduce((sum, bits) => sum + 2 ** (30 - bits), 0);
    expect([HUFFMAN_CODE_BITS.length, 2 ** 30 - used]).toEqual([256, 1]);
    expect(HUFFMAN_CODES).not.toContain('1'.repeat(30));
  });
});

describe('decoding', () => {
  it.each([
    ['f1e3 c2e5 f23a 6ba0 ab90 f4ff', 'www.example.com'],
    ['a8eb 1064 9cbf', 'no-cache'],
    ['25a8 49e9 5ba9 7d7f', 'custom-key'],
    ['25a8 49e9 5bb8 e8b4 bf', 'custom-value'],
    ['6402', '302'],
    ['d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ['', ''],
  ])('reads %s', (hex, text) => {
    expect(decode(fromHex(hex))).toBe(text);
  });

  it('reads each octet by itself', () => {
    for (let octet = 0; octet < 256; octet += 1) {
      const text = String.fromCharCode(octet);
      expect(decode(huffmanCode(text))).toBe(text);
    }
  });

  it('reads whatever was written', () => {
    fc.assert(
      fc.property(latin1, (text) => {
        expect(decode(huffmanCode(text))).toBe(text);
      }),
    );
  });

  it('reads text that is longer than the shared buffer, and short text after it', () => {
    const long = '0aZ~\xff'.repeat(20_000);
    expect(decode(huffmanCode(long))).toBe(long);
    expect(decode(huffmanCode('a'))).toBe('a');
  });

  it.each([1, 2, 3, 4, 5, 6, 7])('takes %i bits of padding, only as ones', (bits) => {
    // As many codes of five bits as leave room for that padding.
    const codes = '00000'.repeat([0, 3, 6, 1, 4, 7, 2, 5][bits] ?? 0);
    const zeros = codes.length / 5;
    expect(decode(ofBits(codes + '1'.repeat(bits)))).toBe('0'.repeat(zeros));
    for (let zero = 0; zero < bits; zero += 1) {
      const padding = '1'.repeat(zero) + '0' + '1'.repeat(bits - zero - 1);
      const whole = HUFFMAN_CODES.some((code) => code === padding || (code !== undefined && padding.startsWith(code)));
      if (!whole) expect(decode(ofBits(codes + padding))).toBe(HpackError.HuffmanPadding);
    }
  });

  it.each(['11111111', '0000011111111111', '1111111111111111', '0'.repeat(40) + '1'.repeat(24)])(
    'refuses more than seven bits of padding: %s',
    (bits) => {
      expect(decode(ofBits(bits))).toBe(HpackError.HuffmanPadding);
    },
  );

  it.each(['1'.repeat(32), `00000${'1'.repeat(35)}`, `${'1'.repeat(30)}0000011111`, '1'.repeat(64)])(
    'refuses EOS: %s',
    (bits) => {
      expect(decode(ofBits(bits))).toBe(HpackError.HuffmanEndOfString);
    },
  );

  it('takes nothing that a writer of the shortest padding would not write', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12, size: 'max' }), (octets) => {
        const text = decode(Buffer.from(octets));
        if (typeof text === 'string') expect(huffmanCode(text)).toEqual(Buffer.from(octets));
      }),
      { numRuns: 2_000 },
    );
  });
});
