// Where sockets read into: one buffer for all connections, so that a read allocates nothing, and what was read is still in the cache of the
// processor when it is written. A buffer for each connection is as much memory as all of them have ever read at once.
//
// What was read is gone when the callback returns; whoever keeps bytes copies them, and so does a write (outbox.ts), for it may not finish at
// once. That one buffer is enough rests on a read and its callback being one step of the event loop. TLS may decrypt inside a write to the
// same socket, that is inside the callback of another one: its connections have a buffer of their own.
//
// Accepted sockets have no `onread` of their own and would allocate 64 KiB for each read; a socket made around the same handle has it. That
// handle is not a public API: a test at start decides whether this works in the running Node, and where it does not, they stay as they are.
import net, { type Socket } from 'node:net';
import type { Clock } from '../../../runtime/clock.ts';

/** A body of 64 KiB, as many programs write them, with its head: one read, one write. */
const READ_BUFFER_BYTES = 81_920;
/** More than this is not decrypted at once. */
const TLS_RECORD_BYTES = 16_384;
const SELF_TEST_TIMEOUT_MS = 2_000;

const shared = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);

/** For `onread` of a connection that is made. */
export function readBufferFor(tls: boolean): Buffer {
  return tls ? Buffer.allocUnsafeSlow(TLS_RECORD_BYTES) : shared;
}

let usable = false;

interface HandleOwner {
  _handle: unknown;
  _server: unknown;
  server: unknown;
}

/** A socket in the place of an accepted one that reads into the buffer of all; null where that cannot be had. */
export function readShared(socket: Socket, onRead: (buffer: Buffer, bytes: number) => void): Socket | null {
  // A connection of another network than node:net's has no handle to share.
  if (!usable || socket.destroyed || !(socket instanceof net.Socket)) return null;
  const owner = socket as unknown as HandleOwner;
  const handle = owner._handle;
  if (!handle) return null;
  socket.pause();
  owner._handle = null;
  const reading = new net.Socket({
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: shared,
      callback: (bytes: number, read: Uint8Array) => {
        onRead(read as Buffer, bytes);
        return true;
      },
    },
  } as unknown as net.SocketConstructorOpts);
  const next = reading as unknown as HandleOwner;
  next._server = owner._server;
  next.server = owner.server;
  owner._server = null;
  owner.server = null;
  return reading;
}

/** Tries it once on a real connection; afterwards `readShared` works or answers null. */
export async function testReadShared(clock: Clock): Promise<boolean> {
  usable = true;
  const server = net.createServer({ allowHalfOpen: true });
  try {
    usable = await new Promise<boolean>((resolve) => {
      const cancel = clock.after(SELF_TEST_TIMEOUT_MS, () => resolve(false));
      server.on('connection', (socket) => {
        socket.once('data', (first) => {
          const reading = readShared(socket, (read, bytes) => reading?.end(read.toString('latin1', 0, bytes)));
          reading?.write(first);
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
    usable = false;
  } finally {
    server.close();
  }
  return usable;
}
