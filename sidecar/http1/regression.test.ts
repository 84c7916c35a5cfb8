// One named test for each class of attack that has hit HTTP/1.1 proxies and servers. What is refused here never reaches an upstream; what
// is accepted reaches it in a form that has one reading.
import { describe, expect, it } from 'vitest';
import { ChunkedDecoder, ChunkedEvent } from './chunked.ts';
import { HeadDetail } from './errors.ts';
import { parseRequestHead, RequestHead } from './request-head.ts';
import { parseResponseHead, ResponseHead } from './response-head.ts';

function request(...fields: string[]): { detail: number; head: RequestHead } {
  const head = new RequestHead();
  return { detail: parseRequestHead(['POST / HTTP/1.1', 'Host: a', ...fields].join('\r\n'), head), head };
}

function response(...lines: string[]): { detail: number; head: ResponseHead } {
  const head = new ResponseHead();
  return { detail: parseResponseHead(lines.join('\r\n'), head), head };
}

function chunked(text: string): { event: number; content: string; trailers: string; rest: string; detail: number } {
  const decoder = new ChunkedDecoder();
  const buffer = Buffer.from(text, 'latin1');
  let content = '';
  decoder.input(buffer, 0, buffer.length);
  let event = decoder.next();
  for (; event === ChunkedEvent.Data; event = decoder.next())
    content += buffer.toString('latin1', decoder.dataStart, decoder.dataEnd);
  return { event, content, trailers: decoder.trailers, rest: text.slice(decoder.position), detail: decoder.detail };
}

describe('request smuggling', () => {
  it('CL.TE and TE.CL: both framings at once', () => {
    expect(request('Content-Length: 13', 'Transfer-Encoding: chunked').detail).toBe(HeadDetail.LengthAndEncoding);
    expect(request('Transfer-Encoding: chunked', 'Content-Length: 4').detail).toBe(HeadDetail.LengthAndEncoding);
  });

  it('CL.CL: two lengths, as fields or as a list', () => {
    expect(request('Content-Length: 8', 'Content-Length: 7').detail).toBe(HeadDetail.TwoContentLengths);
    expect(request('Content-Length: 8', 'Content-Length: 8').detail).toBe(HeadDetail.TwoContentLengths);
    expect(request('Content-Length: 8, 7').detail).toBe(HeadDetail.BadContentLength);
  });

  it.each([
    'Transfer-Encoding: xchunked',
    'Transfer-Encoding: chunked, identity',
    'Transfer-Encoding: identity, chunked',
    'Transfer-Encoding: "chunked"',
    'Transfer-Encoding: chunked;foo',
    'Transfer-Encoding: \x0bchunked',
    'Transfer-Encoding:\tchunked',
    'Transfer-Encoding: chunked\t',
    'Transfer-Encoding : chunked',
    'Transfer-Encoding\t: chunked',
    ' Transfer-Encoding: chunked',
    'Transfer-Encoding:\r\n chunked',
    'Transfer-Encoding: chunked\r\n ',
    'X: y\rTransfer-Encoding: chunked',
    'X: y\nTransfer-Encoding: chunked',
    'Transfer\x00-Encoding: chunked',
    'Transfer-Encoding\x00: chunked',
    'Transfer_Encoding: chunked',
    'Transfer-Encoding: chu\xadnked',
    'Transfer-Encoding:',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: x',
  ])('TE.TE: a hidden encoding, %j', (field) => {
    expect(request('Content-Length: 4', field).detail).not.toBe(0);
    expect(request(field).detail).not.toBe(0);
  });

  it('an encoding in a name with a Kelvin sign or dotless i is no encoding, and no field name', () => {
    expect(request('Transfer-Encod\u0131ng: chunked').detail).toBe(HeadDetail.FieldNameCharacter);
    expect(request('Transfer-Encoding: chun\u212aed').detail).not.toBe(0);
  });

  it('CL.0: content of a GET, HEAD or OPTIONS request keeps its length, so it cannot become the next request', () => {
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'DELETE']) {
      const head = new RequestHead();
      expect(parseRequestHead(`${method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 30`, head)).toBe(0);
      expect(head.contentLength).toBe(30);
    }
  });

  it('0.CL: a length that only some readers see', () => {
    expect(request('Content-Length:\r\n 30').detail).not.toBe(0);
    expect(request('Content-Length: 30\r\n\tx').detail).toBe(HeadDetail.FoldedLine);
    expect(request('Content-Length : 30').detail).toBe(HeadDetail.SpaceBeforeColon);
    expect(request('Content_Length: 30').detail).toBe(HeadDetail.LookalikeField);
    expect(request('Content-Length: 0x1e').detail).toBe(HeadDetail.BadContentLength);
    expect(request('Content-Length: 030').detail).toBe(HeadDetail.BadContentLength);
    expect(request('Content-Length: 3\x000').detail).toBe(HeadDetail.ValueCharacter);
  });

  it('Expect desync: an expectation that only some readers see, and one without content', () => {
    expect(request('Content-Length: 5', 'Expect: y 100-continue').detail).toBe(HeadDetail.BadExpect);
    expect(request('Content-Length: 5', 'Expect: 100-continue, x').detail).toBe(HeadDetail.BadExpect);
    expect(request('Content-Length: 5', 'Expect:\n100-continue').detail).not.toBe(0);
    const { head } = request('Expect: 100-continue');
    expect([head.expectsContinue, head.fields]).toEqual([false, '']);
  });

  it('bare LF as line end of a head', () => {
    expect(request('A: b\nContent-Length: 5').detail).toBe(HeadDetail.BareLineFeed);
    expect(parseRequestHead('GET / HTTP/1.1\nHost: a', new RequestHead())).not.toBe(0);
    expect(parseRequestHead('GET / HTTP/1.1\r\nHost: a\n\nGET /admin HTTP/1.1', new RequestHead())).not.toBe(0);
  });

  it('bare CR inside a value, and as line end', () => {
    expect(request('A: b\r').detail).toBe(HeadDetail.BareCarriageReturn);
    expect(request('A: b\rContent-Length: 5').detail).toBe(HeadDetail.BareCarriageReturn);
    expect(request('A: b\r\rContent-Length: 5').detail).toBe(HeadDetail.BareCarriageReturn);
  });

  it('two requests in one head: a request line among the fields', () => {
    expect(request('GET /admin HTTP/1.1', 'Host: b').detail).not.toBe(0);
    expect(request('', 'GET /admin HTTP/1.1').detail).not.toBe(0);
  });

  it('chunked in HTTP/1.0, where readers take it for a body up to the end of the connection', () => {
    expect(parseRequestHead('POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked', new RequestHead())).toBe(
      HeadDetail.TransferEncodingInHttp10,
    );
  });

  it('absolute target against Host (cross-origin routing)', () => {
    expect(parseRequestHead('GET http://internal/ HTTP/1.1\r\nHost: a', new RequestHead())).toBe(
      HeadDetail.AbsoluteAuthority,
    );
    expect(parseRequestHead('GET http://a@internal/ HTTP/1.1\r\nHost: a', new RequestHead())).toBe(
      HeadDetail.AbsoluteAuthority,
    );
    expect(parseRequestHead('GET http://a\\@internal/ HTTP/1.1\r\nHost: a', new RequestHead())).toBe(
      HeadDetail.AbsoluteAuthority,
    );
    expect(parseRequestHead('GET @internal/ HTTP/1.1\r\nHost: a', new RequestHead())).toBe(HeadDetail.BadTarget);
  });
});

