import { array, assert, constantFrom, oneof, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FirstBytes } from './first-bytes.ts';
import { HostClaim, HostIndex } from './host-index.ts';

describe('HostIndex', () => {
  const index = new HostIndex<string>();
  index.add({ name: 'api.example.com', port: 443 }, 'first');
  index.add({ name: 'API.example.com.', port: 443 }, 'second');
  index.add({ name: 'api.example.com', port: 80 }, 'plain');

  it.each([
    ['api.example.com', 443, 'first'],
    ['API.Example.COM', 443, 'first'],
    ['api.example.com.', 443, 'first'],
    ['api.example.com:443', 443, 'first'],
    ['api.example.com.:443', 443, 'first'],
    ['api.example.com', 80, 'plain'],
    ['api.example.com:8443', 443, null],
    ['api.example.com:0443', 443, null],
    ['api.example.com', 8443, null],
    ['example.com', 443, null],
    ['evil-api.example.com', 443, null],
    ['api.example.com..', 443, null],
    ['[::1]:443', 443, null],
    ['', 443, null],
  ])('%j at port %i is of %j', (host, port, owner) => {
    expect(index.match(host, port)).toBe(owner);
  });

  it('knows its ports', () => {
    expect([index.hasPort(443), index.hasPort(80), index.hasPort(8080)]).toEqual([true, true, false]);
  });
});

describe('HostClaim', () => {
  const judge = (text: string) => {
    const claim = new HostClaim();
    return [claim.judge(Buffer.from(text, 'latin1')), claim.host];
  };
  const { Http, Opaque, NeedMore, H2c } = FirstBytes;

  it.each([
    ['a whole head', 'GET / HTTP/1.1\r\nHost: api.test\r\n\r\n', Http, 'api.test'],
    ['an empty line before it', '\r\nGET / HTTP/1.1\r\nHost: api.test\r\n\r\n', Http, 'api.test'],
    ['a target in absolute form', 'GET http://API.test/ HTTP/1.1\r\nHost: API.test\r\n\r\n', Http, 'API.test'],
    ['a head of HTTP/1.0 without a host', 'GET / HTTP/1.0\r\n\r\n', Http, ''],
    ['a body behind it', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc', Http, 'a'],
    ['half a head', 'GET / HTTP/1.1\r\nHost: api.test\r\n', NeedMore, null],
    ['half a method', 'GE', NeedMore, null],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', H2c, null],
    ['two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', Opaque, null],
    ['a head that can be read in two ways', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n', Opaque, null],
    ['a head that never becomes one', 'GET / HTTP/1.1\nHost: a\n', Opaque, null],
    ['no HTTP', '*1\r\n$4\r\nPING\r\n', Opaque, null],
    ['the beginning of a ClientHello', '\x16\x03\x01', NeedMore, null],
    ['what only begins like one', '\x16\x03\x01\x00\x00', Opaque, null],
    ['more than a head may be', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(17_000)}`, Opaque, null],
  ])('%s', (_name, text, verdict, host) => {
    expect(judge(text)).toEqual([verdict, host]);
  });

  it('comes to the same verdict however the bytes arrive', () => {
    const inNames = constantFrom('a', 'b.test', '.', '-', ':80', ':', '[::1]');
    const odd = constantFrom(' ', '\t', '\r', '\n', '\r\n', '\r\nHost: b', '\r\n\r\n', '\0', '/', '@', ',', '\xff');
    const texts = array(oneof({ weight: 3, arbitrary: inNames }, { weight: 1, arbitrary: odd }), { maxLength: 4 });
    const verdicts = new Map<number, number>();
    assert(
      property(texts, constantFrom('', '\r\n'), (parts, emptyLine) => {
        const bytes = Buffer.from(`${emptyLine}GET / HTTP/1.1\r\nHost: ${parts.join('')}\r\n\r\n`, 'latin1');
        const whole = new HostClaim();
        const verdict = whole.judge(bytes);
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        for (let cut = 0; cut < bytes.length; cut += 1) {
          const inPieces = new HostClaim();
          const early = inPieces.judge(bytes.subarray(0, cut));
          // What was decided on a part stays so.
          if (early !== NeedMore) expect([early, inPieces.host]).toEqual([verdict, whole.host]);
          inPieces.judge(bytes);
          expect(inPieces.host).toBe(whole.host);
        }
      }),
      { numRuns: 100 },
    );
    expect(Math.min(verdicts.get(Http) ?? 0, verdicts.get(Opaque) ?? 0)).toBeGreaterThan(3);
  });
});
