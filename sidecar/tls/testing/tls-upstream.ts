// Servers of TLS for tests: what startUpstream of proxy/testing/upstreams.ts is, behind TLS.
import type { Socket } from 'node:net';
import tls, { type SecureContextOptions, type TLSSocket, type TLSSocketOptions } from 'node:tls';

/** A connection that was accepted becomes one of TLS; a reset stays a reset of the connection below. */
export function secured(options: SecureContextOptions & TLSSocketOptions): (raw: Socket) => TLSSocket {
  const secureContext = options.secureContext ?? tls.createSecureContext(options);
  return (raw) => {
    const socket = new tls.TLSSocket(raw, { ...options, secureContext, isServer: true });
    raw.on('error', () => {});
    socket.resetAndDestroy = () => {
      raw.resetAndDestroy();
      return socket.destroy();
    };
    return socket;
  };
}
