// One request after the other on a connection that speaks HTTP/2 takes over the objects of the one before. Whatever that was, each must be
// sent on and answered as on a connection of its own. SEED=n replays one run.
import { constants } from 'node:http2';
import { expect, it } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { type Bench, dependencyPlan, RETRIES } from './testing/fixtures.ts';
import {
  application,
  type Fields,
  type Http2Application,
  type Http2Dependency,
  scriptedDependency,
} from './testing/http2-calls.ts';
import { opened } from './testing/opened.ts';

const RUNS = 6;
const CALLS = 40;
const seeds = process.env['SEED'] ? [Number(process.env['SEED'])] : Array.from({ length: RUNS }, (_, run) => run + 1);

const { bench: startBench, open } = opened();

const GRPC = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
const TRACED = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=1' };
/** In the past, in Unix milliseconds: it is told apart from one that shortens the time that is left, and counts for nothing. */
const STALE_DEADLINE = '1000';

interface Kind {
  path: string;
  fields?: Fields;
  body?: string;
  trailers?: Fields;
}

const KINDS: readonly Kind[] = [
  { path: '/answer' },
  { path: '/answer', fields: { cookie: 'a=1', 'x-correlation-id': 'c' } },
  { path: '/answer', fields: { ':method': 'HEAD' } },
  { path: '/answer', fields: { ':method': 'POST' }, body: 'a body' },
  { path: '/answer', fields: { ':method': 'POST', 'content-length': '6' }, body: 'a body' },
  { path: '/answer', fields: { ':method': 'POST', te: 'trailers' }, body: 'a body', trailers: { 'x-sum': '1' } },
  { path: '/answer', fields: { 'x-breakwater-deadline': STALE_DEADLINE, ...TRACED } },
  { path: '/answer', fields: TRACED },
  { path: '/answer', fields: { ...GRPC, 'grpc-timeout': '20S', 'grpc-previous-rpc-attempts': '2' }, body: 'message' },
  { path: '/fail', fields: { ...GRPC, 'grpc-timeout': '30S' }, body: 'message' },
  { path: '/fail', fields: GRPC, body: 'message' },
  { path: '/fail' },
  { path: '/fail', fields: { ':method': 'POST' }, body: 'a body' },
  { path: '/reset' },
  { path: '/reset', fields: { ...GRPC, 'grpc-timeout': '30S' }, body: 'message' },
  { path: '/refuse' },
  { path: '/half-reset' },
  { path: '/nonsense' },
  { path: '/answer', fields: { host: 'another' } },
  { path: '/answer', fields: { 'x-breakwater-deadline': STALE_DEADLINE, host: 'another' } },
  { path: '/hang' },
  { path: '/hang', fields: { ...GRPC, 'grpc-timeout': '20S' }, body: 'message' },
];

/** What differs from call to call, whatever came before: times, and identifiers that are counted. */
function comparable(fields: Fields): Fields {
  const { date: _date, 'x-correlation-id': correlationId, ...others } = fields;
  const told = Object.entries(others).map(([name, value]) => [name, String(value).replace(/\d{5,}/g, 'N')]);
  return Object.fromEntries([...told, ['x-correlation-id', correlationId === 'c' ? 'c' : typeof correlationId]]);
}

async function run(
  client: Http2Application,
  server: Http2Dependency,
  { path, fields, body, trailers }: Kind,
): Promise<unknown> {
  const before = server.requests.length;
  if (path === '/hang') {
    const stream = client.request(path, fields, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
    await expect.poll(() => server.requests.length, { interval: 1 }).toBeGreaterThan(before);
    const closed = new Promise((resolve) => stream.once('close', resolve));
    stream.close(constants.NGHTTP2_CANCEL);
    await closed;
    return { seen: server.requests.slice(before).map(comparable) };
  }
  const answer = await client.call(path, fields, body, trailers);
  const seen = server.requests.slice(before).map(comparable);
  const content = answer.body.replace(/"correlationId":"[0-9a-f]{32}"/, '');
  return { ...answer, body: content, fields: comparable(answer.fields), seen };
}

async function between(): Promise<{ server: Http2Dependency; bench: Bench; connect: () => Http2Application }> {
  const server = await scriptedDependency();
  open.push(server);
  const plan = dependencyPlan({
    retries: { ...RETRIES, methods: 'All', maxAttempts: 2, retryOn: ['Reset', 'ServerError'] },
    timeouts: { requestMs: 60_000, attemptMs: 0, connectMs: 2_000, idleMs: 0, opaqueIdleMs: 0, deadline: 'Always' },
    fallback: {
      stateKey: 'fallback:base',
      fallbackOn: ['ServerError'],
      methods: 'Safe',
      response: { statusCode: 200, contentType: 'text/plain', body: 'instead' },
      lastGood: null,
      dependency: null,
    },
  });
  const bench = await startBench(plan, server.endpoint);
  const connect = () => {
    const client = application(bench.port);
    open.push(client);
    return client;
  };
  return { server, bench, connect };
}

it.each(seeds)('each request is as it would be on a connection of its own (seed %i)', async (seed) => {
  const { server, bench, connect } = await between();
  const alone: unknown[] = [];
  for (const kind of KINDS) alone.push(await run(connect(), server, kind));
  const random = seededRandom(seed);
  const client = connect();
  const order: number[] = [];
  for (let nth = 0; nth < CALLS; nth++) {
    const index = Math.floor(random() * KINDS.length);
    const kind = KINDS[index] ?? { path: '/answer' };
    order.push(index);
    expect(await run(client, server, kind), `behind ${order.join(' ')}`).toEqual(alone[index]);
  }
  await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, attempts: 0, timers: 0, replayBytes: 0 });
});
