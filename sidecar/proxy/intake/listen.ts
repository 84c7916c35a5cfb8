// One listening socket of the data path.
import net, { type Server, type Socket } from 'node:net';
import type { Logger } from '../../../runtime/log.ts';

/** Rejects with the error of the socket. */
export function listenAt(
  host: string,
  port: number,
  log: Logger,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = net.createServer({ noDelay: true, allowHalfOpen: true }, onConnection);
    server.once('error', reject);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off('error', reject);
      server.on('error', (error) => log.error({ err: error }, 'listener failed'));
      resolve(server);
    });
  });
}
