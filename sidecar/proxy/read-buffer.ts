// Where sockets read into: one buffer a connection, used again for every read, so that a read allocates nothing.
//
// What was read is gone at the next read; whoever keeps bytes copies them. A write is the exception: it sends them from where they lie,
// and only where it could not finish at once, its bytes stay and the connection reads on into another buffer.
//
// Accepted sockets have no `onread` of their own and would allocate 64 KiB for each read; a socket made around the same handle has it. That
// handle is not a public API: a test at start decides whether this works in the running Node, and where it does not, they stay as they are.
import net, { type Socket } from 'node:net';
import type { Clock } from '../../runtime/clock.ts';

/** A body of 64 KiB, as many programs write them, with its head: one read, one write. */
const READ_BUFFER_BYTES = 81_920;
/** Buffers of closed connections that wait for the next. */
const SPARE_BUFFERS = 32;
const SELF_TEST_TIMEOUT_MS = 2_000;

const spare: Buffer[] = [];
const takeBuffer = (): Buffer => spare.pop() ?? Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);

export class ReadBuffer {
  #buffer = takeBuffer();
  #released = false;

  /** For `onread`: where the next read goes. */
  readonly next = (): Buffer => this.#buffer;

  /** A write still needs bytes of this buffer: the next read goes elsewhere. */
  leave(buffer: Buffer): void {
    if (buffer === this.#buffer && !this.#released) this.#buffer = takeBuffer();
  }

  /** The connection is closed: nothing is read into it any more. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    if (spare.length < SPARE_BUFFERS) spare.push(this.#buffer);
  }
}

let usable = false;

interface HandleOwner {
  _handle: unknown;
  _server: unknown;
  server: unknown;
}

/** A socket in the place of an accepted one that reads into the buffer; null where that cannot be had. */
export function readInto(
  buffer: ReadBuffer,
  socket: Socket,
  onRead: (buffer: Buffer, bytes: number) => void,
): Socket | null {
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
      buffer: buffer.next,
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

/** Tries it once on a real connection; afterwards `readInto` works or answers null. */
export async function testReadInto(clock: Clock): Promise<boolean> {
  usable = true;
  const server = net.createServer({ allowHalfOpen: true });
  try {
    usable = await new Promise<boolean>((resolve) => {
      const cancel = clock.after(SELF_TEST_TIMEOUT_MS, () => resolve(false));
      server.on('connection', (socket) => {
        socket.once('data', (first) => {
          const buffer = new ReadBuffer();
          const shared = readInto(buffer, socket, (read, bytes) => shared?.end(read.toString('latin1', 0, bytes)));
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
