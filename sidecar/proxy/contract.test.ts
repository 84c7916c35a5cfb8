// The contract of wire-contract.ts over HTTP/1.1. Five cases run at a time, as each waits more than it computes.
import { describe, expect, it, vi } from 'vitest';
import { tlsLegs } from '../tls/testing/legs.ts';
import { call, isWhole, type ScriptedUpstream, startScripted } from './testing/calls.ts';
import { type Bench, type Client, connect, get } from './testing/fixtures.ts';
import { DEAD_ENDPOINT } from './testing/upstreams.ts';
import { type Ending, keepsContract, type Run as RunOf, type Wire } from './testing/wire-contract.ts';
import { OVER_TLS, POLICIES } from './testing/wire-contract-rows.ts';

type Run = RunOf<ScriptedUpstream>;

const HTTP1: Wire<ScriptedUpstream> = {
  start: () => startScripted(),
  call: (port, path) => call(port, get(path)),
};

const legs = await tlsLegs();
const HTTP1_OVER_TLS: Wire<ScriptedUpstream> = { ...HTTP1, legs, start: () => startScripted(legs.wrap) };

const POST = 'POST /answer HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n';

/** Until so much of an answer is there, or all of one, or the connection has ended. */
async function sent(bench: Bench, request: string, until: (text: string) => boolean): Promise<Client> {
  const client = connect(bench.port);
  client.socket.on('error', () => {});
  client.send(request);
  await seen(client, until);
  return client;
}

async function seen({ socket }: Client, until: (text: string) => boolean): Promise<void> {
  let text = '';
  let ended = false;
  const end = () => {
    ended = true;
  };
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.on('end', end).on('close', end);
  await vi.waitFor(() => expect(ended || until(text) || isWhole(text)).toBe(true), { interval: 2, timeout: 3_000 });
}

/** To the end, whatever it is, and then `leave`. */
const ask =
  (request: string, until: (text: string) => boolean, leave: 'destroy' | 'resetAndDestroy' = 'destroy'): Run =>
  async (bench) => {
    const client = await sent(bench, request, until);
    client.socket[leave]();
    return 1;
  };

const ENDINGS: readonly Ending<ScriptedUpstream>[] = [
  { name: 'is answered', run: ask(get('/answer'), isWhole) },
  { name: 'fails', run: ask(get('/fail'), isWhole) },
  { name: 'is reset', run: ask(get('/reset'), isWhole) },
  { name: 'is answered by no HTTP', run: ask(get('/nonsense'), isWhole) },
  { name: 'is cut in the middle of its answer', run: ask(get('/half-reset'), isWhole) },
  { name: 'gets no answer in time', run: ask(get('/hang'), isWhole), needsTimeouts: true, uncertain: true },
  { name: 'gets no end of its answer in time', run: ask(get('/half'), isWhole), needsTimeouts: true, uncertain: true },
  {
    name: 'is aborted in the middle of its answer',
    run: ask(get('/half'), (text) => text.endsWith('half-'), 'resetAndDestroy'),
  },
  {
    name: 'streams events until its caller goes away',
    run: ask(get('/events'), (text) => text.includes('data: 1'), 'resetAndDestroy'),
  },
  {
    name: 'changes the protocol, and its caller goes away',
    run: ask(get('/upgrade', 'Connection: Upgrade\r\nUpgrade: echo\r\n'), (text) => text.startsWith('HTTP/1.1 101')),
  },
  {
    // Only that no further one follows: whether the application is gone or waits shows when an answer is written to it.
    name: 'comes before the application ends its side, and is answered',
    run: async (bench) => {
      const client = connect(bench.port);
      client.socket.on('error', () => {});
      client.send(get('/answer'));
      client.socket.end();
      await seen(client, isWhole);
      client.socket.destroy();
      return 1;
    },
  },
  {
    name: 'comes before the application ends its side, and gets no answer in time',
    run: async (bench) => {
      const client = connect(bench.port);
      client.socket.on('error', () => {});
      client.send(get('/hang'));
      client.socket.end();
      await seen(client, isWhole);
      client.socket.destroy();
      return 1;
    },
    needsTimeouts: true,
    uncertain: true,
  },
  { name: 'is aborted after its answer', run: ask(get('/answer'), isWhole, 'resetAndDestroy') },
  {
    name: 'is aborted before its answer',
    run: async (bench, upstream) => {
      const { heads } = upstream;
      const client = connect(bench.port);
      client.socket.on('error', () => {});
      client.send(get('/hang'));
      await seen(client, () => upstream.heads > heads);
      client.socket.resetAndDestroy();
      return 1;
    },
  },
  {
    name: 'finds nobody there',
    run: async (bench, upstream, open) => {
      bench.setEndpoints(DEAD_ENDPOINT);
      const requests = await ask(get('/answer'), isWhole)(bench, upstream, open);
      bench.setEndpoints(upstream.endpoint);
      return requests;
    },
  },
  {
    name: 'has a body that cannot be read',
    run: ask(`${POST}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\nzz\r\n`, isWhole),
    uncertain: true,
  },
  {
    name: 'has half a body, and its caller goes away',
    run: ask(`${POST}Content-Length: 4\r\n\r\nbo`, () => true, 'resetAndDestroy'),
    uncertain: true,
  },
  {
    name: 'comes with others, whose callers go away at any moment',
    run: async (bench) => {
      const paths = ['/answer', '/hang', '/half', '/fail'];
      const clients = await Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          const client = await sent(bench, get(paths[index % 4] ?? ''), () => index % 3 > 0);
          client.socket[index % 3 === 1 ? 'resetAndDestroy' : 'destroy']();
        }),
      );
      return clients.length;
    },
    needsTimeouts: true,
    uncertain: true,
  },
];

describe.each(POLICIES)('$name: nothing is left over, and nothing counts twice, of a call that', (row) => {
  const bounded = row.policy.timeouts !== undefined;
  it.concurrent.each(ENDINGS.filter(({ needsTimeouts }) => bounded || !needsTimeouts))('$name', (ending) =>
    keepsContract(row, ending, HTTP1),
  );
});

describe.each(OVER_TLS)(
  '$name: nothing is left over, and nothing counts twice, over TLS to a host, of a call that',
  (row) => {
    const bounded = row.policy.timeouts !== undefined;
    it.concurrent.each(ENDINGS.filter(({ needsTimeouts }) => bounded || !needsTimeouts))('$name', (ending) =>
      keepsContract(row, ending, HTTP1_OVER_TLS),
    );
  },
);
