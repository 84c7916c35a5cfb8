import { describe, expect, it } from 'vitest';
import { HeadDetail, headErrorDetail } from './errors.ts';
import { parseResponseHead, ResponseHead } from './response-head.ts';

function parse(...lines: string[]): { detail: number; head: ResponseHead } {
  const head = new ResponseHead();
  return { detail: parseResponseHead(lines.join('\r\n'), head), head };
}

function accepted(...lines: string[]): ResponseHead {
  const { detail, head } = parse(...lines);
  expect(headErrorDetail(detail)).toBe('');
  return head;
}

const withFields = (...fields: string[]) => parse('HTTP/1.1 200 OK', ...fields);

describe('what is taken apart', () => {
  it('reads an ordinary response', () => {
    const head = accepted(
      'HTTP/1.1 200 OK',
      'Content-Type: application/json',
      'Content-Length: 12',
      'Set-Cookie: a=b',
      'Set-Cookie: c=d',
    );
    expect(head).toEqual({
      status: 200,
      reason: 'OK',
      minorVersion: 1,
      fields: '\r\nContent-Type: application/json\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d',
      contentLength: 12,
      chunked: false,
      keepAlive: true,
      keepAliveTimeoutMs: -1,
      upgrade: '',
      eventStream: false,
      retryAfterSeconds: -1,
      retryAfterDate: '',
      refusesRetry: false,
      wireStatus: 0,
      grpcStatus: -1,
      grpcStream: false,
      pushbackMs: -1,
    });
  });

  it('keeps nothing of the response before', () => {
    const head = new ResponseHead();
    const full =
      'HTTP/1.0 503 Busy\r\nRetry-After: 3\r\nContent-Type: text/event-stream\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, upgrade\r\nUpgrade: x\r\nContent-Length: 1';
    expect(parseResponseHead(full, head)).toBe(0);
    expect(parseResponseHead('HTTP/1.1 200 OK', head)).toBe(0);
    expect(head).toEqual(accepted('HTTP/1.1 200 OK'));
  });

  it.each([
    ['HTTP/1.1 404 Not Found', 404, 'Not Found', 1],
    ['HTTP/1.0 200 OK', 200, 'OK', 0],
    ['HTTP/1.1 200 ', 200, '', 1],
    ['HTTP/1.1 200', 200, '', 1],
    ['HTTP/1.1 200  two', 200, ' two', 1],
    ['HTTP/1.1 299 \xe9\ttab', 299, '\xe9\ttab', 1],
    ['HTTP/1.1 100 Continue', 100, 'Continue', 1],
    ['HTTP/1.1 999 Denied', 999, 'Denied', 1],
  ])('reads %j', (line, status, reason, minorVersion) => {
    expect(accepted(line)).toMatchObject({ status, reason, minorVersion });
  });

  it.each([
    ['Content-Type: text/event-stream', true],
    ['content-type: TEXT/Event-Stream; charset=utf-8', true],
    ['Content-Type: text/event-stream;x', true],
    ['Content-Type: text/event-streams', false],
    ['Content-Type: text/plain', false],
    ['Content-Type:', false],
  ])('%s is an event stream: %s', (field, eventStream) =>
    expect(withFields(field).head).toMatchObject({ eventStream, fields: `\r\n${field}` }),
  );

  it.each([
    ['Retry-After: 120', 120],
    ['Retry-After: 0', 0],
    // RFC 9110, 10.2.3: delay-seconds = 1*DIGIT.
    ['Retry-After: 0120', 120],
    [`Retry-After: ${'9'.repeat(30)}`, Number.MAX_SAFE_INTEGER],
    ['Retry-After: ', -1],
    ['Retry-After: Fri, 31 Dec 1999 23:59:59 GMT', -1],
    ['Retry-After: -1', -1],
    ['Retry-After: soon', -1],
  ])('reads %s', (field, retryAfterSeconds) =>
    expect(withFields(field).head).toMatchObject({ retryAfterSeconds, fields: `\r\n${field}` }),
  );

  it('keeps a Retry-After that is no number', () =>
    expect(withFields('Retry-After: Fri, 31 Dec 1999 23:59:59 GMT').head.retryAfterDate).toBe(
      'Fri, 31 Dec 1999 23:59:59 GMT',
    ));

  it.each([
    ['X-Breakwater-Retry: never', true],
    ['x-should-retry: false', true],
    ['Stripe-Should-Retry: False', true],
    ['grpc-retry-pushback-ms: -1', true],
    ['x-should-retry: true', false],
    ['grpc-retry-pushback-ms: 100', false],
    ['X-Retry: never', false],
  ])('%s refuses a retry: %s', (field, refusesRetry) =>
    expect(withFields(field).head).toMatchObject({ refusesRetry, fields: `\r\n${field}` }),
  );

  it.each([
    ['timeout=5', 5000],
    ['timeout=5, max=100', 5000],
    ['max=100, Timeout=7 ', 7000],
    ['timeout=0', 0],
    ['max=5', -1],
    ['timeout=', -1],
    ['timeout=x', -1],
    ['timeout=99999999', -1],
    ['', -1],
    [',', -1],
  ])('reads Keep-Alive: %s', (value, keepAliveTimeoutMs) => {
    expect(withFields(`Keep-Alive: ${value}`).head).toMatchObject({ keepAliveTimeoutMs, fields: '' });
  });

  it('drops what ends at this hop', () => {
    const { head } = withFields(
      'A: 1',
      'Connection: keep-alive, X-Hop',
      'X-Hop: 1',
      'Proxy-Connection: close',
      'TE: x',
      'B: 2',
      'HTTP2-Settings: x',
    );
    expect(head.fields).toBe('\r\nA: 1\r\nB: 2');
  });

  it('keeps end-to-end fields that a server nominates', () => {
    expect(
      withFields('Connection: Set-Cookie, cache-control', 'Set-Cookie: a', 'Cache-Control: no-store').head.fields,
    ).toBe('\r\nSet-Cookie: a\r\nCache-Control: no-store');
  });

  it('reads an upgrade that Connection nominates', () => {
    expect(accepted('HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade').upgrade).toBe(
      'websocket',
    );
    expect(accepted('HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket').upgrade).toBe('');
  });

  it.each([
    ['HTTP/1.1 200 OK', [], true],
    ['HTTP/1.1 200 OK', ['Connection: close'], false],
    ['HTTP/1.0 200 OK', [], false],
    ['HTTP/1.0 200 OK', ['Connection: keep-alive'], true],
  ])('%s %j leaves the connection open: %s', (line, fields, keepAlive) =>
    expect(accepted(line, ...fields).keepAlive).toBe(keepAlive),
  );
});

