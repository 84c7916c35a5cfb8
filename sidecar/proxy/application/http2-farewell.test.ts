// The end of a connection of HTTP/2 that was told to go: whatever the application still sends while it reads, and however slowly it reads, it gets
// all of its last answer.
import { constants } from 'node:http2';
import { expect, it } from 'vitest';
import { dependencyPlan, startBench } from '../testing/fixtures.ts';
import { dependency } from '../testing/http2-calls.ts';
import { Flag, FrameType, frame, uint32 } from '../testing/http2-frames.ts';
import { head, REQUEST, rawClient } from '../testing/http2-raw-client.ts';
import { opened } from '../testing/opened.ts';
import { quickClock } from '../testing/quick-clock.ts';
import { STALLED_LIMIT_MS } from './lingering.ts';

const { bench, open } = opened();
/** The kernel takes all of it, most of it on the side of the sidecar. */
const ANSWER_BYTES = 1024 * 1024;
const MAX_WINDOW_BYTES = 2_147_483_647;
/** SETTINGS_INITIAL_WINDOW_SIZE. */
const WIDE = Buffer.concat([Buffer.from([0, 4]), uint32(MAX_WINDOW_BYTES)]);
const WIDE_CONNECTION = frame(FrameType.windowUpdate, 0, 0, uint32(MAX_WINDOW_BYTES - 65_535));

it('a slow reader gets all of its last answer, whatever it sends meanwhile', async () => {
  const server = await dependency((stream) => {
    stream.respond({ ':status': 200 });
    stream.end(Buffer.alloc(ANSWER_BYTES, 'a'));
  });
  open.push(server);
  const { plane, port } = await bench(dependencyPlan({}), server.endpoint);
  const client = rawClient(port, WIDE);
  open.push(client);
  client.send(WIDE_CONNECTION, head(REQUEST));
  await client.until(({ type }) => type === FrameType.headers);
  client.socket.pause();
  await expect.poll(() => plane.held().requests).toBe(0);
  plane.drain();
  const reading = setInterval(() => {
    client.send(frame(FrameType.ping, 0, 0, Buffer.alloc(8)));
    client.socket.resume();
    setImmediate(() => client.socket.pause());
  }, 2);
  open.push({ close: () => clearInterval(reading) });
  await client.over;
  const frames = client.frames();
  const content = frames.filter(({ type }) => type === FrameType.data);
  expect(content.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(ANSWER_BYTES);
  expect(content.at(-1)?.flags).toBe(Flag.endStream);
  const goaway = frames.find(({ type }) => type === FrameType.goaway);
  expect(goaway?.payload.readUInt32BE(4)).toBe(constants.NGHTTP2_NO_ERROR);
  await expect.poll(() => plane.held()).toMatchObject({ clientConnections: 0, timers: 0 });
}, 30_000);

it('an application that does not close is not waited for without end', async () => {
  const server = await dependency((stream) => stream.respond({ ':status': 204 }, { endStream: true }));
  open.push(server);
  const clock = quickClock(100);
  const bench = await startBench(dependencyPlan({}), [server.endpoint], { clock });
  const { plane, port } = bench;
  open.push(bench);
  const client = rawClient(port);
  client.socket.allowHalfOpen = true;
  open.push(client);
  client.send(head(REQUEST));
  await client.until(({ type }) => type === FrameType.headers);
  const beganMs = clock.monotonicMs();
  plane.drain();
  await expect.poll(() => plane.held(), { timeout: 20_000 }).toMatchObject({ clientConnections: 0, timers: 0 });
  expect(clock.monotonicMs() - beganMs).toBeGreaterThanOrEqual(STALLED_LIMIT_MS);
}, 30_000);
