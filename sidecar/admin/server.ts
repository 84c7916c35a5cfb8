// What the sidecar's two small HTTP servers share.
import type { FastifyInstance } from 'fastify';
import type { Part } from '../../runtime/lifecycle.ts';

export interface RunningServer {
  /** The port it listens on. */
  port: number;
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 1024;
const REQUEST_TIMEOUT_MS = 10_000;

/** Loads fastify when it is called: that takes longer than all else at start, and the data path need not wait for it. */
export async function createServer(): Promise<FastifyInstance> {
  const { fastify } = await import('fastify');
  return fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
  });
}

/** Throws what listening throws. */
export async function listenOn(server: FastifyInstance, host: string, port: number): Promise<RunningServer> {
  await server.listen({ host, port });
  const address = server.server.address();
  return {
    port: address !== null && typeof address === 'object' ? address.port : port,
    close: () => server.close(),
  };
}

/** A server as a part of the process; the port it got is left in `ports[key]`. */
export function serverPart<Key extends string>(
  name: string,
  ports: Record<Key, number>,
  key: Key,
  start: () => Promise<RunningServer>,
): Part {
  let running: RunningServer | null = null;
  return {
    name,
    async start() {
      running = await start();
      ports[key] = running.port;
    },
    stop: () => running?.close(),
  };
}
