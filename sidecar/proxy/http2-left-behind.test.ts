// What is left of a connection of HTTP/2 that is over: nothing, whatever its peer has left undone.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Connections of sidecars that have received anything. */
const seen: WeakRef<Http2Connection>[] = [];
let mend: () => void = () => {};

beforeAll(() => {
  const { prototype } = Http2Connection;
  const known = new WeakSet<Http2Connection>();
  const original = Object.getOwnPropertyDescriptor(prototype, 'receive')?.value as Http2Connection['receive'];
  prototype.receive = function (this: Http2Connection, ...given) {
    if (!known.has(this)) seen.push(new WeakRef(this));
    known.add(this);
    original.apply(this, given);
  };
  mend = () => {
    prototype.receive = original;
  };
});

afterAll(() => mend());

/** Of those, how many there are after a collection. */
function connections(): number {
  collect();
  return seen.filter((each) => each.deref() !== undefined).length;
}

describe('a peer that acknowledges no SETTINGS, and is gone', () => {
  it('leaves nothing behind: application', async () => {
    const server = await scriptedDependency();
    open.push(server);
    const bench = await startBench(dependencyPlan({}), server.endpoint);
    for (let nth = 0; nth < CONNECTIONS; nth++) {
      const client = rawClient(bench.port);
      client.send(head(REQUEST));
      await client.until(({ type, stream }) => type === FrameType.headers && stream === 1);
      client.close();
    }
    await expect.poll(() => bench.plane.held()).toMatchObject({ clientConnections: 0, requests: 0 });
    // The one to the server behind it stays.
    expect(seen.length).toBeGreaterThan(CONNECTIONS);
    await expect.poll(() => connections(), { timeout: 10_000 }).toBeLessThanOrEqual(2);
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
    for (let nth = 0; nth < CONNECTIONS; nth++) {
      expect((await answerOf(caller.request('/'))).status).toBe(200);
      await expect.poll(() => bench.plane.held()).toMatchObject({ attempts: 0 });
    }
    expect(hostile.connections).toBe(CONNECTIONS);
    await expect.poll(() => connections(), { timeout: 10_000 }).toBeLessThanOrEqual(2);
  });
});
