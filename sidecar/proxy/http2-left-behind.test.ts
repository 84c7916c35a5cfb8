// What is left of a connection of HTTP/2 that is over: nothing, whatever its peer has left undone.
import { queryObjects } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { Http2Connection } from '../http2/connection.ts';
import { dependencyPlan } from './testing/fixtures.ts';
import { answerOf, application, scriptedDependency } from './testing/http2-calls.ts';
import { Flag, FrameType, fieldBlock, frame, framesOf } from './testing/http2-frames.ts';
import { head, REQUEST, rawClient } from './testing/http2-raw-client.ts';
import { opened } from './testing/opened.ts';

const { bench: startBench, open, upstream: startUpstream } = opened();

const CONNECTIONS = 20;
const SETTINGS = frame(FrameType.settings, 0, 0);
const ANSWER = frame(FrameType.headers, Flag.endHeaders | Flag.endStream, 1, fieldBlock([[':status', '200']]));

/** Of the sidecar, on either side, after a collection. */
const connections = (): number => queryObjects(Http2Connection, { format: 'count' });

describe('a peer that acknowledges no SETTINGS, and is gone', () => {
  it('leaves nothing behind: application', async () => {
    const server = await scriptedDependency();
    open.push(server);
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    const before = connections();
    for (let nth = 0; nth < CONNECTIONS; nth++) {
      const client = rawClient(bench.port);
      client.send(head(REQUEST));
      await client.until(({ type, stream }) => type === FrameType.headers && stream === 1);
      client.close();
    }
    await expect.poll(() => bench.plane.held()).toMatchObject({ clientConnections: 0, requests: 0 });
    // The one to the server behind it stays.
    await expect.poll(() => connections() - before, { timeout: 10_000 }).toBeLessThanOrEqual(2);
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
    const before = connections();
    for (let nth = 0; nth < CONNECTIONS; nth++) {
      expect((await answerOf(caller.request('/'))).status).toBe(200);
      await expect.poll(() => bench.plane.held()).toMatchObject({ attempts: 0 });
    }
    expect(hostile.connections).toBe(CONNECTIONS);
    await expect.poll(() => connections() - before, { timeout: 10_000 }).toBeLessThanOrEqual(2);
  });
});
