import { describe, expect, it } from 'vitest';
import { HpackDecoder } from './decoder.ts';
import { HpackEncoder } from './encoder.ts';
import { type Field, fromHex, indexed, Literal, literal, read, sizeUpdate, write } from './testing/blocks.ts';

const newDecoder = () => new HpackDecoder({ maxTableBytes: 4_096, maxListBytes: 1_000_000, maxFields: 1_000 });

/** What each of the blocks is, whose fields a decoder reads as they were. */
function blocks(lists: readonly (readonly Field[])[], encoder = new HpackEncoder(), decoder = newDecoder()): Buffer[] {
  return lists.map((fields) => {
    const block = write(encoder, fields);
    expect(read(decoder, block)).toEqual({ fields, error: 0 });
    expect(encoder.tableBytes).toBe(decoder.tableBytes);
    return block;
  });
}

const times = (count: number, ...fields: Field[]) => Array.from({ length: count }, () => fields);

describe('fields', () => {
  it('of the static table are one octet', () => {
    expect(
      blocks([
        [
          [':method', 'POST'],
          [':scheme', 'http'],
          [':path', '/'],
          [':status', '204'],
          ['accept-encoding', 'gzip, deflate'],
        ],
      ]),
    ).toEqual([fromHex('83 86 84 89 90')]);
  });

  it('take their name from the static table', () => {
    expect(blocks([[['content-length', '12']]])).toEqual([fromHex('0f0d 0231 32')]);
    expect(blocks([[['etag', '']]])).toEqual([fromHex('0f13 00')]);
  });

  it('that are known to nobody are literals each time', () => {
    const field: Field = ['x-mine', 'value'];
    const plain = literal(Literal.withoutIndexing, 'x-mine', 'value');
    expect(blocks(times(4, field))).toEqual([plain, plain, plain, plain]);
  });

  it('with names and values of any length are read again', () => {
    for (const length of [126, 127, 128, 254, 255, 16_510, 100_000])
      blocks(times(3, ['x'.repeat(length), 'y'.repeat(length)], ['grpc-message', 'z'.repeat(length)]));
  });

  it('come into the table when they come again, and are one octet then', () => {
    const field: Field = ['content-type', 'application/grpc'];
    expect(blocks(times(3, field))).toEqual([
      literal(Literal.withoutIndexing, 31, 'application/grpc'),
      literal(Literal.withIndexing, 31, 'application/grpc'),
      indexed(62),
    ]);
  });

  it('of several values stay in the table beside each other', () => {
    const paths: Field[] = ['/a.B/C', '/a.B/D', '/a.B/E'].map((path) => [':path', path]);
    expect(blocks([...times(3, ...paths)]).at(-1)).toEqual(Buffer.concat([indexed(64), indexed(63), indexed(62)]));
  });

  it('whose values differ each time leave only their name there', () => {
    const ids = ['1', '2', '3'].map((id): Field[] => [['x-correlation-id', id]]);
    expect(blocks(ids)).toEqual([
      literal(Literal.withIndexing, 'x-correlation-id', '1'),
      literal(Literal.withoutIndexing, 62, '2'),
      literal(Literal.withoutIndexing, 62, '3'),
    ]);
  });

  it('whose values turn out to differ push nothing out', () => {
    const encoder = new HpackEncoder();
    const decoder = newDecoder();
    blocks(times(2, ['user-agent', 'a']), encoder, decoder);
    const before = encoder.tableBytes;
    blocks(
      Array.from({ length: 200 }, (_, id): Field[] => [[':path', `/orders/${id}`]]),
      encoder,
      decoder,
    );
    expect(encoder.tableBytes).toBe(before);
    expect(blocks(times(1, ['user-agent', 'a']), encoder, decoder)).toEqual([indexed(62)]);
  });

  it('take their name from the table where another value of it is there', () => {
    const encoder = new HpackEncoder();
    const decoder = newDecoder();
    blocks(times(2, ['te', 'trailers']), encoder, decoder);
    expect(blocks([[['te', 'gzip']]], encoder, decoder)).toEqual([literal(Literal.withoutIndexing, 62, 'gzip')]);
  });

  it('with a question mark that is no query come into the table', () => {
    expect(blocks(times(3, ['user-agent', 'what?'])).at(-1)).toEqual(indexed(62));
  });

  it('of a quarter of the table come into it', () => {
    const field: Field = ['user-agent', 'x'.repeat(1_024 - 32 - 'user-agent'.length)];
    expect(blocks(times(3, field)).at(-1)).toEqual(indexed(62));
  });

  it('that would fill the table are literals', () => {
    for (const [name, length] of [
      ['user-agent', 983],
      ['traceparent', 1_000],
    ] as const) {
      const encoder = new HpackEncoder();
      blocks(times(4, [name, 'x'.repeat(length)]), encoder);
      expect(encoder.tableBytes).toBe(0);
    }
  });

  it('are in the table once, however many of their name there are', () => {
    const encoder = new HpackEncoder();
    const paths: Field[] = Array.from({ length: 14 }, (_, at) => [':path', `/a.B/${at}`]);
    blocks(times(10, ...paths), encoder);
    expect(encoder.tableBytes).toBe(paths.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0));
  });
});

