import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkedDecoder, ChunkedEvent, encodeChunkHead } from './chunked.ts';
import { HeadDetail, headErrorDetail } from './errors.ts';
import { MAX_CHUNK_EXTENSION_BYTES, MAX_FIELDS, MAX_TRAILER_BYTES } from './limits.ts';

interface Decoded {
  end: number;
  content: string;
  trailers: string;
  detail: number;
  /** Bytes of the whole input that belong to the message. */
  length: number;
}

/** Feeds the pieces one after the other, each in a buffer of its own at an odd offset. */
function decodePieces(pieces: readonly string[], decoder = new ChunkedDecoder()): Decoded {
  decoder.reset();
  let content = '';
  let consumed = 0;
  for (const piece of pieces) {
    const buffer = Buffer.from(`??${piece}??`, 'latin1');
    decoder.input(buffer, 2, buffer.length - 2);
    let event = decoder.next();
    while (event === ChunkedEvent.Data) {
      content += buffer.toString('latin1', decoder.dataStart, decoder.dataEnd);
      event = decoder.next();
    }
    consumed += decoder.position - 2;
    if (event !== ChunkedEvent.NeedMore)
      return { end: event, content, trailers: decoder.trailers, detail: decoder.detail, length: consumed };
  }
  return { end: ChunkedEvent.NeedMore, content, trailers: '', detail: 0, length: consumed };
}

const decode = (text: string) => decodePieces([text]);

describe('messages', () => {
  it.each([
    ['0\r\n\r\n', '', ''],
    ['000\r\n\r\n', '', ''],
    ['5\r\nhello\r\n0\r\n\r\n', 'hello', ''],
    ['5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n', 'hello world', ''],
    ['a\r\n0123456789\r\n0\r\n\r\n', '0123456789', ''],
    ['0A\r\n0123456789\r\n0\r\n\r\n', '0123456789', ''],
    ['2\r\n\r\n\r\n0\r\n\r\n', '\r\n', ''],
    ['5;a\r\nhello\r\n0;b=c\r\n\r\n', 'hello', ''],
    ['5;a=b;c="d\\"\\\\; e\xff";f\r\nhello\r\n0\r\n\r\n', 'hello', ''],
    ['5;a=""\r\nhello\r\n0\r\n\r\n', 'hello', ''],
    ['0\r\nX-A: 1\r\nx-b:\r\n\r\n', '', '\r\nX-A: 1\r\nx-b:'],
  ])('reads %j', (text, content, trailers) => {
    expect(decode(`${text}GET / HTTP/1.1`)).toEqual({
      end: ChunkedEvent.End,
      content,
      trailers,
      detail: 0,
      length: text.length,
    });
  });

  it('stays at its end, and at its error', () => {
    const decoder = new ChunkedDecoder();
    const buffer = Buffer.from('0\r\n\r\nrest');
    decoder.input(buffer, 0, buffer.length);
    expect([decoder.next(), decoder.next(), decoder.position]).toEqual([ChunkedEvent.End, ChunkedEvent.End, 5]);
    decoder.reset();
    const bad = Buffer.from('zz0\r\n\r\n');
    decoder.input(bad, 0, bad.length);
    expect([decoder.next(), decoder.next(), decoder.detail]).toEqual([
      ChunkedEvent.Error,
      ChunkedEvent.Error,
      HeadDetail.ChunkSize,
    ]);
  });

  it('reads any number of chunks', () => {
    expect(decode(`${'1\r\nx\r\n'.repeat(100)}0\r\n\r\n`)).toMatchObject({
      end: ChunkedEvent.End,
      content: 'x'.repeat(100),
    });
  });

  it('forgets a message that was cut anywhere, once it is reset', () => {
    const first = '000000000000005;a="b"\r\nhello\r\n00000000000\r\nX-A: 1\r\nX-B: 2\r\n\r\n';
    const second = '00000000000001\r\nx\r\n0\r\nX-C: 3\r\n\r\n';
    for (let cut = 0; cut <= first.length; cut += 1) {
      const decoder = new ChunkedDecoder();
      decodePieces([first.slice(0, cut)], decoder);
      expect(decodePieces([second], decoder)).toEqual(decode(second));
    }
  });

  it('announces content before its chunk is complete, and never asks to hold it', () => {
    const decoder = new ChunkedDecoder();
    const buffer = Buffer.from('1000\r\nabc');
    decoder.input(buffer, 0, buffer.length);
    expect([decoder.next(), decoder.dataStart, decoder.dataEnd, decoder.next()]).toEqual([
      ChunkedEvent.Data,
      6,
      9,
      ChunkedEvent.NeedMore,
    ]);
  });

  it('reads sizes up to 2^53-1', () => {
    expect(decode('1fffffffffffff\r\nx')).toMatchObject({ end: ChunkedEvent.NeedMore, content: 'x' });
    expect(decode('001fffffffffffff\r\nx')).toMatchObject({ end: ChunkedEvent.NeedMore, content: 'x' });
    expect(decode('20000000000000\r\nx').detail).toBe(HeadDetail.ChunkSizeTooLarge);
    expect(decode('ffffffffffffffff\r\nx').detail).toBe(HeadDetail.ChunkSizeTooLarge);
    expect(decode('00000000000000001\r\nx').detail).toBe(HeadDetail.ChunkSizeTooLarge);
  });
});

