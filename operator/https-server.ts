// The one HTTPS server of the operator: streams of sidecars, and in a cluster the admission webhook. Certificates change under it without
// a restart; open connections stay.
import Fastify from 'fastify';
import type { Clock } from '../runtime/clock.ts';
import type { Certificates } from './certificates/certificates.ts';
import type { Listen } from './config.ts';
import { listen } from './listen.ts';

/** Streams are told to end before; what is still open after this is cut. */
const CLOSE_WITHIN_MS = 2_000;

/** From the connect to the end of a request, its body included; answers, which may be streams, take as long as they want. */
const REQUEST_WITHIN_MS = 15_000;

function createServer(certificates: Certificates, requestWithinMs: number) {
  const { certificate, privateKey } = certificates.serving();
  return Fastify({
    logger: false,
    https: {
      cert: certificate,
      key: privateKey,
      minVersion: 'TLSv1.2',
      handshakeTimeout: requestWithinMs,
      headersTimeout: requestWithinMs,
      // How late Node may notice.
      connectionsCheckingInterval: requestWithinMs / 2,
    },
    requestTimeout: requestWithinMs,
    // Streams stay open for as long as their pods live.
    connectionTimeout: 0,
    keepAliveTimeout: 75_000,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
  });
}

type Server = ReturnType<typeof createServer>;

export interface HttpsServerOptions {
  listen: Listen;
  /** Started before the server. */
  certificates: Certificates;
  register: (server: Server) => void;
  /** Ends what is open on purpose, before connections are closed. */
  closeStreams: () => void;
  clock: Clock;
  requestWithinMs?: number;
}

export class HttpsServer {
  readonly name = 'HTTPS server';
  readonly #options: HttpsServerOptions;
  #server: Server | undefined;
  #detach: () => void = () => undefined;
  #port = 0;

  constructor(options: HttpsServerOptions) {
    this.#options = options;
  }

  /** Where it listens; 0 before the start. */
  get port(): number {
    return this.#port;
  }

  async start(): Promise<void> {
    const { certificates, register } = this.#options;
    const server = createServer(certificates, this.#options.requestWithinMs ?? REQUEST_WITHIN_MS);
    this.#server = server;
    register(server);
    this.#detach = certificates.attach(server.server);
    this.#port = await listen(server, this.#options.listen);
  }

  async stop(): Promise<void> {
    this.#detach();
    this.#options.closeStreams();
    const cancel = this.#options.clock.after(CLOSE_WITHIN_MS, () => this.#server?.server.closeAllConnections());
    await this.#server?.close();
    cancel();
  }
}
