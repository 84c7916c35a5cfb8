// The connections of the application that are open, by who forwards them: each is begun here, and known here until it has ended.
import type { Socket } from 'node:net';
import { ClientConnection, type ClientConnectionOptions } from '../application/client-connection.ts';
import { Http2Client } from '../application/http2-client.ts';
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import { OpaqueConnection } from '../opaque/opaque-connection.ts';
import type { ByteStream } from '../sockets/byte-stream.ts';
import type { Ahead, Dialled } from './ahead.ts';
import { Detection, type DetectionOptions } from './detection.ts';
import { Tunnel, type TunnelTarget, type TunnelTargets } from './tunnel.ts';

/** How long the dial of an undeclared destination may take: the kernel's own patience, so that nothing changes for the application. */
export const UNDECLARED_CONNECT_TIMEOUT_MS = 130_000;

/** Of those without policies. */
export type TunnelCause = 'undeclared' | 'no-plan' | 'disabled';

/** What is known of a connection from the way it came. */
export interface Arrival {
  /** Where its bytes go if they are passed on untouched. */
  targets: TunnelTargets;
  /** Where a captured connection was made to; null where a listener decides. */
  original: TunnelTarget | null;
  /** Capture `explicit`: the port decides, and Host may be a local address. */
  explicit: boolean;
}

export class OpenConnections {
  readonly #context: ProxyContext;
  readonly #clients = new Set<ClientConnection>();
  readonly #http2Clients = new Set<Http2Client>();
  readonly #tunnels = new Set<Tunnel | OpaqueConnection>();
  readonly #detections = new Set<Socket>();

  constructor(context: ProxyContext) {
    this.#context = context;
  }

  /** Requests, and connections whose bytes are passed on, that are in progress. */
  get size(): number {
    return this.#context.active + this.#tunnels.size;
  }

  /** Of the application, whatever they carry. */
  get connections(): number {
    return this.#clients.size + this.#http2Clients.size + this.#tunnels.size + this.#detections.size;
  }

  /** Something changed for which connections that stay open may have to go: those of HTTP/1.1 see it at their next answer. */
  closeUnwanted(): void {
    for (const client of this.#http2Clients) client.closeIfUnwanted();
  }

  destroy(): void {
    for (const client of this.#clients) client.end();
    for (const client of this.#http2Clients) client.destroy();
    for (const tunnel of this.#tunnels) tunnel.destroy();
    for (const socket of this.#detections) socket.destroy();
  }

  serve(
    socket: Socket,
    first: Buffer,
    dependency: DependencyRuntime,
    how: Pick<ClientConnectionOptions, 'originalDestination' | 'rewriteHost' | 'owner' | 'refusal' | 'nobody'>,
  ): void {
    const client = new ClientConnection(socket, {
      context: this.#context,
      dependency,
      ...how,
      onClosed: (closed) => this.#clients.delete(closed),
    });
    this.#clients.add(client);
    client.receive(first);
  }

  serveHttp2(socket: Socket, first: Buffer, dependency: DependencyRuntime, arrival: Arrival): void {
    const client = new Http2Client(socket, {
      context: this.#context,
      dependency,
      originalDestination: arrival.original,
      rewriteHost: arrival.explicit,
      first,
      onClosed: (closed) => this.#http2Clients.delete(closed),
    });
    this.#http2Clients.add(client);
  }

  detect<Begun extends Ahead>(socket: Socket, options: Omit<DetectionOptions<Begun>, 'socket' | 'ticker'>): void {
    this.#detections.add(socket);
    socket.once('close', () => this.#detections.delete(socket));
    void new Detection<Begun>({
      ...options,
      socket,
      ticker: this.#context.ticker,
      onHttp: (first) => {
        this.#detections.delete(socket);
        options.onHttp(first);
      },
      onHttp2: (first) => {
        this.#detections.delete(socket);
        options.onHttp2(first);
      },
      onTunnel: (first, ahead) => {
        this.#detections.delete(socket);
        options.onTunnel(first, ahead);
      },
    });
  }

  /** To be begun, or gone on with. Until then nothing is in progress. */
  opaque(
    client: ByteStream,
    dependency: DependencyRuntime,
    targets: TunnelTargets,
    original: TunnelTarget | null,
  ): OpaqueConnection {
    return new OpaqueConnection({
      client,
      context: this.#context,
      dependency,
      targets,
      original,
      onClosed: (closed) => this.#tunnels.delete(closed),
    });
  }

  proceed(connection: OpaqueConnection, first: Buffer | null): void {
    if (connection.closed) return;
    this.#tunnels.add(connection);
    connection.proceed(first);
  }

  tunnel(
    client: ByteStream,
    cause: TunnelCause,
    targets: TunnelTargets,
    first: Buffer | null = null,
    upstream: Dialled | null = null,
  ): void {
    this.#context.metrics.countTunnel(cause);
    this.#context.tunnels++;
    let tunnel: Tunnel | null = null;
    const created = new Tunnel({
      client,
      network: this.#context.network,
      targets,
      first,
      upstream,
      connectTimeoutMs: UNDECLARED_CONNECT_TIMEOUT_MS,
      ticker: this.#context.ticker,
      onDialFailed: () => this.#context.metrics.countTunnelDialFailure(),
      onClosed: () => {
        this.#context.tunnels--;
        if (tunnel) this.#tunnels.delete(tunnel);
      },
    });
    tunnel = created;
    if (!created.closed) this.#tunnels.add(created);
  }
}
