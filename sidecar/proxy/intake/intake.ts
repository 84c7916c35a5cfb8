// Every connection of the application begins here: whose is it, what does it speak, and who forwards it.
import type { Socket } from 'node:net';
import { LOCAL_ANSWERS } from '../../errors.ts';
import type { ProxyContext } from '../context.ts';
import type { DependencyRuntime } from '../dependency/dependency.ts';
import type { OpaqueConnection } from '../opaque/opaque-connection.ts';
import type { Accepted } from '../sockets/listen.ts';
import { SocketStream } from '../sockets/socket-stream.ts';
import { DialAhead } from './ahead.ts';
import { startsLikeTls } from './client-hello.ts';
import type { DetectionOptions } from './detection.ts';
import { HostClaim } from './host-index.ts';
import type { Arrival, OpenConnections, TunnelCause } from './open-connections.ts';
import { onlyTarget, type TunnelTarget, type TunnelTargets } from './tunnel.ts';

/** What is not to be forwarded may say this long what it is; HTTP then gets an answer instead of a reset. */
const DENIED_SILENCE_MS = 5_000;
/** The same where HTTP is forwarded, and nothing else. */
const UNREADABLE_SILENCE_MS = 60_000;

/** A captured connection whose destination nobody declared, though a host may be what is called there. */
export interface Unclaimed {
  original: TunnelTarget;
  /** Hosts are declared at its port. */
  claimable: boolean;
  /** One of these is spoken to in TLS, so that a request whose host is not known yet must not go out as it is. */
  guarded: boolean;
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

/** A connection that came before the first plan, and may be meant for a host that TLS is to be spoken to. */
export interface Unplanned {
  /** Where a captured connection was made to; null where a listener decides. */
  original: TunnelTarget | null;
  targets: TunnelTargets;
  /** Whether a Host names one of them; null: whatever comes is meant for one. */
  readonly needsTls: ((host: string) => boolean) | null;
  /** Refuses requests, and is told of them. */
  readonly nobody: () => DependencyRuntime;
}

export class Intake {
  readonly #context: ProxyContext;
  readonly #open: OpenConnections;

  constructor(context: ProxyContext, open: OpenConnections) {
    this.#context = context;
    this.#open = open;
  }

  accept(accepted: Accepted, dependency: DependencyRuntime, arrival: Arrival): void {
    if (dependency.enforced && dependency.plan.protocol === 'Opaque') {
      this.#open.proceed(this.#open.opaque(accepted.stream(), dependency, arrival.targets, arrival.original), null);
      return;
    }
    // Without policies there is nothing to read for; but in capture `explicit` the codec is what finds an endpoint for each request, and
    // what is to go out in TLS goes out in nothing else.
    const isRead = arrival.explicit || dependency.tls !== null;
    if (!dependency.enforced && (!isRead || dependency.plan.protocol === 'Opaque')) {
      this.#open.tunnel(accepted.stream(), 'disabled', arrival.targets);
      return;
    }
    this.#detectProtocol(accepted.socket(), dependency, arrival);
  }

