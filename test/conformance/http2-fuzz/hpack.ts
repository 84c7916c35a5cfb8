// Field sections in every representation of RFC 7541, 6, good ones and such as no encoder makes.
import type { Random } from '../../../runtime/random.ts';
import { oneOf, upTo } from '../garden/mutate.ts';

export type Field = readonly [string, string];

/** Huffman codes of RFC 7541, C.4 and C.6, since the table is not worth having for them. */
const HUFFMAN = new Map<string, string>([
  ['custom-key', '25a849e95ba97d7f'],
  ['custom-value', '25a849e95bb8e8b4bf'],
  ['no-cache', 'a8eb10649cbf'],
]);
/** Entries of the static table that stand for a whole field (RFC 7541, A). */
const STATIC = new Map<string, number>([
  [':method GET', 2],
  [':method POST', 3],
  [':path /', 4],
  [':scheme http', 6],
  [':status 200', 8],
  [':status 204', 9],
  [':status 304', 11],
  [':status 404', 13],
  [':status 500', 14],
]);
/** Entries for names. */
const STATIC_NAMES = new Map<string, number>([
  [':authority', 1],
  [':method', 2],
  [':path', 4],
  [':status', 8],
  ['content-length', 28],
  ['cookie', 32],
  ['te', 59],
]);

/** An integer with a prefix of so many bits, under these first bits (RFC 7541, 5.1). */
export function integer(value: number, bits: number, first: number): Buffer {
  const most = 2 ** bits - 1;
  if (value < most) return Buffer.from([first | value]);
  const bytes = [first | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function text(value: string): Buffer {
  const huffman = HUFFMAN.get(value);
  if (huffman !== undefined) {
    const bytes = Buffer.from(huffman, 'hex');
    return Buffer.concat([integer(bytes.length, 7, 0x80), bytes]);
  }
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([integer(bytes.length, 7, 0), bytes]);
}

/** With incremental indexing, without, and never indexed (6.2.1 to 6.2.3): bits of the prefix, and what stands above them. */
const LITERALS = [
  [6, 0x40],
  [4, 0x00],
  [4, 0x10],
] as const;

function field([name, value]: Field, random: Random): Buffer {
  const whole = STATIC.get(`${name} ${value}`);
  if (whole !== undefined && random() < 0.5) return integer(whole, 7, 0x80);
  const [bits, first] = oneOf(random, LITERALS);
  const known = STATIC_NAMES.get(name);
  if (known !== undefined && random() < 0.5) return Buffer.concat([integer(known, bits, first), text(value)]);
  return Buffer.concat([integer(0, bits, first), text(name), text(value)]);
}

/** What stands between fields, or breaks them. */
const ODD: readonly ((random: Random) => Buffer)[] = [
  // Entries of the dynamic table, which may be there or not.
  (random) => integer(62 + upTo(random, 4), 7, 0x80),
  () => integer(0, 7, 0x80),
  (random) => integer(oneOf(random, [200, 2 ** 20, 2 ** 31, 2 ** 40]), 7, 0x80),
  // The size of the table (6.3): to nothing, as it was, and more than is allowed.
  (random) => integer(oneOf(random, [0, 100, 4_096, 4_097, 2 ** 24]), 5, 0x20),
  // An integer without end, and a length beyond what is there.
  () => Buffer.alloc(12, 0xff),
  (random) => Buffer.concat([Buffer.from([0x40]), integer(oneOf(random, [50, 60_000, 2 ** 31]), 7, 0)]),
  // What is no Huffman code: padding that is too long, and the end of the string within it.
  () => Buffer.from([0x40, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, 0x61]),
  () => Buffer.from([0x40, 0x82, 0x1f, 0xff, 0x01, 0x61]),
  // An empty name.
  () => Buffer.from([0x00, 0x00, 0x01, 0x61]),
];

/** `oddity`: how likely something odd is among them. */
export function section(fields: readonly Field[], random: Random, oddity: number): Buffer {
  const parts = fields.map((each) => field(each, random));
  if (random() < oddity) parts.splice(upTo(random, parts.length + 1), 0, oneOf(random, ODD)(random));
  return Buffer.concat(parts);
}
