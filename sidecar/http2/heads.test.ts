// Heads of HTTP/2: read into what policies see, and written again without a difference.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { headErrorDetail } from '../http1/errors.ts';
import { RequestHead } from '../http1/request-head.ts';
import { ResponseHead } from '../http1/response-head.ts';
import { readRequestHead, readResponseHead, readTrailers } from './read-heads.ts';
import { answerFields, fieldList, requestFields, responseFields } from './write-heads.ts';

const REQUEST = [':method', 'POST', ':scheme', 'http', ':authority', 'a.test:80', ':path', '/p?q'];

/** A section as names, each with its value. */
const pairsOf = (raw: readonly string[]) =>
  Array.from({ length: raw.length / 2 }, (_, index): [string, string] => [
    raw[index * 2] ?? '',
    raw[index * 2 + 1] ?? '',
  ]);

function request(raw: readonly string[], ended = true): { head: RequestHead; problem: string } {
  const head = new RequestHead();
  return { problem: headErrorDetail(readRequestHead(raw, ended, head)), head };
}

const outgoing = (head: RequestHead) => ({
  head,
  host: head.host,
  correlationId: 'c',
  fields: head.fields,
  attempt: 0,
  deadline: '',
  grpcTimeout: '',
  hasBody: false,
});

describe('the head of a request', () => {
  it('is what the same request of HTTP/1.1 would be', () => {
    const { head, problem } = request(
      [...REQUEST, 'x-a', '1', 'te', 'trailers', 'content-length', '5', 'accept', '*/*'],
      false,
    );
    expect(problem).toBe('');
    expect(head).toMatchObject({
      method: 'POST',
      target: '/p?q',
      path: '/p',
      host: 'a.test:80',
      contentLength: 5,
      chunked: false,
      acceptsTrailers: true,
      fields: '\r\nx-a: 1\r\naccept: */*',
    });
  });

  it('without a length has content where its stream goes on', () => {
    expect(request(REQUEST, false).head).toMatchObject({ chunked: true, contentLength: -1 });
    expect(request(REQUEST, true).head).toMatchObject({ chunked: false, contentLength: -1 });
    expect(request([...REQUEST, 'expect', '100-continue'], false).head.expectsContinue).toBe(true);
    expect(request([...REQUEST, 'expect', '100-continue'], true).head.expectsContinue).toBe(false);
  });

  it('has its cookies in one field, wherever they were', () => {
    expect(request([...REQUEST, 'cookie', 'a=1', 'x', 'y', 'cookie', 'b=2']).head.fields).toBe(
      '\r\nx: y\r\ncookie: a=1; b=2',
    );
  });

  it.each<[string, string[]]>([
    ['are not those of a request', REQUEST.slice(2)],
    ['are not those of a request', REQUEST.slice(0, 6)],
    ['are not those of a request', [...REQUEST.slice(0, 6), ':path', '']],
    ['are not those of a request', [...REQUEST, ':authority', 'b']],
    ['are not those of a request', [':method', 'GET /a HTTP/1.1\r\nx: y\r\nz:', ...REQUEST.slice(2)]],
    ['behind the other fields', [...REQUEST.slice(2), 'a', 'b', ':method', 'GET']],
    ['behind the other fields', ['host', 'a.test:80', ...REQUEST]],
    ['behind the other fields', ['cookie', 'a=b', ...REQUEST]],
    ['behind the other fields', [...REQUEST.slice(2), 'grpc-timeout', '1S', ':method', 'GET']],
    ['belongs to a connection', [...REQUEST, 'connection', 'x-a']],
    ['belongs to a connection', [...REQUEST, 'te', 'trailers, gzip']],
    ['a character that names cannot have', [...REQUEST, 'x:a', 'b']],
    ['a field name in capitals', [...REQUEST, 'X-A', 'b']],
    ['a control character', [...REQUEST, 'x-a', 'b\r\nc: d']],
    ['a control character', [...REQUEST, 'x-a', 'b\0']],
    ['different authorities', [...REQUEST, 'host', 'b.test']],
    ['two Host fields', [...REQUEST, 'host', 'a.test:80', 'host', 'a.test:80']],
    ['not as long', [...REQUEST, 'content-length', '5']],
    ['CONNECT', [':method', 'CONNECT', ':authority', 'a.test:80']],
  ])('is refused: %s', (problem, raw) => {
    expect(request(raw).problem).toContain(problem);
  });

  it('is the same again when it is written', () => {
    const name = fc
      .stringMatching(/^x-[a-z0-9!#$%&'*+.^_`|~-]{1,12}$/, { size: 'max' })
      .filter((text) => !/^x-(correlation|breakwater|should)/.test(text));
    const value = fc.stringMatching(/^[!-~\u0080-\u00ff]([ -~\u0080-\u00ff]{0,20}[!-~\u0080-\u00ff])?$/, {
      size: 'max',
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 20, size: 'max' }), (fields) => {
        const raw = [...REQUEST, 'x-correlation-id', 'c', ...fields.flat()];
        const { head, problem } = request(raw);
        expect(problem).toBe('');
        expect(requestFields(outgoing(head), 'http')).toEqual(raw);
      }),
    );
  });

  it('says nothing that its section did not say, whatever that was', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 12, size: 'max' }),
      fc.constantFrom(
        'GET',
        '/',
        '*',
        'a',
        'http',
        'a.test',
        '\r\n',
        'a\r\nb: c',
        ':',
        ' HTTP/1.1\r\n',
        'content-length',
        '0',
        '7',
      ),
    );
    const name = fc.oneof(
      fc.constantFrom('x-a', 'x-b', 'accept', 'cookie', 'host', 'te', 'content-length', 'grpc-timeout'),
      fc.constantFrom(':method', ':path', ':scheme', ':authority'),
      text,
    );
    const safe = fc.tuple(
      fc.constantFrom('x-a', 'x-b', 'accept', 'cookie', 'grpc-timeout'),
      fc.constantFrom('1', 'a, b', ' a ', '', '7m'),
    );
    /** A request, with a pair that may be anything among its own, or something in one of their values. */
    const section = fc
      .tuple(
        fc.shuffledSubarray(pairsOf(REQUEST), { minLength: 4 }),
        fc.array(safe, { maxLength: 8 }),
        fc.array(fc.tuple(fc.nat(), fc.constantFrom('insert', 'replace', 'append'), name, text), { maxLength: 2 }),
      )
      .map(([pseudo, fields, changes]) =>
        changes.reduce((before, [at, how, added, value]) => {
          const index = at % (before.length + 1);
          const own = before[index];
          if (how === 'insert' || !own) return before.toSpliced(index, 0, [added, value]);
          return before.with(index, [own[0], how === 'append' ? own[1] + value : value]);
        }, pseudo.concat(fields)),
      );
    let accepted = 0;
    let changedAndAccepted = 0;
    fc.assert(
      fc.property(section, fc.boolean(), (fields, ended) => {
        const { head, problem } = request(fields.flat(), ended);
        if (problem !== '') return;
        accepted += 1;
        const said = new Map(fields);
        if (pairsOf(REQUEST).some(([own, value]) => said.get(own) !== value)) changedAndAccepted += 1;
        expect(head.method).toBe(said.get(':method'));
        expect(head.target).toBe(said.get(':path'));
        expect(head.host).toBe(said.get(':authority') ?? said.get('host') ?? '');
        const cookies = fields.filter(([own]) => own === 'cookie').map(([, value]) => value);
        const first = cookies.findIndex((value) => value !== '');
        const lines = fields
          .map(([own, value]) => `${own}: ${value}`)
          .concat(`cookie: ${cookies.slice(first).join('; ')}`);
        for (const line of head.fields.split('\r\n').slice(1)) expect(lines).toContain(line);
      }),
      { numRuns: 2_000 },
    );
    expect(accepted).toBeGreaterThan(200);
    expect(changedAndAccepted).toBeGreaterThan(10);
  });
});

