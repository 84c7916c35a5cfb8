// HTTP/2 on the wire: what an application and a dependency see of each other through the sidecar.
import http2, { constants, type ServerHttp2Stream } from 'node:http2';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../plan/plan.ts';
import {
  type Bench,
  BREAKER,
  connect,
  dependencyPlan,
  get,
  RETRIES,
  startBench as startBenchWith,
  startCaptured,
  workloadPlan,
} from './testing/fixtures.ts';
import {
  answerOf,
  application,
  type Fields,
  type Http2Application,
  type Http2Dependency,
  dependency as startDependency,
} from './testing/http2-calls.ts';
import { head, REQUEST, rawClient } from './testing/http2-raw-client.ts';
import { opened } from './testing/opened.ts';
import { quickClock } from './testing/quick-clock.ts';
import { DEAD_ENDPOINT, OK } from './testing/upstreams.ts';

const { bench: startBench, open, upstream: startUpstream } = opened();

type Script = (stream: ServerHttp2Stream, fields: Fields, nth: number) => void;

async function dependency(script: Script, settings: http2.Settings = {}): Promise<Http2Dependency> {
  const started = await startDependency(script, settings);
  open.push(started);
  return started;
}

function caller(port: number): Http2Application {
  const client = application(port);
  open.push(client);
  return client;
}

async function between(
  script: Script,
  policy: Partial<PolicyPlan> = {},
  settings: http2.Settings = {},
): Promise<{ server: Http2Dependency; bench: Bench; client: Http2Application }> {
  const server = await dependency(script, settings);
  const bench = await startBench(dependencyPlan(policy), server.endpoint);
  return { server, bench, client: caller(bench.port) };
}

const answer: Script = (stream) => {
  stream.respond({ ':status': 200, 'content-length': 2 });
  stream.end('ok');
};

/** Answers by what it got of the body. */
const echo: Script = (stream) => {
  stream.respond({ ':status': 200 }, { waitForTrailers: true });
  let trailers: Fields = {};
  stream.on('trailers', (fields) => {
    trailers = { ...fields };
  });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-got': String(trailers['x-sum'] ?? '') }));
  stream.pipe(stream);
};

