// Listens on all addresses of both families, or on those of IPv4 where the machine has no IPv6.
import type { FastifyInstance, RawServerBase } from 'fastify';
import type { Listen } from './config.ts';

/** Gives the port. Rejects where it is taken. */
export async function listen<S extends RawServerBase>(
  server: Pick<FastifyInstance<S>, 'listen' | 'server'>,
  { host, port }: Listen,
): Promise<number> {
  try {
    await server.listen({ host, port });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (host !== '::' || (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL')) throw error;
    await server.listen({ host: '0.0.0.0', port });
  }
  const address = server.server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port');
  return address.port;
}