describe('what is refused', () => {
  it.each([
    ['\r\n', HeadDetail.ChunkSize],
    ['g\r\n', HeadDetail.ChunkSize],
    ['-1\r\n', HeadDetail.ChunkSize],
    ['+1\r\n', HeadDetail.ChunkSize],
    ['0x5\r\nhello', HeadDetail.ChunkSize],
    [' 5\r\nhello', HeadDetail.ChunkSize],
    ['5 \r\nhello', HeadDetail.ChunkSize],
    ['5\t\r\nhello', HeadDetail.ChunkSize],
    ['5 ;a\r\nhello', HeadDetail.ChunkSize],
    ['5,\r\nhello', HeadDetail.ChunkSize],
    ['5\nhello', HeadDetail.ChunkLineEnd],
    ['5\rhello', HeadDetail.ChunkLineEnd],
    ['5\r\rhello', HeadDetail.ChunkLineEnd],
    ['5;\r\nhello', HeadDetail.ChunkExtension],
    ['5;;a\r\nhello', HeadDetail.ChunkExtension],
    ['5; a\r\nhello', HeadDetail.ChunkExtension],
    ['5;a \r\nhello', HeadDetail.ChunkExtension],
    ['5;a=\r\nhello', HeadDetail.ChunkExtension],
    ['5;=b\r\nhello', HeadDetail.ChunkExtension],
    ['5;a=b=c\r\nhello', HeadDetail.ChunkExtension],
    ['5;a\n0\r\n\r\n', HeadDetail.ChunkExtension],
    ['5;a\r0\r\n\r\n', HeadDetail.ChunkLineEnd],
    ['5;a="b\r\nhello', HeadDetail.ChunkExtension],
    ['5;a="b\n"\r\nhello', HeadDetail.ChunkExtension],
    ['5;a="b\\\r\n"\r\nhello', HeadDetail.ChunkExtension],
    ['5;a="b"c\r\nhello', HeadDetail.ChunkExtension],
    ['5;a\0\r\nhello', HeadDetail.ChunkExtension],
    ['5\r\nhello0\r\n\r\n', HeadDetail.ChunkDataEnd],
    ['5\r\nhello!\r\n0\r\n\r\n', HeadDetail.ChunkDataEnd],
    ['5\r\nhello\n0\r\n\r\n', HeadDetail.ChunkDataEnd],
    ['5\r\nhello\r0\r\n\r\n', HeadDetail.ChunkDataEnd],
    ['5\r\nhell\r\n0\r\n\r\n', HeadDetail.ChunkDataEnd],
    ['0\r\n\n', HeadDetail.TrailerLineEnd],
    ['0\r\n\rX', HeadDetail.TrailerLineEnd],
    ['0\r\nA: b\n\r\n', HeadDetail.TrailerLineEnd],
    ['0\r\nA: b\rC: d\r\n\r\n', HeadDetail.TrailerLineEnd],
    ['0\r\n folded: a\r\n\r\n', HeadDetail.FoldedLine],
    ['0\r\nA: b\r\n c\r\n\r\n', HeadDetail.FoldedLine],
    ['0\r\nA : b\r\n\r\n', HeadDetail.SpaceBeforeColon],
    ['0\r\nA: \0\r\n\r\n', HeadDetail.ValueCharacter],
    ['0\r\nGET / HTTP/1.1\r\n\r\n', HeadDetail.SpaceBeforeColon],
    ['0\r\n: b\r\n\r\n', HeadDetail.EmptyFieldName],
  ])('refuses %j', (text, detail) => {
    const decoded = decode(text);
    expect([decoded.end, headErrorDetail(decoded.detail)]).toEqual([ChunkedEvent.Error, headErrorDetail(detail)]);
  });

  it('bounds extensions over the whole message', () => {
    const chunk = `1;${'a'.repeat(MAX_CHUNK_EXTENSION_BYTES / 4 - 1)}\r\nx\r\n`;
    expect(decode(`${chunk.repeat(4)}0\r\n\r\n`)).toMatchObject({ end: ChunkedEvent.End, content: 'xxxx' });
    expect(decode(`${chunk.repeat(4)}1;a\r\nx\r\n0\r\n\r\n`).detail).toBe(HeadDetail.ChunkExtensionsTooLong);
  });

  it('bounds the extensions of each message on its own', () => {
    const decoder = new ChunkedDecoder();
    const message = `1;${'a'.repeat(MAX_CHUNK_EXTENSION_BYTES / 2)}\r\nx\r\n0\r\n\r\n`;
    for (let count = 0; count < 5; count += 1) expect(decodePieces([message], decoder).end).toBe(ChunkedEvent.End);
  });

  it('bounds trailers, also while their line has no end yet', () => {
    const fits = `A: ${'a'.repeat(MAX_TRAILER_BYTES - 7)}`;
    expect(decode(`0\r\n${fits}\r\n\r\n`)).toMatchObject({ end: ChunkedEvent.End, trailers: `\r\n${fits}` });
    expect(decode(`0\r\n${fits}a\r\n\r\n`).detail).toBe(HeadDetail.TrailerTooLong);
    expect(decodePieces(['0\r\nA: ', ...Array.from({ length: 9 }, () => 'a'.repeat(1024))]).detail).toBe(
      HeadDetail.TrailerTooLong,
    );
    expect(decode(`0\r\n${'A:\r\n'.repeat(MAX_FIELDS + 1)}\r\n`).detail).toBe(HeadDetail.FieldCount);
  });

  it.each([
    'Host: evil',
    'Authorization: Basic x',
    'Proxy-Authorization: x',
    'Cookie: a=b',
    'Set-Cookie: a=b',
    'Content-Type: text/html',
    'Content-Encoding: gzip',
    'Connection: close',
    'Upgrade: websocket',
    'Expect: 100-continue',
    'Cache-Control: no-store',
    'If-Match: x',
    'X-Forwarded-For: 1.2.3.4',
    'breakwater-reason: shed',
    'TE: trailers',
    'Trailer: x',
    'Idempotency-Key: x',
  ])('drops the trailer %s and keeps the others', (line) => {
    expect(decode(`0\r\ngrpc-status: 0\r\n${line.toUpperCase()}\r\nX-Sum: 1\r\n\r\n`)).toMatchObject({
      end: ChunkedEvent.End,
      trailers: '\r\ngrpc-status: 0\r\nX-Sum: 1',
    });
  });
});

