// The contract of wire-contract.ts over HTTP/2. Five cases run at a time, as each waits more than it computes.
import { type ClientHttp2Stream, constants } from 'node:http2';
import { describe, expect, it, vi } from 'vitest';
import { tlsLegs } from '../tls/testing/legs.ts';
import { type Bench } from './testing/fixtures.ts';
import {
  answerOf,
  application,
  type Http2Application,
  type Http2Dependency,
  scriptedDependency,
} from './testing/http2-calls.ts';
import { DEAD_ENDPOINT } from './testing/upstreams.ts';
import { type Ending, keepsContract, type Run as RunOf, type Wire } from './testing/wire-contract.ts';
import { OVER_TLS, POLICIES } from './testing/wire-contract-rows.ts';

type Run = RunOf<Http2Dependency>;

const HTTP2: Wire<Http2Dependency> = {
  start: () => scriptedDependency(),
  async call(port, path) {
    const client = application(port);
    return client.call(path).finally(() => client.close());
  },
};

const legs = await tlsLegs();
const HTTP2_OVER_TLS: Wire<Http2Dependency> = { ...HTTP2, legs, start: () => scriptedDependency(legs.pair) };

const KEYED = { ':method': 'POST', 'idempotency-key': 'k' };

/** One request to the end of its stream. */
const ask =
  (path: string, fields = {}, body?: string): Run =>
  async (bench) => {
    const client = application(bench.port);
    await client.call(path, fields, body).finally(() => client.close());
    return 1;
  };

/** One request that is left once `until` is true. */
const leave =
  (
    path: string,
    until: (stream: ClientHttp2Stream, upstream: Http2Dependency, headsBefore: number) => Promise<unknown>,
    how: (client: Http2Application, stream: ClientHttp2Stream) => void,
  ): Run =>
  async (bench, upstream, open) => {
    const client = application(bench.port);
    open.push(client);
    const { heads } = upstream;
    const stream = client.request(path);
    const answer = answerOf(stream);
    await until(stream, upstream, heads);
    how(client, stream);
    await answer;
    client.close();
    return 1;
  };

const firstData = (stream: ClientHttp2Stream): Promise<unknown> =>
  new Promise((resolve) => stream.once('data', resolve).once('close', resolve));
const arrived = (stream: ClientHttp2Stream, upstream: Http2Dependency, before: number): Promise<unknown> =>
  vi.waitFor(() => expect(stream.closed || upstream.heads > before).toBe(true), { interval: 2, timeout: 3_000 });
const cancels = (_client: Http2Application, stream: ClientHttp2Stream): void => stream.close(constants.NGHTTP2_CANCEL);
const disconnects = (client: Http2Application): void => client.session.destroy();

const ENDINGS: readonly Ending<Http2Dependency>[] = [
  { name: 'is answered', run: ask('/answer') },
  { name: 'is answered, with a body', run: ask('/answer', KEYED, 'body') },
  { name: 'fails', run: ask('/fail') },
  { name: 'is reset', run: ask('/reset') },
  { name: 'is refused without being executed', run: ask('/refuse') },
  { name: 'is refused, with a body', run: ask('/refuse', { ':method': 'POST' }, 'body') },
  { name: 'loses its connection', run: ask('/disconnect') },
  { name: 'meets a server that leaves', run: ask('/leave'), needsTimeouts: true, uncertain: true },
  { name: 'is answered by what is no valid answer', run: ask('/nonsense') },
  { name: 'is cut in the middle of its answer', run: ask('/half-reset') },
  { name: 'gets no answer in time', run: ask('/hang'), needsTimeouts: true, uncertain: true },
  { name: 'gets no end of its answer in time', run: ask('/half'), needsTimeouts: true, uncertain: true },
  { name: 'is cancelled in the middle of its answer', run: leave('/half', firstData, cancels) },
  { name: 'loses its caller in the middle of its answer', run: leave('/half', firstData, disconnects) },
  { name: 'streams events until it is cancelled', run: leave('/events', firstData, cancels) },
  { name: 'is cancelled before its answer', run: leave('/hang', arrived, cancels) },
  { name: 'loses its caller before its answer', run: leave('/hang', arrived, disconnects) },
  {
    name: 'finds nobody there',
    run: async (bench, upstream, open) => {
      bench.setEndpoints(DEAD_ENDPOINT);
      const requests = await ask('/answer')(bench, upstream, open);
      bench.setEndpoints(upstream.endpoint);
      return requests;
    },
  },
  {
    name: 'has half a body, and is cancelled',
    run: async (bench, _upstream, open) => {
      const client = application(bench.port);
      open.push(client);
      const stream = client.request('/answer', { ...KEYED, 'content-length': 4 });
      const answer = answerOf(stream);
      stream.write('bo');
      cancels(client, stream);
      await answer;
      client.close();
      return 1;
    },
    uncertain: true,
  },
  {
    name: 'comes with others on one connection, some of which are cancelled at any moment',
    run: async (bench: Bench) => {
      const client = application(bench.port);
      const paths = ['/answer', '/hang', '/half', '/fail', '/refuse'];
      const streams = Array.from({ length: 15 }, (_, index) => client.request(paths[index % 5] ?? ''));
      const answers = streams.map((stream) => answerOf(stream));
      await answers[0];
      for (const [index, stream] of streams.entries()) if (index % 3 === 1) cancels(client, stream);
      await Promise.all(answers);
      client.close();
      return streams.length;
    },
    needsTimeouts: true,
    uncertain: true,
  },
];

describe.each(POLICIES)('$name: nothing is left over, and nothing counts twice, of a call over HTTP/2 that', (row) => {
  const bounded = row.policy.timeouts !== undefined;
  it.concurrent.each(ENDINGS.filter(({ needsTimeouts }) => bounded || !needsTimeouts))('$name', (ending) =>
    keepsContract(row, ending, HTTP2),
  );
});

describe.each(OVER_TLS)(
  '$name: nothing is left over, and nothing counts twice, over HTTP/2 in TLS, of a call that',
  (row) => {
    const bounded = row.policy.timeouts !== undefined;
    it.concurrent.each(ENDINGS.filter(({ needsTimeouts }) => bounded || !needsTimeouts))('$name', (ending) =>
      keepsContract(row, ending, HTTP2_OVER_TLS),
    );
  },
);
