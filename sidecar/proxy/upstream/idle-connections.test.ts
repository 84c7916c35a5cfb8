// How long a connection to the dependency is kept that nobody uses: by what the server announces, and never up to the moment in which that closes it.
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../runtime/manual-clock.ts';
import { connect, dependencyPlan, get, RETRIES, startBench } from '../testing/fixtures.ts';
import { opened } from '../testing/opened.ts';
import { answering } from '../testing/upstreams.ts';

const { open, upstream } = opened();

/** A client of one data path whose time stands still. */
async function calling(fields: string, version = '1.1') {
  const clock = new ManualClock();
  const accepted = new Set<Socket>();
  const server = await upstream(
    answering(`HTTP/${version} 200 OK\r\n${fields}Content-Length: 2\r\n\r\nok`),
    (socket) => void accepted.add(socket.on('close', () => accepted.delete(socket))),
  );
  // What may run twice takes a connection of any age.
  const bench = await startBench(dependencyPlan({ retries: RETRIES }), [server.endpoint], { clock });
  const client = connect(bench.port);
  open.push(bench, { close: () => client.socket.destroy() });
  let calls = 0;
  return {
    clock,
    /** Those of the dependency that are open. */
    accepted,
    call: async (request = get('/')) => {
      client.send(request);
      calls += 1;
      await client.until((text) => text.split('\r\n\r\nok').length > calls);
      return server.connections;
    },
  };
}

describe('a connection that lies idle', () => {
  it.each([
    ['nothing', '', 3_000],
    ['a time', 'Keep-Alive: timeout=10\r\n', 8_000],
    ['a short time', 'Keep-Alive: timeout=3, max=100\r\n', 1_000],
    ['a very long time', 'Keep-Alive: timeout=3600\r\n', 60_000],
    ['no time that can be read', 'Keep-Alive: timeout=soon\r\n', 3_000],
  ])('is used again where the server announces %s', async (_name, fields, keptMs) => {
    const { accepted, call, clock } = await calling(fields);
    expect(await call()).toBe(1);
    await clock.advance(keptMs - 1);
    expect(await call()).toBe(1);
    await clock.advance(keptMs);
    expect(await call()).toBe(2);
    // Nor does it wait for somebody who would look for it.
    await clock.advance(keptMs + 500);
    await expect.poll(() => accepted.size).toBe(0);
  });

  it.each([
    ['that it closes it', 'Connection: close\r\n', '1.1'],
    ['less than its FIN may take', 'Keep-Alive: timeout=2\r\n', '1.1'],
    ['nothing, in HTTP/1.0', '', '1.0'],
  ])('is not kept at all where the server says %s', async (_name, fields, version) => {
    const { accepted, call } = await calling(fields, version);
    expect(await call()).toBe(1);
    await expect.poll(() => accepted.size).toBe(0);
    expect(await call()).toBe(2);
  });

  it('is given up once the server has ended it', async () => {
    const { accepted, call } = await calling('');
    await call();
    // Half of it: only who reads sees it.
    for (const socket of accepted) socket.end();
    await expect.poll(() => accepted.size).toBe(0);
    expect(await call('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')).toBe(2);
  });

  it('for a second takes no request that may not run twice, and takes one just before', async () => {
    const { call, clock } = await calling('');
    const post = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n';
    expect(await call(post)).toBe(1);
    await clock.advance(999);
    expect(await call(post)).toBe(1);
    await clock.advance(1_000);
    expect(await call(post)).toBe(2);
    await clock.advance(1_000);
    expect(await call(get('/'))).toBe(2);
  });
});