describe('what must not be in a table', () => {
  it.each<[string, Field, Buffer]>([
    ['authorization', ['authorization', 'Bearer abc'], literal(Literal.neverIndexed, 23, 'Bearer abc')],
    ['proxy-authorization', ['proxy-authorization', 'x'], literal(Literal.neverIndexed, 49, 'x')],
    ['a short cookie', ['cookie', 'a=0123456789abcdef0'], literal(Literal.neverIndexed, 32, 'a=0123456789abcdef0')],
  ])('%s is never indexed, by nobody', (_, [name, value], block) => {
    const encoder = new HpackEncoder();
    for (let at = 0; at < 3; at += 1) expect(write(encoder, [[name, value]])).toEqual(block);
    expect(read(newDecoder(), block).fields).toEqual([[name, value, true]]);
  });

  it.each<[string, Field, Buffer]>([
    ['known', ['user-agent', 'a', true], literal(Literal.neverIndexed, 58, 'a')],
    ['of the static table', [':method', 'GET', true], literal(Literal.neverIndexed, 2, 'GET')],
    ['unknown', ['x-secret', 'a', true], literal(Literal.neverIndexed, 'x-secret', 'a')],
  ])('stays so where it came as sensitive: a field that is %s', (_, field, block) => {
    expect(blocks(times(3, field))).toEqual([block, block, block]);
  });

  it.each<[name: string, value: string]>([
    ['cookie', 'a=0123456789abcdef01'],
    ['set-cookie', 'a=b'],
    ['content-length', '5'],
    [':path', '/search?token=abc'],
  ])('%s: %s is a literal each time', (name, value) => {
    const encoder = new HpackEncoder();
    blocks(times(4, [name, value]), encoder);
    expect(encoder.tableBytes).toBe(0);
  });
});

describe("the size of the peer's table", () => {
  const field: Field = ['user-agent', 'curl/8'];
  const get: Field = [':method', 'GET'];

  it('of 4,096 bytes and more is not spoken of', () => {
    for (const bytes of [4_096, 65_536, 2 ** 32 - 1]) {
      const encoder = new HpackEncoder();
      encoder.setPeerTableBytes(bytes);
      expect(write(encoder, [get])).toEqual(fromHex('82'));
    }
  });

  it('is told when it shrinks, once, and kept to', () => {
    const encoder = new HpackEncoder();
    const decoder = newDecoder();
    blocks(times(3, field), encoder, decoder);
    encoder.setPeerTableBytes(0);
    expect(blocks([[get], [get, field], [field], [field]], encoder, decoder)).toEqual([
      Buffer.concat([sizeUpdate(0), indexed(2)]),
      Buffer.concat([indexed(2), literal(Literal.withoutIndexing, 58, 'curl/8')]),
      literal(Literal.withoutIndexing, 58, 'curl/8'),
      literal(Literal.withoutIndexing, 58, 'curl/8'),
    ]);
  });

  it('is told twice where it was smaller in between', () => {
    const encoder = new HpackEncoder();
    const decoder = newDecoder();
    blocks(times(3, field), encoder, decoder);
    for (const bytes of [2_000, 100, 300]) encoder.setPeerTableBytes(bytes);
    expect(blocks([[get]], encoder, decoder)).toEqual([Buffer.concat([sizeUpdate(100), sizeUpdate(300), indexed(2)])]);
    expect(encoder.tableBytes).toBe(48);
    for (const bytes of [40, 4_096]) encoder.setPeerTableBytes(bytes);
    expect(blocks([[get]], encoder, decoder)).toEqual([Buffer.concat([sizeUpdate(40), sizeUpdate(4_096), indexed(2)])]);
    expect(encoder.tableBytes).toBe(0);
  });

  it('is told where it shrank and grew back', () => {
    const encoder = new HpackEncoder();
    for (const bytes of [0, 65_536]) encoder.setPeerTableBytes(bytes);
    expect(write(encoder, [get])).toEqual(Buffer.concat([sizeUpdate(0), sizeUpdate(4_096), indexed(2)]));
  });
});
