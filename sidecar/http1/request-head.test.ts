import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HeadDetail, HeadError, headErrorClass, headErrorDetail } from './errors.ts';
import { MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES } from './limits.ts';
import { parseRequestHead, RequestHead, unfinishedRequestHeadDetail } from './request-head.ts';

function parse(...lines: string[]): { detail: number; head: RequestHead } {
  const head = new RequestHead();
  return { detail: parseRequestHead(lines.join('\r\n'), head), head };
}

function accepted(...lines: string[]): RequestHead {
  const { detail, head } = parse(...lines);
  expect(headErrorDetail(detail)).toBe('');
  return head;
}

/** A GET with these field lines after Host. */
const withFields = (...fields: string[]) => parse('GET / HTTP/1.1', 'Host: a', ...fields);

describe('what is taken apart', () => {
  it('takes out what only we may say, and keeps the deadline', () => {
    const head = accepted(
      'GET / HTTP/1.1',
      'Host: a',
      'X-A: 1',
      'X-Breakwater-Attempt: 7',
      'x-breakwater-deadline: \t12 ',
      'X-B: 2',
    );
    expect(head).toMatchObject({ fields: '\r\nX-A: 1\r\nX-B: 2', deadline: '12' });
  });

  it.each([
    ['text/event-stream', true],
    ['application/json, Text/Event-Stream;q=0.9', true],
    ['text/html,application/xhtml+xml', false],
    ['*/*', false],
    ['', false],
  ])('sees whether Accept: %s asks for a stream of events', (value, acceptsEventStream) => {
    const fields = `\r\nAccept: ${value}`;
    expect(accepted('GET / HTTP/1.1', 'Host: a', `Accept: ${value}`)).toMatchObject({ acceptsEventStream, fields });
  });

  it.each([
    [['tracestate: a=1'], 'tracestate: a=1', false],
    [['X-A: 1', 'TraceState:  a=1 ', 'X-B: 2'], 'TraceState:  a=1 ', false],
    [['X-A: 1', 'TE: trailers', 'tracestate: a=1', 'X-Breakwater-Attempt: 7'], 'tracestate: a=1', false],
    [['X-A: 1', 'Connection: X-A', 'X-B: 2', 'tracestate: a=1'], 'tracestate: a=1', false],
    [['tracestate: a=1', 'X-A: 1', 'tracestate: b=1'], 'tracestate: a=1', true],
  ])('finds the line of tracestate in %j', (lines, line, parted) => {
    const head = accepted('GET / HTTP/1.1', 'Host: a', ...lines);
    expect(head.fields.slice(head.tracestateStart, head.tracestateEnd)).toBe(`\r\n${line}`);
    expect(head.tracestateParted).toBe(parted);
  });

  it('reads an ordinary request', () => {
    const head = accepted('GET /a/b?c=d&e HTTP/1.1', 'Host: payments.billing:8080', 'Accept: */*', 'X-A:1');
    expect(head).toEqual({
      method: 'GET',
      target: '/a/b?c=d&e',
      path: '/a/b',
      minorVersion: 1,
      fields: '\r\nAccept: */*\r\nX-A:1',
      host: 'payments.billing:8080',
      contentLength: -1,
      chunked: false,
      keepAlive: true,
      expectsContinue: false,
      upgrade: '',
      acceptsTrailers: false,
      correlationId: '',
      hasIdempotencyKey: false,
      acceptsEventStream: false,
      hasTraceparent: false,
      tracestateStart: 0,
      tracestateEnd: 0,
      tracestateParted: false,
      deadline: '',
      grpc: false,
      grpcTimeout: '',
      grpcPreviousAttempts: 0,
    });
  });

  it('keeps nothing of the request before', () => {
    const head = new RequestHead();
    const full =
      'POST /x?y HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\nX-Correlation-ID: c\r\nIdempotency-Key: k\r\nTE: trailers\r\nConnection: keep-alive, x-b\r\nX-B: 1';
    expect(parseRequestHead(full, head)).toBe(0);
    expect(parseRequestHead('GET / HTTP/1.1\r\nHost: b', head)).toBe(0);
    expect(head).toEqual(accepted('GET / HTTP/1.1', 'Host: b'));
  });

  it.each([
    ['GET', 'GET'],
    ['PUT', 'PUT'],
    ['POST', 'POST'],
    ['HEAD', 'HEAD'],
    ['PATCH', 'PATCH'],
    ['DELETE', 'DELETE'],
    ['OPTIONS', 'OPTIONS'],
    ['TRACE', 'TRACE'],
    ['get', 'get'],
    ['M-SEARCH', 'M-SEARCH'],
    ['XYZ', 'XYZ'],
  ])('takes the method %s as it is', (sent, method) => {
    expect(accepted(`${sent} / HTTP/1.1`, 'Host: a').method).toBe(method);
  });

  it('leaves dots, encoded slashes, semicolons and backslashes of a path as they are', () => {
    const target = '/a/../b/%2e%2E/%2f;v=1//\\c?d=/../e?f';
    const head = accepted(`GET ${target} HTTP/1.1`, 'Host: a');
    expect(head.target).toBe(target);
    expect(head.path).toBe('/a/../b/%2e%2E/%2f;v=1//\\c');
  });

  it.each([
    ['http://a/b?c', 'GET', '/b?c', '/b'],
    ['HTTP://A/b', 'GET', '/b', '/b'],
    ['http://a', 'GET', '/', '/'],
    ['http://a?x=1', 'GET', '/?x=1', '/'],
    ['http://a', 'OPTIONS', '*', '*'],
    ['http://a/', 'OPTIONS', '/', '/'],
    ['*', 'OPTIONS', '*', '*'],
  ])('forwards the target %s of %s %s in origin form', (sent, method, target, path) => {
    const head = accepted(`${method} ${sent} HTTP/1.1`, 'Host: a');
    expect([head.target, head.path]).toEqual([target, path]);
  });

  it('takes the authority of an absolute target for Host in HTTP/1.0', () => {
    expect(accepted('GET http://A:81/ HTTP/1.0').host).toBe('a:81');
  });

  it.each([
    'a',
    'a-b.c_d',
    'payments.billing.svc.cluster.local:8080',
    '10.0.0.1',
    '10.0.0.1:80',
    '[::1]',
    '[fd00::1]:8443',
    '[::ffff:10.0.0.1]',
  ])('takes the Host %s', (host) => expect(accepted('GET / HTTP/1.1', `Host: ${host}`).host).toBe(host));

  it('lets bytes above ASCII pass in values, and only there', () => {
    expect(accepted('GET / HTTP/1.1', 'Host: a', 'X-Name: \x80\xff gr\xfc\xdfe').fields).toBe(
      '\r\nX-Name: \x80\xff gr\xfc\xdfe',
    );
    expect(withFields('X-N\xe4me: a').detail).toBe(HeadDetail.FieldNameCharacter);
    expect(parse('GET /\xe4 HTTP/1.1', 'Host: a').detail).toBe(HeadDetail.TargetCharacter);
    expect(parse('GET / HTTP/1.1', 'Host: \xe4').detail).toBe(HeadDetail.BadHost);
  });

  it('keeps the bytes of forwarded lines, white space included', () => {
    expect(accepted('GET / HTTP/1.1', 'host:a', 'X-a: \t 1 \t ', 'x-empty:', 'x-blank:  ').fields).toBe(
      '\r\nX-a: \t 1 \t \r\nx-empty:\r\nx-blank:  ',
    );
  });

  it('keeps a field called __proto__ a field', () => {
    expect(accepted('GET / HTTP/1.1', 'Host: a', '__proto__: {"x":1}', 'constructor: 1').fields).toBe(
      '\r\n__proto__: {"x":1}\r\nconstructor: 1',
    );
  });

  it('reads X-Correlation-ID and Idempotency-Key, and forwards both', () => {
    const head = accepted('POST / HTTP/1.1', 'x-correlation-id:  abc-1 ', 'Host: a', 'IDEMPOTENCY-KEY: "k"');
    expect(head.correlationId).toBe('abc-1');
    expect(head.hasIdempotencyKey).toBe(true);
    expect(head.fields).toBe('\r\nx-correlation-id:  abc-1 \r\nIDEMPOTENCY-KEY: "k"');
    expect(accepted('POST / HTTP/1.1', 'Host: a', 'Idempotency-Key:').hasIdempotencyKey).toBe(false);
  });

  it.each([
    ['TE: trailers', true],
    ['TE: gzip;q=0.5, Trailers', true],
    ['TE: gzip', false],
    ['TE: trailersx', false],
    ['TE:', false],
  ])('reads %s', (field, acceptsTrailers) => {
    const { detail, head } = withFields('Connection: TE', field);
    expect([detail, head.acceptsTrailers, head.fields]).toEqual([0, acceptsTrailers, '']);
  });
});

