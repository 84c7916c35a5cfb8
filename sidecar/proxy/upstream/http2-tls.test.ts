// HTTP/2 over TLS with content in both directions at once: TLS decrypts inside of a write, which is inside of what another connection has read.
import { createHash, randomBytes } from 'node:crypto';
import net from 'node:net';
import { TLSSocket } from 'node:tls';
import { expect, it } from 'vitest';
import { systemClock } from '../../../runtime/clock.ts';
import { tlsLegs } from '../../tls/testing/legs.ts';
import { readShared, testReadShared } from '../sockets/read-buffer.ts';
import { dependencyPlan, startBench } from '../testing/fixtures.ts';
import { application, dependency } from '../testing/http2-calls.ts';
import { opened } from '../testing/opened.ts';

const { open } = opened();
const STREAMS = 24;
const ROUNDS = 4;

const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

it('content comes back byte by byte from a host that echoes it over TLS', async () => {
  const legs = await tlsLegs();
  const echo = await dependency(
    (stream) => {
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    },
    {},
    legs.pair,
  );
  open.push(echo);
  const bench = await startBench(dependencyPlan({}, legs.changes), [echo.endpoint], {
    certificates: legs.certificates,
  });
  open.push(bench);
  const callers = [application(bench.port), application(bench.port), application(bench.port)];
  open.push(...callers);
  const call = (caller: (typeof callers)[number], body: Buffer) =>
    new Promise<string>((resolve) => {
      const stream = caller.request('/', { ':method': 'POST' });
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('close', () => resolve(hash(Buffer.concat(chunks))));
      stream.end(body);
    });
  for (let round = 0; round < ROUNDS; round++) {
    const bodies = Array.from({ length: STREAMS }, (_, index) => randomBytes(1_000 + index * 12_345));
    const echoed = await Promise.all(
      bodies.map((body, index) => call(callers[index % callers.length] ?? application(bench.port), body)),
    );
    expect(echoed).toEqual(bodies.map(hash));
  }
}, 30_000);

it('a connection of TLS is not read into the buffer of all', async () => {
  expect(await testReadShared(systemClock)).toBe(true);
  const legs = await tlsLegs();
  const server = await dependency(() => {}, {}, legs.pair);
  open.push(server);
  const socket = net.connect(server.port, '127.0.0.1');
  open.push({ close: () => socket.destroy() });
  await new Promise((resolve) => socket.once('connect', resolve));
  expect(readShared(new TLSSocket(socket), () => {})).toBe(false);
  expect(readShared(socket, () => {})).toBe(true);
});
