import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NO_KEY } from './balancer.ts';
import { hashText } from './hash.ts';
import { type HashSource, hashKeyOf } from './hash-key.ts';

const OWN = 77;
const source = (key: HashSource['key'], name: string | null): HashSource => ({ key, name });
const request = (...lines: string[]) => ({
  host: 'payments:8080',
  fields: lines.map((line) => `\r\n${line}`).join(''),
});
const header = (name: string, ...lines: string[]) => hashKeyOf(source('Header', name), request(...lines), OWN);
const cookie = (name: string, ...lines: string[]) => hashKeyOf(source('Cookie', name), request(...lines), OWN);

describe('the key of a request', () => {
  it('is the value of a header, in whatever case its name is written', () => {
    const lines = ['Accept: */*', 'X-User-Id:  joan ', 'X-Other: 1'];
    expect(header('x-user-id', ...lines)).toBe(hashText('joan'));
    expect(header('x-other', ...lines)).toBe(hashText('1'));
    expect(header('host', ...lines)).toBe(hashText('payments:8080'));
    expect(hashKeyOf(source('Header', 'host'), { host: '', fields: '' }, OWN)).toBe(NO_KEY);
  });

  it('is that of the first of several, and none where there is no header or an empty one', () => {
    expect(header('x-user', 'x-user: a', 'x-user: b')).toBe(hashText('a'));
    expect(header('x-user', 'x-user:', 'x-user: b')).toBe(hashText('b'));
    expect(header('x-user', 'x-use: a', 'x-users: b')).toBe(NO_KEY);
    expect(header('x-user')).toBe(NO_KEY);
    expect(header('x-user', 'x-user:')).toBe(NO_KEY);
  });

  it('is the value of a cookie', () => {
    const lines = ['Accept: */*', 'Cookie: theme=dark; session=abc=; xsession=no', 'Cookie: late=1'];
    expect(cookie('session', ...lines)).toBe(hashText('abc='));
    expect(cookie('theme', ...lines)).toBe(hashText('dark'));
    expect(cookie('late', ...lines)).toBe(hashText('1'));
    expect(cookie('xsession', ...lines)).toBe(hashText('no'));
    expect(cookie('Session', ...lines)).toBe(NO_KEY);
    expect(cookie('session', 'Cookie: session=abc', 'X-Other: y; z')).toBe(hashText('abc'));
    expect(cookie('last', 'Cookie: last=abc', 'X-Other: y; z')).toBe(hashText('abc'));
    expect(cookie('sess', ...lines)).toBe(NO_KEY);
    expect(cookie('session', 'Cookie: session=')).toBe(NO_KEY);
    expect(cookie('session', 'Cookie: session')).toBe(NO_KEY);
    expect(cookie('session', 'X-Cookie: session=1')).toBe(NO_KEY);
  });

  it('is the pod itself', () => {
    for (const own of [source('SourceAddress', null), source('SourceAddress', 'x-user'), source('Header', null)])
      expect(hashKeyOf(own, request('x-user: a'), OWN)).toBe(OWN);
  });

  it('is that of the cookie for any cookies around it', () => {
    const token = fc.stringMatching(/^[a-z]{1,6}$/);
    const others = fc.array(fc.tuple(token, token), { maxLength: 5 });
    fc.assert(
      fc.property(
        others,
        others,
        token,
        fc.constantFrom('; ', ';', ';  ', ';;', '; ; '),
        (before, after, value, separator) => {
          const name = 'the-one';
          const pairs = [...before, [name, value], ...after].map(([one, other]) => `${one}=${other}`);
          expect(cookie(name, `Cookie: ${pairs.join(separator)}`)).toBe(hashText(value));
        },
      ),
    );
  });
});
