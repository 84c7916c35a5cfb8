// For tests: blocks written octet by octet, and read into lists.
import type { HpackDecoder } from '../decoder.ts';
import type { HpackEncoder } from '../encoder.ts';
import { HUFFMAN_CODE_BITS } from '../huffman.ts';

export type Field = readonly [name: string, value: string, sensitive?: boolean];

export const fromHex = (hex: string) => Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');

/** The fields of a block, which lies at an odd offset of its buffer and has something behind it; and the error, 0 where there is none. */
export function read(decoder: HpackDecoder, block: Buffer): { fields: Field[]; error: number } {
  const fields: Field[] = [];
  const buffer = Buffer.concat([Buffer.from([0x82, 0xff, 0xff]), block, Buffer.from([0xff, 0xff, 0x82])]);
  const error = decoder.decode(buffer, 3, 3 + block.length, {
    field: (name, value, sensitive) => fields.push(sensitive ? [name, value, true] : [name, value]),
  });
  return { fields, error };
}

export function write(encoder: HpackEncoder, fields: readonly Field[]): Buffer {
  encoder.begin();
  for (const [name, value, sensitive] of fields) encoder.field(name, value, sensitive === true);
  return Buffer.from(encoder.end(), 'latin1');
}

/** RFC 7541, 5.1. */
export function integer(first: number, prefix: number, value: number): Buffer {
  if (value < prefix) return Buffer.from([first | value]);
  const octets = [first | prefix];
  let rest = value - prefix;
  for (; rest > 127; rest = Math.floor(rest / 128)) octets.push(0x80 | (rest & 0x7f));
  return Buffer.from([...octets, rest]);
}

/** RFC 7541, 5.2. */
export function string(text: string, huffman = false): Buffer {
  const octets = huffman ? huffmanCode(text) : Buffer.from(text, 'latin1');
  return Buffer.concat([integer(huffman ? 0x80 : 0, 0x7f, octets.length), octets]);
}

export const indexed = (index: number) => integer(0x80, 0x7f, index);
export const sizeUpdate = (bytes: number) => integer(0x20, 0x1f, bytes);

export const Literal = {
  withIndexing: [0x40, 0x3f],
  withoutIndexing: [0x00, 0x0f],
  neverIndexed: [0x10, 0x0f],
} as const;

/** A literal; the name is text or an index. */
export function literal(
  kind: readonly [first: number, prefix: number],
  name: string | number,
  value: string,
  huffman = false,
): Buffer {
  const start = integer(kind[0], kind[1], typeof name === 'number' ? name : 0);
  const text = typeof name === 'number' ? Buffer.alloc(0) : string(name, huffman);
  return Buffer.concat([start, text, string(value, huffman)]);
}

/** The codes of RFC 7541, Appendix B, as bits. */
export const HUFFMAN_CODES: readonly string[] = huffmanCodes();

function huffmanCodes(): string[] {
  const codes: string[] = [];
  let next = 0;
  for (let bits = 1; bits <= 30; bits += 1) {
    next *= 2;
    for (const [octet, codeBits] of HUFFMAN_CODE_BITS.entries()) {
      if (codeBits !== bits) continue;
      codes[octet] = next.toString(2).padStart(bits, '0');
      next += 1;
    }
  }
  return codes;
}

export function huffmanCode(text: string, padding = '1111111'): Buffer {
  const bits = [...Buffer.from(text, 'latin1')].map((octet) => HUFFMAN_CODES[octet]).join('');
  return ofBits(bits + padding.slice(0, (8 - (bits.length % 8)) % 8));
}

/** Whole octets of bits; what is more than them is left out. */
export function ofBits(bits: string): Buffer {
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((octet) => Number.parseInt(octet, 2)));
}