describe('properties', () => {
  const extension = fc.constantFrom('', ';a', ';a=b', ';a="b;\\"c"', ';x;y=z');
  const trailer = fc.constantFrom('X-A: 1', 'Host: b', 'grpc-status: 0', 'x-c:');
  const zeros = fc.constantFrom('', '', '0', '000');
  /** Messages of chunks of at most so many bytes, as a sender may write them. */
  const messageOf = (maxChunkBytes: number) => {
    const content = fc
      .uint8Array({ minLength: 1, maxLength: maxChunkBytes, size: 'max' })
      .map((bytes) => Buffer.from(bytes).toString('latin1'));
    const chunk = fc.tuple(content, zeros, extension);
    return fc
      .tuple(fc.array(chunk, { maxLength: 5 }), extension, fc.array(trailer, { maxLength: 3 }))
      .map(([chunks, last, trailers]) => ({
        content: chunks.map(([text]) => text).join(''),
        text: `${chunks.map(([text, padding, ext]) => `${padding}${text.length.toString(16)}${ext}\r\n${text}\r\n`).join('')}0${last}\r\n${trailers.map((line) => `${line}\r\n`).join('')}\r\n`,
      }));
  };
  const cuts = fc.array(fc.nat(), { maxLength: 8 });

  function split(text: string, at: readonly number[]): string[] {
    const ends = [...new Set(at.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b);
    return [...ends, text.length].map((end, index) => text.slice(ends[index - 1] ?? 0, end));
  }

  it('gives back the content that was encoded, at every split the same', () => {
    fc.assert(
      fc.property(messageOf(300), cuts, ({ text, content }, at) => {
        const whole = decode(`${text}NEXT`);
        expect(whole).toMatchObject({ end: ChunkedEvent.End, content, length: text.length });
        expect(decodePieces(split(`${text}NEXT`, at))).toEqual(whole);
      }),
    );
  });

  it('gives the same at every single split of one message and byte by byte', () => {
    const text = '5;a="b\\"";c\r\nhello\r\n00a\r\n, world\r\n.\r\n0;z\r\nX-A: 1\r\nHost: b\r\nX-B: 2\r\n\r\nNEXT';
    const whole = decode(text);
    expect(whole).toMatchObject({
      end: ChunkedEvent.End,
      content: 'hello, world\r\n.',
      trailers: '\r\nX-A: 1\r\nX-B: 2',
    });
    for (let cut = 0; cut <= text.length; cut += 1)
      expect(decodePieces([text.slice(0, cut), text.slice(cut)])).toEqual(whole);
    expect(decodePieces(text.split(''))).toEqual(whole);
  });

  const bytes = fc.constantFrom('5', '0', 'a', '\r', '\n', '\r\n', ';', '=', '"', '\\', ' ', 'hello', ':', '\0');
  const change = fc.record({ at: fc.nat(), removed: fc.nat({ max: 2 }), inserted: fc.oneof(fc.constant(''), bytes) });
  /** Of chunks so short that most changes are not of content. */
  const damaged = fc.tuple(messageOf(4), fc.array(change, { minLength: 1, maxLength: 3 })).map(([{ text }, changes]) =>
    changes.reduce((before, { at, removed, inserted }) => {
      const index = at % (before.length + 1);
      return before.slice(0, index) + inserted + before.slice(index + removed);
    }, text),
  );
  const noise = fc.array(bytes, { maxLength: 20, size: 'max' }).map((parts) => parts.join(''));

  it('finds the same error at every split, and byte by byte', () => {
    const found = new Set<number>();
    fc.assert(
      fc.property(fc.oneof({ weight: 4, arbitrary: damaged }, { weight: 1, arbitrary: noise }), cuts, (text, at) => {
        const whole = decode(text);
        found.add(whole.detail);
        for (const pieces of [split(text, at), text.split('')]) {
          const { end, detail, content } = decodePieces(pieces);
          expect([end, detail, content]).toEqual([whole.end, whole.detail, whole.content]);
        }
      }),
      { numRuns: 2000 },
    );
    expect([...found]).toEqual(
      expect.arrayContaining([
        HeadDetail.None,
        HeadDetail.ChunkSize,
        HeadDetail.ChunkExtension,
        HeadDetail.ChunkLineEnd,
        HeadDetail.ChunkDataEnd,
        HeadDetail.TrailerLineEnd,
        HeadDetail.FieldNameCharacter,
      ]),
    );
  });

  it('reads the chunk heads that we write', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), (length) => {
        const text = 'x'.repeat(length);
        expect(decode(`${encodeChunkHead(length)}${text}\r\n${encodeChunkHead(0)}\r\n`)).toMatchObject({
          end: ChunkedEvent.End,
          content: text,
        });
      }),
      { numRuns: 50 },
    );
    expect([encodeChunkHead(0), encodeChunkHead(255), encodeChunkHead(65_536)]).toEqual([
      '0\r\n',
      'ff\r\n',
      '10000\r\n',
    ]);
  });
});
