// The Huffman code of HPACK (RFC 7541, 5.2 and Appendix B), read four bits at a time.
//
// The code is canonical: codes of the same length follow each other in the order of their symbols, those of the next length come behind them. So the
// lengths are the whole table. Reading goes from state to state, a state being the bits of a code that has begun. As no code is shorter than five bits,
// four bits end one code at most. Eight at a time would be faster by itself, but its table is 256 KiB and not 16, which is what the cache
// of the processor has for everything.
//
// Nothing is written in this code: that is a walk over each character where a plain literal is one copy, for a few bytes inside a cluster.
import { HpackError } from './errors.ts';

/** Bits of the code of each octet, sixteen to a line. */
export const HUFFMAN_CODE_BITS: readonly number[] = `
  13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28
  28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
  6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6
  5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10
  13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7
  7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6
  15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5
  6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28
  20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23
  24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24
  22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23
  21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23
  26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25
  19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
  20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23
  26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26
`
  .trim()
  .split(/\s+/)
  .map(Number);
const END_OF_STRING = 256;
const END_OF_STRING_BITS = 30;

// A transition: where the next row starts (its state times 16), and what ends with these four bits.
const ROW = 0x00_0f_f0;
const ACCEPTING = 0x00_80_00;
const SYMBOL_SHIFT = 16;
const ENDS_SHIFT = 24;
const ENDS_SYMBOL = 1 << ENDS_SHIFT;
const ENDS_STRING = 1 << 31;

/** Made by the first string that needs it: most sidecars speak HTTP/1.1 alone, and start sooner without it. */
let table: Int32Array | null = null;

/** Both branches of each state; a leaf is its symbol below zero: -1 - symbol. */
function codeTree(): number[][] {
  const lengths = [...HUFFMAN_CODE_BITS, END_OF_STRING_BITS];
  const symbols = lengths.map((_, symbol) => symbol).sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0) || a - b);
  const tree: number[][] = [[0, 0]];
  let code = 0;
  let bits = 0;
  for (const symbol of symbols) {
    const length = lengths[symbol] ?? 0;
    code *= 2 ** (length - bits);
    bits = length;
    plant(tree, code, bits, symbol);
    code += 1;
  }
  return tree;
}

function plant(tree: number[][], code: number, bits: number, symbol: number): void {
  let state = 0;
  for (let bit = bits - 1; bit > 0; bit -= 1) {
    const branches = tree[state] ?? [];
    const branch = (code >> bit) & 1;
    if (branches[branch] === 0) branches[branch] = tree.push([0, 0]) - 1;
    state = branches[branch] ?? 0;
  }
  (tree[state] ?? [])[code & 1] = -1 - symbol;
}

function transitions(tree: readonly (readonly number[])[]): Int32Array {
  const accepting = acceptingStates(tree);
  const rows = new Int32Array(tree.length * 16);
  for (let from = 0; from < rows.length; from += 1) {
    let state = from >> 4;
    let ended = 0;
    for (let bit = 3; bit >= 0; bit -= 1) {
      const next = tree[state]?.[(from >> bit) & 1] ?? 0;
      state = Math.max(next, 0);
      if (next < 0) ended = next === -1 - END_OF_STRING ? ENDS_STRING : ENDS_SYMBOL | ((-1 - next) << SYMBOL_SHIFT);
    }
    rows[from] = (state << 4) | ended | (accepting.has(state) ? ACCEPTING : 0);
  }
  return rows;
}

/** Where a string may end: after a whole code, and at most seven bits of ones behind it. */
function acceptingStates(tree: readonly (readonly number[])[]): ReadonlySet<number> {
  const states = new Set([0]);
  let state = 0;
  for (let padding = 1; padding <= 7; padding += 1) {
    state = tree[state]?.[1] ?? 0;
    states.add(state);
  }
  return states;
}

const SHARED_BYTES = 16_384;
const shared = Buffer.allocUnsafeSlow(SHARED_BYTES);
let output = shared;

/**
 * Decodes [start, end) of `buffer`. The number of octets that it stands for, whose text is `huffmanText(octets)` until the next call; below zero:
 * minus an `HpackError`.
 */
export function decodeHuffman(buffer: Buffer, start: number, end: number): number {
  table ??= transitions(codeTree());
  const rows = table;
  // The shortest code has five bits.
  const most = ((end - start) * 8) / 5;
  const target = most <= SHARED_BYTES ? shared : Buffer.allocUnsafe(Math.ceil(most));
  let at = ACCEPTING;
  let seen = 0;
  let length = 0;
  for (let index = start; index < end; index += 1) {
    const octet = buffer[index] as number;
    const high = rows[(at & ROW) | (octet >> 4)] as number;
    // Without a branch: whether a code ends here cannot be foreseen. What is written and not counted is written over.
    target[length] = high >> SYMBOL_SHIFT;
    length += (high >> ENDS_SHIFT) & 1;
    at = rows[(high & ROW) | (octet & 0x0f)] as number;
    target[length] = at >> SYMBOL_SHIFT;
    length += (at >> ENDS_SHIFT) & 1;
    seen |= high | at;
  }
  if (seen < 0) return -HpackError.HuffmanEndOfString;
  if ((at & ACCEPTING) === 0) return -HpackError.HuffmanPadding;
  output = target;
  return length;
}

/** Latin1 text of what was decoded last. */
export function huffmanText(octets: number): string {
  const text = output.latin1Slice(0, octets);
  output = shared;
  return text;
}
