// What requests and responses have in common: how long the content is, what the connection does next, and which fields end here.
import { equalsIgnoringCase, isDigit, isTokenCharacter } from './characters.ts';
import { HeadDetail } from './errors.ts';
import { isBlank } from './fields.ts';

const SP = 0x20;
const COMMA = 0x2c;
const SLASH = 0x2f;

/** The plain decimal number in [start, end), or -1: no sign, no list, no leading zero, nothing above 2^53-1. */
export function decimalValue(text: string, start: number, end: number): number {
  const length = end - start;
  if (length === 0 || length > 16) return -1;
  if (length > 1 && text.charCodeAt(start) === 0x30) return -1;
  let value = 0;
  for (let index = start; index < end; index += 1) {
    const code = text.charCodeAt(index);
    if (!isDigit(code)) return -1;
    value = value * 10 + (code - 0x30);
  }
  return value <= Number.MAX_SAFE_INTEGER ? value : -1;
}

/** Connection options of one message, gathered from all its Connection fields. */
export class ConnectionOptions {
  close = false;
  keepAlive = false;
  upgrade = false;
  /** Nominated fields that neither always end here nor must never end here, lower-case, each framed by commas: ",x-a,x-b,". */
  nominated = '';

  reset(): void {
    this.close = false;
    this.keepAlive = false;
    this.upgrade = false;
    this.nominated = '';
  }

  /** Adds the list in [start, end); a detail, 0 where it is a list of tokens. */
  add(text: string, start: number, end: number): number {
    let index = start;
    while (index < end) {
      const code = text.charCodeAt(index);
      if (code === COMMA || code === SP) {
        index += 1;
        continue;
      }
      const optionStart = index;
      while (index < end && isTokenCharacter(text.charCodeAt(index))) index += 1;
      const optionEnd = index;
      while (index < end && text.charCodeAt(index) === SP) index += 1;
      if (optionEnd === optionStart || (index < end && text.charCodeAt(index) !== COMMA))
        return HeadDetail.BadConnection;
      this.#option(text, optionStart, optionEnd);
    }
    return HeadDetail.None;
  }

  #option(text: string, start: number, end: number): void {
    if (equalsIgnoringCase(text, start, end, 'keep-alive')) this.keepAlive = true;
    else if (equalsIgnoringCase(text, start, end, 'close')) this.close = true;
    else if (equalsIgnoringCase(text, start, end, 'upgrade')) this.upgrade = true;
    else {
      const name = text.slice(start, end).toLowerCase();
      if (isProtectedField(name)) return;
      if (this.nominated === '') this.nominated = ',';
      this.nominated += `${name},`;
    }
  }

  /** Whether the field name in [start, end) was nominated. */
  nominates(text: string, start: number, end: number): boolean {
    return this.nominated.includes(`,${text.slice(start, end).toLowerCase()},`);
  }
}

// A peer must not be able to strip these from a message by nominating them: they are meant for the recipient of the content, decide
// who asks, what is asked, how the answer is read, or are added by intermediaries such as us (RFC 9110, 7.6.1).
const PROTECTED_FIELDS: ReadonlySet<string> = new Set([
  'accept-encoding',
  'authorization',
  'baggage',
  'cache-control',
  'cookie',
  'date',
  'etag',
  'expect',
  'expires',
  'forwarded',
  'host',
  'idempotency-key',
  'last-modified',
  'location',
  'origin',
  'pragma',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'range',
  'retry-after',
  'set-cookie',
  'strict-transport-security',
  'traceparent',
  'tracestate',
  'trailer',
  'vary',
  'via',
  'www-authenticate',
  'authentication-info',
]);
const PROTECTED_PREFIXES = [
  'access-control-',
  'breakwater-',
  'content-',
  'if-',
  'sec-',
  'x-b3-',
  'x-breakwater-',
  'x-correlation-',
  'x-forwarded-',
  'x-real-',
  'x-request-',
];

/** Whether a field (lower-case name) stays, whoever nominates it. */
export function isProtectedField(name: string): boolean {
  return PROTECTED_FIELDS.has(name) || PROTECTED_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** Whether [start, end) is a list of `token` or `token/token`, not empty. */
export function isProtocolList(text: string, start: number, end: number): boolean {
  let index = start;
  let found = false;
  while (index < end) {
    const code = text.charCodeAt(index);
    if (code === COMMA || isBlank(code)) {
      index += 1;
      continue;
    }
    const afterName = tokenEnd(text, index, end);
    if (afterName === index) return false;
    index = afterName;
    if (index < end && text.charCodeAt(index) === SLASH) {
      const afterVersion = tokenEnd(text, index + 1, end);
      if (afterVersion === index + 1) return false;
      index = afterVersion;
    }
    while (index < end && isBlank(text.charCodeAt(index))) index += 1;
    if (index < end && text.charCodeAt(index) !== COMMA) return false;
    found = true;
  }
  return found;
}

/** Whether the comma-separated list in [start, end) has the lower-case element, whatever parameters follow it. */
export function listHas(text: string, start: number, end: number, element: string): boolean {
  let index = start;
  while (index < end) {
    while (index < end && (text.charCodeAt(index) === COMMA || isBlank(text.charCodeAt(index)))) index += 1;
    const elementEnd = tokenEnd(text, index, end);
    if (elementEnd > index && equalsIgnoringCase(text, index, elementEnd, element)) return true;
    index = elementEnd;
    while (index < end && text.charCodeAt(index) !== COMMA) index += 1;
  }
  return false;
}

function tokenEnd(text: string, start: number, end: number): number {
  let index = start;
  while (index < end && isTokenCharacter(text.charCodeAt(index))) index += 1;
  return index;
}
