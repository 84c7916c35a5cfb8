// An endpoint that speaks HTTP/1.1, with its idle connections.
import { BalancedEndpoint } from '../balance/candidates.ts';
import { Http1Connection } from './http1-connection.ts';
import { type Network, systemNetwork } from './network.ts';
import type { ResponseReceiver, UpstreamEndpoint } from './upstream.ts';

/** Idle connections kept per endpoint. */
const POOL_LIMIT = 1_024;

export class Http1Endpoint extends BalancedEndpoint implements UpstreamEndpoint {
  readonly address: string;
  readonly port: number;
  readonly network: Network;
  #removed = false;
  readonly #idle: Http1Connection[] = [];

  constructor(address: string, port: number, network: Network = systemNetwork) {
    super(endpointName(address, port));
    this.network = network;
    this.address = address;
    this.port = port;
  }

  get idleCount(): number {
    return this.#idle.length;
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
  }

  remove(): void {
    this.#removed = true;
    for (const connection of this.#idle) connection.destroy();
    this.#idle.length = 0;
  }
}

/** ADDRESS:PORT, an IPv6 address in brackets. */
export function endpointName(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
