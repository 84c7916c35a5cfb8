// A program of its own, for what it tries ends a process: a peer of HTTP/2 that takes nothing more, sends half of a field section and is gone, again
// and again, while the collector runs. `application` or `dependency` says which side that is. Prints what is held at the end.
import net, { type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { dependencyPlan, startBench } from './fixtures.ts';
import { application, dependency } from './http2-calls.ts';
import { Flag, FrameType, fieldBlock, frame, framesOf, PREFACE, uint32 } from './http2-frames.ts';
import { head, instead } from './http2-raw-client.ts';
import { startUpstream } from './upstreams.ts';

const ROUNDS = 20;
/** What the kernel takes is taken by then. */
const FILLED_MS = 100;
const PIECE = Buffer.alloc(262_144, 'c');
const WIDE = frame(FrameType.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(0x7fffffff)]));
const WIDER = frame(FrameType.windowUpdate, 0, 0, uint32(0x70000000));
/** Fields of some length, and no end of them. */
const half = (flags: number, ...first: [string, string][]): Buffer =>
  frame(FrameType.headers, flags, 1, fieldBlock([...first, ...manyFields()]));
const manyFields = (): [string, string][] => Array.from({ length: 10 }, (_, nth) => [`x-${nth}`, 'z'.repeat(90)]);

async function cutByApplication(): Promise<unknown> {
  const server = await dependency((stream) => {
    stream.respond({ ':status': 200 });
    stream.resume();
    const write = (): void => {
      while (!stream.destroyed && stream.write(PIECE));
      stream.once('drain', write);
    };
    write();
  });
  const bench = await startBench(dependencyPlan({}), [server.endpoint]);
  for (let round = 0; round < ROUNDS; round++) {
    const socket = net.connect(bench.port, '127.0.0.1').on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.pause();
    socket.write(Buffer.concat([PREFACE, WIDE, WIDER, head(instead(':method', 'POST'), Flag.endHeaders)]));
    await sleep(FILLED_MS);
    socket.write(half(Flag.endStream));
    await sleep(10);
    socket.resetAndDestroy();
    await closed;
    globalThis.gc?.();
  }
  return bench.plane.held();
}

async function cutByDependency(): Promise<unknown> {
  const cut = (socket: Socket): void => {
    socket.pause();
    setTimeout(() => socket.write(half(0, [':status', '200'])), FILLED_MS);
    setTimeout(() => socket.resetAndDestroy(), FILLED_MS + 10);
  };
  const seen = new WeakSet<Socket>();
  const server = await startUpstream(
    (received, socket) => {
      if (seen.has(socket)) return;
      if (!framesOf(Buffer.from(received, 'latin1')).some(({ type }) => type === FrameType.headers)) return;
      seen.add(socket);
      cut(socket);
    },
    (socket) => socket.write(Buffer.concat([WIDE, WIDER])),
  );
  const bench = await startBench(dependencyPlan({}), [server.endpoint]);
  for (let round = 0; round < ROUNDS; round++) {
    const client = application(bench.port);
    const stream = client.request('/', { ':method': 'POST' }).resume();
    const closed = new Promise((resolve) => stream.once('close', resolve));
    const write = (): void => {
      while (!stream.destroyed && stream.write(PIECE));
      stream.once('drain', write);
    };
    write();
    await closed;
    client.close();
    globalThis.gc?.();
  }
  return bench.plane.held();
}

const held = await (process.argv[2] === 'application' ? cutByApplication() : cutByDependency());
for (let round = 0; round < 10; round++) {
  globalThis.gc?.();
  await sleep(20);
}
process.stdout.write(JSON.stringify(held));
process.exit(0);
