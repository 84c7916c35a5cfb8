// The key of a request for consistent hashing, read from its head without allocating.
import type { LoadBalancingPlan } from '../../plan/policies/load-balancing.ts';
import { equalsIgnoringCase } from '../http1/characters.ts';
import { FieldCursor } from '../http1/fields.ts';
import { NO_KEY } from './balancer.ts';
import { hashText } from './hash.ts';

const SPACE = 0x20;

/** What a key is read from: the head of a request. */
export interface KeyedRequest {
  readonly host: string;
  /** Field lines, each with CR LF before it; validated. */
  readonly fields: string;
}

/** Names of headers in lower case. */
export type HashSource = Pick<NonNullable<LoadBalancingPlan['consistentHash']>, 'key' | 'name'>;

// Reading is synchronous and never re-entered.
const cursor = new FieldCursor();

/** From 0 to 2^32 - 1; NO_KEY where the request has none, or an empty one. `ownKey`: of this pod's address. */
export function hashKeyOf({ key, name }: HashSource, request: KeyedRequest, ownKey: number): number {
  if (key === 'SourceAddress' || name === null) return ownKey;
  return key === 'Header' ? headerKey(request, name) : cookieKey(request.fields, name);
}

/** Of the first field of that name. */
function headerKey({ host, fields }: KeyedRequest, name: string): number {
  if (name === 'host') return host === '' ? NO_KEY : hashText(host);
  let key = NO_KEY;
  cursor.open(fields, 0);
  while (key === NO_KEY && cursor.next()) {
    if (equalsIgnoringCase(fields, cursor.nameStart, cursor.nameEnd, name) && cursor.valueEnd > cursor.valueStart)
      key = hashText(fields, cursor.valueStart, cursor.valueEnd);
  }
  cursor.close();
  return key;
}

function cookieKey(fields: string, name: string): number {
  let key = NO_KEY;
  cursor.open(fields, 0);
  while (key === NO_KEY && cursor.next()) {
    if (equalsIgnoringCase(fields, cursor.nameStart, cursor.nameEnd, 'cookie'))
      key = cookieIn(fields, cursor.valueStart, cursor.valueEnd, name);
  }
  cursor.close();
  return key;
}

/** Of `name` among "a=1; b=2" (RFC 6265, 4.2.1); names are case-sensitive. */
function cookieIn(text: string, start: number, end: number, name: string): number {
  let position = start;
  while (position < end) {
    while (text.charCodeAt(position) === SPACE) position++;
    const semicolon = text.indexOf(';', position);
    const pairEnd = semicolon === -1 ? end : Math.min(semicolon, end);
    const valueStart = position + name.length + 1;
    if (valueStart < pairEnd && text.startsWith(name, position) && text.charAt(valueStart - 1) === '=')
      return hashText(text, valueStart, pairEnd);
    position = pairEnd + 1;
  }
  return NO_KEY;
}
