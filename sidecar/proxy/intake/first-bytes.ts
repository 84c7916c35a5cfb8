// What the first bytes of a connection, or of a request, say before there are enough of them to be read. Pure.
import { HeadDetail } from '../../http1/errors.ts';
import { parseRequestHead, type RequestHead } from '../../http1/request-head.ts';

/**
 * Http: a method, a space and the beginning of a target, for good. H2c: the preface of HTTP/2 without TLS, or what begins like it and nothing else
 * does (RFC 9113, 11.6): where it breaks later, it is HTTP/2 with an error. Opaque: anything else. NeedMore: it may
 * still be HTTP. MethodSeen: so it is, and nothing else begins like that but a command of another protocol ("SET a 1", "PUB news 5").
 */
export const FirstBytes = { NeedMore: 0, Http: 1, H2c: 2, Opaque: 3, MethodSeen: 4 } as const;

const PREFACE = Buffer.from('PRI * HTTP/2', 'latin1');
/** Longer than every registered method. */
const LONGEST_METHOD = 20;

export function classifyFirstBytes(bytes: Buffer): number {
  let start = 0;
  // A client may send one empty line before its request.
  if (bytes[0] === 0x0d) {
    if (bytes.length === 1) return FirstBytes.NeedMore;
    if (bytes[1] !== 0x0a) return FirstBytes.Opaque;
    start = 2;
  }
  const compared = Math.min(PREFACE.length, bytes.length - start);
  if (start === 0 && bytes.subarray(0, compared).equals(PREFACE.subarray(0, compared))) {
    if (compared === PREFACE.length) return FirstBytes.H2c;
    return FirstBytes.NeedMore;
  }
  for (let i = start; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    if (byte === 0x20) return i > start ? judgeTarget(bytes, start, i + 1) : FirstBytes.Opaque;
    const letter = (byte >= 0x41 && byte <= 0x5a) || byte === 0x2d || byte === 0x5f;
    if (!letter || i - start >= LONGEST_METHOD) return FirstBytes.Opaque;
  }
  return FirstBytes.NeedMore;
}

const SCHEMES = ['http://', 'https://'];

/** `at`: where the target begins. A path, an asterisk, a URL of HTTP, or of CONNECT an authority (RFC 9112, 3.2). */
function judgeTarget(bytes: Buffer, start: number, at: number): number {
  if (at === bytes.length) return FirstBytes.MethodSeen;
  const byte = bytes[at] ?? 0;
  const isLetter = (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a;
  const isDigit = byte >= 0x30 && byte <= 0x39;
  // What is neither a target nor a word is HTTP that somebody wrote wrongly, and is told so.
  if (!isLetter && !isDigit && byte !== 0x7b) return FirstBytes.Http;
  if (bytes.toString('latin1', start, at) === 'CONNECT ' && byte !== 0x7b) return FirstBytes.Http;
  const target = bytes.toString('latin1', at, at + 'https://'.length).toLowerCase();
  if (SCHEMES.some((scheme) => target.startsWith(scheme))) return FirstBytes.Http;
  return SCHEMES.some((scheme) => scheme.startsWith(target)) ? FirstBytes.MethodSeen : FirstBytes.Opaque;
}

/** Why the beginning of a head can never become a head, so that nobody waits for its end; 0: it still can. */
export function hopelessHead(data: Buffer, start: number, end: number, scratch: RequestHead): number {
  const first = data[start] ?? 0;
  if (first !== 0x0d && (first <= 0x20 || first >= 0x7f)) return HeadDetail.BadMethod;
  for (let at = data.indexOf(0x0a, start); at >= 0 && at < end; at = data.indexOf(0x0a, at + 1)) {
    if (at === start || data[at - 1] !== 0x0d) return HeadDetail.BareLineFeed;
  }
  const lineEnd = data.indexOf('\r\n', start, 'latin1');
  if (lineEnd < 0 || lineEnd + 2 > end) return 0;
  const detail = parseRequestHead(data.latin1Slice(start, lineEnd), scratch);
  return detail === HeadDetail.MissingHost ? 0 : detail;
}
