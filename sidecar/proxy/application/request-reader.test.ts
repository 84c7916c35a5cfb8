// Requests out of bytes, however these come.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HeadDetail } from '../../http1/errors.ts';
import { MAX_HEAD_BYTES } from '../../http1/limits.ts';
import { RequestReader } from './request-reader.ts';

interface Read {
  target: string;
  body: string;
  trailers: string;
}

/** As a connection does it: what could not be taken comes again, with more behind it. Ends with the reason of a refusal; 0: there was none. */
function readAll(chunks: readonly Buffer[]): { requests: Read[]; detail: number } {
  const reader = new RequestReader();
  const requests: Read[] = [];
  let body = '';
  const receiver = {
    requestData: (buffer: Buffer, start: number, end: number) => {
      body += buffer.latin1Slice(start, end);
    },
  };
  let inBody = false;
  const end = (): void => {
    requests.push({ target: reader.head.target, body, trailers: reader.trailers });
    body = '';
    inBody = false;
    reader.begin();
  };
  let pending = Buffer.alloc(0);
  for (const chunk of chunks) {
    const data = Buffer.concat([pending, chunk]);
    let position = 0;
    while (position < data.length) {
      const from = inBody ? position : reader.skipEmptyLine(data, position, data.length);
      let next = from;
      if (inBody) next = reader.readBody(data, position, data.length, receiver);
      else if (from === position) next = reader.readHead(data, position, data.length);
      if (reader.detail !== 0) return { requests, detail: reader.detail };
      if (next < 0) break;
      position = next;
      if (!inBody && from !== next) inBody = true;
      if (inBody && reader.complete) end();
    }
    pending = data.subarray(position);
  }
  return { requests, detail: 0 };
}

const request = (target: string, fields = '', body = '', method = 'POST') =>
  `${method} ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`;
const bytes = (text: string) => Buffer.from(text, 'latin1');

/** Content, some of which looks like what is around it. */
const content = fc
  .array(
    fc.oneof(
      fc.constantFrom('\r\n', '\r', '\r\n\r\n', '0\r\n\r\n', 'GET / HTTP/1.1\r\n'),
      fc.string({ minLength: 1, maxLength: 30, size: 'max' }),
    ),
    { minLength: 1, maxLength: 4 },
  )
  .map((parts) => parts.join(''));
const known = fc
  .oneof({ weight: 1, arbitrary: fc.constant('') }, { weight: 4, arbitrary: content })
  .map((body) => ({ text: request('/known', `Content-Length: ${body.length}\r\n`, body), body, trailers: '' }));
const chunked = fc
  .tuple(fc.array(content, { maxLength: 4 }), fc.constantFrom('', '\r\nX-Sum: 1', '\r\nX-Sum: 1\r\nX-Y:'))
  .map(([parts, trailers]) => ({
    text: request(
      '/chunked',
      'Transfer-Encoding: chunked\r\n',
      `${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0${trailers}\r\n\r\n`,
    ),
    body: parts.join(''),
    trailers,
  }));
const none = fc.constant({ text: request('/none', '', '', 'GET'), body: '', trailers: '' });
const emptyLine = fc.boolean();

describe('requests', () => {
  it('property: are the same however their bytes are cut, and byte by byte', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(emptyLine, fc.oneof(known, chunked, none)), { minLength: 1, maxLength: 5 }),
        fc.array(fc.nat(), { maxLength: 20, size: 'max' }),
        (sent, cuts) => {
          const all = bytes(sent.map(([empty, { text }]) => (empty ? `\r\n${text}` : text)).join(''));
          const ends = [...new Set(cuts.map((cut) => cut % all.length))].sort((one, other) => one - other);
          const chunks = [...ends, all.length].map((end, index) => all.subarray(ends[index - 1] ?? 0, end));
          const single = Array.from(all, (_, index) => all.subarray(index, index + 1));
          for (const pieces of [chunks, single]) {
            const { requests, detail } = readAll(pieces);
            expect(detail).toBe(0);
            expect(requests.map(({ body, trailers }) => ({ body, trailers }))).toEqual(
              sent.map(([, { body, trailers }]) => ({ body, trailers })),
            );
          }
        },
      ),
    );
  });
});

describe('what is refused', () => {
  it('property: is the same however its bytes are cut, with the same requests before it', () => {
    const odd = fc.constantFrom('\r', '\n', '\r\n', '\0', ' ', ':', ';', 'x', '0', 'HTTP/1.1', 'Host: b\r\n', '\xff');
    const change = fc.record({ at: fc.nat(), removed: fc.nat({ max: 2 }), inserted: fc.oneof(fc.constant(''), odd) });
    const short = fc.constantFrom(
      request('/none', 'Accept: */*\r\n', '', 'GET'),
      request('/known', 'Content-Length: 3\r\n', 'abc'),
      request('/chunked', 'Transfer-Encoding: chunked\r\n', '1;a\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n'),
    );
    let refused = 0;
    fc.assert(
      fc.property(
        fc.array(short, { minLength: 1, maxLength: 3 }),
        fc.array(change, { minLength: 1, maxLength: 3 }),
        (sent, changes) => {
          const text = changes.reduce((before, { at, removed, inserted }) => {
            const index = at % (before.length + 1);
            return before.slice(0, index) + inserted + before.slice(index + removed);
          }, sent.join(''));
          const whole = readAll([bytes(text)]);
          const pieces = readAll(Array.from(bytes(text), (byte) => Buffer.of(byte)));
          expect(pieces.requests).toEqual(whole.requests);
          // A head that can become none is refused before its end, where another reason than the first of the whole may be known.
          expect(pieces.detail !== 0).toBe(whole.detail !== 0);
          if (whole.detail !== 0) refused += 1;
        },
      ),
      { numRuns: 300 },
    );
    expect(refused).toBeGreaterThan(30);
  });

  it.each([
    ['a second empty line', `\r\n\r\n${request('/')}`, HeadDetail.EmptyHead],
    ['a line that ends without a carriage return', 'GET / HTTP/1.1\nHost: a\n', HeadDetail.BareLineFeed],
    ['a chunk without a size', request('/', 'Transfer-Encoding: chunked\r\n', 'zz\r\n'), HeadDetail.ChunkSize],
  ])('is %s', (_what, text, detail) => {
    expect(readAll([bytes(text)])).toEqual({ requests: [], detail });
  });

  it('is a head without end, as soon as it is too long', () => {
    const endless = request('/', `X: ${'a'.repeat(MAX_HEAD_BYTES)}`);
    expect(readAll([bytes(endless)])).toEqual({ requests: [], detail: HeadDetail.HeadBytes });
  });

  it('is not what may still become a request', () => {
    expect(readAll([bytes('\r')])).toEqual({ requests: [], detail: 0 });
    expect(readAll([bytes('GET / HTTP/1.1\r\nHos')])).toEqual({ requests: [], detail: 0 });
  });
});

it('knows what is missing of a body of known length alone', () => {
  const reader = new RequestReader();
  const read = (text: string) => reader.readHead(bytes(text), 0, text.length);
  read(request('/', 'Content-Length: 10\r\n'));
  expect(reader.needsMoreThan(9)).toBe(true);
  expect(reader.needsMoreThan(10)).toBe(false);
  read(request('/', 'Transfer-Encoding: chunked\r\n'));
  expect(reader.needsMoreThan(0)).toBe(false);
});
