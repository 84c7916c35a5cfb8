// Calls of gRPC on the wire: what policies make of its statuses, and what a client gets of ours.
import { constants, type ServerHttp2Stream } from 'node:http2';
import { describe, expect, it } from 'vitest';
import type { PolicyPlan } from '../../../plan/plan.ts';
import { type Bench, BREAKER, dependencyPlan, RETRIES } from '../testing/fixtures.ts';
import {
  answerOf,
  application,
  type Fields,
  type Http2Answer,
  type Http2Application,
  type Http2Dependency,
  dependency as startDependency,
} from '../testing/http2-calls.ts';
import { opened } from '../testing/opened.ts';
import { DEAD_ENDPOINT } from '../testing/upstreams.ts';

const { bench: startBench, open } = opened();

type Script = (stream: ServerHttp2Stream, fields: Fields, nth: number) => void;

const GRPC = { ':method': 'POST', 'content-type': 'application/grpc+proto', te: 'trailers' };
/** A message of five bytes, in the frame of gRPC. */
const MESSAGE = Buffer.from([0, 0, 0, 0, 5, 1, 2, 3, 4, 5]);

async function between(
  script: Script,
  policy: Partial<PolicyPlan> = {},
): Promise<{ server: Http2Dependency; bench: Bench; client: Http2Application }> {
  const server = await startDependency(script);
  open.push(server);
  const bench = await startBench(dependencyPlan(policy), server.endpoint);
  const client = application(bench.port);
  open.push(client);
  return { server, bench, client };
}

const unary = (client: Http2Application, fields: Fields = {}): Promise<Http2Answer> =>
  client.call('/shop.Orders/Get', { ...GRPC, ...fields }, MESSAGE);

/** An answer that is nothing but a status. */
function trailersOnly(stream: ServerHttp2Stream, status: number, fields: Fields = {}): void {
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': status, ...fields },
    { endStream: true },
  );
}

function begin(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true });
}

/** A message, and then the status. */
function answer(stream: ServerHttp2Stream, status = 0): void {
  begin(stream);
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status }));
  stream.end(MESSAGE);
}

const ALL = { ...RETRIES, methods: 'All' } as const;
const TIMEOUTS = { requestMs: 0, attemptMs: 0, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0 };

describe('a call of gRPC', () => {
  it('is passed on with its messages and its status, in frames of their own', async () => {
    const { client, server } = await between((stream) => answer(stream));
    const got = await unary(client);
    expect(got).toMatchObject({ status: 200, trailers: { 'grpc-status': '0' }, code: 0, headOnly: false });
    expect(Buffer.from(got.body, 'latin1')).toEqual(MESSAGE);
    expect(server.requests[0]).toMatchObject({ te: 'trailers', 'content-type': 'application/grpc+proto' });
  });

  it('leaves nothing to the next request: one that cannot be read is answered as HTTP', async () => {
    const { client } = await between((stream) => answer(stream));
    await unary(client);
    const got = await client.call('/', { host: 'another' });
    expect(got).toMatchObject({ status: 400, reason: 'malformed' });
    expect(got.fields).not.toHaveProperty('grpc-status');
  });

  it('that fails stays as it is where nothing is to be done, trailers-only or not', async () => {
    const { client } = await between((stream, _fields, nth) =>
      nth === 0 ? trailersOnly(stream, 14, { 'grpc-message': 'away' }) : answer(stream, 13),
    );
    expect(await unary(client)).toMatchObject({
      status: 200,
      headOnly: true,
      fields: { 'grpc-status': '14', 'grpc-message': 'away' },
    });
    expect(await unary(client)).toMatchObject({ status: 200, headOnly: false, trailers: { 'grpc-status': '13' } });
  });

  it('counts by what its status is worth', async () => {
    const statuses = [0, 5, 14, 8];
    const { client, bench } = await between((stream, _fields, nth) => trailersOnly(stream, statuses[nth] ?? 0));
    for (const _ of statuses) await unary(client);
    const requests = (code: string) => bench.metric('breakwater_requests_total', { code });
    expect([await requests('2xx'), await requests('4xx'), await requests('5xx')]).toEqual([1, 2, 1]);
    expect(await bench.metric('breakwater_attempts_total', { result: 'failure-status' })).toBe(2);
  });
});

