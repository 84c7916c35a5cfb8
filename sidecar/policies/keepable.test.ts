import { describe, expect, it } from 'vitest';
import {
  ageOnArrivalMs,
  type KeepRules,
  keptFields,
  MAX_VARYING_FIELDS,
  mayBeGiven,
  mayBeKept,
  type ResponseParts,
  selectingFields,
} from './keepable.ts';

const OWN: KeepRules = { audience: 'Anonymous', keyHeaders: [] };
const SHARED: KeepRules = { audience: 'Everyone', keyHeaders: [] };

function answer(fields = '', parts: Partial<ResponseParts> = {}): ResponseParts {
  return { status: 200, fields, contentLength: 2, chunked: false, eventStream: false, ...parts };
}

describe('an answer', () => {
  it('is kept where it is whole, good, and asked for by GET', () => {
    expect(mayBeKept('GET', '', answer(), OWN)).toBe(true);
    expect(mayBeKept('GET', '', answer('', { contentLength: 0 }), OWN)).toBe(true);
    expect(mayBeKept('GET', '', answer('\r\nVary: accept'), OWN)).toBe(true);
    expect(mayBeKept('GET', '', answer('', { contentLength: -1, chunked: true }), OWN)).toBe(true);
    expect(mayBeKept('GET', '', answer('\r\nCache-Control: max-age=0, public'), OWN)).toBe(true);
  });

  it.each([
    ['HEAD', '', answer()],
    ['POST', '', answer()],
    ['GET', '', answer('', { status: 206 })],
    ['GET', '', answer('', { status: 404 })],
    ['GET', '', answer('', { eventStream: true })],
    ['GET', '', answer('', { contentLength: -1 })],
    ['GET', '\r\nCache-Control: No-Store', answer()],
    ['GET', '', answer('\r\nCache-Control: no-store')],
    ['GET', '', answer('\r\nCache-Control: max-age=5\r\nCache-Control: PRIVATE')],
    ['GET', '', answer('\r\nCache-Control: private="x-name"')],
    ['GET', '', answer('\r\nCache-Control: private ="x-name"')],
    ['GET', '', answer('\r\nCache-Control: no-cache')],
    ['GET', '', answer('\r\nCache-Control: max-age=5,must-revalidate')],
    ['GET', '', answer('\r\nSet-Cookie: a=b')],
    ['GET', '', answer('\r\nVary: accept, *')],
  ])('is not kept: %s%j %j', (method, fields, response) => {
    expect(mayBeKept(method, fields, response, OWN)).toBe(false);
    expect(mayBeKept(method, fields, response, SHARED)).toBe(false);
  });

  it.each(['Authorization: Basic x', 'cookie: a=b', 'Proxy-Authorization: x', 'Authorization:'])(
    'to a request with %s is one user’s',
    (line) => {
      const fields = `\r\nAccept: a\r\n${line}`;
      expect(mayBeKept('GET', fields, answer(), OWN)).toBe(false);
      expect(mayBeGiven('GET', fields, OWN)).toBe(false);
      expect(mayBeKept('GET', fields, answer(), SHARED)).toBe(true);
      expect(mayBeGiven('HEAD', fields, SHARED)).toBe(true);
    },
  );

  it('is kept for each value of what the policy names', () => {
    const rules: KeepRules = { audience: 'Anonymous', keyHeaders: ['authorization'] };
    expect(mayBeKept('GET', '\r\nAuthorization: Basic x', answer(), rules)).toBe(true);
    expect(mayBeKept('GET', '\r\nAuthorization: Basic x\r\nCookie: a', answer(), rules)).toBe(false);
  });

  it('is not kept where it depends on more fields than anybody would look at', () => {
    const varying = (count: number) => Array.from({ length: count }, (_, nth) => `\r\nVary: x-${nth}`).join('');
    const isKept = (count: number) => mayBeKept('GET', '', answer(varying(count)), SHARED);
    expect([isKept(MAX_VARYING_FIELDS), isKept(MAX_VARYING_FIELDS + 1)]).toEqual([true, false]);
    expect(mayBeKept('GET', '', answer(`\r\nVary: ${'a,'.repeat(8_000)}`), SHARED)).toBe(false);
  });

  it('is given to GET and HEAD only', () => {
    expect(['GET', 'HEAD', 'POST', 'PUT', 'OPTIONS'].filter((method) => mayBeGiven(method, '', SHARED))).toEqual([
      'GET',
      'HEAD',
    ]);
  });
});

it('depends on what Vary names, what the policy names, and its encoding', () => {
  expect(selectingFields('\r\nVary: Accept-Language, accept\r\nVary: ACCEPT', ['x-tenant'])).toEqual([
    'accept',
    'accept-language',
    'x-tenant',
  ]);
  expect(selectingFields('\r\nContent-Encoding: gzip', [])).toEqual(['accept-encoding']);
  expect(selectingFields('\r\nVary: accept,, ', [])).toEqual(['accept']);
});

it('was as old as it said, and of no age where it says nothing or nonsense', () => {
  expect(['\r\nAge: 30', '', '\r\nAge: -1', '\r\nAge: 1, 2', '\r\nAge: 9999999999'].map(ageOnArrivalMs)).toEqual([
    30_000, 0, 0, 0, 0,
  ]);
});

it.each([
  'age',
  'breakwater-fallback',
  'breakwater-fault',
  'breakwater-reason',
  'retry-after',
  'server-timing',
  'trailer',
  'traceresponse',
  'x-correlation-id',
])('does not keep the field %s', (name) => {
  expect(keptFields(`\r\nETag: "a"\r\n${name}: 1`)).toBe('\r\nETag: "a"');
});

it('keeps no field that was true for one exchange', () => {
  expect(keptFields('\r\nETag: "a"\r\nAge: 3\r\nX-Correlation-ID: c\r\nBreakwater-Reason: reset\r\nDate: d')).toBe(
    '\r\nETag: "a"\r\nDate: d',
  );
});
