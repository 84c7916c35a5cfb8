// The port on the pod's address: probes and metrics, nothing else.
import type { MetricRegistry } from '../metrics/registry.ts';
import type { Readiness } from './readiness.ts';
import { type Routes, type RunningServer, type ServerOptions, startServer } from './server.ts';

export interface AdminServerOptions extends ServerOptions {
  readiness(): Readiness;
  registry: Pick<MetricRegistry, 'metrics' | 'contentType'>;
}

/** Throws what listening throws. */
export function startAdminServer(options: AdminServerOptions): Promise<RunningServer> {
  const { registry } = options;
  const routes: Routes = {
    'GET /livez': () => ({ text: 'ok\n' }),
    'GET /readyz': () => {
      const { ready, reason } = options.readiness();
      return { status: ready ? 200 : 503, text: `${ready ? 'ready' : 'not ready'}: ${reason}\n` };
    },
    'GET /metrics': () => ({ type: registry.contentType, text: registry.metrics() }),
  };
  return startServer(routes, options);
}
