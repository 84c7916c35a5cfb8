// What is left of a connection of HTTP/2 that is over. Node keeps a session whose SETTINGS the other side has not acknowledged as long as anything of
// it is reachable from itself, and with it some 23 KB of nghttp2: a peer that comes, acknowledges nothing and goes would cost that each time.
import { connect as connectHttp2, performServerHandshake } from 'node:http2';
import { Duplex } from 'node:stream';
import { queryObjects } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { dependencyPlan } from './testing/fixtures.ts';
import { answerOf, application, scriptedDependency } from './testing/http2-calls.ts';
import { Flag, FrameType, fieldBlock, frame, framesOf } from './testing/http2-frames.ts';
import { head, REQUEST, rawClient } from './testing/http2-raw-client.ts';
import { opened } from './testing/opened.ts';

const { bench: startBench, open, upstream: startUpstream } = opened();

const CONNECTIONS = 20;
const SETTINGS = frame(FrameType.settings, 0, 0);
const ANSWER = frame(FrameType.headers, Flag.endHeaders | Flag.endStream, 1, fieldBlock([[':status', '200']]));

type Class = new (...given: never[]) => object;
const silence = (): Duplex => new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });

function classesOfSessions(): { server: Class; client: Class } {
  const server = performServerHandshake(silence());
  const client = connectHttp2('http://a', { createConnection: silence });
  for (const each of [server, client]) {
    each.on('error', () => {});
    each.destroy();
  }
  return { server: server.constructor as Class, client: client.constructor as Class };
}

const CLASSES = classesOfSessions();
/** After a collection. */
const sessions = (kind: keyof typeof CLASSES): number => queryObjects(CLASSES[kind], { format: 'count' });

describe('a peer that acknowledges no SETTINGS, and is gone', () => {
  it('leaves nothing behind: application', async () => {
    const server = await scriptedDependency();
    open.push(server);
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    const before = sessions('server');
    for (let nth = 0; nth < CONNECTIONS; nth++) {
      const client = rawClient(bench.port);
      client.send(head(REQUEST));
      await client.until(({ type, stream }) => type === FrameType.headers && stream === 1);
      client.close();
    }
    await expect.poll(() => bench.plane.held()).toMatchObject({ clientConnections: 0, requests: 0 });
    // Those of the application and of the server behind it are here as well.
    await expect.poll(() => sessions('server') - before, { timeout: 10_000 }).toBeLessThanOrEqual(2);
  });

  it('leaves nothing behind: dependency', async () => {
    const hostile = await startUpstream(
      (received, socket) => {
        if (framesOf(Buffer.from(received, 'latin1')).some(({ type }) => type === FrameType.headers))
          socket.end(ANSWER);
      },
      (socket) => socket.write(SETTINGS),
    );
    const bench = await startBench(dependencyPlan({}), hostile.endpoint);
    const caller = application(bench.port);
    open.push(caller);
    const before = sessions('client');
    for (let nth = 0; nth < CONNECTIONS; nth++) {
      expect((await answerOf(caller.request('/'))).status).toBe(200);
      await expect.poll(() => bench.plane.held()).toMatchObject({ attempts: 0 });
    }
    expect(hostile.connections).toBe(CONNECTIONS);
    await expect.poll(() => sessions('client') - before, { timeout: 10_000 }).toBeLessThanOrEqual(2);
  });
});
