// Differential test against llhttp, the parser inside Node: whatever we accept, it accepts in its strict mode, with the same parts and
// the same boundaries; both as the client sent it and as it would be forwarded. The other way round we may be stricter.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRequestHead, RequestHead } from './request-head.ts';
import { parseResponseHead, ResponseHead } from './response-head.ts';
import { type Content, KNOWN_METHODS, readByOracle, readContent } from './testing/llhttp.ts';

const fieldsOf = (list: readonly string[]) =>
  Array.from({ length: list.length / 2 }, (_, index) => `\r\n${list[index * 2]}: ${list[index * 2 + 1]}`).join('');
/** Lines as llhttp tells them: one space after the colon, none around the value. */
const normalised = (lines: string) => lines.replace(/\r\n([^:]+):[ \t]*([^\r]*?)[ \t]*(?=\r|$)/g, '\r\n$1: $2');

const NEXT = 'GET /next HTTP/1.1\r\nHost: next\r\n\r\n';

/** As the data path writes a request to an upstream. */
function forwarded(head: RequestHead, content: Content): string {
  const framing = head.chunked
    ? '\r\nTransfer-Encoding: chunked'
    : head.contentLength >= 0
      ? `\r\nContent-Length: ${head.contentLength}`
      : '';
  const body = head.chunked
    ? `${content.body === '' ? '' : `${content.body.length.toString(16)}\r\n${content.body}\r\n`}0\r\n${content.trailers.replace(/^\r\n/, '')}${content.trailers === '' ? '' : '\r\n'}\r\n`
    : content.body;
  return `${head.method} ${head.target} HTTP/1.1\r\nHost: ${head.host === '' ? 'authority' : head.host}${framing}${head.fields}\r\n\r\n${body}`;
}

/** Whether we accepted; fails where llhttp reads what we accepted in another way. */
function compareRequest(text: string): boolean {
  const headEnd = text.indexOf('\r\n\r\n');
  const head = new RequestHead();
  if (headEnd === -1 || parseRequestHead(text.slice(0, headEnd), head) !== 0 || !KNOWN_METHODS.includes(head.method))
    return false;
  const content = readContent(head, text.slice(headEnd + 4));
  if (content === null || content.rest !== NEXT) return false;

  const onward = readByOracle('REQUEST', forwarded(head, content) + NEXT);
  expect(onward.failed).toBe(false);
  expect(onward.messages.map(({ method, target }) => [method, target])).toEqual([
    [head.method, head.target],
    ['GET', '/next'],
  ]);
  expect(onward.messages[0]).toMatchObject({ body: content.body, complete: true });
  expect(fieldsOf(onward.messages[0]?.trailers ?? [])).toBe(normalised(content.trailers));
  expect(fieldsOf(onward.messages[0]?.fields ?? [])).toContain(normalised(head.fields));

  // After an upgrade or a last request llhttp reads on by rules that are not about framing.
  const sent = readByOracle('REQUEST', text);
  const asksUpgrade = /\r\nupgrade:/i.test(text.slice(0, headEnd));
  if (!asksUpgrade) {
    expect(sent.messages[0]).toMatchObject({ method: head.method, body: content.body, complete: true });
    // "close" beside "keep-alive" closes for us, whatever llhttp makes of it in HTTP/1.0; never the other way round.
    if (head.keepAlive) {
      expect(sent.messages[0]?.keepAlive).toBe(true);
      expect(sent.failed).toBe(false);
      expect(sent.messages.map(({ target }) => target)).toEqual([sent.messages[0]?.target, '/next']);
    }
  }
  return true;
}

const methodName = fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'get');
const target = fc.constantFrom(
  '/',
  '/',
  '/',
  '/a?b',
  '/a?b',
  '/a?b',
  '*',
  'http://a/b',
  'http://b/',
  '/a b',
  '/\xff',
  '/#',
  'a',
  '//a',
  '/%00',
);
const version = fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/1.2', 'http/1.1');
const fieldLine = fc.constantFrom(
  'Host: a',
  'Host: a',
  'Host: a',
  'Host: a',
  'Host:a ',
  'Accept: */*',
  'Cookie: a=b',
  'X-Name: value',
  'Content-Length: 5',
  'Content-Length: 0',
  'content-length:5',
  'Content-Length: 05',
  'Content-Length: 5, 5',
  'Content-Length: +5',
  'Content-Length : 5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: chunked',
  'transfer-encoding:\tCHUNKED ',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding:\x0bchunked',
  ' Transfer-Encoding: chunked',
  'Connection: close',
  'Connection: keep-alive, x-a',
  'Connection: upgrade',
  'Upgrade: websocket',
  'Expect: 100-continue',
  'TE: trailers',
  'X-A: b',
  'X-B:',
  'X-C: \x80\xff',
  'X-D: a\rb',
  'X-E: a\nb',
  'X-F: \0',
  'X_Y: 1',
);
const body = fc.constantFrom(
  '',
  'hello',
  '5\r\nhello\r\n0\r\n\r\n',
  '5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n',
  '05\r\nhello\r\n0\r\nHost: b\r\nX-T: 1\r\n\r\n',
  '1;x="y;z"\r\na\r\n2\r\nbc\r\n0;e\r\n\r\n',
  '0\r\n\r\n',
  '5 \r\nhello\r\n0\r\n\r\n',
  '5\r\nhello0\r\n\r\n',
  '5;\nhello\r\n0\r\n\r\n',
);
/** Framing and content that go together, and that do not. */
const framed = fc.oneof(
  fc.constantFrom<[string[], string]>(
    [['Host: a'], ''],
    [['Host: a', 'Content-Length: 5'], 'hello'],
    [['Transfer-Encoding: chunked', 'Host: a'], '5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n'],
    [['Host: a', 'Transfer-Encoding: Chunked '], '1;x="y;z"\r\na\r\n2\r\nbc\r\n0;e\r\n\r\n'],
  ),
  fc.tuple(fc.array(fieldLine, { maxLength: 3 }), body),
);
const mutation = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom('insert', 'replace', 'delete'),
  text: fc.constantFrom(
    '\r',
    '\n',
    '\0',
    ' ',
    '\t',
    ':',
    ';',
    ',',
    '\r\n',
    '\x0b',
    '\x7f',
    '\xa0',
    '0',
    '5',
    'a',
    '"',
    '\\',
    'Host: b\r\n',
    '-',
    '_',
    '\r\n\r\n',
  ),
});

