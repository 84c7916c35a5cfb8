// Random connections: what an encoder writes is what a decoder reads, and a decoder reads what a small model of RFC 7541 reads.
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { HpackDecoder } from './decoder.ts';
import { HpackEncoder } from './encoder.ts';
import { STATIC_NAMES, STATIC_VALUES } from './static-table.ts';
import { type Field, indexed, Literal, literal, read, sizeUpdate, write } from './testing/blocks.ts';

const KNOWN = [...new Set([...STATIC_NAMES, 'grpc-status', 'te', 'traceparent', 'x-correlation-id', 'x-mine'])];
const text = (maxLength: number) =>
  fc.uint8Array({ maxLength, size: 'max' }).map((octets) => Buffer.from(octets).toString('latin1'));
// Few of them, so that they come again.
const value = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: 5 }).map((at) => `v${at}`.repeat(at * at + 1)) },
  { weight: 2, arbitrary: fc.constantFrom(...STATIC_VALUES, 'x'.repeat(900)) },
  { weight: 1, arbitrary: text(300) },
);
const name = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...KNOWN) }, { weight: 1, arbitrary: text(40) });
const field = fc
  .tuple(name, value, fc.nat({ max: 9 }))
  .map(([key, content, dice]): Field => (dice === 0 ? [key, content, true] : [key, content]));
const tableBytes = fc.oneof(fc.constantFrom(0, 31, 32, 100, 300, 4_096, 65_536), fc.nat({ max: 5_000 }));
const lists = fc.array(
  fc.record({ sizes: fc.array(tableBytes, { maxLength: 2 }), fields: fc.array(field, { maxLength: 25, size: 'max' }) }),
  { maxLength: 30, size: 'max' },
);

const newDecoder = () => new HpackDecoder({ maxTableBytes: 4_096, maxListBytes: 10_000_000, maxFields: 10_000 });

/** Credentials come back as sensitive, whatever they were. */
const credential = ([key, content]: Field) =>
  key === 'authorization' || key === 'proxy-authorization' || (key === 'cookie' && content.length < 20);

it('reads what was written, through any sizes of the table', () => {
  fc.assert(
    fc.property(lists, (blocks) => {
      const encoder = new HpackEncoder();
      const decoder = newDecoder();
      let most = 4_096;
      for (const { sizes, fields } of blocks) {
        for (const bytes of sizes) {
          encoder.setPeerTableBytes(bytes);
          most = Math.min(bytes, 4_096);
        }
        const expected = fields.map((each): Field => (credential(each) ? [each[0], each[1], true] : each));
        expect(read(decoder, write(encoder, fields))).toEqual({ fields: expected, error: 0 });
        expect(decoder.tableBytes).toBe(encoder.tableBytes);
        expect(encoder.tableBytes).toBeLessThanOrEqual(most);
      }
    }),
    { numRuns: 300 },
  );
});

/** RFC 7541 as it is written: a list whose newest entry is first. */
class Model {
  #table: [name: string, value: string][] = [];
  #maxBytes = 4_096;

  bytes(): number {
    return this.#table.reduce((sum, [key, content]) => sum + key.length + content.length + 32, 0);
  }

  entry(index: number): [name: string, value: string] | undefined {
    return index < 62 ? [STATIC_NAMES[index] ?? '', STATIC_VALUES[index] ?? ''] : this.#table[index - 62];
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    while (this.bytes() > this.#maxBytes) this.#table.pop();
  }

  insert(key: string, content: string): void {
    this.#table.unshift([key, content]);
    while (this.bytes() > this.#maxBytes) this.#table.pop();
  }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ index: fc.integer({ min: 1, max: 150 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('withIndexing', 'withIndexing', 'withoutIndexing', 'neverIndexed'),
      name: fc.oneof(fc.integer({ min: 1, max: 150 }), name),
      value,
      huffman: fc.boolean(),
    }),
  },
);
const connection = fc.array(
  fc.record({
    sizes: fc.array(fc.nat({ max: 4_096 }), { maxLength: 2 }),
    steps: fc.array(step, { maxLength: 40, size: 'max' }),
  }),
  { maxLength: 20, size: 'max' },
);
type Steps = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** The octets of one field and what they stand for; null: an index that is in no table. */
function play(model: Model, one: Steps): { octets: Buffer; field: Field } | null {
  if ('index' in one) {
    const entry = model.entry(one.index);
    return entry ? { octets: indexed(one.index), field: entry } : null;
  }
  const key = typeof one.name === 'number' ? model.entry(one.name)?.[0] : one.name;
  if (key === undefined) return null;
  if (one.kind === 'withIndexing') model.insert(key, one.value);
  return {
    octets: literal(Literal[one.kind], one.name, one.value, one.huffman),
    field: one.kind === 'neverIndexed' ? [key, one.value, true] : [key, one.value],
  };
}

it('reads what a model reads', () => {
  fc.assert(
    fc.property(connection, (blocks) => {
      const model = new Model();
      const decoder = newDecoder();
      for (const { sizes, steps } of blocks) {
        for (const bytes of sizes) model.resize(bytes);
        const played = steps.map((one) => play(model, one)).filter((one) => one !== null);
        const block = Buffer.concat([...sizes.map(sizeUpdate), ...played.map(({ octets }) => octets)]);
        expect(read(decoder, block)).toEqual({ fields: played.map((one) => one.field), error: 0 });
        expect(decoder.tableBytes).toBe(model.bytes());
      }
    }),
    { numRuns: 300 },
  );
});

it('reads damaged blocks to an error or to a list', () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(field, { maxLength: 12, size: 'max' }), damage, fc.nat(), (fields, octets, cut) => {
      const encoder = new HpackEncoder();
      const decoder = newDecoder();
      for (let at = 0; at < 2; at += 1) read(decoder, write(encoder, fields));
      const block = write(encoder, fields);
      for (const [at, octet] of octets) block[at % Math.max(block.length, 1)] = octet;
      const whole = block.subarray(0, cut % 2 === 0 ? block.length : cut % (block.length + 1));
      const { error } = read(decoder, whole);
      // What comes next is read if nothing was wrong, and refused if there was.
      expect(read(decoder, indexed(2))).toEqual(
        error === 0 ? { fields: [[':method', 'GET']], error } : { fields: [], error },
      );
    }),
    { numRuns: 1_000 },
  );
});
