// Where sockets read into: one buffer for all connections, so that a read allocates nothing, and what was read is still in the cache of the
// processor when it is written. A buffer for each connection is as much memory as all of them have ever read at once.
//
// What was read is gone when the callback returns; whoever keeps bytes copies them, and so does a write (outbox.ts), for it may not finish at
// once. That one buffer is enough rests on a read and its callback being one step of the event loop. TLS may decrypt inside a write to the
// same socket, that is inside the callback of another one: its connections have a buffer of their own.
//
// node:net gives a socket its buffer only when it is made (`onread`), and accepted sockets none: they allocate 64 KiB for each read. So a
// socket is given afterwards what its constructor would have given it. That is not a public API: a test at start decides whether it works in the
// running Node, and where it does not, sockets stay as they are.
import net, { type Socket } from 'node:net';
import type { Clock } from '../../../runtime/clock.ts';

/** A body of 64 KiB, as many programs write them, with its head: one read, one write. */
export const READ_BUFFER_BYTES = 81_920;
/** More than this is not decrypted at once. */
const TLS_RECORD_BYTES = 16_384;
const SELF_TEST_TIMEOUT_MS = 2_000;

const shared = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);

/** For `onread` of a connection that is made. */
export function readBufferFor(tls: boolean): Buffer {
  return tls ? Buffer.allocUnsafeSlow(TLS_RECORD_BYTES) : shared;
}

/** Under what Node keeps `onread` in a socket; null: not as it is known here, or not tried. */
interface Keys {
  readonly buffer: symbol;
  readonly callback: symbol;
}

interface Internals {
  _handle: { useUserBuffer?(buffer: Buffer): void } | null;
  [key: symbol]: unknown;
}

let keys: Keys | null = null;

/**
 * From now on the socket, connected, reads into the buffer of all. What Node has read of it before still comes as 'data', and comes
 * first: a stream hands that out before the event loop reads again, and a pause stops both. False: it cannot be had, or is one of TLS, and everything
 * comes as 'data'.
 */
export function readShared(socket: Socket, onRead: (buffer: Buffer, bytes: number) => void): boolean {
  // A connection of another network than node:net's has no handle; one of TLS may be read inside a write.
  if (keys === null || socket.destroyed || !(socket instanceof net.Socket) || 'encrypted' in socket) return false;
  const internals = socket as unknown as Internals;
  const handle = internals._handle;
  if (!handle?.useUserBuffer) return false;
  internals[keys.buffer] = shared;
  internals[keys.callback] = (bytes: number, read: Buffer) => {
    onRead(read, bytes);
    return true;
  };
  handle.useUserBuffer(shared);
  return true;
}

function findKeys(socket: Socket): Keys | null {
  const named = (name: string) => Object.getOwnPropertySymbols(socket).find(({ description }) => description === name);
  const [buffer, callback] = [named('kBuffer'), named('kBufferCb')];
  return buffer && callback ? { buffer, callback } : null;
}

/** Tries it once on a real connection; afterwards `readShared` works or answers false. */
export async function testReadShared(clock: Clock): Promise<boolean> {
  const server = net.createServer({ allowHalfOpen: true });
  let works = false;
  try {
    works = await new Promise<boolean>((resolve) => {
      const cancel = clock.after(SELF_TEST_TIMEOUT_MS, () => resolve(false));
      server.on('connection', (socket) => {
        keys = findKeys(socket);
        socket.once('data', (first) => {
          const isShared = readShared(socket, (read, bytes) => {
            if (read === shared) socket.end(read.toString('latin1', 0, bytes));
          });
          if (isShared) socket.write(first);
          else resolve(false);
        });
      });
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        const port = typeof address === 'object' && address ? address.port : 0;
        let echoed = '';
        const client = net.connect(port, '127.0.0.1', () => client.write('a'));
        client.on('data', (chunk) => {
          echoed += chunk.toString('latin1');
          if (echoed === 'a') client.write('b');
        });
        client.on('error', () => resolve(false));
        client.on('end', () => {
          cancel();
          client.end();
          resolve(echoed === 'ab');
        });
      });
    });
  } catch {
    works = false;
  } finally {
    if (!works) keys = null;
    server.close();
  }
  return works;
}
