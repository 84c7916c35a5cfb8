// Which answers may be kept to be given again while the dependency fails, and for which requests.
//
// Source: RFC 9111 for what a cache may store and select (3, 4.1, 4.2.3), made narrower: an answer is given again after it went stale, in
// the place of an error (RFC 5861), so whatever says "do not reuse this unasked" is respected, and what may belong to one user is not kept.
import type { LastGoodPlan } from '../../plan/policies/fallback.ts';
import { fieldValue, withoutFields } from '../http1/field-value.ts';

/** What tells one user from another, and so makes an answer one user's; in lower case. */
export const PERSONAL_FIELDS = ['authorization', 'cookie', 'proxy-authorization'] as const;

/** Of one exchange, or untrue when it is given again: never kept. */
const MOMENTARY_FIELDS: ReadonlySet<string> = new Set([
  'age',
  'breakwater-fallback',
  'breakwater-fault',
  'breakwater-reason',
  'retry-after',
  'server-timing',
  'trailer',
  'traceresponse',
  'x-correlation-id',
]);

/** Directives of a response after which it may not be given again without asking the dependency. */
const RESPONSE_DIRECTIVES = ['no-store', 'private', 'no-cache', 'must-revalidate', 'proxy-revalidate'] as const;

/** Fields of a request that one answer may depend on by its Vary: each is looked up in every request that looks for it. */
export const MAX_VARYING_FIELDS = 16;

/** Everyone: answers to requests with personal fields too, and for everybody. */
export type KeepRules = Pick<LastGoodPlan, 'audience' | 'keyHeaders'>;

/** The parts of a response that decide; `fields` as in `ResponseHead`. */
export interface ResponseParts {
  readonly status: number;
  readonly fields: string;
  readonly contentLength: number;
  readonly chunked: boolean;
  readonly eventStream: boolean;
}

/** Whether a request may be answered by what other requests were answered. `fields` as in `RequestHead`. */
export function mayBeGiven(method: string, fields: string, rules: KeepRules): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false;
  if (rules.audience === 'Everyone') return true;
  return PERSONAL_FIELDS.every((name) => rules.keyHeaders.includes(name) || fieldValue(fields, name) === null);
}

/** Whether the answer to this request may be kept. Only what is framed is whole for certain, so an answer that ends with its connection is not. */
export function mayBeKept(method: string, requestFields: string, response: ResponseParts, rules: KeepRules): boolean {
  if (method !== 'GET' || response.status !== 200 || response.eventStream) return false;
  if (response.contentLength < 0 && !response.chunked) return false;
  if (!mayBeGiven(method, requestFields, rules)) return false;
  if (hasDirective(fieldValue(requestFields, 'cache-control'), ['no-store'])) return false;
  if (hasDirective(fieldValue(response.fields, 'cache-control'), RESPONSE_DIRECTIVES)) return false;
  if (fieldValue(response.fields, 'set-cookie') !== null) return false;
  const varying = elements(fieldValue(response.fields, 'vary'));
  return varying.length <= MAX_VARYING_FIELDS && !varying.some((name) => name.includes('*'));
}

/** The fields of the request that the answer depends on, in lower case, sorted, each once. */
export function selectingFields(responseFields: string, keyHeaders: readonly string[]): readonly string[] {
  const names = new Set(keyHeaders);
  for (const name of elements(fieldValue(responseFields, 'vary'))) names.add(name);
  // Servers that encode and forget to say so are common; nobody may get an encoding that was not asked for.
  if (fieldValue(responseFields, 'content-encoding') !== null) names.add('accept-encoding');
  return [...names].sort();
}

/** How old the answer was when it came, milliseconds. */
export function ageOnArrivalMs(responseFields: string): number {
  const value = fieldValue(responseFields, 'age');
  return value !== null && /^\d{1,9}$/.test(value) ? Number(value) * 1000 : 0;
}

/** The field lines to keep. */
export function keptFields(responseFields: string): string {
  return withoutFields(responseFields, (name) => MOMENTARY_FIELDS.has(name));
}

/** "private" and `private="set-cookie"` alike: an argument makes a directive narrower, and here narrower is not kept either. */
function hasDirective(cacheControl: string | null, directives: readonly string[]): boolean {
  return elements(cacheControl).some((element) => directives.includes(element.replace(/=.*/, '').trim()));
}

function elements(list: string | null): string[] {
  if (list === null) return [];
  return list
    .toLowerCase()
    .split(',')
    .map((element) => element.trim())
    .filter((element) => element !== '');
}