describe('failures of gRPC', () => {
  it.each([
    ['in a head of their own', (stream: ServerHttp2Stream) => trailersOnly(stream, 14)],
    ['in the trailers, behind a message', (stream: ServerHttp2Stream) => answer(stream, 14)],
    [
      'by an answer without a status',
      (stream: ServerHttp2Stream) => {
        begin(stream);
        stream.end(MESSAGE);
      },
    ],
  ])('open the circuit, %s', async (_name, script) => {
    const { client, bench } = await between(script, { circuitBreaker: { ...BREAKER, consecutiveFailures: 2 } });
    await unary(client);
    await unary(client);
    expect(bench.plane.circuits()[0]?.state).toBe('Open');
    expect(await unary(client)).toMatchObject({
      status: 200,
      headOnly: true,
      reason: 'circuit-open',
      fields: { 'grpc-status': '14', 'content-type': 'application/grpc' },
    });
  });

  it('that are the mistake of the caller do not', async () => {
    const { client, bench } = await between(
      (stream, _fields, nth) => trailersOnly(stream, [3, 5, 7, 12, 16][nth % 5] ?? 0),
      {
        circuitBreaker: { ...BREAKER, consecutiveFailures: 1 },
      },
    );
    for (let i = 0; i < 5; i++) await unary(client);
    expect(bench.plane.circuits()[0]?.state).toBe('Closed');
  });

  it('close a circuit by a probe whose stream goes on', async () => {
    const { client, bench } = await between(
      (stream, _fields, nth) => {
        if (nth === 0) trailersOnly(stream, 14);
        else begin(stream);
        stream.write(MESSAGE);
      },
      {
        circuitBreaker: { ...BREAKER, consecutiveFailures: 1, openForMs: 100, maxOpenForMs: 100, halfOpenSuccesses: 1 },
      },
    );
    await unary(client);
    await expect.poll(() => bench.plane.circuits()[0]?.state, { interval: 5 }).toBe('HalfOpen');
    const stream = client.request('/shop.Orders/Watch', GRPC);
    await expect.poll(() => bench.plane.circuits()[0]?.state, { interval: 5 }).toBe('Closed');
    stream.close(constants.NGHTTP2_CANCEL);
    await expect.poll(() => bench.plane.held().attempts).toBe(0);
  });
});

describe('retries of gRPC', () => {
  it('follow an answer that is nothing but a status, and say how many there were', async () => {
    const { client, server } = await between(
      (stream, _fields, nth) => (nth < 2 ? trailersOnly(stream, 14) : answer(stream)),
      { retries: ALL },
    );
    expect(await unary(client, { 'grpc-previous-rpc-attempts': '1' })).toMatchObject({
      trailers: { 'grpc-status': '0' },
    });
    expect(server.requests.map((fields) => fields['grpc-previous-rpc-attempts'])).toEqual(['1', '2', '3']);
  });

  it('follow no call that may not run twice, nor anything behind a message', async () => {
    const { client, server } = await between((stream) => trailersOnly(stream, 14), { retries: RETRIES });
    expect((await unary(client)).fields['grpc-status']).toBe('14');
    expect(server.heads).toBe(1);
    const other = await between((stream) => answer(stream, 14), { retries: ALL });
    expect((await unary(other.client)).trailers['grpc-status']).toBe('14');
    expect(other.server.heads).toBe(1);
  });

  it('follow a status that the policy names, and no other of its kind', async () => {
    const retries = { ...ALL, retryOn: [], retryOnGrpcStatusCodes: ['Aborted' as const] };
    const { client, server } = await between((stream, _fields, nth) => trailersOnly(stream, nth === 0 ? 10 : 14), {
      retries,
    });
    expect((await unary(client)).fields['grpc-status']).toBe('14');
    expect(server.heads).toBe(2);
  });

  it.each([
    ['-1', 1, 'refused'],
    ['soon', 1, 'refused'],
    ['5000', 1, 'retry-after'],
  ])('obey a pushback of %s', async (pushback, heads, cause) => {
    const { client, server, bench } = await between(
      (stream) => trailersOnly(stream, 14, { 'grpc-retry-pushback-ms': pushback }),
      { retries: ALL },
    );
    await unary(client);
    expect(server.heads).toBe(heads);
    expect(await bench.metric('breakwater_retries_suppressed_total', { cause })).toBe(1);
  });

  it('wait for a pushback that is short', async () => {
    const { client, server } = await between(
      (stream, _fields, nth) =>
        nth === 0 ? trailersOnly(stream, 14, { 'grpc-retry-pushback-ms': '60' }) : answer(stream),
      { retries: ALL },
    );
    const startedMs = performance.now();
    await unary(client);
    expect(server.heads).toBe(2);
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(58);
  });
});