describe('a request over HTTP/2', () => {
  it('arrives with its pseudo-headers and fields, and with ours', async () => {
    const { server, client } = await between(answer);
    await client.call('/a/b?c=%20d', { 'x-one': ['1', '2'], cookie: ['a=1', 'b=2'], te: 'trailers', traceparent: 'x' });
    const {
      ':path': path,
      ':method': method,
      ':scheme': scheme,
      ':authority': authority,
      ...fields
    } = server.requests[0] ?? {};
    expect([method, scheme, authority, path]).toEqual(['GET', 'http', 'payments.billing', '/a/b?c=%20d']);
    expect(fields).toMatchObject({ 'x-one': '1, 2', cookie: 'a=1; b=2', te: 'trailers', traceparent: 'x' });
    expect(fields['x-correlation-id']).toMatch(/^[0-9a-f]{32}$/);
    expect(fields).not.toHaveProperty('host');
  });

  it('may name its authority by host alone, or by a local address, which becomes the name of the dependency', async () => {
    const { server, client } = await between(answer);
    await client.call('/', { ':authority': undefined, host: 'payments.test' });
    await client.call('/', { ':authority': '127.0.0.1:1234' });
    expect(server.requests.map((fields) => fields[':authority'])).toEqual([
      'payments.test',
      'payments.billing.svc.cluster.local:8080',
    ]);
  });

  it('has its body and its trailers passed on, both ways, whatever their size', async () => {
    const { client, bench } = await between(echo);
    for (const bytes of [0, 1, 16_384, 1_000_000]) {
      const body = Buffer.alloc(bytes, 'abcdefg');
      const got = await client.call('/', { ':method': 'POST' }, body, { 'x-sum': '7' });
      expect([got.status, got.body.length, got.trailers['x-got'], got.code]).toEqual([200, bytes, '7', 0]);
      expect(got.body === body.toString('latin1')).toBe(true);
    }
    await expect.poll(() => bench.plane.held().replayBytes).toBe(0);
  });

  it('hears of 1xx before its answer', async () => {
    const { client } = await between((stream) => {
      stream.additionalHeaders({ ':status': 103, link: '</a.css>' });
      answer(stream, {}, 0);
    });
    const got = await client.call('/');
    expect([got.informational, got.status, got.body]).toEqual([[103], 200, 'ok']);
  });

  it('is told to go on with its body', async () => {
    const { client, server } = await between((stream, fields) => {
      expect(fields['expect']).toBe('100-continue');
      stream.additionalHeaders({ ':status': 100 });
      echo(stream, fields, 0);
    });
    const stream = client.request('/', { ':method': 'POST', expect: '100-continue', 'content-length': 4 });
    stream.on('continue', () => stream.end('body'));
    expect((await answerOf(stream)).body).toBe('body');
    expect(server.requests[0]?.['content-length']).toBe('4');
  });

  it.each([
    ['HEAD', { ':method': 'HEAD' }, { ':status': 200, 'content-length': 5 }, '5'],
    ['204', {}, { ':status': 204 }, undefined],
    ['304', {}, { ':status': 304, etag: '"a"' }, undefined],
  ])('gets an answer without content to %s', async (_name, fields, head, length) => {
    const { client } = await between((stream) => stream.respond(head, { endStream: true }));
    const got = await client.call('/', fields);
    expect([got.status, got.fields['content-length'], got.body, got.headOnly]).toEqual([
      head[':status'],
      length,
      '',
      true,
    ]);
  });

  it('gets an answer that is all head as one frame', async () => {
    const { client } = await between((stream) =>
      stream.respond({ ':status': 200, 'grpc-status': 5 }, { endStream: true }),
    );
    expect(await client.call('/', { ':method': 'POST' }, 'a')).toMatchObject({
      headOnly: true,
      fields: { 'grpc-status': '5' },
    });
  });

  it.each([0, 300_000])(
    'is answered before it is all sent, and its rest is not wanted (%d bytes of answer)',
    async (bytes) => {
      const { client, bench } = await between((stream) => {
        stream.respond({ ':status': 413 });
        stream.end(Buffer.alloc(bytes));
      });
      const stream = client.request('/', { ':method': 'POST' });
      const got = answerOf(stream);
      stream.write('never ending');
      expect(await got).toMatchObject({ status: 413, code: constants.NGHTTP2_NO_ERROR });
      expect((await got).body.length).toBe(bytes);
      await expect.poll(() => bench.plane.held().attempts).toBe(0);
    },
  );

  it('shares a connection with others, and another one is made where that has no more room', async () => {
    const waiting: ServerHttp2Stream[] = [];
    const { client, server, bench } = await between(
      (stream) => void waiting.push(stream),
      {},
      { maxConcurrentStreams: 10 },
    );
    const answers = Array.from({ length: 25 }, () => client.call('/'));
    await expect.poll(() => waiting.length).toBe(25);
    expect(server.connections).toBe(3);
    for (const stream of waiting) answer(stream, {}, 0);
    expect((await Promise.all(answers)).every(({ status }) => status === 200)).toBe(true);
    expect(await bench.metric('breakwater_upstream_connects_total', { result: 'success' })).toBe(3);
    await client.call('/').catch(() => {});
  });

  it('is balanced by itself, and not with its connection', async () => {
    const servers = await Promise.all([dependency(answer), dependency(answer), dependency(answer)]);
    const bench = await startBench(dependencyPlan({}), ...servers.map(({ endpoint }) => endpoint));
    const client = caller(bench.port);
    for (let i = 0; i < 90; i++) expect((await client.call('/')).status).toBe(200);
    for (const { heads } of servers) expect(heads).toBeGreaterThan(0);
  });
});

