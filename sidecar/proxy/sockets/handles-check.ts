// Whether the handles of this Node are what they are known to be: a connection of two of them says something in pieces, is answered by an echo, and
// ends in both directions; another one becomes a socket.
import type { AddressInfo, Server } from 'node:net';
import type { Clock } from '../../../runtime/clock.ts';
import type { Logger } from '../../../runtime/log.ts';
import { type ByteStream, NOBODY } from './byte-stream.ts';
import { HandleStream } from './handle-stream.ts';
import { type Accepted, listenAt } from './listen.ts';
import { findNodeHandles, type NodeHandles } from './node-handles.ts';
import { TEXT_LIMIT_BYTES } from './write-buffer.ts';

const TIMEOUT_MS = 2_000;
const HOST = '127.0.0.1';
/** One piece is written as a string, the other one from a buffer. */
const PIECES = [Buffer.from('a'), Buffer.alloc(2 * TEXT_LIMIT_BYTES, 'b')];

/** Null: there are none, or others. */
export async function testedNodeHandles(clock: Clock, log: Logger): Promise<NodeHandles | null> {
  const handles = findNodeHandles();
  if (!handles) return null;
  let server: Server | null = null;
  let accept: (accepted: Accepted) => void = () => {};
  try {
    server = await listenAt(handles, HOST, 0, log, (accepted) => accept(accepted));
    const { port } = server.address() as AddressInfo;
    const within = <Result>(task: (resolve: (result: Result) => void) => void): Promise<Result> =>
      new Promise<Result>((resolve, reject) => {
        const cancel = clock.after(TIMEOUT_MS, () => reject(new Error('nothing came of it')));
        task((result) => {
          cancel();
          resolve(result);
        });
      });
    const echoed = await within<string>((resolve) => {
      accept = (accepted) => echo(accepted.stream());
      say(HandleStream.dial(handles, HOST, 4, port), resolve);
    });
    const greeted = await within<string>((resolve) => {
      accept = (accepted) => accepted.socket().end('hello');
      say(HandleStream.dial(handles, HOST, 4, port), resolve);
    });
    return echoed === Buffer.concat(PIECES).toString() && greeted === 'hello' ? handles : null;
  } catch {
    return null;
  } finally {
    server?.close();
  }
}

function echo(stream: ByteStream): void {
  stream.owner = {
    ...NOBODY,
    streamArrived: (_from, buffer, bytes) => void stream.pass(buffer, bytes),
    streamEnded: () => stream.end(),
  };
  stream.resume();
}

/** Resolves to what was answered, when both directions have ended in order. */
function say(stream: ByteStream, resolve: (answered: string) => void): void {
  let answered = '';
  stream.owner = {
    ...NOBODY,
    streamConnected() {
      stream.resume();
      for (const piece of PIECES) stream.pass(piece, piece.length);
      stream.end();
    },
    streamArrived(_from, buffer, bytes) {
      answered += buffer.toString('latin1', 0, bytes);
    },
    streamClosed: (_stream, code) => resolve(code === null ? answered : code),
  };
}
