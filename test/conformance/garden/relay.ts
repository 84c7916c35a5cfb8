// Between the sidecar and a server: passes every byte on, and reads along what the sidecar sends. That is its account of what it forwarded, by
// a reader that takes nothing but the one form in which it writes.
import net, { type AddressInfo, type Socket } from 'node:net';
import { RequestReader } from '../../simulation/request-reader.ts';

export interface Forwarded {
  /** Number of its connection. */
  connection: number;
  method: string;
  target: string;
  length: number;
  id: string;
  /** It was sent to its end. */
  complete: boolean;
}

export interface Relay {
  readonly port: number;
  /** All that the sidecar has sent so far. */
  readonly forwarded: readonly Forwarded[];
  /** What it sent that is no request. */
  readonly broken: readonly string[];
  /** All bytes of a connection, latin1. */
  bytes(connection: number): string;
  close(): void;
}

export async function startRelay(to: number): Promise<Relay> {
  const forwarded: Forwarded[] = [];
  const broken: string[] = [];
  const sent: string[] = [];
  const sockets = new Set<Socket>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (sidecar) => {
    const upstream = net.connect({ port: to, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    track(sidecar);
    track(upstream);
    const connection = sent.push('') - 1;
    let current: Forwarded | undefined;
    const reader = new RequestReader(
      ({ method, path, headers }) => {
        const id = headers.get('x-correlation-id') ?? '';
        current = { connection, method, target: path, length: 0, id, complete: false };
        forwarded.push(current);
      },
      (bytes) => {
        if (current) current.length += bytes.length;
      },
      () => {
        if (current) current.complete = true;
      },
    );
    sidecar.on('data', (chunk: Buffer) => {
      sent[connection] += chunk.toString('latin1');
      if (!reader.push(chunk)) broken.push(sent[connection] ?? '');
      upstream.write(chunk);
    });
    upstream.on('data', (chunk: Buffer) => void sidecar.write(chunk));
    for (const [from, into] of [
      [sidecar, upstream],
      [upstream, sidecar],
    ] as const) {
      from.on('end', () => into.end());
      from.on('error', () => into.resetAndDestroy());
      from.on('close', () => into.destroySoon());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    port: (server.address() as AddressInfo).port,
    forwarded,
    broken,
    bytes: (connection) => sent[connection] ?? '',
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