describe('what goes wrong', () => {
  it('is answered locally, with who says so and why', async () => {
    const bench = await startBench(dependencyPlan({}), DEAD_ENDPOINT);
    const got = await caller(bench.port).call('/');
    expect([got.status, got.reason]).toEqual([502, 'connect-failed']);
    expect(JSON.parse(got.body)).toMatchObject({ type: 'urn:breakwater:connect-failed', attempts: 2 });
    expect(got.fields).toMatchObject({ 'content-type': 'application/problem+json' });
    expect((await caller(bench.port).call('/', { ':method': 'HEAD' })).body).toBe('');
  });

  it('a dependency that speaks HTTP/1.1 alone is one that cannot be reached', async () => {
    const server = await startUpstream((_received, socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    expect(await caller(bench.port).call('/')).toMatchObject({ status: 502, reason: 'connect-failed' });
  });

  it('a dependency that never says a word is given up after the time of a connect', async () => {
    const server = await startUpstream(() => {});
    const timeouts = { requestMs: 0, attemptMs: 0, connectMs: 50, idleMs: 0, opaqueIdleMs: 0 };
    const bench = await startBench(dependencyPlan({ timeouts }), server.endpoint);
    expect(await caller(bench.port).call('/')).toMatchObject({ status: 502, reason: 'connect-failed' });
    expect(await bench.metric('breakwater_upstream_connects_total', { result: 'timeout' })).toBe(2);
    await expect.poll(() => bench.plane.held().attempts).toBe(0);
  });

  it('a failure is retried, with its body, and each attempt says its number', async () => {
    const { client, server } = await between(
      (stream, fields, nth) => {
        if (nth === 0) stream.respond({ ':status': 503 }, { endStream: true });
        else echo(stream, fields, nth);
      },
      { retries: RETRIES },
    );
    const got = await client.call('/', { ':method': 'PUT' }, 'body', { 'x-sum': '3' });
    expect([got.status, got.body, got.trailers['x-got']]).toEqual([200, 'body', '3']);
    expect(server.requests.map((fields) => fields['x-breakwater-attempt'])).toEqual(['1', '2']);
  });

  it.each([
    ['REFUSED_STREAM', (stream: ServerHttp2Stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM)],
    ['GOAWAY', (stream: ServerHttp2Stream) => stream.session?.goaway(constants.NGHTTP2_NO_ERROR, (stream.id ?? 0) - 2)],
    [
      'GOAWAY with an error',
      (stream: ServerHttp2Stream) => stream.session?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, (stream.id ?? 0) - 2),
    ],
  ])(
    'what a server says by %s that it has not executed is sent again, POST or not, without a policy',
    async (_name, say) => {
      const server = await dependency((stream, fields, nth) => {
        if (nth === 1) say(stream);
        else echo(stream, fields, nth);
      });
      const bench = await startBench(dependencyPlan({}), server.endpoint);
      const client = caller(bench.port);
      // Stream 0 means "none yet" in GOAWAY of node:http2, so that one goes before.
      await client.call('/');
      const got = await client.call('/', { ':method': 'POST' }, 'body');
      expect([got.status, got.body, server.heads]).toEqual([200, 'body', 3]);
      expect(await bench.metric('breakwater_attempts_total', { result: 'refused' })).toBe(1);
    },
  );

  it('and what it refuses again is not', async () => {
    const { client, server } = await between((stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM));
    expect(await client.call('/', { ':method': 'POST' }, 'body')).toMatchObject({ status: 502, reason: 'reset' });
    expect(server.heads).toBe(2);
  });

  it('what was refused is no attempt: as many follow as without it', async () => {
    const { client, server, bench } = await between(
      (stream, fields, nth) => {
        if (nth === 0) stream.close(constants.NGHTTP2_REFUSED_STREAM);
        else if (nth === 1) stream.respond({ ':status': 503 }, { endStream: true });
        else answer(stream, fields, nth);
      },
      { retries: { ...RETRIES, maxAttempts: 2 } },
    );
    expect(await client.call('/')).toMatchObject({ status: 200, body: 'ok' });
    expect(server.requests.map((fields) => fields['x-breakwater-attempt'])).toEqual(['1', '1', '2']);
    expect(await bench.metric('breakwater_retries_suppressed_total')).toBe(0);
  });

  it('nor what was too long to keep', async () => {
    const { client, server } = await between((stream) => {
      stream.on('end', () => stream.close(constants.NGHTTP2_REFUSED_STREAM));
      stream.resume();
    });
    const got = await client.call('/', { ':method': 'POST' }, Buffer.alloc(200_000));
    expect([got.status, server.heads]).toEqual([502, 1]);
  });

  it('a connection that is lost takes all its streams with it, and nothing else: to a circuit that is one failure in a row', async () => {
    const circuitBreaker = { ...BREAKER, consecutiveFailures: 2 };
    const script: Script = (stream, fields, nth) => {
      if (nth < 3) return;
      if (nth === 3) stream.session?.destroy();
      else answer(stream, fields, nth);
    };
    const { client, server, bench } = await between(script, { circuitBreaker });
    const lost = await Promise.all(['/', '/', '/', '/'].map((path) => client.call(path)));
    expect(lost.map(({ reason }) => reason)).toEqual(['reset', 'reset', 'reset', 'reset']);
    expect(bench.plane.circuits()[0]).toMatchObject({ state: 'Closed', counts: { failures: 4 } });
    expect(await client.call('/')).toMatchObject({ status: 200 });
    expect([server.connections, await bench.metric('breakwater_attempts_total', { result: 'reset' })]).toEqual([2, 4]);
  });

  it('an answer that is cut is a reset stream, and its connection serves on', async () => {
    const { client } = await between((stream, fields, nth) => {
      if (nth > 0) {
        answer(stream, fields, nth);
        return;
      }
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.write('half');
      setImmediate(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    });
    expect(await client.call('/')).toMatchObject({ status: 200, code: constants.NGHTTP2_INTERNAL_ERROR });
    expect(await client.call('/')).toMatchObject({ status: 200, code: 0, body: 'ok' });
  });

  it('an answer shorter than its content-length is no whole answer, even where the reset says no error', async () => {
    const { client } = await between((stream) => {
      stream.respond({ ':status': 200, 'content-length': 10 });
      stream.write('half-');
      setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
    });
    expect((await client.call('/')).code).not.toBe(0);
  });

  it('a request that is cancelled cancels its stream to the dependency and no other', async () => {
    const codes: (number | undefined)[] = [];
    const streams: ServerHttp2Stream[] = [];
    const { client, bench, server } = await between((stream) => {
      streams.push(stream);
      stream.on('close', () => codes.push(stream.rstCode));
    });
    const [first, second] = [client.request('/'), client.request('/')];
    const answers = [answerOf(first), answerOf(second)];
    await expect.poll(() => streams.length).toBe(2);
    first.close(constants.NGHTTP2_CANCEL);
    await expect.poll(() => codes).toEqual([constants.NGHTTP2_CANCEL]);
    for (const stream of streams) if (!stream.destroyed) answer(stream, {}, 0);
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([0, 200]);
    expect([server.connections, await bench.metric('breakwater_attempts_total', { result: 'cancelled' })]).toEqual([
      1, 1,
    ]);
  });

  it('a connection that has gone silent takes no more requests, once one of them was given up', async () => {
    const server = await dependency(answer);
    const timeouts = { requestMs: 0, attemptMs: 1_000, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 };
    const bench = await startBench(dependencyPlan({ timeouts }), server.endpoint);
    const client = caller(bench.port);
    expect((await client.call('/')).status).toBe(200);
    server.fallSilent();
    expect(await client.call('/')).toMatchObject({ status: 504, reason: 'attempt-timeout' });
    expect(await client.call('/')).toMatchObject({ status: 200 });
    expect(server.connections).toBe(2);
  });

  it('a connection that is closed for its silence cuts what was being answered on it', async () => {
    const server = await dependency((stream, fields, nth) => {
      if (fields[':path'] !== '/events') return answer(stream, fields, nth);
      stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
      stream.write('data: 1\n\n');
    });
    const timeouts = { requestMs: 0, attemptMs: 2_000, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 };
    const bench = await startBenchWith(dependencyPlan({ timeouts }), [server.endpoint], { clock: quickClock(20) });
    open.push(bench);
    const client = caller(bench.port);
    const events = client.request('/events');
    const whole = answerOf(events);
    await new Promise((resolve) => events.once('data', resolve));
    server.fallSilent();
    expect(await client.call('/')).toMatchObject({ status: 504, reason: 'attempt-timeout' });
    expect(await whole).toMatchObject({ status: 200, body: 'data: 1\n\n', code: constants.NGHTTP2_INTERNAL_ERROR });
  });
});

describe('backpressure', () => {
  it('holds a dependency back that writes faster than the application reads, in that stream alone', async () => {
    let written = 0;
    const { client, bench } = await between((stream, fields, nth) => {
      if (fields[':path'] !== '/big') {
        answer(stream, fields, nth);
        return;
      }
      stream.respond({ ':status': 200 });
      const chunk = Buffer.alloc(65_536);
      const write = (): void => {
        while (written < 64 * 1024 * 1024 && !stream.destroyed) {
          written += chunk.length;
          if (!stream.write(chunk)) {
            stream.once('drain', write);
            return;
          }
        }
        stream.end();
      };
      write();
    });
    const slow = client.request('/big');
    await new Promise((resolve) => slow.once('response', resolve));
    let before = -1;
    await expect
      .poll(
        () => {
          const same = written === before;
          before = written;
          return same;
        },
        { interval: 100, timeout: 5_000 },
      )
      .toBe(true);
    expect(written).toBeLessThan(4 * 1024 * 1024);
    expect((await client.call('/other')).status).toBe(200);
    let read = 0;
    slow.on('data', (chunk: Buffer) => {
      read += chunk.length;
    });
    await new Promise((resolve) => slow.once('end', resolve));
    expect(read).toBe(64 * 1024 * 1024);
    await expect.poll(() => bench.plane.held().attempts).toBe(0);
  }, 20_000);

  it('holds an application back that writes faster than the dependency reads', async () => {
    const streams: ServerHttp2Stream[] = [];
    const { client } = await between((stream) => void streams.push(stream));
    const stream = client.request('/', { ':method': 'POST' });
    const got = answerOf(stream, 15_000);
    const chunk = Buffer.alloc(65_536);
    let written = 0;
    const write = (): void => {
      while (written < 32 * 1024 * 1024) {
        written += chunk.length;
        if (!stream.write(chunk)) {
          stream.once('drain', write);
          return;
        }
      }
      stream.end();
    };
    write();
    let before = -1;
    await expect
      .poll(
        () => {
          const same = written === before && streams.length > 0;
          before = written;
          return same;
        },
        { interval: 100, timeout: 5_000 },
      )
      .toBe(true);
    expect(written).toBeLessThan(4 * 1024 * 1024);
    let received = 0;
    const [server] = streams;
    server?.on('data', (part: Buffer) => {
      received += part.length;
    });
    server?.on('end', () => {
      server.respond({ ':status': 200 });
      server.end(String(received));
    });
    expect((await got).body).toBe(String(32 * 1024 * 1024));
  }, 20_000);
});

describe('a connection over HTTP/2', () => {
  it('is told to go when the sidecar drains, and what is in progress is finished', async () => {
    const waiting: ServerHttp2Stream[] = [];
    const { client, bench } = await between((stream) => void waiting.push(stream));
    const idle = caller(bench.port);
    await new Promise((resolve) => idle.session.once('remoteSettings', resolve));
    const got = client.call('/');
    await expect.poll(() => waiting.length).toBe(1);
    bench.plane.drain();
    await expect.poll(() => [client.goaway?.code, idle.goaway?.code]).toEqual([0, 0]);
    for (const stream of waiting) answer(stream, {}, 0);
    expect(await got).toMatchObject({ status: 200, code: 0 });
    await expect.poll(() => bench.plane.held().clientConnections).toBe(0);
  });

  it('is told to go when the kill switch is thrown, locally or in a plan', async () => {
    const { client, bench } = await between(answer);
    expect((await client.call('/')).status).toBe(200);
    bench.plane.setLocallyDisabled(true);
    await expect.poll(() => client.goaway?.code).toBe(0);
    bench.plane.setLocallyDisabled(false);
    const next = caller(bench.port);
    expect((await next.call('/')).status).toBe(200);
    bench.plane.applyPlan(workloadPlan(dependencyPlan({}, { enforcement: 'Disabled' })));
    await expect.poll(() => next.goaway?.code).toBe(0);
  });

  it('is tunnelled under capture iptables where policies are switched off', async () => {
    const server = await dependency(answer);
    const plan = dependencyPlan({}, { enforcement: 'Disabled', destinations: [server.endpoint] });
    const captured = await startCaptured(workloadPlan(plan));
    open.push(captured.plane);
    const client = caller(captured.expect(server.port));
    const got = await client.call('/');
    expect([got.status, server.requests[0]?.['x-correlation-id']]).toEqual([200, undefined]);
  });

  it('is taken over under capture iptables, whether HTTP is declared or found out', async () => {
    for (const protocol of ['Http', 'Detect'] as const) {
      const server = await dependency(answer);
      const captured = await startCaptured(
        workloadPlan(dependencyPlan({}, { protocol, destinations: [server.endpoint] })),
      );
      open.push(captured.plane);
      captured.plane.applyEndpointsSnapshot([{ key: 'billing/payments:8080', endpoints: [server.endpoint] }], false);
      const got = await caller(captured.expect(server.port)).call('/');
      expect([got.status, typeof server.requests[0]?.['x-correlation-id']]).toEqual([200, 'string']);
    }
  });

  it('takes the end of the application’s side for an abort of all its streams', async () => {
    const { server, bench } = await between(() => {});
    const client = rawClient(bench.port);
    open.push(client);
    client.send(head(REQUEST), head(REQUEST, undefined, 3));
    await expect.poll(() => server.heads).toBe(2);
    client.socket.end();
    await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, attempts: 0, clientConnections: 1 });
  });

  it('has no part in one of HTTP/1.1 to the same endpoint', async () => {
    const server = await startUpstream((received, socket) => {
      if (received.startsWith('GET')) socket.write(OK);
      else socket.destroy();
    });
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    const http1 = connect(bench.port);
    http1.send(get('/'));
    expect(await http1.until((text) => text.endsWith('ok'))).toContain('200 OK');
    expect((await caller(bench.port).call('/')).status).toBe(502);
    http1.send(get('/'));
    await http1.until((text) => text.split('ok').length === 3);
    http1.socket.destroy();
  });

  it('outlives neither the application nor the endpoint', async () => {
    const { client, server, bench } = await between(answer);
    await client.call('/');
    expect(server.sessions.size).toBe(1);
    bench.setEndpoints();
    await expect.poll(() => server.sessions.size).toBe(0);
    client.session.socket.destroy();
    await expect.poll(() => bench.plane.held().clientConnections).toBe(0);
  });
});
