// HTTP/1.1 through the data path, seen as bytes on both sides of it.
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import { type Bench, connect, dependencyPlan, get, startBench } from './testing/fixtures.ts';
import { opened } from './testing/opened.ts';
import { answering, OK, startUpstream, type Upstream } from './testing/upstreams.ts';

const { open } = opened();

async function through(upstream: Upstream, plan = dependencyPlan({})): Promise<Bench> {
  const bench = await startBench(plan, [upstream.endpoint]);
  open.push(upstream, bench);
  return bench;
}

const whole = (text: string, bodies = 1): boolean => text.split('\r\n\r\n').length > bodies;

describe('requests', () => {
  it('forwards fields byte for byte, keeps Host, and adds a correlation id', async () => {
    const upstream = await startUpstream(answering(OK));
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(
      'GET /a?b=c HTTP/1.1\r\nHOST: Payments.Billing\r\nx-Odd:  two  spaces \r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n',
    );
    await client.until((text) => text.endsWith('ok'));
    const [request = ''] = upstream.received;
    expect(request).toMatch(/^GET \/a\?b=c HTTP\/1\.1\r\nHost: Payments\.Billing\r\n/);
    expect(request).toContain('\r\nx-Odd:  two  spaces \r\n');
    expect(request).toMatch(/\r\nX-Correlation-ID: [0-9a-f]{32}\r\n/);
    expect(request).not.toContain('Connection');
  });

  it('passes a given correlation id on and adds none', async () => {
    const upstream = await startUpstream(answering(OK));
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/', 'x-correlation-id: mine\r\n'));
    await client.until((text) => text.endsWith('ok'));
    expect(upstream.received[0]?.toLowerCase().match(/x-correlation-id/g)).toHaveLength(1);
    expect(upstream.received[0]).toContain('x-correlation-id: mine');
  });

  it.each(['127.0.0.1:1234', 'localhost:99', '[::1]:7'])(
    'rewrites Host %s in capture explicit, where only the port speaks',
    async (host) => {
      const upstream = await startUpstream(answering(OK));
      const { port } = await through(upstream);
      const client = connect(port);
      client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await client.until((text) => text.endsWith('ok'));
      expect(upstream.received[0]).toContain('Host: payments.billing.svc.cluster.local:8080\r\n');
    },
  );

  it('reuses the upstream connection and answers pipelined requests in order', async () => {
    const upstream = await startUpstream(
      answering((request) => {
        const path = request.split(' ')[1] ?? '';
        return `HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`;
      }),
    );
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/a') + get('/b') + get('/c'));
    const text = await client.until((received) => received.endsWith('/c'));
    expect(text.match(/\/[abc]/g)).toEqual(['/a', '/b', '/c']);
    expect(upstream.connections).toBe(1);
  });

  it('takes a head in single bytes, after one empty line', async () => {
    const upstream = await startUpstream(answering(OK));
    const { port } = await through(upstream);
    const client = connect(port);
    for (const byte of `\r\n${get('/slow')}`) {
      client.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.until((text) => text.endsWith('ok'));
    expect(upstream.received[0]).toMatch(/^GET \/slow /);
  });

  it('re-frames a chunked body, drops extensions, keeps trailers', async () => {
    const upstream = await startUpstream((received, socket) => {
      if (received.endsWith('\r\nx-sum: 7\r\n\r\n')) socket.write(OK);
    });
    const { port } = await through(upstream);
    const client = connect(port);
    client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n');
    client.send('4;name=value\r\nWiki\r\n6\r\npedia \r\n0\r\nx-sum: 7\r\nHost: b\r\n\r\n');
    await client.until((text) => text.endsWith('ok'));
    const [request = ''] = upstream.received;
    expect(request).toContain('\r\nTransfer-Encoding: chunked\r\n');
    expect(request).toContain('\r\nTE: trailers\r\n');
    expect(request.slice(request.indexOf('\r\n\r\n') + 4)).toBe('4\r\nWiki\r\n6\r\npedia \r\n0\r\nx-sum: 7\r\n\r\n');
  });

  it('passes Expect, the 100, and the body after it', async () => {
    const upstream = await startUpstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 100 Continue\r\n\r\n');
      if (received.endsWith('hello')) socket.write(OK);
    });
    const { port } = await through(upstream);
    const client = connect(port);
    client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n');
    await client.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n');
    client.send('hello');
    await client.until((text) => text.endsWith('ok'));
  });

  it('passes 103 before the answer', async () => {
    const upstream = await startUpstream(answering(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`));
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/'));
    const text = await client.until((received) => received.endsWith('ok'));
    expect(text).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1\.1 200 OK/);
  });

  it('answers after the application has ended its side', async () => {
    const upstream = await startUpstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) setTimeout(() => socket.write(OK), 30);
    });
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/'));
    client.socket.end();
    expect(await client.ended()).toMatch(/ok$/);
  });

  it('takes a FIN inside a request for an abort, and the upstream sees no whole request', async () => {
    let aborted: (() => void) | null = null;
    const gone = new Promise<void>((resolve) => {
      aborted = resolve;
    });
    const upstream = await startUpstream(
      () => {},
      (socket) => socket.on('close', () => aborted?.()),
    );
    const { port, plane } = await through(upstream);
    const client = connect(port);
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf');
    await expect.poll(() => upstream.received[0] ?? '').toContain('half');
    client.socket.end();
    await gone;
    expect(plane.inFlight()).toBe(0);
  });
});

describe('responses', () => {
  it.each([
    ['HEAD with a length', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n', 'Content-Length: 1000'],
    ['204', 'GET', 'HTTP/1.1 204 No Content\r\n\r\n', '204 No Content'],
    ['304 with a length', 'GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n', '304 Not Modified'],
  ])('has no body: %s', async (_name, method, response, expected) => {
    const upstream = await startUpstream(answering(response));
    const { port } = await through(upstream);
    const client = connect(port);
    const request = `${method} / HTTP/1.1\r\nHost: a\r\n\r\n`;
    client.send(request);
    expect(await client.until((text) => whole(text))).toContain(expected);
    client.send(request);
    await client.until((text) => whole(text, 2));
    expect(upstream.connections).toBe(1);
  });

  it('re-frames chunks and passes trailers', async () => {
    const upstream = await startUpstream(
      answering(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3;a=b\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n',
      ),
    );
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/', 'TE: trailers\r\nConnection: TE\r\n'));
    const text = await client.until((received) => received.endsWith('x-sum: 1\r\n\r\n'));
    expect(text).toContain('\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n');
  });

  it('turns a body that ends with the connection into chunks, and keeps the connection of the application', async () => {
    const upstream = await startUpstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) socket.end('HTTP/1.1 200 OK\r\n\r\nuntil the end');
    });
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/'));
    expect(await client.until((text) => text.endsWith('0\r\n\r\n'))).toContain('d\r\nuntil the end\r\n');
    client.send(get('/'));
    await client.until((text) => text.split('0\r\n\r\n').length === 3);
  });

  it('gives an HTTP/1.0 client its body by the end of the connection', async () => {
    const upstream = await startUpstream(
      answering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'),
    );
    const { port } = await through(upstream);
    const client = connect(port);
    client.send('GET / HTTP/1.0\r\n\r\n');
    const text = await client.ended();
    expect(upstream.received[0]).toContain('\r\nHost: payments.billing.svc.cluster.local:8080\r\n');
    expect(text).toMatch(/\r\n\r\nabc$/);
    expect(text).not.toContain('chunked');
  });

  it('streams server-sent events as they come', async () => {
    const upstream = await startUpstream((received, socket) => {
      if (!received.endsWith('\r\n\r\n')) return;
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n');
      setTimeout(() => socket.write('data: 2\n\n'), 30);
    });
    const { port } = await through(
      upstream,
      dependencyPlan({ timeouts: { requestMs: 50, attemptMs: 50, connectMs: 100, idleMs: 500, opaqueIdleMs: 0 } }),
    );
    const client = connect(port);
    client.send(get('/'));
    await client.until((text) => text.includes('data: 1'));
    await client.until((text) => text.includes('data: 2'));
    // Past the request timeout the stream lives; only silence ends it.
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(client.socket.destroyed).toBe(false);
    await client.ended();
  });

  it('delivers an early answer to an unfinished upload, every time', async () => {
    const upstream = await startUpstream((received, socket, connection) => {
      if (received.length > 65_536 && !socket.writableEnded) {
        socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig');
        setTimeout(() => socket.destroy(), 5);
        upstream.received[connection] = '';
      }
    });
    const { port } = await through(upstream);
    for (let i = 0; i < 30; i++) {
      const client = connect(port);
      client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 150000000\r\n\r\n`);
      const chunk = Buffer.alloc(65_536, 'x');
      const pump = (): void => {
        while (!client.socket.destroyed && client.socket.writable && client.socket.write(chunk));
        if (!client.socket.destroyed) client.socket.once('drain', pump);
      };
      pump();
      expect(await client.until((text) => text.endsWith('big'))).toMatch(/^HTTP\/1\.1 413/);
      client.socket.destroy();
    }
  });

  it.each([
    ['no status line', 'garbage\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['an unasked 101', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'],
  ])('answers 502 invalid-response for %s', async (_name, response) => {
    const upstream = await startUpstream(answering(response));
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/'));
    const text = await client.until((received) => received.includes('invalid-response'));
    expect(text).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
  });

  it('cuts the application off where the body breaks off, so that nobody takes it for whole', async () => {
    const upstream = await startUpstream((received, socket) => {
      if (!received.endsWith('\r\n\r\n')) return;
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
      setTimeout(() => socket.destroy(), 20);
    });
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/'));
    expect(await client.ended()).toMatch(/\r\n\r\nhalf$/);
  });
});

