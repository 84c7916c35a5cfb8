// The parts of a request line that are read by themselves.
import { hexValue, isDigit, isHostCharacter } from './characters.ts';
import { HeadDetail } from './errors.ts';
import { decimalValue } from './framing.ts';
import type { RequestHead } from './request-head.ts';

const COLON = 0x3a;

/** Reads the version in [start, end) into `head`; 0, or a detail. */
export function parseVersion(text: string, start: number, end: number, head: RequestHead): number {
  if (end - start !== 8 || !text.startsWith('HTTP/', start) || text.charCodeAt(start + 6) !== 0x2e) {
    return text.indexOf(' ', start) !== -1 && text.indexOf(' ', start) < end
      ? HeadDetail.BadRequestLine
      : HeadDetail.BadVersion;
  }
  const major = text.charCodeAt(start + 5);
  const minor = text.charCodeAt(start + 7);
  if (!isDigit(major) || !isDigit(minor)) return HeadDetail.BadVersion;
  if (major !== 0x31 || minor > 0x31) return HeadDetail.UnsupportedVersion;
  head.minorVersion = minor === 0x31 ? 1 : 0;
  return HeadDetail.None;
}

/** The usual methods as constants, so that comparing them later compares pointers. */
export function methodName(text: string, end: number): string {
  switch (end) {
    case 3:
      if (text.startsWith('GET')) return 'GET';
      if (text.startsWith('PUT')) return 'PUT';
      break;
    case 4:
      if (text.startsWith('POST')) return 'POST';
      if (text.startsWith('HEAD')) return 'HEAD';
      break;
    case 5:
      if (text.startsWith('PATCH')) return 'PATCH';
      break;
    case 6:
      if (text.startsWith('DELETE')) return 'DELETE';
      break;
    case 7:
      if (text.startsWith('OPTIONS')) return 'OPTIONS';
      break;
    default:
      break;
  }
  return text.slice(0, end);
}

/** A host name, IPv4 address or bracketed IPv6 address, with an optional port: no user, no list, no path. */
export function isAuthority(text: string, start: number, end: number): boolean {
  let index = start;
  if (text.charCodeAt(start) === 0x5b) {
    index += 1;
    while (index < end && isAddressCharacter(text.charCodeAt(index))) index += 1;
    if (index === start + 1 || text.charCodeAt(index) !== 0x5d) return false;
    index += 1;
  } else {
    while (index < end && isHostCharacter(text.charCodeAt(index))) index += 1;
  }
  if (index === start) return false;
  if (index === end) return true;
  if (text.charCodeAt(index) !== COLON) return false;
  const port = decimalValue(text, index + 1, end);
  return port >= 0 && port <= 65_535;
}

function isAddressCharacter(code: number): boolean {
  return hexValue(code) !== -1 || code === COLON || code === 0x2e;
}
