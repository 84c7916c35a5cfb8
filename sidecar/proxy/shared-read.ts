// Accepted sockets that read into one buffer of the process. `net.createServer` has no `onread`, so each read of an accepted socket
// allocates 64 KiB; a socket made around the same handle has it. That handle is not a public API: a test at start decides whether this
// works in the running Node, and where it does not, sockets stay as they were accepted.
import net, { type Socket } from 'node:net';
import type { Clock } from '../../runtime/clock.ts';

const READ_BUFFER_BYTES = 65_536;
const readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
const SELF_TEST_TIMEOUT_MS = 2_000;

let usable = false;

interface HandleOwner {
  _handle: unknown;
  _server: unknown;
  server: unknown;
}

/** `onRead` gets the shared buffer and how much of it is filled; the bytes are gone after the call. */
export function shareReads(socket: Socket, onRead: (buffer: Buffer, bytes: number) => void): Socket | null {
  if (!usable || socket.destroyed) return null;
  const owner = socket as unknown as HandleOwner;
  const handle = owner._handle;
  if (!handle) return null;
  socket.pause();
  owner._handle = null;
  const shared = new net.Socket({
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: readBuffer,
      callback: (bytes: number, buffer: Uint8Array) => {
        onRead(buffer as Buffer, bytes);
        return true;
      },
    },
  } as unknown as net.SocketConstructorOpts);
  const next = shared as unknown as HandleOwner;
  next._server = owner._server;
  next.server = owner.server;
  owner._server = null;
  owner.server = null;
  return shared;
}

/** Tries it once on a real connection; afterwards `shareReads` works or answers null. */
export async function testSharedReads(clock: Clock): Promise<boolean> {
  usable = true;
  const server = net.createServer({ allowHalfOpen: true });
  try {
    usable = await new Promise<boolean>((resolve) => {
      const cancel = clock.after(SELF_TEST_TIMEOUT_MS, () => resolve(false));
      server.on('connection', (socket) => {
        socket.once('data', (first) => {
          const shared = shareReads(socket, (buffer, bytes) => shared?.end(buffer.toString('latin1', 0, bytes)));
          shared?.write(first);
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