describe('framing', () => {
  it.each([
    [['Content-Length: 0'], 0, false],
    [['Content-Length: 17'], 17, false],
    [['Transfer-Encoding: Chunked'], -1, true],
    [[], -1, false],
  ])('reads %j', (fields, contentLength, chunked) =>
    expect(withFields(...fields).head).toMatchObject({ contentLength, chunked, fields: '' }),
  );

  it.each([
    [['Content-Length: 5', 'Content-Length: 5'], HeadDetail.TwoContentLengths],
    [['Content-Length: 5, 5'], HeadDetail.BadContentLength],
    [['Content-Length: +5'], HeadDetail.BadContentLength],
    [['Content-Length: '], HeadDetail.BadContentLength],
    [['Transfer-Encoding: gzip, chunked'], HeadDetail.BadTransferEncoding],
    [['Transfer-Encoding: identity'], HeadDetail.BadTransferEncoding],
    [['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], HeadDetail.TwoTransferEncodings],
    [['Content-Length: 5', 'Transfer-Encoding: chunked'], HeadDetail.LengthAndEncoding],
    [['Content_Length: 5'], HeadDetail.LookalikeField],
    [['Connection: a b'], HeadDetail.BadConnection],
    [['Upgrade: a b'], HeadDetail.BadUpgrade],
  ])('refuses %j', (fields, detail) => expect(withFields(...fields).detail).toBe(detail));

  it('refuses Transfer-Encoding in HTTP/1.0', () => {
    expect(parse('HTTP/1.0 200 OK', 'Transfer-Encoding: chunked').detail).toBe(HeadDetail.TransferEncodingInHttp10);
  });

  it.each(['100 Continue', '103 Early Hints', '101 Switching Protocols', '204 No Content'])(
    'knows that %s has no content',
    (line) => {
      expect(accepted(`HTTP/1.1 ${line}`, 'Content-Length: 0')).toMatchObject({ contentLength: -1, chunked: false });
      expect(parse(`HTTP/1.1 ${line}`, 'Content-Length: 5').detail).toBe(HeadDetail.FramedNoContent);
      expect(parse(`HTTP/1.1 ${line}`, 'Transfer-Encoding: chunked').detail).toBe(HeadDetail.FramedNoContent);
    },
  );

  it('keeps the length that a 304 tells of', () => {
    expect(accepted('HTTP/1.1 304 Not Modified', 'Content-Length: 500').contentLength).toBe(500);
  });
});

describe('what is refused', () => {
  it.each([
    ['', HeadDetail.EmptyHead],
    ['HTTP/1.1', HeadDetail.BadStatusLine],
    ['HTTP/1.1 ', HeadDetail.BadStatusLine],
    ['HTTP/1.1 20', HeadDetail.BadStatusLine],
    ['HTTP/1.1 2000', HeadDetail.BadStatus],
    ['HTTP/1.1 020 x', HeadDetail.BadStatus],
    ['HTTP/1.1 099 x', HeadDetail.BadStatus],
    ['HTTP/1.1 2x0 OK', HeadDetail.BadStatus],
    ['HTTP/1.1 +20 OK', HeadDetail.BadStatus],
    ['HTTP/1.1  200 OK', HeadDetail.BadStatus],
    ['HTTP/1.1\t200 OK', HeadDetail.BadStatusLine],
    ['HTTP/1.1 200\tOK', HeadDetail.BadStatusLine],
    ['HTTP/1.1 200-OK', HeadDetail.BadStatusLine],
    ['HTTP/1.2 200 OK', HeadDetail.UnsupportedVersion],
    ['HTTP/2.0 200 OK', HeadDetail.UnsupportedVersion],
    ['HTTP/x.1 200 OK', HeadDetail.BadVersion],
    ['http/1.1 200 OK', HeadDetail.BadStatusLine],
    ['ICY 200 OK abc', HeadDetail.BadStatusLine],
    ['HTTP/1.1 200 O\0K', HeadDetail.ValueCharacter],
    ['HTTP/1.1 200 OK\n', HeadDetail.BareLineFeed],
    ['HTTP/1.1 200 OK\rX', HeadDetail.BareCarriageReturn],
  ])('refuses the status line %j', (line, detail) => expect(parse(line, 'A: b').detail).toBe(detail));

  it.each([
    [' folded', HeadDetail.FoldedLine],
    ['A : b', HeadDetail.SpaceBeforeColon],
    ['A: b\nC: d', HeadDetail.BareLineFeed],
    ['A: b\rC: d', HeadDetail.BareCarriageReturn],
    ['A: \0', HeadDetail.ValueCharacter],
    ['Abc', HeadDetail.NoColon],
  ])('refuses the field line %j', (line, detail) => expect(withFields(line).detail).toBe(detail));

  it('refuses a head of more than 16384 bytes and more than 100 fields', () => {
    expect(withFields(`A: ${'a'.repeat(16_384)}`).detail).toBe(HeadDetail.HeadBytes);
    expect(withFields(...Array.from({ length: 101 }, () => 'A: b')).detail).toBe(HeadDetail.FieldCount);
  });
});
