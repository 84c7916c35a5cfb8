// A connection to where the application wanted to go, made while it is silent and nobody knows what it speaks: a server that speaks first
// must not wait for an application that waits for it.
import type { Socket } from 'node:net';
import type { Network } from '../sockets/network.ts';
import type { TunnelTargets } from './tunnel.ts';

export interface Ahead {
  /**
   * Connects. False: it is not known yet where to. `onSpoke`: the dependency spoke or ended, or is not to be reached, so that the bytes are
   * to be passed on whatever they are; not called inside.
   */
  begin(onSpoke: () => void): boolean;
  /** The application turned out to speak HTTP: as if nothing had been begun. */
  drop(): void;
}

/** Without policies. */
export class DialAhead implements Ahead {
  /** Dialled, and paused once `onSpoke` was called; null: it was not, or was dropped. */
  socket: Socket | null = null;
  readonly #network: Pick<Network, 'dial'>;
  readonly #targets: TunnelTargets;
  #onSpoke: () => void = () => {};

  readonly #spoke = (): void => {
    this.socket?.pause();
    this.#onSpoke();
  };
  readonly #data = (chunk: Buffer): void => {
    this.socket?.pause();
    this.socket?.unshift(chunk);
    this.#onSpoke();
  };

  constructor(network: Pick<Network, 'dial'>, targets: TunnelTargets) {
    this.#network = network;
    this.#targets = targets;
  }

  begin(onSpoke: () => void): boolean {
    const target = this.#targets.first;
    // Where it is to be asked for, it may be known in a moment.
    if (!target) return this.#targets.others === null;
    this.#onSpoke = onSpoke;
    const socket = this.#network.dial(target.address, target.port);
    this.socket = socket;
    socket.on('data', this.#data);
    socket.on('end', this.#spoke);
    // A dial that fails ends in a tunnel that fails: one place resets the application.
    socket.on('error', this.#spoke);
    return true;
  }

  /** What was dialled, for whoever goes on with it. */
  take(): Socket | null {
    const { socket } = this;
    if (!socket) return null;
    socket.off('data', this.#data);
    socket.off('end', this.#spoke);
    socket.off('error', this.#spoke);
    socket.pause();
    return socket;
  }

  drop(): void {
    const { socket } = this;
    this.socket = null;
    if (!socket) return;
    socket.removeAllListeners();
    socket.on('error', () => {});
    socket.destroy();
  }
}
