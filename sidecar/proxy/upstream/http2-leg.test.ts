// Answers over HTTP/2 that end with a reset, from a dependency that writes frame by frame.
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { dependencyPlan } from '../testing/fixtures.ts';
import { application, type Http2Answer } from '../testing/http2-calls.ts';
import { Flag, FrameType, fieldBlock, frame, framesOf, PREFACE, uint32 } from '../testing/http2-frames.ts';
import { opened } from '../testing/opened.ts';
import { startUpstream } from '../testing/upstreams.ts';

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;
const { bench: startBench, open } = opened();

const headers = (...more: [string, string][]): Buffer =>
  frame(FrameType.headers, Flag.endHeaders, 1, fieldBlock([[':status', '200'], ...more]));
const data = (text: string, flags = 0): Buffer => frame(FrameType.data, flags, 1, Buffer.from(text));
const trailers = frame(FrameType.headers, Flag.endHeaders | Flag.endStream, 1, fieldBlock([['x-sum', '1']]));
const goaway = frame(FrameType.goaway, 0, 0, Buffer.concat([uint32(1), uint32(NGHTTP2_NO_ERROR)]));
const reset = (code: number): Buffer => frame(FrameType.rstStream, 0, 1, uint32(code));

/** What an application gets where the one request is answered by these frames, each in a write of its own or all in one. */
async function answered(
  frames: readonly Buffer[],
  apart: boolean,
  leave?: (socket: Socket) => void,
): Promise<Http2Answer> {
  let left = apart ? [...frames] : [Buffer.concat(frames)];
  const upstream = await startUpstream((received, socket) => {
    const asked = framesOf(Buffer.from(received, 'latin1')).some(({ type }) => type === FrameType.headers);
    if (received.length <= PREFACE.length) return;
    if (!asked) {
      socket.write(frame(FrameType.settings, 0, 0));
      return;
    }
    const send = (): void => {
      const [next, ...rest] = left;
      left = rest;
      if (next) socket.write(next, () => setImmediate(send));
      else leave?.(socket);
    };
    send();
  });
  open.push(upstream);
  const bench = await startBench(dependencyPlan({}), upstream.endpoint);
  const client = application(bench.port);
  open.push(client);
  const answer = await client.call('/');
  await expect.poll(() => bench.plane.held()).toMatchObject({ requests: 0, attempts: 0 });
  return answer;
}

describe.each([[true], [false]])('an answer that ends with a reset (frames come one by one: %s)', (apart) => {
  it.each([
    ['by its data', [headers(), data('whole', Flag.endStream)]],
    ['by its trailers', [headers(), data('whole'), trailers]],
  ])('is whole where it was ended %s before', async (_how, frames) => {
    expect(await answered([...frames, reset(NGHTTP2_NO_ERROR)], apart)).toMatchObject({
      status: 200,
      body: 'whole',
      code: NGHTTP2_NO_ERROR,
    });
  });

  it('is whole where that is without an error, for so end servers of node:http2 what was held back', async () => {
    const answer = await answered([headers(), data('whole'), reset(NGHTTP2_NO_ERROR)], apart);
    expect(answer).toMatchObject({ status: 200, body: 'whole', code: NGHTTP2_NO_ERROR });
  });

  it('is cut where that is with an error', async () => {
    const answer = await answered([headers(), data('half'), reset(NGHTTP2_CANCEL)], apart);
    // Where all came in one read, nothing of it has been passed on, and there is still an answer to give.
    if (answer.status === 200) expect(answer.code).toBe(NGHTTP2_INTERNAL_ERROR);
    else expect(answer).toMatchObject({ status: 502, reason: 'reset' });
  });

  it.each([
    ['ends', [], (socket: Socket) => socket.end()],
    ['is reset', [], (socket: Socket) => socket.resetAndDestroy()],
    ['ends behind a GOAWAY', [goaway], (socket: Socket) => socket.end()],
    ['is reset behind a GOAWAY', [goaway], (socket: Socket) => socket.resetAndDestroy()],
  ])('is cut where the connection %s in the place of its end', async (_how, first, leave) => {
    const answer = await answered([...first, headers(), data('half')], apart, leave);
    if (answer.status === 200) expect(answer.code).toBe(NGHTTP2_INTERNAL_ERROR);
    else expect(answer).toMatchObject({ status: 502, reason: 'reset' });
  });

  it('is cut where it is shorter than its length', async () => {
    const answer = await answered([headers(['content-length', '10']), data('half'), reset(NGHTTP2_NO_ERROR)], apart);
    expect([answer.status, answer.code]).not.toEqual([200, NGHTTP2_NO_ERROR]);
  });
});
