// Every connection of the application begins here: whose is it, what does it speak, and who forwards it.

import type { Socket } from 'node:net';
import { NO_KEY } from '../balance/balancer.ts';
import { ClientConnection, type ClientConnectionOptions } from './client-connection.ts';
import type { ProxyContext } from './context.ts';
import type { DependencyRuntime } from './dependency.ts';
import { Detection, type DetectionOptions } from './detection.ts';
import { HostClaim } from './host-index.ts';
import { Http2Client } from './http2-client.ts';
import { onlyTarget, Tunnel, type TunnelTarget, type TunnelTargets } from './tunnel.ts';

/** How long the dial of an undeclared destination may take: the kernel's own patience, so that nothing changes for the application. */
export const UNDECLARED_CONNECT_TIMEOUT_MS = 130_000;
/** What is not to be forwarded may say this long what it is; HTTP then gets an answer instead of a reset. */
const DENIED_SILENCE_MS = 5_000;

export type TunnelCause = 'undeclared' | 'no-plan' | 'disabled' | 'opaque';

/** What is known of a connection from the way it came. */
export interface Arrival {
  /** Where its bytes go if they are passed on untouched. */
  targets: TunnelTargets;
  /** Where a captured connection was made to; null where a listener decides. */
  original: TunnelTarget | null;
  /** Capture `explicit`: the port decides, and Host may be a local address. */
  explicit: boolean;
}

/** A captured connection whose destination nobody declared, though a host may be what is called there. */
export interface Unclaimed {
  original: TunnelTarget;
  /** Hosts are declared at its port. */
  claimable: boolean;
  /** Whether what is nobody's is refused; asked again for every request of a connection that began as somebody's. */
  denied(): boolean;
  /** Whose a Host or server name is; null: nobody's. */
  readonly ownerOf: (host: string) => DependencyRuntime | null;
  /** Forwards requests that are nobody's, without policies. */
  nobody(): DependencyRuntime;
  targetsOf(owner: DependencyRuntime): TunnelTargets;
  /** No declared host is what is called. */
  onUnclaimed(): void;
}

export class Intake {
  readonly #context: ProxyContext;
  readonly #clients = new Set<ClientConnection>();
  readonly #http2Clients = new Set<Http2Client>();
  readonly #tunnels = new Set<Tunnel>();
  readonly #detections = new Set<Socket>();

  constructor(context: ProxyContext) {
    this.#context = context;
  }

  get size(): number {
    return this.#context.active + this.#tunnels.size;
  }

