// Attacks that are known by a number, each tried on a whole data path over HTTP/1.1: what came of it elsewhere must not come of it here. What
// the codec alone decides is in http1/regression.test.ts, HTTP/2 in http2-attacks.test.ts; docs/wire.md has the list.
import type { Socket } from 'node:net';
import { deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type Bench, type Client, connect, dependencyPlan, get } from './testing/fixtures.ts';
import { opened } from './testing/opened.ts';
import { answering, OK, type Upstream } from './testing/upstreams.ts';

const { bench, upstream } = opened();

async function through(
  ...script: Parameters<typeof upstream>
): Promise<{ server: Upstream; path: Bench; client: Client }> {
  const server = await upstream(...script);
  const path = await bench(dependencyPlan({}), server.endpoint);
  const client = connect(path.port);
  client.socket.on('error', () => {});
  return { server, path, client };
}

const post = (...fields: string[]) =>
  `POST /first HTTP/1.1\r\nHost: payments.billing\r\n${fields.join('\r\n')}\r\n\r\n`;
const requestsOf = (server: Upstream) => server.received.join('').match(/[A-Z]+ \S+ HTTP\/1\.1\r\n/g) ?? [];

describe('an expectation', () => {
  it.each([200, 417, 500])(
    'CVE-2024-24791: a final answer %i instead of 100 leaves no connection behind that waits for content',
    async (status) => {
      const { server, path, client } = await through(
        answering((request) =>
          request.startsWith('POST') ? `HTTP/1.1 ${status} No\r\nContent-Length: 2\r\n\r\nno` : OK,
        ),
      );
      client.send(post('Content-Length: 40', 'Expect: 100-continue'));
      expect(await client.ended()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^]*Connection: close[^]*no$`));
      // The content that the server never asked for would be the next request.
      const next = connect(path.port);
      next.send(get('/next'));
      await next.until((text) => text.endsWith('ok'));
      expect(server.connections).toBe(2);
      expect(server.received[1]).toMatch(/^GET \/next /);
      next.socket.destroy();
    },
  );

  it('Expect desync: content that comes in spite of a final answer is nobody’s request', async () => {
    const { server, path, client } = await through(
      answering((request) => (request.startsWith('POST') ? 'HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n' : OK)),
    );
    const smuggled = get('/smuggled');
    client.send(post(`Content-Length: ${smuggled.length}`, 'Expect: 100-continue'));
    await client.until((text) => text.includes('417'));
    client.send(smuggled + get('/behind'));
    await client.ended();
    const next = connect(path.port);
    next.send(get('/next'));
    await next.until((text) => text.endsWith('ok'));
    expect(requestsOf(server)).toEqual(['POST /first HTTP/1.1\r\n', 'GET /next HTTP/1.1\r\n']);
    next.socket.destroy();
  });
});

describe('bytes that are left on a connection', () => {
  it('CVE-2026-1525: lengths that differ in nothing but the case of their names reach nobody, and are taken from nobody', async () => {
    const two = 'Content-Length: 2\r\ncontent-length: 2';
    const { server, path, client } = await through(answering(`HTTP/1.1 200 OK\r\n${two}\r\n\r\nok`));
    client.send(post(two));
    expect(await client.ended()).toContain('HTTP/1.1 400 ');
    expect(server.connections).toBe(0);
    const next = connect(path.port);
    next.send(get('/'));
    expect(await next.until((text) => text.includes('invalid-response'))).toContain('HTTP/1.1 502 ');
    next.socket.destroy();
  });

  it('CVE-2026-6733: an answer that comes while the connection lies idle is thrown away with it', async () => {
    const sockets: Socket[] = [];
    const { server, client } = await through(answering(OK), (socket) => void sockets.push(socket));
    client.send(get('/'));
    await client.until((text) => text.endsWith('ok'));
    sockets[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ninjected');
    await expect.poll(() => sockets[0]?.destroyed).toBe(true);
    client.send(get('/'));
    expect(await client.until((text) => text.split('ok').length === 3)).not.toContain('injected');
    expect(server.connections).toBe(2);
    client.socket.destroy();
  });

  it('CVE-2026-15157: a request that was given up is not finished by the next one', async () => {
    const { server, path, client } = await through(answering(OK));
    client.send(post('Content-Length: 100') + 'part of it');
    await expect.poll(() => server.received[0] ?? '').toContain('part of it');
    client.socket.destroy();
    const next = connect(path.port);
    next.send(get('/next'));
    await next.until((text) => text.endsWith('ok'));
    expect(server.received[0]).not.toContain('/next');
    expect(server.received[1]).toMatch(/^GET \/next /);
    next.socket.destroy();
  });

  it('CVE-2026-16728: what is behind an answer belongs to no later one', async () => {
    const { server, client } = await through(
      answering((_request, nth) => (nth === 0 ? `${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil` : OK)),
    );
    for (let nth = 1; nth <= 4; nth++) {
      client.send(get(`/${nth}`));
      await client.until((text) => text.split('HTTP/1.1 200').length === nth + 1 && text.endsWith('ok'));
    }
    expect(await client.until(() => true)).not.toContain('evil');
    expect(server.connections).toBe(4);
    client.socket.destroy();
  });
});

describe('a tunnel', () => {
  const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
  const SWITCHED = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  /** Echoes what comes behind its 101. */
  const echo: Parameters<typeof upstream>[0] = (received, socket) => {
    if (received.endsWith('\r\n\r\n')) {
      socket.write(SWITCHED);
      socket.removeAllListeners('data').on('data', (chunk: Buffer) => socket.write(chunk));
    }
  };

  it.each([
    [
      'CVE-2026-1528: the frame of a WebSocket that says it is 2^63 bytes long',
      Buffer.from('82ffffffffffffffffff01020304', 'hex'),
    ],
    ['CVE-2026-1526, CVE-2026-2229: a compressed frame of a WebSocket that would be 64 MB', bomb()],
  ])('%s, is bytes like all others', async (_name, frame) => {
    const { path, client } = await through(echo);
    client.send(get('/', UPGRADE));
    await client.until((text) => text.endsWith('\r\n\r\n'));
    client.socket.write(frame);
    const text = await client.until((received) => received.split('\r\n\r\n')[1]?.length === frame.length);
    expect(Buffer.from(text.split('\r\n\r\n')[1] ?? '', 'latin1').equals(frame)).toBe(true);
    client.socket.destroy();
    await expect.poll(() => path.plane.held()).toMatchObject({ tunnels: 0, attempts: 0, requests: 0 });
  });

  it('CVE-2026-1527: no line end comes through Upgrade, in either direction', async () => {
    const { server, path, client } = await through(
      answering('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\rX-Evil: 1\r\n\r\n'),
    );
    client.send(get('/', 'Connection: Upgrade\r\nUpgrade: websocket\rX-Evil: 1\r\n'));
    expect(await client.ended()).toContain('HTTP/1.1 400 ');
    expect(server.connections).toBe(0);
    const next = connect(path.port);
    next.send(get('/', UPGRADE));
    const text = await next.until((received) => received.includes('invalid-response'));
    expect(text).toMatch(/^HTTP\/1\.1 502 /);
    expect(text).not.toContain('X-Evil');
    next.socket.destroy();
  });

  it('101 without an upgrade that was asked for is no tunnel', async () => {
    const { client } = await through(answering(`${SWITCHED}GET /smuggled`));
    client.send(get('/'));
    const text = await client.until((received) => received.includes('invalid-response'));
    expect(text).toMatch(/^HTTP\/1\.1 502 /);
    expect(text).not.toContain('smuggled');
    client.socket.destroy();
  });

  it('a request behind an upgrade that was refused is a request, and one behind a tunnel that began is bytes', async () => {
    const { server, client } = await through(answering(OK));
    client.send(get('/', UPGRADE) + get('/second'));
    await client.until((text) => text.split('ok').length === 3);
    expect(requestsOf(server)).toEqual(['GET / HTTP/1.1\r\n', 'GET /second HTTP/1.1\r\n']);
    client.socket.destroy();
    const tunnel = await through(echo);
    tunnel.client.send(get('/', UPGRADE) + get('/second'));
    await tunnel.client.until((text) => text.endsWith(get('/second')));
    expect(tunnel.server.connections).toBe(1);
    tunnel.client.socket.destroy();
  });
});

describe('a name', () => {
  it('CVE-2026-21710, CVE-2026-21717: that objects and hash tables choke on is a name like all others', async () => {
    const names = ['__proto__', 'constructor', 'toString', ...Array.from({ length: 85 }, (_, nth) => String(nth))];
    const lines = names.map((name) => `${name}: x\r\n`).join('');
    const { server, client } = await through(answering(`HTTP/1.1 200 OK\r\n${lines}Content-Length: 2\r\n\r\nok`));
    client.send(get('/', lines));
    expect(await client.until((text) => text.endsWith('ok'))).toContain(lines);
    expect(server.received[0]).toContain(lines);
    client.socket.destroy();
  });

  it('CVE-2026-6734: the authority of an absolute target decides where Host says another, by being refused', async () => {
    const { server, path, client } = await through(answering(OK));
    client.send('GET http://internal.test/admin HTTP/1.1\r\nHost: payments.billing\r\n\r\n');
    expect(await client.ended()).toContain('HTTP/1.1 400 ');
    expect(server.connections).toBe(0);
    const next = connect(path.port);
    next.send('GET http://payments.billing/a HTTP/1.1\r\nHost: payments.billing\r\n\r\n');
    await next.until((text) => text.endsWith('ok'));
    expect(server.received[0]).toMatch(/^GET \/a HTTP\/1\.1\r\nHost: payments\.billing\r\n/);
    next.socket.destroy();
  });

  it.each([
    'X_Correlation_ID',
    'x-correlation_id',
    'X_Breakwater_Attempt',
    'X_BREAKWATER-DEADLINE',
    'X-Breakwater-Attempt',
  ])('that some servers take for one of ours does not arrive: %s', async (name) => {
    const { server, client } = await through(answering(OK));
    client.send(get('/', `${name}: forged\r\nX_Other: kept\r\n`));
    await client.until((text) => text.endsWith('ok'));
    expect(server.received[0]).not.toContain('forged');
    expect(server.received[0]).toContain('\r\nX_Other: kept\r\n');
    expect(server.received[0]?.match(/x.correlation.id: /gi)).toHaveLength(1);
    client.socket.destroy();
  });

  it.each(['/a/../b', '/a%2f..%2fb', '/a;b=c/..;/d', '//a', '/%00', '/a\\b', '/?a=%0d%0a'])(
    'of a target is left as it is: %s',
    async (target) => {
      const { server, client } = await through(answering(OK));
      client.send(get(target));
      await client.until((text) => text.endsWith('ok'));
      expect(server.received[0]?.split('\r\n')[0]).toBe(`GET ${target} HTTP/1.1`);
      client.socket.destroy();
    },
  );
});

/** A masked frame, compressed as permessage-deflate does it. */
function bomb(): Buffer {
  const content = deflateRawSync(Buffer.alloc(64 * 1024 * 1024));
  const head = Buffer.alloc(14);
  head.writeUInt16BE(0xc2ff);
  head.writeBigUInt64BE(BigInt(content.length), 2);
  return Buffer.concat([head, content]);
}
