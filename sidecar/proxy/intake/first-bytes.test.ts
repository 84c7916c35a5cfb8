import { describe, expect, it } from 'vitest';
import { classifyFirstBytes, FirstBytes } from './first-bytes.ts';

const { H2c, Http, MethodSeen, NeedMore, Opaque } = FirstBytes;

/** What is said of each beginning of the text, without repetitions. */
function verdicts(text: string): number[] {
  const all = Array.from(text, (_, at) => classifyFirstBytes(Buffer.from(text.slice(0, at + 1), 'latin1')));
  return all.filter((verdict, at) => verdict !== all[at - 1]);
}

describe('the first bytes of a connection', () => {
  it.each<[string, number[]]>([
    ['GET / HTTP/1.1\r\n', [NeedMore, MethodSeen, Http]],
    ['\r\nGET / HTTP/1.1\r\n', [NeedMore, MethodSeen, Http]],
    ['OPTIONS * HTTP/1.1\r\n', [NeedMore, MethodSeen, Http]],
    ['GET HTTP://a/ HTTP/1.1\r\n', [NeedMore, MethodSeen, Http]],
    ['GET https://a/ HTTP/1.1\r\n', [NeedMore, MethodSeen, Http]],
    ['CONNECT a:443 HTTP/1.1\r\n', [NeedMore, MethodSeen, Http]],
    ['GET  / HTTP/1.1\r\n', [NeedMore, MethodSeen, Http]],
    ['PRI * HTTP/2.0\r\n', [NeedMore, H2c]],
    ['PRI * HTTP/2.1\r\n', [NeedMore, H2c]],
    ['PRI * HTTP/1.1\r\n', [NeedMore, Http]],
    ['PRI / HTTP/1.1\r\n', [NeedMore, Http]],
    ['SET key value\r\n', [NeedMore, MethodSeen, Opaque]],
    ['GET httpd\r\n', [NeedMore, MethodSeen, Opaque]],
    ['CONNECT {"verbose":false}\r\n', [NeedMore, MethodSeen, Opaque]],
    ['PING\r\n', [NeedMore, Opaque]],
    ['get key\r\n', [Opaque]],
    ['\x16\x03\x01', [Opaque]],
    ['\x00\x00\x00\x08\x04\xd2\x16\x2f', [Opaque]],
    ['SSH-2.0-OpenSSH\r\n', [NeedMore, Opaque]],
  ])('%j', (text, expected) => {
    expect(verdicts(text)).toEqual(expected);
  });
});