describe('chunked content', () => {
  it('chunk spill: content longer or shorter than its size', () => {
    expect(chunked('3\r\nabcd\r\n0\r\n\r\n').event).toBe(ChunkedEvent.Error);
    expect(chunked('5\r\nabcd\r\n0\r\n\r\n').event).toBe(ChunkedEvent.Error);
    expect(chunked('3\r\nabcXX0\r\n\r\n').event).toBe(ChunkedEvent.Error);
  });

  it('TERM.EXT and EXT.TERM: LF or CR inside an extension', () => {
    expect(chunked('2;\nxx\r\n4c\r\n0\r\n\r\n').event).toBe(ChunkedEvent.Error);
    expect(chunked('2;a\nxx\r\n0\r\n\r\n').event).toBe(ChunkedEvent.Error);
    expect(chunked('2;a\rxx\r\n0\r\n\r\n').event).toBe(ChunkedEvent.Error);
    expect(chunked('2;a="\n"\r\nxx\r\n0\r\n\r\n').event).toBe(ChunkedEvent.Error);
    expect(chunked('2;a="\r\n"\r\nxx\r\n0\r\n\r\n').event).toBe(ChunkedEvent.Error);
  });

  it('sizes that overflow, and sizes in another notation', () => {
    expect(chunked('10000000000000000\r\n').detail).toBe(HeadDetail.ChunkSizeTooLarge);
    expect(chunked('100000005\r\nhello\r\n0\r\n\r\n').event).toBe(ChunkedEvent.NeedMore);
    expect(chunked('0x5\r\nhello\r\n0\r\n\r\n').event).toBe(ChunkedEvent.Error);
    expect(chunked('5_\r\nhello\r\n0\r\n\r\n').event).toBe(ChunkedEvent.Error);
  });

  it('extensions without end, which cost time and say nothing', () => {
    expect(chunked(`5;${'a'.repeat(100_000)}`).detail).toBe(HeadDetail.ChunkExtensionsTooLong);
    expect(chunked('1;a\r\nx\r\n'.repeat(4000)).detail).toBe(HeadDetail.ChunkExtensionsTooLong);
  });

  it('trailers that would change routing or authentication are not forwarded, and those about the framing are refused', () => {
    const { event, trailers } = chunked('0\r\nHost: b\r\nAuthorization: x\r\nCookie: y\r\nX-Ok: 1\r\n\r\n');
    expect([event, trailers]).toEqual([ChunkedEvent.End, '\r\nX-Ok: 1']);
    // A server that makes variables of names, or merges trailers into the head, would take them for those that mean something.
    for (const name of ['Content_Type', 'X_Forwarded_For', 'Proxy_Authorization', 'x_correlation_id', 'Set_Cookie'])
      expect(chunked(`0\r\n${name}: 9\r\n\r\n`).trailers).toBe('');
    for (const name of ['X-Breakwater-Deadline', 'X_Breakwater_Attempt', 'Breakwater-Reason'])
      expect(chunked(`0\r\n${name}: 9\r\n\r\n`).trailers).toBe('');
    for (const name of [
      'Content-Length',
      'transfer-encoding',
      'Content_Length',
      'Transfer_Encoding',
      'content_length',
    ]) {
      const { event: refused, detail } = chunked(`0\r\nX-Ok: 1\r\n${name}: 9\r\n\r\n`);
      expect([refused, detail]).toEqual([ChunkedEvent.Error, HeadDetail.FramingTrailer]);
    }
  });

  it('a request behind the last chunk stays where it is', () => {
    expect(chunked('0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n').rest).toBe('GET /admin HTTP/1.1\r\n\r\n');
    expect(chunked('0\r\nGET /admin HTTP/1.1\r\n\r\n').event).toBe(ChunkedEvent.Error);
  });
});

