// Where the connections of the data path come from and go to. Production has one network, that of node:net; a simulation gives another, and
// everything above the sockets is the same code.
import net, { isIP, type OnReadOpts, type Server, type Socket } from 'node:net';
import type { Clock } from '../../../runtime/clock.ts';
import type { Logger } from '../../../runtime/log.ts';
import { TcpUpstreamSocket, type UpstreamSocket } from '../upstream/upstream-socket.ts';
import type { ByteStream } from './byte-stream.ts';
import { HandleStream } from './handle-stream.ts';
import { testedNodeHandles } from './handles-check.ts';
import { type Accepted, listenAt } from './listen.ts';
import type { NodeHandles } from './node-handles.ts';
import { testReadShared } from './read-buffer.ts';
import { SocketStream } from './socket-stream.ts';

/** A listening socket. */
export type Listening = Pick<Server, 'address' | 'close'>;

export interface Network {
  /** To be awaited once before the first `listen`. False: connections cost more than they might. */
  prepare(clock: Clock, log: Logger): Promise<boolean>;
  /** Rejects with the error of the socket. */
  listen(host: string, port: number, log: Logger, onConnection: (accepted: Accepted) => void): Promise<Listening>;
  /** A connection for requests; it is being made, and what is read goes to `onread`. */
  connect(address: string, port: number, onread: OnReadOpts): UpstreamSocket;
  /** A connection that a library speaks on; it is being made. */
  dial(address: string, port: number): Socket;
  /** A connection whose bytes are passed on; it is being made. */
  dialStream(address: string, port: number): ByteStream;
}

/** Null: not tried yet, or not to be had. */
let handles: NodeHandles | null = null;

export const systemNetwork: Network = {
  async prepare(clock, log) {
    const [sharesReads, tested] = await Promise.all([testReadShared(clock), testedNodeHandles(clock, log)]);
    handles = tested;
    return sharesReads && handles !== null;
  },
  listen: (host, port, log, onConnection) => listenAt(handles, host, port, log, onConnection),
  connect(address, port, onread) {
    const socket = new TcpUpstreamSocket({ allowHalfOpen: true, onread });
    socket.connect({ host: address, port });
    socket.setNoDelay(true);
    return socket;
  },
  dial: (host, port) => net.connect({ host, port, noDelay: true, allowHalfOpen: true }),
  dialStream(host, port) {
    const family = isIP(host);
    if (handles && (family === 4 || family === 6)) return HandleStream.dial(handles, host, family, port);
    return new SocketStream(systemNetwork.dial(host, port));
  },
};
