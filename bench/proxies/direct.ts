// No proxy: the upstream itself, to know which part of a latency is its own and that of the load generator.
import type { Proxy } from '../setting.ts';

export const direct: Proxy = {
  name: 'direct',
  async start({ upstreamPort }) {
    return { port: upstreamPort, pids: [], failed: new Promise<never>(() => undefined), stop: async () => undefined };
  },
};
