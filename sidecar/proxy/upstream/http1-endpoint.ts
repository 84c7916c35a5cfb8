// An endpoint with its idle connections that speak HTTP/1.1; those of HTTP/2 are in a pool of their own, for most endpoints have none.
import { BalancedEndpoint } from '../../balance/candidates.ts';
import type { TlsOrigination } from '../../tls/origination.ts';
import type { ResponseReceiver, UpstreamEndpoint } from '../exchange/upstream.ts';
import { type Network, systemNetwork } from '../sockets/network.ts';
import { Http1Connection } from './http1-connection.ts';
import { Http2Pool } from './http2-pool.ts';

/** Idle connections kept per endpoint. */
const POOL_LIMIT = 1_024;

export class Http1Endpoint extends BalancedEndpoint implements UpstreamEndpoint {
  readonly address: string;
  readonly port: number;
  readonly network: Network;
  /** Null: plain TCP. */
  readonly tls: TlsOrigination | null;
  #removed = false;
  readonly #idle: Http1Connection[] = [];
  #http2: Http2Pool | null = null;

  constructor(address: string, port: number, network: Network = systemNetwork, tls: TlsOrigination | null = null) {
    super(endpointName(address, port));
    this.network = network;
    this.tls = tls;
    this.address = address;
    this.port = port;
  }

  get idleCount(): number {
    return this.#idle.length + (this.#http2?.sessionCount ?? 0);
  }

  get http2(): Http2Pool {
    this.#http2 ??= new Http2Pool(this, this.#removed);
    return this.#http2;
  }

  /** Connections of another one have other settings or credentials of TLS: they are not used again. */
  get generation(): number {
    return this.tls === null ? 0 : this.tls.generation;
  }

  connect(receiver: ResponseReceiver): Http1Connection {
    return new Http1Connection(this, receiver);
  }

  takeIdle(nowMs: number, maxIdleMs: number): Http1Connection | null {
    for (let connection = this.#idle.pop(); connection; connection = this.#idle.pop()) {
      const idleMs = nowMs - connection.idleSinceMs;
      if (idleMs < connection.keepMs && connection.usable()) {
        if (idleMs < maxIdleMs) return connection;
        // Older ones lie below it: none is fresh enough.
        this.#idle.push(connection);
        return null;
      }
      connection.destroy();
    }
    return null;
  }

  giveIdle(connection: Http1Connection, nowMs: number): void {
    // A request that was answered before all of it was sent would delay, or break, the next one.
    const unsent = connection.socket.writableLength > 0;
    if (this.#removed || unsent || connection.keepMs <= 0 || this.#idle.length >= POOL_LIMIT) {
      connection.destroy();
      return;
    }
    connection.idleSinceMs = nowMs;
    this.#idle.push(connection);
  }

  /** It closed while it lay idle. */
  forgetIdle(connection: Http1Connection): void {
    const index = this.#idle.indexOf(connection);
    if (index >= 0) this.#idle.splice(index, 1);
  }

  sweep(nowMs: number): void {
    let kept = 0;
    for (const connection of this.#idle) {
      if (nowMs - connection.idleSinceMs < connection.keepMs && connection.usable()) this.#idle[kept++] = connection;
      else connection.destroy();
    }
    this.#idle.length = kept;
    this.#http2?.sweep(nowMs);
  }

  remove(): void {
    this.#removed = true;
    for (const connection of this.#idle) connection.destroy();
    this.#idle.length = 0;
    this.#http2?.remove();
  }
}

/** ADDRESS:PORT, an IPv6 address in brackets. */
export function endpointName(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