describe('the head of a response', () => {
  const response = (raw: readonly string[]): { head: ResponseHead; problem: number } => {
    const head = new ResponseHead();
    return { problem: readResponseHead(raw, head), head };
  };

  it('is what the same response of HTTP/1.1 would be', () => {
    const { head, problem } = response([
      ':status',
      '503',
      'retry-after',
      '7',
      'content-length',
      '0',
      'content-type',
      'text/event-stream',
    ]);
    expect(problem).toBe(0);
    expect(head).toMatchObject({ status: 503, retryAfterSeconds: 7, contentLength: 0, eventStream: true });
    expect(responseFields(head, '\r\nBreakwater-Fallback: x')).toEqual([
      ':status',
      '503',
      'retry-after',
      '7',
      'content-type',
      'text/event-stream',
      'breakwater-fallback',
      'x',
      'content-length',
      '0',
    ]);
  });

  it.each([
    [['a', 'b']],
    [[':status', '101']],
    [[':status', '600']],
    [[':status', '20']],
    [[':status', '2000']],
    [[':status', '200', ':status', '200']],
    [['a', 'b', ':status', '200']],
    [['cookie', 'a=b', ':status', '200']],
    [[':status', '200', 'connection', 'close']],
    [[':status', '200', 'content-length', '1', 'content-length', '1']],
    [[':status', '204', 'content-length', '1']],
  ])('is refused: %j', (raw) => {
    expect(response(raw).problem).not.toBe(0);
  });

  it('of ours has lower-case names', () => {
    expect(answerFields(429, '\r\nRetry-After: 1\r\nX-Correlation-ID:\t c ', 3)).toEqual([
      ':status',
      '429',
      'retry-after',
      '1',
      'x-correlation-id',
      'c',
      'content-length',
      '3',
    ]);
  });
});

// Time that grew with the square of the blanks would be minutes here, and no test has so much.
it('a value with tens of thousands of blanks inside is written in time', () => {
  const value = `a${' \t'.repeat(50_000)}b`;
  expect(fieldList(`\r\nx: \t${value} \t`)).toEqual(['x', value]);
  expect(fieldList(`\r\nx:${' \t'.repeat(50_000)}`)).toEqual(['x', '']);
});

describe('trailers', () => {
  it('go on without those that may be none', () => {
    expect(readTrailers(['grpc-status', '0', 'content-type', 'a/b', 'x', 'y'])).toBe('\r\ngrpc-status: 0\r\nx: y');
    expect(readTrailers(['a:b', 'c'])).toBe(null);
    expect(readTrailers(['grpc-status', '0', 'content-length', '5'])).toBe(null);
    expect(readTrailers([])).toBe('');
  });

  it('keep several values of one name', () => {
    expect(fieldList('\r\na: 1\r\nb: 2\r\na: 3')).toEqual(['a', '1', 'b', '2', 'a', '3']);
    expect(fieldList('')).toEqual([]);
  });
});
