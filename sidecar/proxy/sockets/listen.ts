// One listening socket of the data path, and what it accepts.
import net, { type Server, type Socket } from 'node:net';
import type { Logger } from '../../../runtime/log.ts';
import type { ByteStream } from './byte-stream.ts';
import { HandleStream } from './handle-stream.ts';
import type { NodeHandles, TcpHandle } from './node-handles.ts';
import { SocketStream } from './socket-stream.ts';

/** A connection that has come. One of both is made of it, once. */
export interface Accepted {
  readonly fd: number;
  /** To be read as a protocol. */
  socket(): Socket;
  /** To be passed on as it is. */
  stream(): ByteStream;
}

export class AcceptedSocket implements Accepted {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get fd(): number {
    return (this.#socket as unknown as { _handle: { fd: number } })._handle.fd;
  }

  socket(): Socket {
    return this.#socket;
  }

  stream(): ByteStream {
    return new SocketStream(this.#socket);
  }
}

class AcceptedHandle implements Accepted {
  readonly #handles: NodeHandles;
  readonly #handle: TcpHandle;
  readonly #makeSocket: (handle: TcpHandle) => Socket;

  constructor(handles: NodeHandles, handle: TcpHandle, makeSocket: (handle: TcpHandle) => Socket) {
    this.#handles = handles;
    this.#handle = handle;
    this.#makeSocket = makeSocket;
  }

  get fd(): number {
    return this.#handle.fd;
  }

  socket(): Socket {
    return this.#makeSocket(this.#handle);
  }

  stream(): ByteStream {
    return new HandleStream(this.#handles, this.#handle);
  }
}

/** Of a server of Node: what libuv calls with each connection, or an error. */
interface ListeningHandle {
  onconnection(status: number, handle?: TcpHandle): void;
}

/** Rejects with the error of the socket. `handles` null: each connection becomes a socket of Node at once. */
export function listenAt(
  handles: NodeHandles | null,
  host: string,
  port: number,
  log: Logger,
  onConnection: (accepted: Accepted) => void,
): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = net.createServer({ noDelay: true, allowHalfOpen: true });
    server.once('error', reject);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off('error', reject);
      server.on('error', (error) => log.error({ err: error }, 'listener failed'));
      if (handles) acceptHandles(handles, server, onConnection);
      else server.on('connection', (socket) => onConnection(new AcceptedSocket(socket)));
      resolve(server);
    });
  });
}

/** A socket is made where one is asked for, by the same code of Node as ever. */
function acceptHandles(handles: NodeHandles, server: Server, onConnection: (accepted: Accepted) => void): void {
  const listening = (server as unknown as { _handle: ListeningHandle })._handle;
  const byNode = listening.onconnection.bind(listening);
  let last: Socket | null = null;
  server.on('connection', (socket) => {
    last = socket;
  });
  const makeSocket = (handle: TcpHandle): Socket => {
    byNode(0, handle);
    const made = last;
    last = null;
    if (!made) throw new Error('no socket was made of a connection');
    return made;
  };
  listening.onconnection = (status, handle) => {
    if (status === 0 && handle) onConnection(new AcceptedHandle(handles, handle, makeSocket));
    else byNode(status, handle);
  };
}