  #detectProtocol(socket: Socket, dependency: DependencyRuntime, arrival: Arrival): void {
    const { spoken } = dependency;
    const opaque = () => this.#open.opaque(new SocketStream(socket), dependency, arrival.targets, arrival.original);
    const detected = {
      declaredHttp: dependency.plan.protocol === 'Http',
      onHttp: (first: Buffer) => {
        spoken.noteHttp();
        this.#open.serve(socket, first, dependency, {
          originalDestination: arrival.original,
          rewriteHost: arrival.explicit,
          owner: null,
        });
      },
      onHttp2: (first: Buffer) => {
        spoken.noteHttp();
        this.#open.serveHttp2(socket, first, dependency, arrival);
      },
    };
    if (dependency.tls !== null) {
      this.#detectTls(socket, dependency, arrival, detected, opaque);
      return;
    }
    if (dependency.enforced) {
      this.#open.detect<OpaqueConnection>(socket, {
        ...detected,
        ahead: opaque,
        ...(spoken.expectsOpaque ? { silenceMs: 0 } : {}),
        onTunnel: (first, ahead) => this.#open.proceed(ahead ?? opaque(), first),
      });
      return;
    }
    this.#open.detect<DialAhead>(socket, {
      ...detected,
      ahead: () => new DialAhead(this.#context.network, arrival.targets),
      onTunnel: (first, ahead) =>
        this.#open.tunnel(new SocketStream(socket), 'disabled', arrival.targets, first, ahead?.take() ?? null),
    });
  }

  /** The sidecar speaks TLS for it: nothing is dialled ahead, and what is neither HTTP nor TLS already goes nowhere. */
  #detectTls(
    socket: Socket,
    dependency: DependencyRuntime,
    { targets }: Arrival,
    detected: Pick<DetectionOptions<DialAhead>, 'declaredHttp' | 'onHttp' | 'onHttp2'>,
    opaque: () => OpaqueConnection,
  ): void {
    this.#open.detect<DialAhead>(socket, {
      ...detected,
      ahead: null,
      silenceMs: UNREADABLE_SILENCE_MS,
      onTunnel: (first) => {
        if (first === null || !startsLikeTls(first)) {
          this.#refuseUnreadable(socket, dependency);
        } else if (dependency.enforced) {
          dependency.spoken.noteOpaque(first);
          opaque().proceed(first);
        } else {
          this.#open.tunnel(new SocketStream(socket), 'disabled', targets, first);
        }
      },
    });
  }

  /** Neither HTTP nor TLS, and meant for a host that is to be spoken to in TLS alone: it must not go out as it is. */
  #refuseUnreadable(socket: Socket, { plan }: DependencyRuntime): void {
    this.#context.metrics.countTunnelDialFailure();
    this.#context.log.debug(
      { dependency: plan.id },
      'a connection that is neither HTTP nor TLS was reset: see host.tls',
    );
    socket.resetAndDestroy();
  }

  /** Bytes go on as they came: nobody declared where to, or nothing is known of that yet. */
  forward(accepted: Accepted, cause: TunnelCause, targets: TunnelTargets): void {
    this.#open.tunnel(accepted.stream(), cause, targets);
  }

  acceptUnclaimed(accepted: Accepted, unclaimed: Unclaimed): void {
    const { original, claimable, ownerOf } = unclaimed;
    const denied = unclaimed.denied();
    if (!denied && !claimable) {
      unclaimed.onUnclaimed();
      this.forward(accepted, 'undeclared', onlyTarget(original));
      return;
    }
    const socket = accepted.socket();
    const claim = new HostClaim();
    const claimed = () => (claim.host === null || !claimable ? null : ownerOf(claim.host));
    const pass = (first: Buffer | null, ahead: DialAhead | null) => {
      const owner = claimed();
      if (unclaimed.guarded && isUnfinished(claim, first, ahead)) {
        ahead?.drop();
        this.#serveSlow(socket, unclaimed, first);
      } else if (owner || !denied) {
        this.#passUnclaimed(socket, unclaimed, owner, first, ahead);
      } else {
        unclaimed.onUnclaimed();
        socket.resetAndDestroy();
      }
    };
    this.#open.detect<DialAhead>(socket, {
      declaredHttp: false,
      ahead: denied ? null : () => new DialAhead(this.#context.network, onlyTarget(original)),
      judge: (bytes) => claim.judge(bytes),
      ...(denied ? { silenceMs: DENIED_SILENCE_MS } : {}),
      onHttp: (first) => {
        const owner = claimed();
        const isServed = owner && (owner.enforced || owner.tls !== null) && owner.plan.protocol !== 'Opaque';
        if (owner ? isServed : denied) this.#serveClaimed(socket, unclaimed, owner, first);
        else this.#passUnclaimed(socket, unclaimed, owner, first, null);
      },
      onHttp2: (first) => pass(first, null),
      onTunnel: pass,
    });
  }

  /** What is meant for a host that needs TLS goes nowhere in plain text: how to speak TLS to it comes with the plan. */
  acceptUnplanned(accepted: Accepted, { original, targets, needsTls, nobody }: Unplanned): void {
    const socket = accepted.socket();
    const claim = new HostClaim();
    const reads = needsTls === null;
    const pass = (first: Buffer | null, ahead: DialAhead | null) => {
      if (reads || !isUnfinished(claim, first, ahead)) {
        this.#open.tunnel(new SocketStream(socket), 'no-plan', targets, first, ahead?.take() ?? null);
        return;
      }
      ahead?.drop();
      const owner = (host: string) => (needsTls(host) ? null : nobody());
      const how = { originalDestination: original, rewriteHost: false, owner };
      this.#open.serve(socket, first, nobody(), { ...how, refusal: LOCAL_ANSWERS.noPlan });
    };
    this.#open.detect<DialAhead>(socket, {
      declaredHttp: false,
      ahead: reads ? null : () => new DialAhead(this.#context.network, targets),
      ...(reads ? { silenceMs: UNREADABLE_SILENCE_MS } : { judge: (bytes: Buffer) => claim.judge(bytes) }),
      onHttp: (first) => {
        if (needsTls !== null && (claim.host === null || !needsTls(claim.host))) {
          pass(first, null);
          return;
        }
        const how = { originalDestination: original, rewriteHost: false, owner: () => null };
        this.#open.serve(socket, first, nobody(), { ...how, refusal: LOCAL_ANSWERS.noPlan });
      },
      onHttp2: (first) => {
        if (reads) this.#refuseUnplanned(socket);
        else pass(first, null);
      },
      onTunnel: (first, ahead) => {
        if (reads && (first === null || !startsLikeTls(first))) this.#refuseUnplanned(socket);
        else pass(first, ahead);
      },
    });
  }

  /** There is no HTTP/1.1 in which it could be answered. */
  #refuseUnplanned(socket: Socket): void {
    this.#context.metrics.countTunnelDialFailure();
    socket.resetAndDestroy();
  }

  /** `owner` null: its first request is nobody's, and is told so. */
  #serveClaimed(socket: Socket, unclaimed: Unclaimed, owner: DependencyRuntime | null, first: Buffer): void {
    if (!owner) unclaimed.onUnclaimed();
    this.#open.serve(socket, first, owner ?? unclaimed.nobody(), {
      originalDestination: unclaimed.original,
      rewriteHost: false,
      owner: (host) => unclaimed.ownerOf(host) ?? (unclaimed.denied() ? null : unclaimed.nobody()),
      nobody: () => unclaimed.nobody(),
    });
  }

  /** A request that has not said yet whom it is meant for: each has its own owner, or none. */
  #serveSlow(socket: Socket, unclaimed: Unclaimed, first: Buffer): void {
    const { original, ownerOf } = unclaimed;
    const owner = (host: string): DependencyRuntime | null => {
      const found = ownerOf(host);
      if (found) return found;
      unclaimed.onUnclaimed();
      return unclaimed.denied() ? null : unclaimed.nobody();
    };
    const nobody = () => unclaimed.nobody();
    this.#open.serve(socket, first, nobody(), { originalDestination: original, rewriteHost: false, owner, nobody });
  }

  #passUnclaimed(
    socket: Socket,
    unclaimed: Unclaimed,
    owner: DependencyRuntime | null,
    first: Buffer | null,
    ahead: DialAhead | null,
  ): void {
    const { original } = unclaimed;
    if (owner?.enforced) {
      // What was dialled before it was known whose it is was dialled without the policies of its owner.
      ahead?.drop();
      this.#open.proceed(
        this.#open.opaque(new SocketStream(socket), owner, unclaimed.targetsOf(owner), original),
        first,
      );
      return;
    }
    if (!owner) unclaimed.onUnclaimed();
    const cause = owner ? 'disabled' : 'undeclared';
    this.#open.tunnel(new SocketStream(socket), cause, onlyTarget(original), first, ahead?.take() ?? null);
  }
}

/** A request that takes its time to say whom it is meant for, to a server that waits for it. */
function isUnfinished(claim: HostClaim, first: Buffer | null, ahead: DialAhead | null): first is Buffer {
  return first !== null && ahead?.spoke !== true && claim.isUnfinished(first);
}