describe('framing', () => {
  it.each([
    ['0', 0],
    ['5', 5],
    ['1073741824', 1_073_741_824],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('reads Content-Length: %s', (value, length) => {
    const { detail, head } = withFields(`Content-Length: ${value}`);
    expect([detail, head.contentLength, head.chunked, head.fields]).toEqual([0, length, false, '']);
  });

  it.each([
    '',
    '5, 5',
    '5,5',
    '+5',
    '-5',
    '-0',
    '05',
    '00',
    '0x5',
    '5 5',
    '5.0',
    '1e3',
    '9007199254740992',
    '99999999999999999999',
    'five',
    '5;',
  ])('refuses Content-Length: %s', (value) =>
    expect(withFields(`Content-Length: ${value}`).detail).toBe(HeadDetail.BadContentLength),
  );

  it.each(['chunked', 'Chunked', 'CHUNKED', '  chunked  '])('reads Transfer-Encoding: %s', (value) => {
    const { detail, head } = withFields(`Transfer-Encoding:${value}`);
    expect([detail, head.chunked, head.contentLength, head.fields]).toEqual([0, true, -1, '']);
  });

  it.each([
    '',
    'identity',
    'gzip',
    'gzip, chunked',
    'chunked, gzip',
    'chunked, chunked',
    'chunked,',
    ',chunked',
    'chunked;q=1',
    '"chunked"',
    'xchunked',
    'chunkedx',
    'chun ked',
    'chunk',
  ])('refuses Transfer-Encoding: %s', (value) =>
    expect(withFields(`Transfer-Encoding: ${value}`).detail).toBe(HeadDetail.BadTransferEncoding),
  );

  it.each([
    ['two different lengths', HeadDetail.TwoContentLengths, ['Content-Length: 5', 'Content-Length: 6']],
    ['two equal lengths', HeadDetail.TwoContentLengths, ['Content-Length: 5', 'content-length: 5']],
    ['two encodings', HeadDetail.TwoTransferEncodings, ['Transfer-Encoding: chunked', 'transfer-encoding: chunked']],
    ['length before encoding', HeadDetail.LengthAndEncoding, ['Content-Length: 5', 'Transfer-Encoding: chunked']],
    ['encoding before length', HeadDetail.LengthAndEncoding, ['Transfer-Encoding: chunked', 'Content-Length: 0']],
    ['Content_Length', HeadDetail.LookalikeField, ['Content_Length: 5']],
    ['a tab before the length', HeadDetail.TabAroundValue, ['Content-Length:\t5']],
    ['a tab after the encoding', HeadDetail.TabAroundValue, ['Transfer-Encoding: chunked\t']],
    ['a tab among connection options', HeadDetail.BadConnection, ['Connection: a,\tclose']],
    ['Transfer_Encoding', HeadDetail.LookalikeField, ['Transfer_Encoding: chunked']],
  ])('refuses %s', (_, detail, fields) => expect(withFields(...fields).detail).toBe(detail));

  it('refuses Transfer-Encoding in HTTP/1.0', () => {
    expect(parse('POST / HTTP/1.0', 'Host: a', 'Transfer-Encoding: chunked').detail).toBe(
      HeadDetail.TransferEncodingInHttp10,
    );
  });

  it.each(['GET', 'HEAD', 'DELETE', 'OPTIONS'])('takes content with %s, which only TRACE cannot have', (method) => {
    expect(accepted(`${method} / HTTP/1.1`, 'Host: a', 'Content-Length: 5').contentLength).toBe(5);
    expect(parse('TRACE / HTTP/1.1', 'Host: a', 'Content-Length: 5').detail).toBe(HeadDetail.TraceContent);
    expect(parse('TRACE / HTTP/1.1', 'Host: a', 'Transfer-Encoding: chunked').detail).toBe(HeadDetail.TraceContent);
  });
});

describe('connection', () => {
  it.each([
    ['HTTP/1.1', [], true],
    ['HTTP/1.1', ['Connection: close'], false],
    ['HTTP/1.1', ['Connection: keep-alive, CLOSE'], false],
    ['HTTP/1.1', ['Connection: keep-alive', 'Connection: close'], false],
    ['HTTP/1.0', [], false],
    ['HTTP/1.0', ['Connection: Keep-Alive'], true],
    ['HTTP/1.0', ['Connection: keep-alive, close'], false],
    ['HTTP/1.0', ['Proxy-Connection: keep-alive'], false],
  ])('%s %j leaves the connection open: %s', (version, fields, keepAlive) => {
    expect(accepted(`GET / ${version}`, 'Host: a', ...fields).keepAlive).toBe(keepAlive);
  });

  it('drops what ends at this hop, wherever it stands', () => {
    const head = accepted(
      'GET / HTTP/1.1',
      'A: 1',
      'Keep-Alive: timeout=5',
      'B: 2',
      'Host: a',
      'Proxy-Connection: keep-alive',
      'Connection: x-late, X-Early , ,keep-alive',
      'C: 3',
      'X-Late: 1',
      'HTTP2-Settings: AAMAAABk',
      'x-early: 2',
      'x-earlyish: 3',
    );
    expect(head.fields).toBe('\r\nA: 1\r\nB: 2\r\nC: 3\r\nx-earlyish: 3');
  });

  it('keeps end-to-end fields that a client nominates', () => {
    const names = [
      'Authorization',
      'Cookie',
      'Content-Type',
      'X-Forwarded-For',
      'traceparent',
      'X-Correlation-ID',
      'Breakwater-Deadline',
      'If-Match',
    ];
    const head = accepted(
      'GET / HTTP/1.1',
      'Host: a',
      `Connection: close, host, ${names.join(', ')}`,
      ...names.map((name) => `${name}: 1`),
    );
    expect(head.fields).toBe(names.map((name) => `\r\n${name}: 1`).join(''));
    expect(head.host).toBe('a');
  });

  it.each(['a b', 'close;', '"close"', 'a\x80', 'close, (x)'])('refuses Connection: %s', (value) => {
    expect(withFields(`Connection: ${value}`).detail).toBe(HeadDetail.BadConnection);
  });

  it('offers an upgrade on only where Connection nominates it', () => {
    expect(withFields('Upgrade: websocket', 'Connection: Upgrade').head.upgrade).toBe('websocket');
    expect(withFields('Connection: upgrade', 'Upgrade: websocket', 'Upgrade: foo/2').head.upgrade).toBe(
      'websocket, foo/2',
    );
    expect(withFields('Connection: upgrade', 'Upgrade: a , b/2,, c').head.upgrade).toBe('a , b/2,, c');
    expect(withFields('Upgrade: websocket').head.upgrade).toBe('');
    expect(withFields('Connection: upgrade').head.upgrade).toBe('');
    expect(withFields('Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Key: x').head.fields).toBe(
      '\r\nSec-WebSocket-Key: x',
    );
  });

  it('ignores an upgrade to h2c, in HTTP/1.0, and together with content', () => {
    const h2c = withFields('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk').head;
    expect([h2c.upgrade, h2c.fields]).toEqual(['', '']);
    expect(withFields('Connection: upgrade', 'Upgrade: websocket, h2c').head.upgrade).toBe('');
    expect(withFields('Connection: upgrade', 'Upgrade: websocket', 'Content-Length: 1').head.upgrade).toBe('');
    expect(accepted('GET / HTTP/1.0', 'Host: a', 'Connection: upgrade', 'Upgrade: websocket').upgrade).toBe('');
  });

  it.each(['', 'web socket', 'websocket/', '/1', 'a,/1', 'a, b/', 'a/b/c', 'a;b', '"x"', ','])(
    'refuses Upgrade: %s',
    (value) => {
      expect(withFields('Connection: upgrade', `Upgrade: ${value}`).detail).toBe(HeadDetail.BadUpgrade);
    },
  );

  it('forwards Expect: 100-continue where content follows', () => {
    const { head } = withFields('expect: 100-Continue', 'Content-Length: 5', 'A: 1');
    expect([head.expectsContinue, head.fields]).toEqual([true, '\r\nA: 1\r\nExpect: 100-continue']);
  });

  it('lets an expectation that asks for nothing end here', () => {
    for (const head of [
      withFields('Expect: 100-continue').head,
      withFields('Expect: 100-continue', 'Content-Length: 0').head,
      accepted('POST / HTTP/1.0', 'Host: a', 'Expect: 100-continue', 'Content-Length: 5'),
    ]) {
      expect([head.expectsContinue, head.fields]).toEqual([false, '']);
    }
  });

  it.each([
    ['Expect: y 100-continue'],
    ['Expect: 100-continue, 100-continue'],
    ['Expect:'],
    ['Expect: 200-ok'],
    ['Expect: 100-continue', 'Expect: 100-continue'],
  ])('refuses %s %s', (...fields) =>
    expect(withFields('Content-Length: 5', ...fields).detail).toBe(HeadDetail.BadExpect),
  );
});

describe('what is refused', () => {
  it.each([
    ['', HeadDetail.EmptyHead],
    ['\r\nGET / HTTP/1.1', HeadDetail.EmptyHead],
    [' GET / HTTP/1.1', HeadDetail.BadMethod],
    ['GET', HeadDetail.BadRequestLine],
    ['GET /', HeadDetail.BadRequestLine],
    ['GET / ', HeadDetail.BadVersion],
    ['GET  / HTTP/1.1', HeadDetail.BadRequestLine],
    ['GET /  HTTP/1.1', HeadDetail.BadRequestLine],
    ['GET / HTTP/1.1 ', HeadDetail.BadRequestLine],
    ['GET\t/\tHTTP/1.1', HeadDetail.BadMethod],
    ['GET /\tHTTP/1.1', HeadDetail.TargetCharacter],
    ['GET /a b HTTP/1.1', HeadDetail.BadRequestLine],
    ['G@T / HTTP/1.1', HeadDetail.BadMethod],
    [`${'A'.repeat(65)} / HTTP/1.1`, HeadDetail.BadMethod],
    ['GET /\0 HTTP/1.1', HeadDetail.TargetCharacter],
    ['GET /\x7f HTTP/1.1', HeadDetail.TargetCharacter],
    ['GET /a#b HTTP/1.1', HeadDetail.Fragment],
    ['GET a HTTP/1.1', HeadDetail.BadTarget],
    ['GET a:80 HTTP/1.1', HeadDetail.BadTarget],
    ['GET ?a HTTP/1.1', HeadDetail.BadTarget],
    ['GET * HTTP/1.1', HeadDetail.AsteriskMethod],
    ['OPTIONS ** HTTP/1.1', HeadDetail.BadTarget],
    ['CONNECT a:443 HTTP/1.1', HeadDetail.ConnectRefused],
    ['CONNECT /a HTTP/1.1', HeadDetail.ConnectRefused],
    ['GET https://a/ HTTP/1.1', HeadDetail.AbsoluteScheme],
    ['GET file:///etc/passwd HTTP/1.1', HeadDetail.AbsoluteScheme],
    ['GET http://b/ HTTP/1.1', HeadDetail.AbsoluteAuthority],
    ['GET http://a:80/ HTTP/1.1', HeadDetail.AbsoluteAuthority],
    ['GET http://user@a/ HTTP/1.1', HeadDetail.AbsoluteAuthority],
    ['GET http:///b HTTP/1.1', HeadDetail.AbsoluteAuthority],
    ['GET http://a,b/ HTTP/1.1', HeadDetail.AbsoluteAuthority],
    ['GET / HTTP/1.2', HeadDetail.UnsupportedVersion],
    ['GET / HTTP/2.0', HeadDetail.UnsupportedVersion],
    ['PRI * HTTP/2.0', HeadDetail.UnsupportedVersion],
    ['GET / HTTP/0.9', HeadDetail.UnsupportedVersion],
    ['GET / http/1.1', HeadDetail.BadVersion],
    ['GET / HTTP/1.10', HeadDetail.BadVersion],
    ['GET / HTTP/1,1', HeadDetail.BadVersion],
    ['GET / HTTP/x.1', HeadDetail.BadVersion],
    ['GET / HTTPS/1.1', HeadDetail.BadVersion],
    ['GET / HTTP/1.1\0', HeadDetail.BadVersion],
    ['GET / HTTP/1.1\n', HeadDetail.BadVersion],
  ])('refuses the request line %j', (line, detail) => expect(parse(line, 'Host: a').detail).toBe(detail));

  it.each([
    ['line folding with a space', [' folded'], HeadDetail.FoldedLine],
    ['line folding with a tab', ['\tfolded'], HeadDetail.FoldedLine],
    ['space before the colon', ['A : b'], HeadDetail.SpaceBeforeColon],
    ['tab before the colon', ['A\t: b'], HeadDetail.SpaceBeforeColon],
    ['no colon', ['Abc'], HeadDetail.NoColon],
    ['an empty name', [': b'], HeadDetail.EmptyFieldName],
    ['an empty line inside', ['', 'A: b'], HeadDetail.EmptyFieldName],
    ['an odd name', ['A(b): c'], HeadDetail.FieldNameCharacter],
    ['NUL in a name', ['A\0: c'], HeadDetail.FieldNameCharacter],
    ['NUL in a value', ['A: b\0c'], HeadDetail.ValueCharacter],
    ['DEL in a value', ['A: b\x7fc'], HeadDetail.ValueCharacter],
    ['a vertical tab in a value', ['A: b\x0bc'], HeadDetail.ValueCharacter],
    ['a bare LF in a value', ['A: b\nC: d'], HeadDetail.BareLineFeed],
    ['a bare LF at the start of a line', ['\nA: b'], HeadDetail.BareLineFeed],
    ['a bare CR in a value', ['A: b\rC: d'], HeadDetail.BareCarriageReturn],
    ['a bare CR at the end', ['A: b\r'], HeadDetail.BareCarriageReturn],
    ['CR CR LF', ['A: b\r', 'C: d'], HeadDetail.BareCarriageReturn],
  ])('refuses %s', (_, fields, detail) => expect(withFields(...fields).detail).toBe(detail));

  it.each([
    ['none', [], HeadDetail.MissingHost],
    ['two', ['Host: a', 'Host: b'], HeadDetail.TwoHosts],
    ['two equal ones', ['Host: a', 'host: a'], HeadDetail.TwoHosts],
    ['an empty one', ['Host:'], HeadDetail.BadHost],
    ['a user', ['Host: u@a'], HeadDetail.BadHost],
    ['a path', ['Host: a/b'], HeadDetail.BadHost],
    ['a list', ['Host: a, b'], HeadDetail.BadHost],
    ['a list without space', ['Host: a,b'], HeadDetail.BadHost],
    ['two words', ['Host: a b'], HeadDetail.BadHost],
    ['a scheme', ['Host: http://a'], HeadDetail.BadHost],
    ['an empty port', ['Host: a:'], HeadDetail.BadHost],
    ['a port too large', ['Host: a:65536'], HeadDetail.BadHost],
    ['a port that is none', ['Host: a:b'], HeadDetail.BadHost],
    ['two ports', ['Host: a:1:2'], HeadDetail.BadHost],
    ['a port alone', ['Host: :80'], HeadDetail.BadHost],
    ['an address left open', ['Host: [::1'], HeadDetail.BadHost],
    ['an empty address', ['Host: []'], HeadDetail.BadHost],
    ['an address with a name after it', ['Host: [::1]a'], HeadDetail.BadHost],
    ['a percent', ['Host: a%2eb'], HeadDetail.BadHost],
    ['a fragment', ['Host: a#b'], HeadDetail.BadHost],
    ['a backslash', ['Host: a\\b'], HeadDetail.BadHost],
  ])('refuses as Host %s', (_, fields, detail) => expect(parse('GET / HTTP/1.1', ...fields).detail).toBe(detail));

  it('wants Host in HTTP/1.1 alone', () => {
    expect(parse('GET / HTTP/1.0')).toMatchObject({ detail: 0, head: { host: '' } });
    expect(parse('GET http://a/ HTTP/1.1').detail).toBe(HeadDetail.MissingHost);
  });
});

describe('limits', () => {
  const pad = (bytes: number) => 'a'.repeat(bytes);

  it('takes 100 fields and refuses 101', () => {
    const fields = Array.from({ length: MAX_FIELDS - 1 }, (_, index) => `X-${index}: 1`);
    expect(withFields(...fields).detail).toBe(0);
    const { detail } = withFields(...fields, 'X-More: 1');
    expect([detail, headErrorClass(detail)]).toEqual([HeadDetail.FieldCount, HeadError.HeadTooLarge]);
  });

  it('takes a method of 64 bytes and refuses 65', () => {
    expect(accepted(`${'A'.repeat(64)} / HTTP/1.1`, 'Host: a').method).toBe('A'.repeat(64));
    expect(parse(`${'A'.repeat(65)} / HTTP/1.1`, 'Host: a').detail).toBe(HeadDetail.BadMethod);
  });

  it('takes a target of 8192 bytes and refuses 8193', () => {
    expect(parse(`GET /${pad(MAX_TARGET_BYTES - 1)} HTTP/1.1`, 'Host: a').detail).toBe(0);
    const { detail } = parse(`GET /${pad(MAX_TARGET_BYTES)} HTTP/1.1`, 'Host: a');
    expect([detail, headErrorClass(detail)]).toEqual([HeadDetail.TargetBytes, HeadError.TargetTooLong]);
  });

  it('takes a head of 16384 bytes and refuses 16385', () => {
    const start = 'GET / HTTP/1.1\r\nHost: a\r\nX: ';
    expect(parse(start + pad(MAX_HEAD_BYTES - 4 - start.length)).detail).toBe(0);
    const { detail } = parse(start + pad(MAX_HEAD_BYTES - 3 - start.length));
    expect([detail, headErrorClass(detail)]).toEqual([HeadDetail.HeadBytes, HeadError.HeadTooLarge]);
  });

  it('tells a target without end from fields without end', () => {
    expect(unfinishedRequestHeadDetail(`GET /${pad(MAX_HEAD_BYTES)}`)).toBe(HeadDetail.TargetBytes);
    expect(unfinishedRequestHeadDetail(`GET /${pad(MAX_TARGET_BYTES)} HTTP/1.1\r\nA: ${pad(9000)}`)).toBe(
      HeadDetail.TargetBytes,
    );
    expect(unfinishedRequestHeadDetail(`GET / HTTP/1.1\r\nA: ${pad(MAX_HEAD_BYTES)}`)).toBe(HeadDetail.HeadBytes);
    expect(unfinishedRequestHeadDetail(pad(MAX_HEAD_BYTES))).toBe(HeadDetail.HeadBytes);
  });
});

describe('properties', () => {
  it('reads back whatever a correct sender may write, and forwards every field once and in order', () => {
    const token = fc.stringMatching(/^[!#$%&'*+.^`|~0-9A-Za-z-]{1,20}$/, { size: 'max' });
    const value = fc.stringMatching(/^[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,40}[\x21-\x7e\x80-\xff])?$/, {
      size: 'max',
    });
    const known =
      /^(host|connection|keep-alive|proxy-connection|te|transfer-encoding|content-length|upgrade|expect|http2-settings)$/i;
    const field = fc.tuple(
      token.filter((name) => !known.test(name)),
      value,
    );
    fc.assert(
      fc.property(
        token,
        fc.stringMatching(/^\/[!$-~]{0,60}$/, { size: 'max' }),
        fc.array(field, { maxLength: 30, size: 'max' }),
        fc.nat({ max: 30 }),
        (method, target, fields, hostAt) => {
          fc.pre(method !== 'CONNECT');
          const lines = fields.map(([name, text]) => `${name}: ${text}`);
          const expected = lines.map((line) => `\r\n${line}`).join('');
          lines.splice(hostAt, 0, 'Host: h');
          const head = accepted(`${method} ${target} HTTP/1.1`, ...lines);
          expect([head.method, head.target, head.path, head.fields]).toEqual([
            method,
            target,
            target.split('?')[0],
            expected,
          ]);
        },
      ),
    );
  });

  it('never throws and never forwards CR, LF or NUL inside a line, whatever comes', () => {
    const odd = fc.constantFrom(
      '\r\n',
      '\r',
      '\n',
      '\0',
      ' ',
      ':',
      'Host: a',
      'GET',
      '/',
      'HTTP/1.1',
      ',',
      'Connection',
      'close',
      'x',
      '\t',
      '\xff',
      'Transfer-Encoding: chunked',
    );
    // Lines that are right, with something odd put into some of them.
    const right = fc.constantFrom(
      'X-A: 1',
      'Accept:',
      'x: a, b',
      'Connection: close',
      'Content-Length: 5',
      'TE: trailers',
    );
    const line = fc.oneof(
      { weight: 5, arbitrary: right },
      {
        weight: 1,
        arbitrary: fc.tuple(right, fc.nat(), odd).map(([text, at, part]) => {
          const index = at % (text.length + 1);
          return text.slice(0, index) + part + text.slice(index);
        }),
      },
      { weight: 1, arbitrary: fc.array(odd, { maxLength: 4 }).map((parts) => parts.join('')) },
    );
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
        const head = new RequestHead();
        const text = ['GET / HTTP/1.1', 'Host: a', ...lines].join('\r\n');
        const detail = parseRequestHead(text, head);
        expect(headErrorDetail(detail)).not.toBe('malformed message');
        if (detail !== 0) return;
        expect(head.fields).toMatch(/^(\r\n[^\r\n\0: ]+:[^\r\n\0]*)*$/);
        const sent = text.split('\r\n');
        for (const forwarded of head.fields.split('\r\n').slice(1)) expect(sent).toContain(forwarded);
        if (head.fields !== '') accepted += 1;
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });
});
