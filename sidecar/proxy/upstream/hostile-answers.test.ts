// Answers that readers differ about, from a dependency that is hostile or broken: the application, read by llhttp, sees the answer to each of its
// requests or the end of the connection, and never one answer in the place of another.
import { describe, expect, it } from 'vitest';
import { readByOracle } from '../../http1/testing/llhttp.ts';
import { connect, dependencyPlan, get } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';

const { bench, upstream } = opened();

const EVIL = 'HTTP/1.1 200 OK\r\nX-Seen: /evil\r\nContent-Length: 4\r\n\r\nevil';
const answer = (target: string) => `HTTP/1.1 200 OK\r\nX-Seen: ${target}\r\nContent-Length: 2\r\n\r\nok`;
const lines = (...all: string[]) =>
  `HTTP/1.1 200 OK\r\nX-Seen: /first\r\n${all.map((line) => `${line}\r\n`).join('')}\r\n`;
const chunks = `5\r\nhello\r\n0\r\n\r\n`;

/** Of the request before; `HEAD` where it is one. */
const ANSWERS: readonly [string, string, ('HEAD' | 'GET')?][] = [
  ['both framings', lines('Content-Length: 5', 'Transfer-Encoding: chunked') + chunks],
  ['both framings, the other way round', lines('Transfer-Encoding: chunked', 'Content-Length: 3') + chunks],
  ['two lengths', lines('Content-Length: 2', 'Content-Length: 4') + EVIL],
  ['a list of lengths', lines('Content-Length: 2, 2') + 'ok'],
  ['a signed length', lines('Content-Length: +2') + 'ok'],
  ['a length in hex', lines('Content-Length: 0x2') + 'ok'],
  ['a space before the colon of the length', lines('Content-Length : 2') + 'ok'],
  ['a folded length', lines('Content-Length:', ' 2') + 'ok'],
  ['an underscore in the length', lines('Content_Length: 2') + EVIL],
  ['an encoding that is none', lines('Transfer-Encoding: xchunked') + chunks],
  ['two encodings', lines('Transfer-Encoding: gzip, chunked') + chunks],
  ['an encoding in HTTP/1.0', `HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`],
  ['a bare LF in its head', `HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok`],
  ['a bare CR in a value', lines('X-A: b\rX-Seen: /evil', 'Content-Length: 2') + 'ok'],
  ['a zero byte in a value', lines('X-A: b\0c', 'Content-Length: 2') + 'ok'],
  ['more than its length', lines('Content-Length: 2') + `ok${EVIL}`],
  ['more than its last chunk', lines('Transfer-Encoding: chunked') + chunks + EVIL],
  ['a chunk that is longer than its size', lines('Transfer-Encoding: chunked') + '3\r\nhello\r\n0\r\n\r\n'],
  ['a bare LF in its chunks', lines('Transfer-Encoding: chunked') + '5\nhello\r\n0\r\n\r\n'],
  ['trailers about the framing', lines('Transfer-Encoding: chunked') + '5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n'],
  ['content of a 204', `HTTP/1.1 204 No Content\r\nX-Seen: /first\r\n\r\n${EVIL}`],
  ['a length of a 204', `HTTP/1.1 204 No Content\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`],
  ['content of a 304', `HTTP/1.1 304 Not Modified\r\nX-Seen: /first\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`],
  ['content in an answer to HEAD', lines(`Content-Length: ${EVIL.length}`) + EVIL, 'HEAD'],
  ['chunks in an answer to HEAD', lines('Transfer-Encoding: chunked') + chunks + EVIL, 'HEAD'],
  ['content of a 100', `HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok${EVIL}`],
  ['101 that nobody asked for', `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n${EVIL}`],
  ['a hundred 1xx', `${'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(100)}${answer('/first')}`],
  ['a second answer', answer('/first') + EVIL],
  ['no status', `HTTP/1.1 OK\r\n\r\n${EVIL}`],
  ['HTTP/0.9', `evil${EVIL}`],
  ['HTTP/2', `HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok`],
  ['a request', 'GET /evil HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['empty lines before it', `\r\n\r\n${answer('/first')}`],
  ['a head without end', `HTTP/1.1 200 OK\r\n${'X-A: b\r\n'.repeat(2_500)}`],
];

describe('the answer to each request, and no other, comes behind an answer with', () => {
  it.each(ANSWERS)('%s', async (_name, hostile, method = 'GET') => {
    const server = await upstream((received, socket) => {
      if (!received.endsWith('\r\n\r\n')) return;
      const target = [...received.matchAll(/^[A-Z]+ (\S+) HTTP/gm)].at(-1)?.[1];
      if (target === '/first') socket.write(hostile, 'latin1');
      else if (target !== undefined) socket.write(answer(target));
    });
    const timeouts = { requestMs: 5_000, attemptMs: 0, connectMs: 5_000, idleMs: 0, opaqueIdleMs: 0 };
    const { port, plane } = await bench(dependencyPlan({ timeouts }), server.endpoint);
    const client = connect(port);
    client.socket.on('error', () => {});
    client.send(`${method} /first HTTP/1.1\r\nHost: payments.billing\r\n\r\n${get('/second')}`);
    client.socket.end();
    const text = await client.ended(8_000);
    const first = readByOracle('RESPONSE', text, method === 'HEAD');
    // The answer to HEAD has no content for llhttp; those behind it are read by themselves.
    const rest = method === 'HEAD' ? text.slice(text.indexOf('\r\n\r\n') + 4) : '';
    const behind = rest === '' ? { messages: [], failed: false } : readByOracle('RESPONSE', rest);
    const messages = [...first.messages.slice(0, method === 'HEAD' ? 1 : undefined), ...behind.messages].filter(
      ({ status }) => status >= 200,
    );
    const seenBy = messages
      .map(({ fields }) => fields[fields.indexOf('X-Seen') + 1])
      .filter((_, nth) => messages[nth]?.fields.includes('X-Seen'));
    expect(seenBy).not.toContain('/evil');
    if (messages.length > 1) expect(seenBy.at(-1)).toBe('/second');
    expect(messages.length).toBeLessThanOrEqual(2);
    const next = connect(port);
    next.send(get('/next'));
    expect(await next.until((received) => received.endsWith('ok'))).toContain('X-Seen: /next');
    next.socket.destroy();
    await expect.poll(() => plane.held()).toMatchObject({ requests: 0, attempts: 0 });
  });
});