describe('responses', () => {
  it('response splitting and injection: CR and LF cannot come through a value', () => {
    expect(response('HTTP/1.1 200 OK', 'Location: /\rSet-Cookie: a=b').detail).toBe(HeadDetail.BareCarriageReturn);
    expect(response('HTTP/1.1 200 OK', 'Location: /\nSet-Cookie: a=b').detail).toBe(HeadDetail.BareLineFeed);
  });

  it('response smuggling: two framings, two lengths, a coding of its own', () => {
    expect(response('HTTP/1.1 200 OK', 'Content-Length: 5', 'Transfer-Encoding: chunked').detail).toBe(
      HeadDetail.LengthAndEncoding,
    );
    expect(response('HTTP/1.1 200 OK', 'Content-Length: 5', 'Content-Length: 0').detail).toBe(
      HeadDetail.TwoContentLengths,
    );
    expect(response('HTTP/1.1 200 OK', 'Transfer-Encoding: gzip').detail).toBe(HeadDetail.BadTransferEncoding);
  });

  it('content hidden behind a status that has none', () => {
    expect(response('HTTP/1.1 204 No Content', 'Content-Length: 40').detail).toBe(HeadDetail.FramedNoContent);
    expect(response('HTTP/1.1 100 Continue', 'Transfer-Encoding: chunked').detail).toBe(HeadDetail.FramedNoContent);
  });

  it('101 offers no upgrade that Connection does not nominate', () => {
    expect(response('HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket').head.upgrade).toBe('');
  });
});

describe('fields', () => {
  it('hop-by-hop abuse: Connection cannot strip what is meant for the upstream', () => {
    const { head } = request(
      'Connection: authorization, cookie, x-forwarded-for, x-correlation-id, content-type, close',
      'Authorization: x',
      'Cookie: y',
      'X-Forwarded-For: z',
    );
    expect(head.fields).toBe('\r\nAuthorization: x\r\nCookie: y\r\nX-Forwarded-For: z');
  });

  it('Connection cannot strip the framing either', () => {
    const { head } = request('Connection: content-length', 'Content-Length: 5');
    expect(head.contentLength).toBe(5);
    expect(request('Connection: transfer-encoding', 'Transfer-Encoding: chunked').head.chunked).toBe(true);
    expect(request('Connection: host').head.host).toBe('a');
  });

  it('CRLF through Upgrade', () => {
    expect(request('Connection: upgrade', 'Upgrade: websocket\r\nX: y').head.upgrade).toBe('websocket');
    expect(request('Connection: upgrade', 'Upgrade: websocket\rX: y').detail).not.toBe(0);
    expect(request('Connection: upgrade', 'Upgrade: a b').detail).toBe(HeadDetail.BadUpgrade);
  });

  it('h2c smuggling: an upgrade to HTTP/2 past the codec', () => {
    const { head } = request('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__');
    expect([head.upgrade, head.fields]).toEqual(['', '']);
  });

  it('field names that objects and hash tables choke on are only bytes', () => {
    const lines = ['__proto__: x', 'constructor: x', ...Array.from({ length: 90 }, (_, index) => `${index}: x`)];
    expect(request(...lines).head.fields).toBe(lines.map((line) => `\r\n${line}`).join(''));
  });

  it('Host with a user, a list or twice', () => {
    for (const fields of [['Host: b'], ['Host: a']]) expect(request(...fields).detail).toBe(HeadDetail.TwoHosts);
    for (const host of ['a@b', 'a,b', 'a b', 'a/b', '', 'a?b', 'a#b']) {
      expect(parseRequestHead(`GET / HTTP/1.1\r\nHost: ${host}`, new RequestHead())).toBe(HeadDetail.BadHost);
    }
  });
});