  accept(socket: Socket, dependency: DependencyRuntime, arrival: Arrival): void {
    const opaque = dependency.plan.protocol === 'Opaque';
    // Without policies there is nothing to read for; but in capture `explicit` the codec is what finds an endpoint for each request.
    if (opaque || (!arrival.explicit && !dependency.enforced)) {
      this.#tunnel(socket, dependency.enforced ? 'opaque' : 'disabled', arrival.targets, dependency);
      return;
    }
    const serve = (first: Buffer) =>
      this.#serve(socket, first, dependency, {
        originalDestination: arrival.original,
        rewriteHost: arrival.explicit,
        owner: null,
      });
    this.#detect(socket, {
      declaredHttp: dependency.plan.protocol === 'Http',
      targets: arrival.targets,
      onHttp: serve,
      onHttp2: (first) => this.#serveHttp2(socket, first, dependency, arrival),
      onTunnel: (first, upstream) => this.#tunnel(socket, 'opaque', arrival.targets, dependency, first, upstream),
    });
  }

  /** Bytes go on as they came: nobody declared where to, or nothing is known of that yet. */
  forward(socket: Socket, cause: TunnelCause, targets: TunnelTargets): void {
    this.#tunnel(socket, cause, targets, null);
  }

  acceptUnclaimed(socket: Socket, unclaimed: Unclaimed): void {
    const { original, claimable, ownerOf } = unclaimed;
    const denied = unclaimed.denied();
    if (!denied && !claimable) {
      unclaimed.onUnclaimed();
      this.forward(socket, 'undeclared', onlyTarget(original));
      return;
    }
    const claim = new HostClaim();
    const claimed = () => (claim.host === null || !claimable ? null : ownerOf(claim.host));
    const pass = (first: Buffer | null, upstream: Socket | null) => {
      const owner = claimed();
      if (owner || !denied) {
        this.#passUnclaimed(socket, unclaimed, owner, first, upstream);
        return;
      }
      unclaimed.onUnclaimed();
      socket.resetAndDestroy();
    };
    this.#detect(socket, {
      declaredHttp: false,
      targets: denied ? null : onlyTarget(original),
      judge: (bytes) => claim.judge(bytes),
      ...(denied ? { silenceMs: DENIED_SILENCE_MS } : {}),
      onHttp: (first) => {
        const owner = claimed();
        if (owner ? owner.enforced && owner.plan.protocol !== 'Opaque' : denied)
          this.#serveClaimed(socket, unclaimed, owner, first);
        else this.#passUnclaimed(socket, unclaimed, owner, first, null);
      },
      onHttp2: (first) => pass(first, null),
      onTunnel: (first, upstream) => pass(first, upstream),
    });
  }

  /** Something changed for which connections that stay open may have to go: those of HTTP/1.1 see it at their next answer. */
  closeUnwanted(): void {
    for (const client of this.#http2Clients) client.closeIfUnwanted();
  }

  destroy(): void {
    for (const client of this.#clients) client.destroy();
    for (const client of this.#http2Clients) client.destroy();
    for (const tunnel of this.#tunnels) tunnel.destroy();
    for (const socket of this.#detections) socket.destroy();
  }

  /** `owner` null: its first request is nobody's, and is told so. */
  #serveClaimed(socket: Socket, unclaimed: Unclaimed, owner: DependencyRuntime | null, first: Buffer): void {
    if (!owner) unclaimed.onUnclaimed();
    this.#serve(socket, first, owner ?? unclaimed.nobody(), {
      originalDestination: unclaimed.original,
      rewriteHost: false,
      owner: (host) => unclaimed.ownerOf(host) ?? (unclaimed.denied() ? null : unclaimed.nobody()),
    });
  }

  #passUnclaimed(
    socket: Socket,
    unclaimed: Unclaimed,
    owner: DependencyRuntime | null,
    first: Buffer | null,
    upstream: Socket | null,
  ): void {
    if (!owner) unclaimed.onUnclaimed();
    const cause = owner ? (owner.enforced ? 'opaque' : 'disabled') : 'undeclared';
    // What was dialled ahead leads to where the application wanted to go: it is as good as any other address.
    const targets = owner?.enforced && !upstream ? unclaimed.targetsOf(owner) : onlyTarget(unclaimed.original);
    this.#tunnel(socket, cause, targets, owner, first, upstream);
  }

  #serve(
    socket: Socket,
    first: Buffer,
    dependency: DependencyRuntime,
    how: Pick<ClientConnectionOptions, 'originalDestination' | 'rewriteHost' | 'owner'>,
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

  #serveHttp2(socket: Socket, first: Buffer, dependency: DependencyRuntime, arrival: Arrival): void {
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

  #detect(socket: Socket, options: Omit<DetectionOptions, 'socket' | 'network' | 'ticker'>): void {
    this.#detections.add(socket);
    socket.once('close', () => this.#detections.delete(socket));
    void new Detection({
      ...options,
      socket,
      network: this.#context.network,
      ticker: this.#context.ticker,
      onHttp: (first) => {
        this.#detections.delete(socket);
        options.onHttp(first);
      },
      onHttp2: (first) => {
        this.#detections.delete(socket);
        options.onHttp2(first);
      },
      onTunnel: (first, upstream) => {
        this.#detections.delete(socket);
        options.onTunnel(first, upstream);
      },
    });
  }

  #tunnel(
    client: Socket,
    cause: TunnelCause,
    targets: TunnelTargets,
    dependency: DependencyRuntime | null,
    first: Buffer | null = null,
    upstream: Socket | null = null,
  ): void {
    this.#context.metrics.countTunnel(cause);
    this.#context.tunnels++;
    const acts = dependency?.enforced ? dependency.base.timeouts : null;
    let tunnel: Tunnel | null = null;
    const created = new Tunnel({
      client,
      network: this.#context.network,
      targets,
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
export function endpointTargets(dependency: DependencyRuntime): TunnelTargets {
  return {
    get first() {
      const { endpoints, policies } = dependency;
      // Nothing of a byte stream can be hashed or measured: what acts is where it may go, and chance.
      return endpoints.pick(policies.passThrough.choice.balancer, [], NO_KEY, null, dependency.nowMs());
    },
    others: null,
  };
}
