// Every connection of the application begins here: whose is it, what does it speak, and who forwards it.
import type { Socket } from 'node:net';
import { ClientConnection } from './client-connection.ts';
import type { ProxyContext } from './context.ts';
import type { DependencyRuntime } from './dependency.ts';
import { Detection } from './detection.ts';
import { Tunnel, type TunnelTarget } from './tunnel.ts';

/** How long the dial of an undeclared destination may take: the kernel's own patience, so that nothing changes for the application. */
const UNDECLARED_CONNECT_TIMEOUT_MS = 130_000;

export type TunnelCause = 'undeclared' | 'no-plan' | 'disabled' | 'opaque' | 'h2c';

export class Intake {
  readonly #context: ProxyContext;
  readonly #clients = new Set<ClientConnection>();
  readonly #tunnels = new Set<Tunnel>();
  readonly #detections = new Set<Socket>();

  constructor(context: ProxyContext) {
    this.#context = context;
  }

  get size(): number {
    return this.#context.active + this.#tunnels.size;
  }

  /** `original`: where a captured connection was made to; null in capture `explicit`. */
  accept(socket: Socket, dependency: DependencyRuntime | null, original: TunnelTarget | null, hasPlan: boolean): void {
    if (!dependency) {
      if (original) this.#tunnel(socket, hasPlan ? 'undeclared' : 'no-plan', original, null, null, null);
      else socket.destroy();
      return;
    }
    const target = original ?? opaqueTarget(dependency);
    const opaque = dependency.plan.protocol === 'Opaque';
    // Without policies there is nothing to read for; but in capture `explicit` the codec is what finds an endpoint for each request.
    if (opaque || (original && !dependency.enforced)) {
      if (target) this.#tunnel(socket, dependency.enforced ? 'opaque' : 'disabled', target, null, null, dependency);
      else socket.resetAndDestroy();
    } else {
      this.#detect(socket, dependency, target, original);
    }
  }

  destroy(): void {
    for (const client of this.#clients) client.destroy();
    for (const tunnel of this.#tunnels) tunnel.destroy();
    for (const socket of this.#detections) socket.destroy();
  }

  #detect(
    socket: Socket,
    dependency: DependencyRuntime,
    target: TunnelTarget | null,
    original: TunnelTarget | null,
  ): void {
    this.#detections.add(socket);
    socket.once('close', () => this.#detections.delete(socket));
    void new Detection({
      socket,
      ticker: this.#context.ticker,
      declaredHttp: dependency.plan.protocol === 'Http',
      target,
      onHttp: (first) => {
        this.#detections.delete(socket);
        const client = new ClientConnection(socket, {
          context: this.#context,
          dependency,
          originalDestination: original,
          rewriteHost: original === null,
          onClosed: (closed) => this.#clients.delete(closed),
        });
        this.#clients.add(client);
        client.receive(first);
      },
      onTunnel: (cause, first, upstream) => {
        this.#detections.delete(socket);
        if (target) this.#tunnel(socket, cause, target, first, upstream, dependency);
        else socket.resetAndDestroy();
      },
    });
  }

  #tunnel(
    client: Socket,
    cause: TunnelCause,
    target: TunnelTarget,
    first: Buffer | null,
    upstream: Socket | null,
    dependency: DependencyRuntime | null,
  ): void {
    this.#context.metrics.countTunnel(cause);
    this.#context.tunnels++;
    const acts = dependency?.enforced ? dependency.base.timeouts : null;
    let tunnel: Tunnel | null = null;
    const created = new Tunnel({
      client,
      target,
      first,
      upstream,
      connectTimeoutMs: acts ? acts.connectMs : UNDECLARED_CONNECT_TIMEOUT_MS,
      idleTimeoutMs: acts ? acts.opaqueIdleMs : 0,
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

/** Where a tunnel of capture `explicit` goes: any endpoint, or the ClusterIP. */
function opaqueTarget(dependency: DependencyRuntime): TunnelTarget | null {
  const endpoint = dependency.pick(null, null);
  return endpoint ? { address: endpoint.address, port: endpoint.port } : null;
}
