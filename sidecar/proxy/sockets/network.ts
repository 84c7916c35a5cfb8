// Where the connections of the data path come from and go to. Production has one network, that of node:net; a simulation gives another, and
// everything above the sockets is the same code.
import net, { type OnReadOpts, type Server, type Socket } from 'node:net';
import type { Clock } from '../../../runtime/clock.ts';
import type { Logger } from '../../../runtime/log.ts';
import { listenAt } from '../intake/listen.ts';
import { TcpUpstreamSocket, type UpstreamSocket } from '../upstream/upstream-socket.ts';
import { testReadShared } from './read-buffer.ts';

/** A listening socket. */
export type Listening = Pick<Server, 'address' | 'close'>;

export interface Network {
  /** To be awaited once before the first `listen`. False: accepted connections cost more than they might. */
  prepare(clock: Clock): Promise<boolean>;
  /** Rejects with the error of the socket. */
  listen(host: string, port: number, log: Logger, onConnection: (socket: Socket) => void): Promise<Listening>;
  /** A connection for requests; it is being made, and what is read goes to `onread`. */
  connect(address: string, port: number, onread: OnReadOpts): UpstreamSocket;
  /** A connection whose bytes are passed on; it is being made. */
  dial(address: string, port: number): Socket;
}

export const systemNetwork: Network = {
  prepare: testReadShared,
  listen: listenAt,
  connect(address, port, onread) {
    const socket = new TcpUpstreamSocket({ allowHalfOpen: true, onread });
    socket.connect({ host: address, port });
    socket.setNoDelay(true);
    return socket;
  },
  dial: (host, port) => net.connect({ host, port, noDelay: true, allowHalfOpen: true }),
};