describe('refusals', () => {
  it.each([
    ['a space before the colon', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n', 400, 'malformed'],
    ['lines that end by LF alone', 'GET / HTTP/1.1\nHost: a\n\n', 400, 'malformed'],
    ['a few bytes that no method begins with', '\x16\x03\x01\x02', 400, 'malformed'],
    ['the first line of another protocol', 'EHLO mail.example\r\n', 400, 'malformed'],
    ['a first line of HTTP/2', 'GET / HTTP/2.0\r\nHost', 400, 'malformed'],
    ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400, 'malformed'],
    [
      'length and encoding',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      400,
      'malformed',
    ],
    [
      'too large a head',
      `GET / HTTP/1.1\r\nHost: a\r\n${'x: 0123456789abcdef\r\n'.repeat(900)}\r\n`,
      431,
      'head-too-large',
    ],
    ['too many fields', `GET / HTTP/1.1\r\nHost: a\r\n${'x: 0\r\n'.repeat(101)}\r\n`, 431, 'head-too-large'],
    ['too long a target', `GET /${'a'.repeat(9000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 414, 'target-too-long'],
    ['not HTTP at all', '\x16\x03\x01\x02\x00\x01\r\n\r\n', 400, 'malformed'],
  ])('answers and closes for %s', async (_name, request, status, reason) => {
    const upstream = await startUpstream(answering(OK));
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(request);
    const text = await client.ended();
    expect(text).toContain(`HTTP/1.1 ${status} `);
    expect(text.toLowerCase()).toContain(`breakwater-reason: ${reason}`);
    expect(upstream.connections).toBe(0);
  });

  it('aborts the upstream and answers 400 for a framing error behind a forwarded head', async () => {
    let outcome = '';
    const upstream = await startUpstream(
      () => {},
      (socket) => {
        socket.on('error', (error: NodeJS.ErrnoException) => {
          outcome = error.code ?? '';
        });
        socket.on('close', () => {
          outcome ||= 'closed';
        });
      },
    );
    const { port } = await through(upstream);
    const client = connect(port);
    client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
    await expect.poll(() => upstream.received[0] ?? '').toContain('hello');
    client.send('zz\r\n');
    expect(await client.ended()).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[^]*malformed/i);
    await expect.poll(() => outcome).toMatch(/ECONNRESET|closed/);
    expect(upstream.received[0]).not.toContain('0\r\n\r\n');
  });
});

describe('upgrades', () => {
  it('becomes a tunnel after 101, with the bytes around it, and passes each end on', async () => {
    const upstream = await startUpstream((received, socket) => {
      if (received.endsWith('\r\n\r\n')) {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst');
      } else if (received.endsWith('ping')) {
        socket.write('pong');
      }
    });
    const { port, plane, metric } = await through(upstream);
    const client = connect(port);
    client.send(get('/', 'Connection: Upgrade\r\nUpgrade: echo\r\n'));
    await client.until((text) => text.endsWith('first'));
    client.send('ping');
    await client.until((text) => text.endsWith('pong'));
    client.socket.end();
    await client.ended();
    await expect.poll(() => plane.inFlight()).toBe(0);
    expect(await metric('breakwater_tunnels_total', { cause: 'upgrade' })).toBe(1);
  });

  it('stays HTTP where the server does not change', async () => {
    const upstream = await startUpstream(answering(OK));
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'));
    await client.until((text) => text.endsWith('ok'));
    client.send(get('/again'));
    await client.until((text) => text.split('ok').length === 3);
  });
});

describe('backpressure', () => {
  it('lets a slow reader slow the upstream down instead of filling memory', async () => {
    let sent = 0;
    const total = 64 * 1024 * 1024;
    const upstream = await startUpstream((received, socket) => {
      if (!received.endsWith('\r\n\r\n') || sent > 0) return;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
      const chunk = Buffer.alloc(65_536, 'y');
      const pump = (): void => {
        while (sent < total) {
          sent += chunk.length;
          if (!socket.write(chunk)) {
            socket.once('drain', pump);
            return;
          }
        }
      };
      pump();
    });
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(get('/'));
    await client.until((text) => text.length > 1000);
    client.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const stalled = sent;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(sent).toBe(stalled);
    expect(sent).toBeLessThan(total / 2);
    let bytes = 0;
    client.socket.removeAllListeners('data');
    client.socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    client.socket.resume();
    await expect.poll(() => sent, { timeout: 10_000 }).toBe(total);
    await expect.poll(() => bytes, { timeout: 10_000 }).toBeGreaterThan(total / 2);
  });

  it('changes no byte for a reader that stalls in the middle of a write', async () => {
    const body = Buffer.allocUnsafe(12_000_000);
    for (let at = 0; at < body.length; at += 4) body.writeUInt32LE(Math.imul(at + 1, 0x9e3779b1) >>> 0, at);
    const server = await startUpstream((received, socket) => {
      if (!received.endsWith('\r\n\r\n')) return;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
      // Pieces well below what makes a socket ask for a drain, so that reading goes on while a write is unfinished.
      let at = 0;
      const next = (): void => {
        if (at >= body.length) return;
        const piece = body.subarray(at, (at += 9_000));
        if (socket.write(piece)) setImmediate(next);
        else socket.once('drain', next);
      };
      next();
    });
    const { port } = await through(server);
    const socket = net.connect({ port, host: '127.0.0.1' });
    const received: Buffer[] = [];
    socket.pause();
    socket.write(get('/'));
    await new Promise((resolve) => setTimeout(resolve, 400));
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.resume();
    await expect
      .poll(() => received.reduce((bytes, chunk) => bytes + chunk.length, 0), { timeout: 10_000 })
      .toBeGreaterThan(body.length);
    socket.destroy();
    const all = Buffer.concat(received);
    expect(all.subarray(all.indexOf('\r\n\r\n') + 4).equals(body)).toBe(true);
  }, 30_000);

  /** Until it stands still, and how much of it that is. */
  async function standstill(bytes: () => number): Promise<number> {
    let before = -1;
    const stands = () => {
      const same = bytes() === before && before > 0;
      before = bytes();
      return same;
    };
    await expect.poll(stands, { interval: 150, timeout: 10_000 }).toBe(true);
    return before;
  }

  /** Writes `total` bytes as they are taken. Returns how many were. */
  function writing(socket: net.Socket, total: number): () => number {
    const chunk = Buffer.alloc(65_536, 'z');
    let written = 0;
    const pump = (): void => {
      while (written < total) {
        written += chunk.length;
        if (!socket.write(chunk)) {
          socket.once('drain', pump);
          return;
        }
      }
    };
    pump();
    return () => written - socket.writableLength;
  }

  const TOTAL_BYTES = 64 * 1024 * 1024;

  it('lets a dependency that does not read slow an upload down, and loses nothing of it', async () => {
    let bytes = 0;
    const accepted: net.Socket[] = [];
    const upstream = await startUpstream(
      () => {},
      (socket) => {
        accepted.push(socket);
        socket.pause().on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
      },
    );
    const { port } = await through(upstream);
    const client = connect(port);
    client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${TOTAL_BYTES}\r\n\r\n`);
    const taken = writing(client.socket, TOTAL_BYTES);
    expect(await standstill(taken)).toBeLessThan(TOTAL_BYTES / 2);
    accepted[0]?.resume();
    await expect.poll(() => bytes, { timeout: 10_000 }).toBeGreaterThan(TOTAL_BYTES);
    accepted[0]?.write(OK);
    await client.until((text) => text.endsWith('ok'));
    client.socket.destroy();
  }, 30_000);

  it.each(['application', 'dependency'])(
    'holds whoever writes into a tunnel back, where nobody reads: %s',
    async (writer) => {
      const accepted: net.Socket[] = [];
      const upstream = await startUpstream((received, socket) => {
        if (!received.endsWith('\r\n\r\n')) return;
        socket.removeAllListeners('data').pause();
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
        accepted.push(socket);
      });
      const { port } = await through(upstream);
      const client = connect(port);
      client.send(get('/', 'Connection: Upgrade\r\nUpgrade: echo\r\n'));
      await client.until((text) => text.endsWith('\r\n\r\n'));
      client.socket.removeAllListeners('data').pause();
      const [from, to] = writer === 'application' ? [client.socket, accepted[0]] : [accepted[0], client.socket];
      if (!from || !to) throw new Error('there is no tunnel');
      const taken = writing(from, TOTAL_BYTES);
      expect(await standstill(taken)).toBeLessThan(TOTAL_BYTES / 2);
      let bytes = 0;
      to.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      to.resume();
      await expect.poll(() => bytes, { timeout: 10_000 }).toBe(TOTAL_BYTES);
      client.socket.destroy();
    },
    30_000,
  );

  it('gives a large body back byte for byte in both directions', async () => {
    const upstream = await startUpstream((received, socket, connection) => {
      const start = received.indexOf('\r\n\r\n') + 4;
      if (received.length - start < 5_000_000) return;
      const body = received.slice(start);
      upstream.received[connection] = '';
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`, 'latin1');
    });
    const { port } = await through(upstream);
    const client = connect(port);
    const body = Array.from({ length: 5_000_000 / 10 }, (_, i) => String(i).padStart(10, '.')).join('');
    client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const text = await client.until((received) => received.length > body.length, 10_000);
    expect(text.slice(text.indexOf('\r\n\r\n') + 4)).toBe(body);
  });
});
