// The operator's HTTPS server: sidecars' streams and the webhook, on one port, with a certificate that changes while it runs.
import { type FastifyInstance, fastify } from 'fastify';
import type { Certificates } from './certificates.ts';

/** How long a client may take to send a whole request; streams are answers, and not bounded by it. */
const REQUEST_TIMEOUT_MS = 30_000;
const HEADERS_TIMEOUT_MS = 10_000;

export interface HttpsServer {
  /** To register routes on. */
  fastify: FastifyInstance;
  /** Resolves to the port. */
  listen(host: string, port: number): Promise<number>;
  /** Cuts what is still open; streams should have been ended before. */
  close(): Promise<void>;
}

/** The certificates must have been started. */
export function createHttpsServer(certificates: Pick<Certificates, 'serving' | 'attach'>): HttpsServer {
  const { certificate, privateKey } = certificates.serving();
  const server = fastify({
    https: {
      cert: certificate,
      key: privateKey,
      minVersion: 'TLSv1.2',
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
    },
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    logger: false,
  });
  const detach = certificates.attach(server.server);
  return {
    fastify: server,
    async listen(host, port) {
      await server.listen({ host, port });
      const address = server.server.address();
      if (address === null || typeof address === 'string') throw new Error('the HTTPS server has no port');
      return address.port;
    },
    async close() {
      detach();
      await server.close();
    },
  };
}
