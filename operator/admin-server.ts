// /livez, /readyz and /metrics for the kubelet and Prometheus. Plain HTTP on a port of its own: nothing here is secret, and probes must
// answer while certificates are still being made.
import Fastify, { type FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';
import type { Listen } from './config.ts';
import { listen } from './listen.ts';

export interface AdminServerOptions {
  listen: Listen;
  /** What readiness still waits for, for people; empty: ready. */
  waitingFor: () => readonly string[];
  registry: Registry;
  /** Called before each scrape, for gauges that change by mere time. */
  beforeScrape: () => void;
}

export class AdminServer {
  readonly name = 'admin server';
  readonly #options: AdminServerOptions;
  readonly #server: FastifyInstance;
  #port = 0;

  constructor(options: AdminServerOptions) {
    this.#options = options;
    this.#server = Fastify({ logger: false, forceCloseConnections: true });
    this.#server.get('/livez', () => 'ok\n');
    this.#server.get('/readyz', (_request, reply) => {
      const waiting = options.waitingFor();
      if (waiting.length === 0) return 'ok\n';
      return reply.code(503).send(`waiting for:\n${waiting.map((item) => `- ${item}\n`).join('')}`);
    });
    this.#server.get('/metrics', async (_request, reply) => {
      options.beforeScrape();
      const body = await options.registry.metrics();
      return reply.type(options.registry.contentType).send(body);
    });
  }

  async start(): Promise<void> {
    this.#port = await listen(this.#server, this.#options.listen);
  }

  /** Where it listens; 0 before the start. */
  get port(): number {
    return this.#port;
  }

  async stop(): Promise<void> {
    await this.#server.close();
  }
}
