// The one HTTPS server of the operator: streams of sidecars, and in a cluster the admission webhook. Certificates change under it without
// a restart; open connections stay.
//
// The end has two halves. A Service leads callers to a replica for a moment after that has been told to stop, since the endpoints travel to
// each node on a way of their own: a webhook call that is refused then is a pod without a sidecar. So for `drainMs` everything is answered as
// before, each answer asks for the next request on another connection, and only then is the port closed.
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
  /** Milliseconds for which callers are still answered once `stop` was called; 0, the default, where nobody is led here by a Service. */
  drainMs?: number;
  requestWithinMs?: number;
}

export class HttpsServer {
  readonly name = 'HTTPS server';
  readonly #options: HttpsServerOptions;
  #server: Server | undefined;
  #detach: () => void = () => undefined;
  #port = 0;
  #isDraining = false;

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
    server.addHook('onSend', async (_request, reply) => {
      if (this.#isDraining) reply.header('connection', 'close');
    });
    register(server);
    this.#detach = certificates.attach(server.server);
    this.#port = await listen(server, this.#options.listen);
  }

  async stop(): Promise<void> {
    const { clock, drainMs = 0 } = this.#options;
    this.#isDraining = true;
    if (drainMs > 0) await clock.sleep(drainMs);
    this.#detach();
    this.#options.closeStreams();
    const cancel = clock.after(CLOSE_WITHIN_MS, () => this.#server?.server.closeAllConnections());
    await this.#server?.close();
    cancel();
  }
}
