// Upstreams that answer what nobody should: the application sees one clear answer or a clear cut, and the next request is not harmed.
import { describe, expect, it } from 'vitest';
import { type Bench, connect, dependencyPlan, get, startBench } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering, OK, startUpstream } from '../testing/upstreams.ts';

const { open } = opened();

/** The first connection answers by this, the others well. */
async function firstAnswering(response: string, end = false): Promise<Bench & { connections: () => number }> {
  const well = answering(OK);
  const upstream = await startUpstream((received, socket, connection) => {
    if (connection > 0) well(received, socket);
    else if (received.split('\r\n\r\n').length === 2) {
      if (end) socket.end(response, 'latin1');
      else socket.write(response, 'latin1');
    }
  });
  const timeouts = { requestMs: 1_000, attemptMs: 1_000, connectMs: 500, idleMs: 0, opaqueIdleMs: 0 };
  const bench = await startBench(dependencyPlan({ timeouts }), [upstream.endpoint]);
  open.push(upstream, bench);
  return { ...bench, connections: () => upstream.connections };
}

describe('bytes that belong to no answer', () => {
  it.each([
    ['content in an answer to HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'],
    ['content of a 204', 'GET', 'HTTP/1.1 204 No Content\r\n\r\nevil'],
    ['content of a 304', 'GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil'],
    ['more than Content-Length', 'GET', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokevil'],
    [
      'more than the last chunk',
      'GET',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nevil',
    ],
    ['a second answer', 'GET', `${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`],
  ])('are not passed on, and their connection is not used again: %s', async (_name, method, response) => {
    const { port, connections } = await firstAnswering(response);
    const client = connect(port);
    client.send(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n${get('/')}`);
    const text = await client.until((received) => received.split('HTTP/1.1').length === 3 && received.endsWith('ok'));
    expect(text).not.toContain('evil');
    expect(connections()).toBe(2);
  });
});

describe('an answer that is not one', () => {
  it.each([
    ['a head without end', `HTTP/1.1 200 OK\r\n${'x: 0123456789abcdef\r\n'.repeat(1_000)}`],
    ['too many fields', `HTTP/1.1 200 OK\r\n${'x: 0\r\n'.repeat(200)}\r\n`],
    ['both framings', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a length in an interim answer', 'HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok'],
  ])('becomes a 502 of ours: %s', async (_name, response) => {
    const { port } = await firstAnswering(response);
    const client = connect(port);
    client.send(get('/') + get('/'));
    const text = await client.until((received) => received.endsWith('ok'));
    expect(text).toMatch(/^HTTP\/1\.1 502 [^]*invalid-response/);
  });

  it('becomes a 502 of ours also behind a good head, as long as nothing of it was passed on', async () => {
    const { port } = await firstAnswering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n');
    const client = connect(port);
    client.send(get('/') + get('/'));
    const text = await client.until((received) => received.endsWith('ok'));
    expect(text).toMatch(/^HTTP\/1\.1 502 [^]*invalid-response[^]*HTTP\/1\.1 200 OK/);
  });

  it.each([
    ['a chunk that is none', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n', 'zz\r\n'],
    ['endless trailers', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n', 'x: 0\r\n'.repeat(2_000)],
  ])('is cut for the application where a part was passed on: %s', async (_name, part, rest) => {
    const upstream = await startUpstream((_received, socket) => {
      socket.write(part, 'latin1');
      passedOn = () => socket.write(rest, 'latin1');
    });
    let passedOn = (): unknown => undefined;
    const bench = await startBench(dependencyPlan({}), [upstream.endpoint]);
    open.push(upstream, bench);
    const client = connect(bench.port);
    client.socket.on('error', () => {});
    client.send(get('/'));
    await client.until((received) => received.includes('\r\n\r\n'));
    passedOn();
    expect(await client.ended()).not.toMatch(/\r\n0\r\n\r\n$/);
  });

  it.each([
    ['fewer bytes than its length', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok', true],
    ['chunks without the last one', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n', true],
  ])('is cut for the application, and never completed: %s', async (_name, response, end) => {
    const { port } = await firstAnswering(response, end);
    const client = connect(port);
    client.socket.on('error', () => {});
    client.send(get('/'));
    expect(await client.ended()).not.toMatch(/\r\n0\r\n\r\n$|Content-Length: 2/);
  });

  it('is reset for an HTTP/1.0 application, which would take an end for the end of the body', async () => {
    const { port } = await firstAnswering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n', true);
    const client = connect(port);
    client.send('GET / HTTP/1.0\r\n\r\n');
    expect(await client.closed()).toBe('ECONNRESET');
  });
});

describe('many interim answers', () => {
  it('are passed on, but for 100, which comes once', async () => {
    const hint = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
    const { port } = await firstAnswering(`${`HTTP/1.1 100 Continue\r\n\r\n${hint}`.repeat(480)}${OK}`);
    const client = connect(port);
    client.send(get('/'));
    const text = await client.until((received) => received.endsWith('ok'));
    expect(text.split('HTTP/1.1 103')).toHaveLength(481);
    expect(text.split('HTTP/1.1 100')).toHaveLength(2);
  });

  it.each([
    ['100', 'HTTP/1.1 100 Continue\r\n\r\n', 1_024],
    ['103 with much in it', `HTTP/1.1 103 Early Hints\r\nx: ${'a'.repeat(16_123)}\r\n\r\n`, 16],
  ])('are no answer beyond 256 KiB, and so they are at it: %s', async (_name, hint, atMost) => {
    const within = await firstAnswering(hint.repeat(atMost) + OK);
    const client = connect(within.port);
    client.send(get('/'));
    expect(await client.until((received) => received.endsWith('ok'))).not.toContain('HTTP/1.1 502');
    const beyond = await firstAnswering(hint.repeat(atMost + 1) + OK);
    const next = connect(beyond.port);
    next.send(get('/') + get('/'));
    const text = await next.until((received) => received.endsWith('ok'));
    expect(text).toMatch(/HTTP\/1\.1 502 [^]*invalid-response[^]*HTTP\/1\.1 200 OK/);
    expect(await beyond.metric('breakwater_attempts_total', { result: 'invalid-response' })).toBe(1);
    expect(beyond.connections()).toBe(2);
  });
});

describe('local answers', () => {
  it('end the connection of an HTTP/1.0 application, which is not told that it stays', async () => {
    const bench = await startBench(dependencyPlan({}), []);
    open.push(bench);
    const client = connect(bench.port);
    client.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 503 [^]*Connection: close/);
  });
});