describe('deadlines of gRPC', () => {
  const told = { ...TIMEOUTS, requestMs: 5_000, deadline: 'Always' as const };

  it('are told on as what is left, to each attempt', async () => {
    const { client, server } = await between(
      (stream, _fields, nth) => (nth === 0 ? trailersOnly(stream, 14) : answer(stream)),
      {
        retries: ALL,
        timeouts: told,
      },
    );
    await unary(client, { 'grpc-timeout': '1S' });
    const left = server.requests.map((fields) => Number(/^(\d+)u$/.exec(String(fields['grpc-timeout']))?.[1]));
    expect(left[0]).toBeLessThanOrEqual(1_000_000);
    expect(left[1]).toBeLessThanOrEqual(left[0] ?? 0);
    expect(left[1]).toBeGreaterThan(0);
    expect(server.requests[0]).not.toHaveProperty('x-breakwater-deadline');
  });

  it('end the call, with a status that says so', async () => {
    const { client, bench } = await between(() => {}, { timeouts: told });
    expect(await unary(client, { 'grpc-timeout': '50m' })).toMatchObject({
      headOnly: true,
      reason: 'deadline',
      fields: { 'grpc-status': '4' },
    });
    expect(await bench.metric('breakwater_deadlines_received_total', { effect: 'shortened' })).toBe(1);
  });

  it('pass as they came where no policy has a deadline', async () => {
    const { client, server } = await between((stream) => answer(stream));
    await unary(client, { 'grpc-timeout': '1S' });
    expect(server.requests[0]?.['grpc-timeout']).toBe('1S');
  });

  it('are their call’s alone, and not the next request’s of the same connection', async () => {
    const { client, server } = await between((stream, _fields, nth) =>
      nth === 0 ? answer(stream) : stream.respond({ ':status': 204 }, { endStream: true }),
    );
    await unary(client, { 'grpc-timeout': '1S' });
    await client.call('/plain');
    expect(server.requests[1]).not.toHaveProperty('grpc-timeout');
  });

  it('of a policy hold until the answer begins; from then on only silence ends the stream', async () => {
    const timeouts = { ...TIMEOUTS, requestMs: 800, attemptMs: 600, idleMs: 2_000 };
    const { client, bench } = await between(
      (stream, _fields, nth) => {
        if (nth === 0) return;
        begin(stream);
        let sent = 0;
        const send = (): void => {
          stream.write(MESSAGE);
          if (++sent < 6) setTimeout(send, 180);
        };
        send();
      },
      { timeouts },
    );
    expect(await unary(client)).toMatchObject({ reason: 'attempt-timeout', fields: { 'grpc-status': '4' } });
    const got = await unary(client);
    expect(got.body.length).toBe(6 * MESSAGE.length);
    // Its caller is told why, in the place where a client of gRPC looks.
    expect(got).toMatchObject({ trailers: { 'grpc-status': '4' }, code: 0 });
    await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, attempts: 0, timers: 0 });
  });
});

describe('what the sidecar says to a client of gRPC', () => {
  it('is a status and nothing else, with why', async () => {
    const bench = await startBench(dependencyPlan({}), DEAD_ENDPOINT);
    const client = application(bench.port);
    open.push(client);
    const got = await unary(client);
    expect(got).toMatchObject({
      status: 200,
      headOnly: true,
      reason: 'connect-failed',
      body: '',
      fields: { 'grpc-status': '14' },
    });
    expect(decodeURIComponent(String(got.fields['grpc-message']))).toContain('refused');
    expect(got.fields['x-correlation-id']).toMatch(/^[0-9a-f]{32}$/);
    expect(await bench.metric('breakwater_requests_total', { code: '5xx', reason: 'connect-failed' })).toBe(1);
  });

  it.each([
    ['rate-limited', '8', { rateLimit: { stateKey: 'r', requestsPerSecond: 1, burst: 1, perHeader: null } }],
    ['fault-injected', '7', { faultInjection: { delay: null, abort: { statusCode: 403, percent: 100 } } }],
  ] satisfies [string, string, Partial<PolicyPlan>][])('of %s is status %s', async (reason, status, policy) => {
    const { client } = await between((stream) => answer(stream), policy);
    await unary(client);
    expect(await unary(client)).toMatchObject({ reason, fields: { 'grpc-status': status } });
  });

  it('of an answer that is cut stands in the trailers', async () => {
    const { client } = await between((stream) => {
      begin(stream);
      stream.write(MESSAGE);
      setImmediate(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    });
    expect(await unary(client)).toMatchObject({
      status: 200,
      code: 0,
      trailers: { 'grpc-status': '14', 'breakwater-reason': 'reset' },
    });
  });
});

describe('a stream of gRPC in both directions', () => {
  it('goes on for as long as either side sends, and nothing of it is kept beyond what may be sent again', async () => {
    const { client, bench } = await between(
      (stream) => {
        begin(stream);
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': 0 }));
        stream.on('data', (chunk: Buffer) => stream.write(chunk));
        stream.on('end', () => stream.end());
      },
      { retries: ALL, timeouts: { ...TIMEOUTS, requestMs: 600, idleMs: 3_000 } },
    );
    const stream = client.request('/shop.Orders/Chat', GRPC);
    const got = answerOf(stream);
    for (let i = 0; i < 8; i++) {
      stream.write(Buffer.alloc(20_000));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(bench.plane.held().replayBytes).toBe(0);
    stream.end();
    expect((await got).body.length).toBe(160_000);
    expect(await got).toMatchObject({ trailers: { 'grpc-status': '0' }, code: 0 });
  });
});
