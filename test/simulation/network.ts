// The network between all processes of a simulated world: who listens where, how long bytes take, and what goes wrong on the way.
import type { OnReadOpts, Socket } from 'node:net';
import { AcceptedSocket } from '../../sidecar/proxy/sockets/listen.ts';
import type { Listening, Network } from '../../sidecar/proxy/sockets/network.ts';
import { SocketStream } from '../../sidecar/proxy/sockets/socket-stream.ts';
import type { UpstreamSocket } from '../../sidecar/proxy/upstream/upstream-socket.ts';
import type { Dice } from './dice.ts';
import type { Host } from './host.ts';
import { SimulatedSocket } from './socket.ts';
import type { VirtualTime } from './virtual-time.ts';
import type { Wire } from './wire.ts';

/** What becomes of an attempt to connect. Lost: nobody answers at all. */
export type Fate = 'Accepted' | 'Refused' | 'Unreachable' | 'Lost';

export interface Place {
  address: string;
  port: number;
}

export interface Listener {
  host: Host;
  accept(socket: SimulatedSocket): void;
  /** Asked for each connection. */
  fate?(): Fate;
  /** Damages a connection before its first byte. */
  spoil?(toClient: Wire, toServer: Wire): void;
}

/** How much goes wrong everywhere, beside what listeners do themselves. */
export interface Weather {
  latencyMs: number;
  /** Share of connections that are reset at some byte. */
  resets: number;
  /** Share of connections that fall silent at some byte. */
  silences: number;
  /** Whether bytes come in small pieces. */
  pieces: boolean;
}

export const FAIR_WEATHER: Weather = { latencyMs: 0.5, resets: 0, silences: 0, pieces: false };

const LOOPBACK_MS = 0.02;
/** The kernel's own patience with a SYN that nobody answers. */
const CONNECT_TIMEOUT_MS = 127_000;
/** How long a connection may be when the weather spoils it, bytes. */
const SPOILED_WITHIN_BYTES = 20_000;

export class SimulatedNetwork {
  weather: Weather = FAIR_WEATHER;
  readonly #time: VirtualTime;
  readonly #dice: Dice;
  readonly #listeners = new Map<string, Listener>();
  readonly #originals = new Map<number, Place>();
  readonly #aliases = new Map<string, () => string | null>();
  readonly #open = new Set<SimulatedSocket>();

  constructor(time: VirtualTime, dice: Dice) {
    this.#time = time;
    this.#dice = dice;
  }

  /** Sockets, of whatever side, that are not closed. */
  get open(): number {
    return this.#open.size;
  }

  /** All connections are gone. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }

  /** The returned function ends it; connections that it accepted go on. */
  listen(address: string, port: number, listener: Listener): () => void {
    const place = placeOf(address, port);
    this.#listeners.set(place, listener);
    return () => {
      if (this.#listeners.get(place) === listener) this.#listeners.delete(place);
    };
  }

  /** Whoever connects there comes to the place that is answered; null: to none. */
  alias(place: string, target: () => string | null): void {
    this.#aliases.set(place, target);
  }

  /** `original`: where the connection was made to before it was redirected. */
  connect(
    from: Host,
    address: string,
    port: number,
    onread: OnReadOpts | null,
    original: Place | null = null,
  ): SimulatedSocket {
    const socket = this.#track(new SimulatedSocket(from, onread));
    const named = placeOf(address, port);
    const alias = this.#aliases.get(named);
    const place = alias ? (alias() ?? named) : named;
    socket.original = original;
    // Asked when the first packet arrives there.
    const oneWayMs = this.#latencyMs(original !== null);
    this.#time.after(oneWayMs, () => {
      const listener = this.#listeners.get(place);
      const fate = listener ? (listener.fate?.() ?? 'Accepted') : 'Refused';
      if (listener && fate === 'Accepted') listener.host.run(() => this.#accept(socket, listener));
      else {
        const code = fate === 'Lost' ? 'ETIMEDOUT' : fate === 'Unreachable' ? 'EHOSTUNREACH' : 'ECONNREFUSED';
        const afterMs = fate === 'Lost' ? CONNECT_TIMEOUT_MS : oneWayMs;
        this.#time.after(afterMs, () => from.run(() => socket.failToConnect(code)));
      }
    });
    return socket;
  }

  /** The network as the data path of the process sees it. `onConnect` is told of each connection that it makes. */
  of(host: Host, onConnect: (socket: SimulatedSocket) => void): Network {
    const connect = (address: string, port: number, onread: OnReadOpts | null) => {
      const socket = this.connect(host, address, port, onread);
      onConnect(socket);
      return socket;
    };
    // They have all of a socket that the data path uses, and nothing else.
    const asSocket = (socket: SimulatedSocket) => socket as unknown as Socket;
    return {
      prepare: () => Promise.resolve(true),
      listen: (address, port, _log, onConnection) => {
        const accept = (socket: SimulatedSocket) => onConnection(new AcceptedSocket(asSocket(socket)));
        const close = this.listen(`${host.name} ${address}`, port, { host, accept });
        return Promise.resolve({ address: () => ({ address, family: '', port }), close } as unknown as Listening);
      },
      connect: (address, port, onread) => connect(address, port, onread) as unknown as UpstreamSocket,
      dial: (address, port) => asSocket(connect(address, port, null)),
      dialStream: (address, port) => new SocketStream(asSocket(connect(address, port, null))),
    };
  }

  /** Where a connection that was accepted under this descriptor was made to before it was redirected; null: nowhere else. */
  originalOf(fd: number): Place | null {
    return this.#originals.get(fd) ?? null;
  }

  #accept(client: SimulatedSocket, listener: Listener): void {
    if (client.destroyed) return;
    const server = this.#track(new SimulatedSocket(listener.host, null));
    const { fd } = server._handle;
    if (client.original) {
      this.#originals.set(fd, client.original);
      server.once('close', () => this.#originals.delete(fd));
    }
    const isLoopback = client.original !== null;
    const [toServer, toClient] = [this.#wire(isLoopback), this.#wire(isLoopback)];
    listener.spoil?.(toClient, toServer);
    server.establish(client, toClient);
    this.#time.after(this.#latencyMs(isLoopback), () =>
      client.host.run(() => {
        if (client.destroyed) {
          server.arriveReset();
          return;
        }
        client.establish(server, toServer);
        client.announce();
        listener.host.run(() => {
          if (server.destroyed) return;
          listener.accept(server);
        });
      }),
    );
  }

  /** Within a pod nothing is lost, but bytes may come in pieces there as well. */
  #wire(isLoopback: boolean): Wire {
    const { weather } = this;
    const dice = this.#dice;
    const within = (share: number) =>
      share > 0 && !isLoopback && dice.chance(share) ? dice.skewed(0, SPOILED_WITHIN_BYTES) : Number.POSITIVE_INFINITY;
    return {
      latencyMs: () => this.#latencyMs(isLoopback),
      segment: (bytes) => (weather.pieces && dice.chance(0.3) ? dice.skewed(1, bytes) : bytes),
      corrupt: null,
      resetAfterBytes: within(weather.resets),
      silentAfterBytes: within(weather.silences),
    };
  }

  #latencyMs(isLoopback: boolean): number {
    return (isLoopback ? LOOPBACK_MS : this.weather.latencyMs) * (0.5 + this.#dice.random());
  }

  #track(socket: SimulatedSocket): SimulatedSocket {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    socket.on('error', () => {});
    return socket;
  }
}

export const placeOf = (address: string, port: number) => `${address} ${port}`;
