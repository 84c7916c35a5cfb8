// The port on the pod's address: probes and metrics, nothing else.
import type { Registry } from 'prom-client';
import type { Readiness } from './readiness.ts';
import { createServer, listenOn, type RunningServer } from './server.ts';

export interface AdminServerOptions {
  host: string;
  /** 0: a free one. */
  port: number;
  readiness(): Readiness;
  registry: Pick<Registry, 'metrics' | 'contentType'>;
}

/** Throws what listening throws. */
export async function startAdminServer(options: AdminServerOptions): Promise<RunningServer> {
  const server = await createServer();
  server.get('/livez', (_request, reply) => reply.type('text/plain').send('ok\n'));
  server.get('/readyz', (_request, reply) => {
    const { ready, reason } = options.readiness();
    return reply
      .code(ready ? 200 : 503)
      .type('text/plain')
      .send(`${ready ? 'ready' : 'not ready'}: ${reason}\n`);
  });
  server.get('/metrics', async (_request, reply) => {
    const text = await options.registry.metrics();
    return reply.type(options.registry.contentType).send(text);
  });
  return listenOn(server, options.host, options.port);
}