function mutate(text: string, mutations: readonly { at: number; kind: string; text: string }[]): string {
  let result = text;
  for (const { at, kind, text: inserted } of mutations) {
    const index = at % (result.length + 1);
    const skipped = kind === 'insert' ? 0 : 1;
    result = result.slice(0, index) + (kind === 'delete' ? '' : inserted) + result.slice(index + skipped);
  }
  return result;
}

describe('requests', () => {
  it('agrees on what is put together from good and bad parts', () => {
    let agreed = 0;
    const request = fc.tuple(methodName, target, version, framed, fc.array(fieldLine, { maxLength: 3 }));
    fc.assert(
      fc.property(request, ([method, path, protocol, [framing, content], others]) => {
        const lines = [`${method} ${path} ${protocol}`, ...framing, ...others];
        if (compareRequest(`${lines.join('\r\n')}\r\n\r\n${content}${NEXT}`)) agreed += 1;
      }),
      { numRuns: 20_000 },
    );
    expect(agreed).toBeGreaterThan(500);
  });

  it('agrees on good requests with some bytes changed', () => {
    const good = fc.constantFrom(
      `POST /a?b=c HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello${NEXT}`,
      `POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n5;a="b"\r\nhello\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n${NEXT}`,
      `GET /a HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nConnection: close\r\n\r\n${NEXT}`,
      `GET http://a/ HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n${NEXT}`,
      `PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n0123456789${NEXT}`,
    );
    let agreed = 0;
    fc.assert(
      fc.property(good, fc.array(mutation, { minLength: 0, maxLength: 3 }), (text, mutations) => {
        if (compareRequest(mutate(text, mutations))) agreed += 1;
      }),
      { numRuns: 20_000 },
    );
    expect(agreed).toBeGreaterThan(1000);
  });
});

const NEXT_RESPONSE = 'HTTP/1.1 299 Next\r\nContent-Length: 0\r\n\r\n';

function compareResponse(text: string, answersHead: boolean): boolean {
  const headEnd = text.indexOf('\r\n\r\n');
  const head = new ResponseHead();
  if (headEnd === -1 || parseResponseHead(text.slice(0, headEnd), head) !== 0) return false;
  // Content up to the end of the connection has no boundary to compare, a 101 ends HTTP.
  const noContent = answersHead || head.status < 200 || head.status === 204 || head.status === 304;
  if (head.status === 101 || (!noContent && !head.chunked && head.contentLength === -1)) return false;
  const content = readContent(noContent ? { chunked: false, contentLength: 0 } : head, text.slice(headEnd + 4));
  if (content === null || content.rest !== NEXT_RESPONSE) return false;
  const sent = readByOracle('RESPONSE', text, answersHead);
  expect(sent.messages[0]).toMatchObject({ status: head.status, body: content.body, complete: true });
  if (head.keepAlive && sent.messages[0]?.keepAlive === true) {
    expect(sent.failed).toBe(false);
    expect(sent.messages.map(({ status }) => status)).toEqual([head.status, 299]);
  }
  return true;
}

describe('responses', () => {
  it('agrees on good responses with some bytes changed', () => {
    const good = fc.constantFrom(
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello',
      'HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n',
      'HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nno',
      'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
      'HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n',
      'HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
    );
    let agreed = 0;
    fc.assert(
      fc.property(good, fc.array(mutation, { minLength: 0, maxLength: 3 }), (text, mutations) => {
        if (compareResponse(mutate(text, mutations) + NEXT_RESPONSE, false)) agreed += 1;
      }),
      { numRuns: 20_000 },
    );
    expect(agreed).toBeGreaterThan(1000);
  });

  it('agrees on responses to HEAD', () => {
    expect(compareResponse(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n${NEXT_RESPONSE}`, true)).toBe(true);
    expect(compareResponse(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${NEXT_RESPONSE}`, true)).toBe(true);
  });
});
